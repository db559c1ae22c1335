"""A camera's lens: pixels to rays and back, with OpenCV's distortion model.

The model is the one of OpenCV's ``calib3d`` (Brown-Conrady with the rational radial term): coefficients in the order
k1, k2, p1, p2, k3, k4, k5, k6, of which 0, 4, 5 or 8 may be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoton.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEWTON_STEPS = 30
_SETTLED = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """K (3, 3) in pixels, eight distortion coefficients, and the ray radius up to which they can be inverted.

    limit_r: beyond this distance from the axis (as tangent of the angle) the polynomial folds back and two rays would
    share a pixel; infinite for a lens without distortion.
    """

    K: Floats
    dist: Floats
    limit_r: float

    def to_pixels(self, rays: Floats) -> tuple[Floats, Bools]:
        """Rays (N, 2), x/z and y/z in the camera frame, to pixels (N, 2); False where the model does not hold."""
        return to_pixels(rays, self.K, self._dist, self.limit_r)

    def to_rays(self, points_px: Floats) -> tuple[Floats, Floats, Bools]:
        """Pixels (N, 2) to rays (N, 2), d ray / d pixel (N, 2, 2), and False where no ray falls on the pixel.

        Newton's method with the analytic derivative; its last step is shorter than 1e-8 of the focal length.
        """
        return to_rays(points_px, self.K, self._dist, self.limit_r)

    @property
    def _dist(self) -> Floats | None:
        return self.dist if self.dist.any() else None

    def scaled(self, sx: float, sy: float) -> Lens:
        """The same lens on a picture whose sides are ``sx`` and ``sy`` times as long."""
        return Lens(np.diag([sx, sy, 1.0]) @ self.K, self.dist, self.limit_r)


def lens(K: ArrayLike, dist: Sequence[float] = ()) -> Lens:
    """A lens from OpenCV's camera matrix and 0, 4, 5 or 8 distortion coefficients; InputError otherwise."""
    matrix = np.asarray(K, dtype=np.float64)
    if len(dist) not in (0, 4, 5, 8):
        raise InputError(
            f"dist has {len(dist)} coefficients", remedy="give OpenCV's 4 (k1 k2 p1 p2), 5 (+ k3) or 8 (+ k4 k5 k6)"
        )
    coefficients = np.zeros(8)
    coefficients[: len(dist)] = dist
    return Lens(matrix, coefficients, _fold_radius(coefficients))


def to_pixels(rays: Floats, K: Floats, dist: Floats | None, limit_r: Floats | float) -> tuple[Floats, Bools]:
    """``Lens.to_pixels`` of one lens, or of a lens for each ray: K (N, 3, 3), dist (N, 8), limit_r (N,).

    dist: None where no lens has any.
    """
    ok = np.hypot(rays[:, 0], rays[:, 1]) < limit_r
    bent = np.where(ok[:, None], rays, 0.0)
    if dist is not None:
        bent, _ = _distort(bent, dist)
    x = K[..., 0, 0] * bent[:, 0] + K[..., 0, 1] * bent[:, 1] + K[..., 0, 2]
    y = K[..., 1, 0] * bent[:, 0] + K[..., 1, 1] * bent[:, 1] + K[..., 1, 2]
    return np.stack([x, y], axis=1), ok


def to_rays(
    points_px: Floats, K: Floats, dist: Floats | None, limit_r: Floats | float
) -> tuple[Floats, Floats, Bools]:
    """``Lens.to_rays`` of one lens, or of a lens for each point: K (N, 3, 3), dist (N, 8), limit_r (N,).

    dist: None where no lens has any. A point's ray does not depend on which other points come with it.
    """
    count = len(points_px)
    inverse = np.broadcast_to(_inverse_2x2(K[..., :2, :2].reshape(-1, 2, 2)), (count, 2, 2))
    known = finite(points_px)
    off = np.where(known[:, None], points_px, 0.0) - K[..., :2, 2]
    target = (inverse @ off[:, :, None])[:, :, 0]
    if dist is None:
        return target, inverse, known
    rays = _within(target, 0.9 * limit_r)
    unbend, miss = np.empty((count, 2, 2)), np.empty((count, 2))
    moving = np.arange(count)
    for _ in range(_NEWTON_STEPS):
        limit, curve = _rows(limit_r, moving), _rows(dist, moving, axes=2)
        bent, slope = _distort(rays[moving], curve)
        miss[moving], unbend[moving] = bent - target[moving], _inverse_2x2(slope)
        step = (unbend[moving] @ miss[moving][:, :, None])[:, :, 0]
        moved = _within(rays[moving] - step, 0.9999 * limit)
        change = np.abs(moved - rays[moving]).max(axis=1, initial=0.0)
        rays[moving] = moved
        moving = moving[change >= _SETTLED]
        if not len(moving):
            break
    # what remained before the last step: the step squares it
    ok = known & (np.abs(miss).max(axis=1, initial=0.0) < 10 * _SETTLED)
    return rays, unbend @ inverse, ok


def _rows(values: Floats | float, rows: NDArray[np.int64], axes: int = 1) -> Any:
    """The rows of what is given for each point; what holds for all as it is."""
    return values[rows] if isinstance(values, np.ndarray) and values.ndim == axes else values


def finite(rows: Floats) -> Bools:
    """Which rows of (N, M) hold finite numbers only, (N,)."""
    return np.asarray(np.isfinite(rows).all(axis=1), dtype=np.bool_)


def _distort(rays: Floats, dist: Floats) -> tuple[Floats, Floats]:
    """Bent rays (N, 2) and their derivative by the straight ones (N, 2, 2); dist: (8,), or (N, 8)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = np.moveaxis(dist, -1, 0)
    x, y = rays[:, 0], rays[:, 1]
    s = x * x + y * y
    upper = 1.0 + s * (k1 + s * (k2 + s * k3))
    lower = 1.0 + s * (k4 + s * (k5 + s * k6))
    radial = upper / lower
    # d radial / d s
    steep = (k1 + s * (2 * k2 + s * 3 * k3) - radial * (k4 + s * (2 * k5 + s * 3 * k6))) / lower
    bent = np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x), y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y], axis=1
    )
    slope = np.empty((len(rays), 2, 2))
    slope[:, 0, 0] = radial + 2 * x * x * steep + 2 * p1 * y + 6 * p2 * x
    slope[:, 0, 1] = 2 * x * y * steep + 2 * p1 * x + 2 * p2 * y
    slope[:, 1, 0] = slope[:, 0, 1]
    slope[:, 1, 1] = radial + 2 * y * y * steep + 6 * p1 * y + 2 * p2 * x
    return bent, slope


def _fold_radius(dist: Floats) -> float:
    """The smallest radius at which the radial model stops growing or has a pole."""
    k1, k2, _, _, k3, k4, k5, k6 = dist
    upper, lower = np.polynomial.Polynomial([1.0, k1, k2, k3]), np.polynomial.Polynomial([1.0, k4, k5, k6])
    s = np.polynomial.Polynomial([0.0, 1.0])
    # d/dr of r upper(s)/lower(s), s = r^2, times lower^2
    growth = (upper + 2 * s * upper.deriv()) * lower - 2 * s * upper * lower.deriv()
    roots = np.concatenate([_roots(growth), _roots(lower)])
    real = roots.real[(np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots.real))) & (roots.real > 1e-9)]
    return float(np.sqrt(real.min())) if real.size else float("inf")


def _roots(polynomial: np.polynomial.Polynomial) -> NDArray[np.complex128]:
    """Its roots, but for those that vanishing leading coefficients put far beyond any angle of view."""
    coefficients = polynomial.coef
    weight = np.abs(coefficients) * 1e4 ** np.arange(len(coefficients))
    degree = int(np.flatnonzero(weight > 1e-9).max(initial=0))
    return np.asarray(np.polynomial.Polynomial(coefficients[: degree + 1]).roots(), dtype=np.complex128)


def _within(rays: Floats, radius: Floats | float) -> Floats:
    """Rays shortened to at most ``radius``, one or each its own, (N,)."""
    length = np.hypot(rays[:, 0], rays[:, 1])
    shrink = np.minimum(1.0, radius / np.maximum(length, 1e-300))
    return rays * shrink[:, None]


def _inverse_2x2(m: Floats) -> Floats:
    """Inverse of each (2, 2) of (N, 2, 2); a singular one gives large finite numbers."""
    det = m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]
    det = np.where(np.abs(det) < 1e-12, 1e-12, det)
    adjugate = np.stack([m[:, 1, 1], -m[:, 0, 1], -m[:, 1, 0], m[:, 0, 0]], axis=1).reshape(-1, 2, 2)
    inverse: Floats = adjugate / det[:, None, None]
    return inverse
