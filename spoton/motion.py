"""Kalman filters for many objects at once: constant velocity, any number of dimensions, image or floor.

States are arrays, one row per object: positions first, then their velocities, ``(x, y, vx, vy)`` in two dimensions.
Time steps are seconds, so that frame rates may differ and change. Equations: R. E. Kalman (1960) with the covariance
update in P. D. Joseph's symmetric form; process noise after Bar-Shalom, Li and Kirubarajan, *Estimation with
Applications to Tracking and Navigation* (2001), section 6.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TWO_THIRDS = np.array(2.0 / 3.0)


def constant_velocity(dt_s: float | Floats, dims: int, accel_sigma: float | Floats) -> tuple[Floats, Floats]:
    """Transition ``F`` and process noise ``Q`` over ``dt_s`` seconds, both (d, d) with d = 2 * dims.

    With arrays of shape (N,) for ``dt_s``, ``accel_sigma`` or both, each object has its own: (N, d, d).

    The noise is continuous white acceleration: two steps of dt add up to exactly one step of 2 dt, whatever the frame
    rate. ``accel_sigma`` is the square root of its spectral density, in units of the position per second^1.5: after
    one second the velocity has gained a standard deviation of ``accel_sigma`` per second.
    """
    dt, sigma = np.broadcast_arrays(np.asarray(dt_s, dtype=np.float64), np.asarray(accel_sigma, dtype=np.float64))
    dt, density = dt[..., None], (sigma * sigma)[..., None]
    F = np.zeros((*dt.shape[:-1], 2 * dims, 2 * dims))
    Q = np.zeros_like(F)
    at, to = np.arange(dims), np.arange(dims) + dims
    F[..., at, at] = F[..., to, to] = 1.0
    F[..., at, to] = dt
    Q[..., at, at] = density * dt**3 / 3.0
    Q[..., at, to] = Q[..., to, at] = density * dt**2 / 2.0
    Q[..., to, to] = density * dt
    return F, Q


def position_of(dims: int) -> Floats:
    """The measurement matrix ``H`` (dims, 2 * dims) that picks the positions out of a state."""
    return np.eye(dims, 2 * dims)


def predict(mean: Floats, cov: Floats, F: Floats, Q: Floats) -> tuple[Floats, Floats]:
    """Carry states forward in time.

    mean: (N, d); cov: (N, d, d); F and Q: (d, d) for all, or (N, d, d) one each. Returns new arrays of the same
    shapes; N may be 0.
    """
    moved = (F @ mean[:, :, None])[:, :, 0]
    spread = F @ cov @ np.swapaxes(F, -1, -2) + Q
    return moved, _symmetric(spread)


def update(mean: Floats, cov: Floats, z: Floats, R: Floats, H: Floats) -> tuple[Floats, Floats]:
    """Correct each state with its own measurement.

    mean: (N, d); cov: (N, d, d); z: (N, m); R: (N, m, m); H: (m, d). Row n of ``z`` belongs to row n of ``mean``.
    Returns new arrays; numpy.linalg.LinAlgError when an innovation covariance is singular.
    """
    cross = cov @ H.T
    innovation_cov = H @ cross + R
    gain = np.swapaxes(np.linalg.solve(innovation_cov, np.swapaxes(cross, -1, -2)), -1, -2)
    innovation = z - mean @ H.T
    corrected = mean + (gain @ innovation[:, :, None])[:, :, 0]
    kept = np.eye(mean.shape[1]) - gain @ H
    spread = kept @ cov @ np.swapaxes(kept, -1, -2) + gain @ R @ np.swapaxes(gain, -1, -2)
    return corrected, _symmetric(spread)


def squared_mahalanobis(mean: Floats, cov: Floats, z: Floats, R: Floats, H: Floats) -> Floats:
    """How far each measurement is from each state, in units of their common uncertainty: (N, M), chi-square with m.

    mean: (N, d); cov: (N, d, d); z: (M, m); R: (M, m, m); H: (m, d).
    """
    innovation_cov = (H @ cov @ H.T)[:, None] + R[None]
    innovation = z[None] - (mean @ H.T)[:, None]
    weighted = np.linalg.solve(innovation_cov, innovation[..., None])[..., 0]
    distances: Floats = np.einsum("nmi,nmi->nm", innovation, weighted)
    return distances


def predict_axes(axes: Floats, dt_s: Floats, density: Floats, walk_variance: Floats) -> Floats:
    """Carry independent axes forward: ``predict`` with ``constant_velocity`` for many one-dimensional states at once.

    axes: (5, ...) place, speed, variance of the place, covariance, variance of the speed. dt_s: seconds; density: of
    the acceleration, the square of ``accel_sigma``; walk_variance: added to the variance of the place. All three
    broadcast to the shape of the axes.
    """
    out = axes.copy()
    place, speed, place_var, covariance, speed_var = out
    gained = density * dt_s
    spread = speed_var * dt_s
    half = gained * dt_s
    half *= 0.5
    place += speed * dt_s
    widened = spread + covariance
    widened += covariance
    widened += half * _TWO_THIRDS
    widened *= dt_s
    widened += walk_variance
    place_var += widened
    covariance += spread
    covariance += half
    speed_var += gained
    return out


def update_axes(axes: Floats, z: Floats, noise_variance: Floats) -> Floats:
    """Correct independent axes (5, ...), each with its own measurement of the place, of the shape of one of the five.

    noise_variance: broadcasts to that shape.
    """
    out = axes.copy()
    gain = axes[2:4] / (axes[2] + noise_variance)
    state, variance, speed_var = out[:2], out[2:4], out[4]
    state += gain * (z - axes[0])
    speed_var -= gain[1] * axes[3]
    np.multiply(gain, noise_variance, out=variance)
    return out


def _symmetric(cov: Floats) -> Floats:
    return 0.5 * (cov + np.swapaxes(cov, -1, -2))
