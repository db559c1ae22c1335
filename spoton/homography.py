"""Homographies between a picture and the floor: fitting, applying, and the camera pose that one implies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoton.errors import InputError

Floats = NDArray[np.float64]

_LINE_RATIO = 1e-4
_RANK_RATIO = 1e-7
_REFINE_STEPS = 40


def apply(H: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Map points (N, 2) by H; gives (N, 2) and the homogeneous weight (N,). Weight 0 gives (0, 0)."""
    mapped = points @ H[:, :2].T + H[:, 2]
    w = mapped[:, 2]
    safe = np.where(np.abs(w) < 1e-300, 1.0, w)
    return np.where(np.abs(w)[:, None] < 1e-300, 0.0, mapped[:, :2] / safe[:, None]), w


def fit(image_px: ArrayLike, floor_m: ArrayLike) -> Floats:
    """H (3, 3) that takes pixels to floor metres, from at least four pairs, with positive weight at every pair.

    Normalised DLT (Hartley and Zisserman, Multiple View Geometry, algorithm 4.2), then Levenberg-Marquardt on the
    distance in pixels, since clicks in the picture carry the error. Raises InputError, saying which points are at
    fault, when the pairs do not fix one homography.
    """
    image, floor = np.asarray(image_px, dtype=np.float64), np.asarray(floor_m, dtype=np.float64)
    _check_pairs(image, floor)
    A, B = _normaliser(floor), _normaliser(image)
    source, target = apply(A, floor)[0], apply(B, image)[0]
    G, trust = _dlt(source, target)
    if trust < _RANK_RATIO or abs(np.linalg.det(G)) < _RANK_RATIO:
        raise InputError(
            f"the {len(image)} point pairs do not fix the floor: too many of them lie on one line",
            remedy="give four or more pairs of which no three lie on one line, spread over the floor",
        )
    if len(image) > 4:
        G = _refine(G, source, target)
    H: Floats = np.linalg.inv(np.linalg.inv(B) @ G @ A).astype(np.float64)
    _, w = apply(H, image)
    if not (np.all(w > 0) or np.all(w < 0)):
        raise InputError(
            "the point pairs contradict each other: the horizon would run between them",
            remedy="check that image and floor points are listed in the same order",
        )
    signed: Floats = H * np.sign(w[0]) / np.linalg.norm(H)
    return signed


def _check_pairs(image: Floats, floor: Floats) -> None:
    if image.ndim != 2 or image.shape[1:] != (2,) or image.shape != floor.shape:
        raise InputError(
            f"image points of shape {image.shape} beside floor points of shape {floor.shape}",
            remedy="give as many floor points as image points, two numbers each",
        )
    if len(image) < 4:
        raise InputError(f"{len(image)} point pairs are too few", remedy="give at least four")
    for what, points in (("image", image), ("floor", floor)):
        if not np.isfinite(points).all():
            raise InputError(f"an {what} point is not finite", remedy="give finite numbers")
        distinct = len(np.unique(points, axis=0))
        if distinct < 4:
            raise InputError(
                f"only {distinct} of the {len(points)} {what} points are distinct", remedy="give four different ones"
            )
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] < _LINE_RATIO * spread[0]:
            raise InputError(f"all {what} points lie on one line", remedy="add points away from that line")


def _normaliser(points: Floats) -> Floats:
    """The similarity that moves points to mean 0 and mean distance sqrt(2)."""
    centre = points.mean(axis=0)
    scale = np.sqrt(2.0) / np.mean(np.linalg.norm(points - centre, axis=1))
    return np.array([[scale, 0.0, -scale * centre[0]], [0.0, scale, -scale * centre[1]], [0.0, 0.0, 1.0]])


def _dlt(source: Floats, target: Floats) -> tuple[Floats, float]:
    """The direct linear transform from source to target, of norm 1, and how well the pairs fix it, 0 to 1."""
    n = len(source)
    ones = np.column_stack([source, np.ones(n)])
    rows = np.zeros((2 * n, 9))
    rows[:n, 0:3], rows[:n, 6:9] = ones, -target[:, :1] * ones
    rows[n:, 3:6], rows[n:, 6:9] = ones, -target[:, 1:] * ones
    _, strength, right = np.linalg.svd(rows)
    return right[8].reshape(3, 3), float(strength[7] / strength[0])


def _refine(G: Floats, source: Floats, target: Floats) -> Floats:
    """Levenberg-Marquardt on the distances in the target, starting from G."""
    ones = np.column_stack([source, np.ones(len(source))])
    cost, damping = _cost(G, source, target), 1e-3
    for _ in range(_REFINE_STEPS):
        mapped, w = apply(G, source)
        slope = np.zeros((2 * len(source), 9))
        slope[0::2, 0:3] = slope[1::2, 3:6] = ones / w[:, None]
        slope[0::2, 6:9] = -mapped[:, :1] * ones / w[:, None]
        slope[1::2, 6:9] = -mapped[:, 1:] * ones / w[:, None]
        normal, pull = slope.T @ slope, slope.T @ (target - mapped).ravel()
        # the scale of G is free: hold it with one more equation
        flat = G.ravel()
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12) + np.outer(flat, flat), pull)
        moved = (flat + step).reshape(3, 3)
        moved /= np.linalg.norm(moved)
        better = _cost(moved, source, target)
        if better <= cost:
            done = cost - better <= 1e-15 * (1.0 + cost) and bool(np.abs(step).max() < 1e-12)
            G, cost, damping = moved, better, max(damping / 10, 1e-12)
            if done:
                break
        else:
            damping *= 10
            if damping > 1e8:
                break
    return G


def _cost(G: Floats, source: Floats, target: Floats) -> float:
    return float(np.sum((apply(G, source)[0] - target) ** 2))


def rise(image_from_floor: Floats, size_px: tuple[int, int]) -> tuple[Floats, Floats] | None:
    """What one metre of height adds to homogeneous pixels (3,), and the camera's position (3,), z up.

    Zhang's constraints (A flexible new technique for camera calibration, 2000) for one plane, with square pixels and
    the principal point in the middle of the picture, give the focal length. None when they do not: a camera that
    looks straight down, or a homography that no such camera has.
    """
    half = np.array([size_px[0] / 2.0, size_px[1] / 2.0])
    centred = image_from_floor.copy()
    centred[:2] -= half[:, None] * image_from_floor[2]
    a, b = centred[:, 0], centred[:, 1]
    across = np.array([a[:2] @ b[:2], (a[:2] @ a[:2] - b[:2] @ b[:2]) / 2.0])
    depth = np.array([a[2] * b[2], (a[2] ** 2 - b[2] ** 2) / 2.0])
    if not across.any():
        return None
    inverse_square = -float(across @ depth) / float(across @ across)
    longest = float(max(size_px))
    if not (1.0 / (10.0 * longest) ** 2 < inverse_square < 1.0 / (0.2 * longest) ** 2):
        return None
    focal = 1.0 / np.sqrt(inverse_square)
    pose = np.diag([1.0 / focal, 1.0 / focal, 1.0]) @ centred
    scale = (np.linalg.norm(pose[:, 0]) + np.linalg.norm(pose[:, 1])) / 2.0
    u, _, vt = np.linalg.svd(pose[:, :2] / scale, full_matrices=False)
    axes = u @ vt
    normal = np.cross(axes[:, 0], axes[:, 1])
    position = -np.column_stack([axes, normal]).T @ (pose[:, 2] / scale)
    up = 1.0 if position[2] >= 0 else -1.0
    lifted = np.diag([focal, focal, 1.0]) @ (up * scale * normal)
    lifted[:2] += half * lifted[2]
    return lifted, position * np.array([1.0, 1.0, up])
