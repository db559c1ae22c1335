"""From boxes in a picture to people on the floor in metres, and back.

Boxes are (left, top, width, height) in pixels; the floor is the plane z = 0 in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoton import homography
from spoton.errors import InputError
from spoton.lens import Bools, Floats, Lens, finite, lens
from spoton.site import Calibration, Homography, Pinhole, PointPairs

HORIZON_MARGIN_PX = 2.0
"""A point nearer to the horizon than this has no place on the floor."""

_UNKNOWN_VARIANCE_M2 = 1e8
_USUAL_SIZE_PX = (1920, 1080)


class FloorPoints(NamedTuple):
    """Points on the floor. Rows that are not valid hold place (0, 0) and a variance of (10 km)^2.

    floor_m: (N, 2). cov_m2: (N, 2, 2), symmetric, positive semi-definite. valid: (N,).
    """

    floor_m: Floats
    cov_m2: Floats
    valid: Bools


class Residuals(NamedTuple):
    """How far a calibration misses known points: (N,) pixels in the picture and (N,) metres on the floor.

    Infinite where a point has no place on the other side.
    """

    image_px: Floats
    floor_m: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FloorView:
    """How one camera sees the floor.

    size_px: width, height of the pictures it speaks of, where known. lens: None for a homography, whose plane is the
    picture itself; otherwise the plane is that of rays at depth 1. floor_from_plane, plane_from_floor: (3, 3), inverse
    to each other, with positive weight in front of the camera. rise: what one metre of height adds to homogeneous
    plane coordinates, (3,), None where it cannot be known. position_m: the camera's place, z up, None likewise.
    """

    size_px: tuple[int, int] | None
    lens: Lens | None
    floor_from_plane: Floats
    plane_from_floor: Floats
    rise: Floats | None
    position_m: tuple[float, float, float] | None

    def to_floor(self, points_px: NDArray[np.floating], sigma_px: NDArray[np.floating] | float = 1.0) -> FloorPoints:
        """Pixels (N, 2) with standard deviation ``sigma_px`` (scalar, (2,) or (N, 2)) to the floor.

        The covariance is propagated to first order with the analytic derivative. Not valid: on or above the horizon,
        behind the camera, or outside what the lens model covers.
        """
        points = np.asarray(points_px, dtype=np.float64).reshape(-1, 2)
        sigma = np.broadcast_to(np.asarray(sigma_px, dtype=np.float64), points.shape)
        if self.lens is None:
            ok = finite(points)
            plane, by_pixel = np.where(ok[:, None], points, 0.0), np.broadcast_to(np.eye(2), (len(points), 2, 2))
        else:
            plane, by_pixel, ok = self.lens.to_rays(points)
            plane = np.where(ok[:, None], plane, 0.0)
        G = self.floor_from_plane
        floor, w = homography.apply(G, plane)
        fall = np.einsum("j,njk->nk", G[2, :2], by_pixel)
        valid = ok & (w > HORIZON_MARGIN_PX * np.hypot(fall[:, 0], fall[:, 1])) & (w > 0)
        safe = np.where(valid, w, 1.0)
        by_plane = (G[None, :2, :2] - floor[:, :, None] * G[2, :2]) / safe[:, None, None]
        spread = by_plane @ by_pixel * sigma[:, None, :]
        cov = spread @ spread.transpose(0, 2, 1)
        valid &= finite(floor) & finite(cov.reshape(-1, 4))
        return FloorPoints(
            np.where(valid[:, None], floor, 0.0),
            np.where(valid[:, None, None], cov, np.eye(2) * _UNKNOWN_VARIANCE_M2),
            valid,
        )

    def to_image(self, floor_m: NDArray[np.floating], height_m: float = 0.0) -> tuple[Floats, Bools]:
        """Floor points (N, 2), lifted by ``height_m``, to pixels (N, 2), which may lie outside the picture.

        False, with pixel (0, 0), behind the camera, outside what the lens model covers, and for a height where the
        camera's pose is not known.
        """
        floor = np.asarray(floor_m, dtype=np.float64).reshape(-1, 2)
        there = floor @ self.plane_from_floor[:, :2].T + self.plane_from_floor[:, 2]
        if height_m != 0.0:
            if self.rise is None:
                return np.zeros_like(floor), np.zeros(len(floor), dtype=np.bool_)
            there = there + height_m * self.rise
        depth = there[:, 2]
        front = (depth > 1e-9 * np.linalg.norm(self.plane_from_floor)) & finite(there)
        plane = np.where(front[:, None], there[:, :2] / np.where(front, depth, 1.0)[:, None], 0.0)
        if self.lens is None:
            return plane, front
        pixels, ok = self.lens.to_pixels(plane)
        valid = front & ok
        return np.where(valid[:, None], pixels, 0.0), valid

    def standing_px(self, foot_px: NDArray[np.floating], height_m: float = 1.7) -> Floats:
        """How a person ``height_m`` tall with feet at ``foot_px`` (N, 2) appears, (N, 3), in pixels.

        How far right of the feet the head is, how far above, and how wide ``height_m`` is at half the height: people
        lean away from the middle of the picture, and look short and wide from above. nan where the foot has no place
        on the floor or the camera's pose is not known.
        """
        foot = np.asarray(foot_px, dtype=np.float64).reshape(-1, 2)
        on_floor = self.to_floor(foot)
        if self.position_m is None:
            return np.full((len(foot), 3), np.nan)
        head, seen = self.to_image(on_floor.floor_m, height_m)
        away = on_floor.floor_m - np.array(self.position_m[:2])
        across = np.stack([-away[:, 1], away[:, 0]], axis=1) / np.maximum(np.linalg.norm(away, axis=1), 1e-9)[:, None]
        sides = [self.to_image(on_floor.floor_m + side * across, height_m / 2.0) for side in (-0.25, 0.25)]
        wide = 2.0 * height_m * np.linalg.norm(sides[1][0] - sides[0][0], axis=1)
        valid = on_floor.valid & seen & sides[0][1] & sides[1][1]
        appears = np.stack([head[:, 0] - foot[:, 0], np.abs(foot[:, 1] - head[:, 1]), wide], axis=1)
        return np.where(valid[:, None], appears, np.nan)

    def residuals(self, image_px: NDArray[np.floating], floor_m: NDArray[np.floating]) -> Residuals:
        """How far known points, (N, 2) pixels and (N, 2) metres, fall from where this view puts them."""
        image, floor = np.asarray(image_px, dtype=np.float64), np.asarray(floor_m, dtype=np.float64)
        there, seen = self.to_image(floor)
        here = self.to_floor(image)
        return Residuals(
            np.where(seen, np.linalg.norm(there - image, axis=1), np.inf),
            np.where(here.valid, np.linalg.norm(here.floor_m - floor, axis=1), np.inf),
        )

    def scaled(self, size_px: tuple[int, int]) -> FloorView:
        """The same camera with pictures of another size. A view without a size takes this one, unscaled."""
        if self.size_px is None:
            return _with_size(self, size_px)
        if self.size_px == size_px:
            return self
        sx, sy = size_px[0] / self.size_px[0], size_px[1] / self.size_px[1]
        if self.lens is not None:
            straight = self.lens.scaled(sx, sy)
            return FloorView(
                size_px, straight, self.floor_from_plane, self.plane_from_floor, self.rise, self.position_m
            )
        stretch, shrink = np.diag([sx, sy, 1.0]), np.diag([1.0 / sx, 1.0 / sy, 1.0])
        rise = None if self.rise is None else stretch @ self.rise
        return FloorView(
            size_px, None, self.floor_from_plane @ shrink, stretch @ self.plane_from_floor, rise, self.position_m
        )


def floor_view(calibration: Calibration, size_px: tuple[int, int] | None = None) -> FloorView:
    """How a calibrated camera sees the floor. size_px: the picture size that the calibration was made at.

    Raises InputError when the calibration fixes no floor: degenerate points, a singular homography, a camera in the
    plane of the floor.
    """
    if isinstance(calibration, Pinhole):
        return _pinhole_view(calibration, size_px)
    if isinstance(calibration, PointPairs):
        return _plane_view(homography.fit(calibration.image_px, calibration.floor_m), size_px)
    return _plane_view(_facing(calibration, size_px or _USUAL_SIZE_PX), size_px)


def _pinhole_view(calibration: Pinhole, size_px: tuple[int, int] | None) -> FloorView:
    R, t = np.array(calibration.R, dtype=np.float64), np.array(calibration.t, dtype=np.float64)
    position = -R.T @ t
    if abs(position[2]) < 1e-6:
        raise InputError(
            f"the camera lies in the floor (z = {position[2]:.3g} m)",
            remedy="give R and t from world to camera in metres, with the floor at z = 0",
        )
    # where the world's z points down, people still stand away from the floor on the camera's side
    up = 1.0 if position[2] > 0 else -1.0
    plane_from_floor = np.column_stack([R[:, 0], R[:, 1], t])
    return FloorView(
        size_px,
        lens(calibration.K, calibration.dist),
        _inverse(plane_from_floor),
        plane_from_floor,
        up * R[:, 2],
        (float(position[0]), float(position[1]), float(abs(position[2]))),
    )


def _facing(calibration: Homography, size_px: tuple[int, int]) -> Floats:
    """H with the sign that puts the bottom centre of the picture in front of the camera."""
    H = np.array(calibration.H, dtype=np.float64)
    if not np.isfinite(H).all() or np.linalg.cond(H) > 1e14:
        raise InputError("the homography is singular", remedy="give H from pixels to metres, invertible")
    _, w = homography.apply(H, np.array([[size_px[0] / 2.0, float(size_px[1])]]))
    return H if w[0] > 0 else -H


def _plane_view(H: Floats, size_px: tuple[int, int] | None) -> FloorView:
    plain = FloorView(None, None, H, _inverse(H), None, None)
    return plain if size_px is None else _with_size(plain, size_px)


def _with_size(view: FloorView, size_px: tuple[int, int]) -> FloorView:
    """The view, its picture size now known; a homography may learn its pose from it."""
    rise, position = view.rise, view.position_m
    if view.lens is None:
        pose = homography.rise(view.plane_from_floor, size_px)
        if pose is not None:
            rise, place = pose
            position = (float(place[0]), float(place[1]), float(place[2]))
    return FloorView(size_px, view.lens, view.floor_from_plane, view.plane_from_floor, rise, position)


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def foot_points(boxes_px: NDArray[np.floating]) -> Floats:
    """Where people stand: the middle of the lower edge of each box, (N, 4) to (N, 2)."""
    boxes = np.asarray(boxes_px, dtype=np.float64).reshape(-1, 4)
    return np.column_stack([boxes[:, 0] + boxes[:, 2] / 2.0, boxes[:, 1] + boxes[:, 3]])


def iou(a_px: NDArray[np.floating], b_px: NDArray[np.floating]) -> Floats:
    """Intersection over union of each pair of boxes, (N, 4) and (M, 4) to (N, M) in [0, 1]; 0 for empty boxes."""
    shared, area_a, area_b = _overlap(a_px, b_px)
    union = area_a[:, None] + area_b[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def ioa(a_px: NDArray[np.floating], b_px: NDArray[np.floating]) -> Floats:
    """The part of each box of a that each box of b covers, (N, 4) and (M, 4) to (N, M) in [0, 1]."""
    shared, area_a, _ = _overlap(a_px, b_px)
    whole = np.broadcast_to(area_a[:, None], shared.shape)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def covered(a_px: Floats, b_px: Floats) -> Floats:
    """The part of each box of a that the box of b in the same row covers, (N, 4) both, to (N,) in [0, 1]."""
    near = np.maximum(a_px[:, :2], b_px[:, :2])
    sides = np.maximum(np.minimum(a_px[:, :2] + a_px[:, 2:], b_px[:, :2] + b_px[:, 2:]) - near, 0.0)
    shared, whole = sides[:, 0] * sides[:, 1], np.maximum(a_px[:, 2], 0.0) * np.maximum(a_px[:, 3], 0.0)
    share: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return share


def _overlap(a_px: NDArray[np.floating], b_px: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    a, b = np.asarray(a_px, dtype=np.float64).reshape(-1, 4), np.asarray(b_px, dtype=np.float64).reshape(-1, 4)
    near = np.maximum(a[:, None, :2], b[None, :, :2])
    far = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    sides, of_a, of_b = (np.maximum(each, 0.0) for each in (far - near, a[:, 2:], b[:, 2:]))
    return sides[..., 0] * sides[..., 1], of_a[:, 0] * of_a[:, 1], of_b[:, 0] * of_b[:, 1]


def clip(boxes_px: NDArray[np.floating], size_px: tuple[int, int]) -> Floats:
    """The part of each box (N, 4) that lies in the picture; a box outside it keeps no area."""
    boxes = np.asarray(boxes_px, dtype=np.float64).reshape(-1, 4)
    size = np.array(size_px, dtype=np.float64)
    near = np.clip(boxes[:, :2], 0.0, size)
    far = np.clip(boxes[:, :2] + boxes[:, 2:], 0.0, size)
    return np.column_stack([near, np.maximum(far - near, 0.0)])
