"""Small changes of a calibration, as numbers: what a fit leaves open, and what a refinement may turn.

A pinhole camera has seven: a turn about its own axes (rad), a shift of its place (m), the logarithm of its focal
length. A homography has eight: the entries of D but the last, where a point (u, v, 1) of the picture, in half widths
from its middle, moves to (I + D) (u, v, 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoton.geometry import FloorView, floor_view
from spoton.site import Calibration, Homography, Matrix3, Pinhole

Floats = NDArray[np.float64]

POSE_SIGMA = (0.02, 0.02, 0.02, 0.3, 0.3, 0.3, 0.03)
"""How far off a usual pinhole calibration is: about a degree, three decimetres, three hundredths of focal length."""
PLANE_SIGMA = (0.03,) * 8
"""The same of a homography, in half widths of the picture."""

_STEP = 1e-5


def prior_sigma(calibration: Calibration) -> Floats:
    """The standard deviation of each number, before anything is known: (7,) or (8,)."""
    return np.array(POSE_SIGMA if isinstance(calibration, Pinhole) else PLANE_SIGMA)


def moved(calibration: Calibration, step: Floats, size_px: tuple[int, int]) -> Pinhole | Homography:
    """The calibration after a small change ``step``, (7,) or (8,); point pairs become their homography.

    size_px: width and height of the pictures that the calibration speaks of. Raises InputError where ``floor_view``
    does.
    """
    if isinstance(calibration, Pinhole):
        return _moved_pinhole(calibration, step)
    view = floor_view(calibration, size_px)
    half = size_px[0] / 2.0
    to_halves = np.array([[1 / half, 0, -1.0], [0, 1 / half, -size_px[1] / (2 * half)], [0, 0, 1.0]])
    change = np.eye(3) + np.append(step, 0.0).reshape(3, 3)
    plane_from_floor = np.linalg.inv(to_halves) @ change @ to_halves @ view.plane_from_floor
    H = np.linalg.inv(plane_from_floor)
    return Homography(matrix3(H / np.linalg.norm(H)))


def _moved_pinhole(calibration: Pinhole, step: Floats) -> Pinhole:
    R, t, K = np.array(calibration.R), np.array(calibration.t), np.array(calibration.K)
    place = -R.T @ t + step[3:6]
    turned = rotation(step[:3]) @ R
    x, y, z = (-turned @ place).tolist()
    K[[0, 1], [0, 1]] *= np.exp(step[6])
    return Pinhole(matrix3(K), matrix3(turned), (x, y, z), calibration.dist)


def rotation(turn_rad: Floats) -> Floats:
    """The rotation (3, 3) by a vector (3,) along its axis, as long as its angle (Rodrigues)."""
    angle = float(np.linalg.norm(turn_rad))
    x, y, z = turn_rad
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-12:
        return np.asarray(np.eye(3) + cross, dtype=np.float64)
    turn: Floats = np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross
    return turn


def matrix3(rows: ArrayLike) -> Matrix3:
    """An array (3, 3) as the site holds it."""
    a, b, c = (tuple(map(float, row)) for row in np.asarray(rows, dtype=np.float64).reshape(3, 3))
    return (a[0], a[1], a[2]), (b[0], b[1], b[2]), (c[0], c[1], c[2])


def _slope(calibration: Calibration, size_px: tuple[int, int], see: object, points: Floats) -> Floats:
    """d of what ``see`` (the name of a view's method) gives for points (N, 2), by step: (N, 2, P)."""
    count = len(prior_sigma(calibration))
    columns = []
    for k in range(count):
        sides = []
        for sign in (1.0, -1.0):
            step = np.zeros(count)
            step[k] = sign * _STEP
            view = floor_view(moved(calibration, step, size_px), size_px)
            sides.append(view.to_floor(points).floor_m if see == "floor" else view.to_image(points)[0])
        columns.append((sides[0] - sides[1]) / (2 * _STEP))
    return np.stack(columns, axis=2)


def floor_slope(calibration: Calibration, size_px: tuple[int, int], points_px: Floats) -> Floats:
    """How the places (m) of pixels (N, 2) follow a small change of the calibration: (N, 2, P), central differences."""
    return _slope(calibration, size_px, "floor", points_px)


def image_slope(calibration: Calibration, size_px: tuple[int, int], floor_m: Floats) -> Floats:
    """How the pixels of places (N, 2) follow a small change of the calibration: (N, 2, P), central differences."""
    return _slope(calibration, size_px, "image", floor_m)


def spread_of(
    calibration: Calibration, size_px: tuple[int, int], floor_m: Floats, sigma_px: float, *, focal: bool
) -> Floats:
    """What known points (N, 2), clicked to ``sigma_px`` each way, leave open of a calibration fitted to them: (P, P).

    The inverse of the normal matrix (Hartley and Zisserman, Multiple View Geometry, 5.2). focal: whether the focal
    length was fitted too; what was not fitted counts as known.
    """
    slope = image_slope(calibration, size_px, floor_m)
    free = slope.shape[2] if focal or not isinstance(calibration, Pinhole) else 6
    normal = np.einsum("nip,niq->pq", slope[:, :, :free], slope[:, :, :free]) / sigma_px**2
    spread = np.zeros((slope.shape[2], slope.shape[2]))
    spread[:free, :free] = np.linalg.pinv(normal, hermitian=True)
    return spread


def floor_covariance(
    view: FloorView,
    calibration: Calibration,
    size_px: tuple[int, int],
    points_px: Floats,
    sigma_px: float,
    spread: Floats | None,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Places (N, 2), their covariance (N, 2, 2) m^2 and whether they are on the floor (N,).

    A pixel is taken to be known to ``sigma_px`` each way; ``spread`` (P, P) is what the calibration itself leaves open.
    """
    there = view.to_floor(points_px, sigma_px)
    cov = there.cov_m2
    if spread is not None and there.valid.any():
        slope = floor_slope(calibration, size_px, points_px[there.valid])
        cov = cov.copy()
        cov[there.valid] += np.einsum("nip,pq,njq->nij", slope, spread, slope)
    return there.floor_m, cov, there.valid


def ellipse(cov_m2: Floats, probability: float = 0.95) -> tuple[float, float, float]:
    """Half axes (m), the longer first, and the angle (rad) of the longer from x, that hold a place so surely.

    cov_m2: (2, 2). Of a plane normal distribution the part within distance k of the centre is 1 - exp(-k^2 / 2).
    """
    reach = float(np.sqrt(-2.0 * np.log1p(-probability)))
    lengths, axes = np.linalg.eigh(cov_m2)
    short, long = np.sqrt(np.maximum(lengths, 0.0)) * reach
    return float(long), float(short), float(np.arctan2(axes[1, 1], axes[0, 1]))
