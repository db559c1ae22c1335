"""Where a person's box says that they stand, how tall they are, and how surely: place, height and their covariance.

A box tells three things about an upright person: the middle of its lower edge is a place on the floor, and its upper
edge over that place is a height. The errors of all three belong together: a foot taken too low puts its person too near
and makes them too small. So once a person's height is known, every later box is held against it, and a place that fits
the height wins over one that does not. Where the feet are hidden, by the picture's edge or someone in front, the place
follows from the head alone, at a height that stays open. A box that is too short for no such reason may show somebody
behind a thing, or somebody who crouches: it speaks for all places between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.geometry import HORIZON_MARGIN_PX, FloorView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

HEAD_M = 1.7
"""Usual height of a standing person."""
HEIGHT_SIGMA_M = 0.12
"""Spread of people's heights."""

_FOOT_NOISE = 0.05
_HEAD_NOISE = 0.04
_SIDE_NOISE = 0.03
_PIXEL = 1.0
_CALIBRATION_M = 0.07
_POSTURE_M = 0.05
_OPEN_HEIGHT_M = 0.3
_EDGE_PX = 2.0
_HIDDEN_BELOW = 0.72
_WIDEST = 0.65
_SLIMNESS = 0.35
_LOWER = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """One camera at one picture size. anchor_m: a place in the midst of what it sees of the floor."""

    floor: FloorView
    size_px: tuple[int, int]
    anchor_m: tuple[float, float]

    @property
    def upright(self) -> bool:
        """Whether heights can be told: the pose is known, and the camera looks down on people."""
        place = self.floor.position_m
        return self.floor.rise is not None and place is not None and place[2] > HEAD_M + 0.1


def camera_view(floor: FloorView, size_px: tuple[int, int]) -> CameraView:
    """How a camera whose floor view is for pictures of that size sees people."""
    width, height = size_px
    below = floor.to_floor(np.array([[width / 2, 0.75 * height], [width / 2, height]]))
    x_m, y_m = below.floor_m[int(np.argmax(below.valid))].tolist()
    return CameraView(floor, size_px, (x_m, y_m))


def stand(boxes_px: Floats, camera: CameraView) -> tuple[Floats, Floats, Bools]:
    """Boxes (N, 4) to x, y and height (N, 3) metres, their covariance (N, 3, 3) and whether they have a place (N,)."""
    left, top, width, height = boxes_px.T
    middle, foot = left + width / 2.0, top + height
    sigma = np.stack([
        _SIDE_NOISE * height + _PIXEL + np.where(width > _WIDEST * height, 0.25 * width, 0.0),
        _FOOT_NOISE * height + _PIXEL,
        _HEAD_NOISE * height + _PIXEL,
    ])  # fmt: skip
    cut = (left < _EDGE_PX) | (left + width > camera.size_px[0] - _EDGE_PX)
    sigma[0] += np.where(cut, 0.25 * width, 0.0)
    sigma[2] = np.where(top < _EDGE_PX, 0.5 * height, sigma[2])
    place, slope, valid = _by_foot(middle, foot, top, camera)
    cov = _spread(slope, sigma)
    if camera.upright and len(boxes_px):
        _without_feet(boxes_px, sigma, place, cov, valid, camera)
        cov[:, 2, 2] += _POSTURE_M**2
    cov[:, [0, 1], [0, 1]] += _CALIBRATION_M**2
    return place, cov, valid & np.isfinite(place).all(axis=1) & np.isfinite(cov).all(axis=(1, 2))


def _without_feet(
    boxes_px: Floats, sigma: Floats, place: Floats, cov: Floats, valid: Bools, camera: CameraView
) -> None:
    """Put boxes whose feet do not show, or may not, in place by their heads; ``place``, ``cov``, ``valid`` change."""
    left, top, width, height = boxes_px.T
    short = (place[:, 2] < _HIDDEN_BELOW * HEAD_M) & (width < height)
    cut = top + height > camera.size_px[1] - _EDGE_PX
    rows = np.flatnonzero((short | cut | ~valid) & (top > _EDGE_PX))
    if not len(rows):
        return
    at, slope, seen = _by_head((left + width / 2.0)[rows], top[rows], camera)
    opened = np.stack([sigma[0, rows], sigma[2, rows], np.full(len(rows), _OPEN_HEIGHT_M)])
    at, spread = at[seen], _spread(slope, opened)[seen]
    rows = rows[seen]
    either = np.flatnonzero(valid[rows] & ~cut[rows] & ~_feet_covered(boxes_px, rows))
    low, low_cov = place[rows[either]], cov[rows[either]]
    low[:, 2], low_cov[:, :, 2], low_cov[:, 2, :] = HEAD_M, 0.0, 0.0
    low_cov[:, 2, 2] = _OPEN_HEIGHT_M**2
    at[either], spread[either] = _mixed(at[either], spread[either], low, low_cov)
    place[rows], cov[rows], valid[rows] = at, spread, True


def _feet_covered(boxes_px: Floats, rows: Ints) -> Bools:
    """Which of the boxes ``rows`` end, in their middle half, inside a box that reaches lower: someone stands before."""
    left, top, width, height = boxes_px.T
    near, far, low = left[rows] + 0.25 * width[rows], left[rows] + 0.75 * width[rows], top[rows] + height[rows]
    beside = (left < far[:, None]) & (left + width > near[:, None]) & (top < low[:, None])
    covered: Bools = (beside & (top + height > (low + _LOWER * height[rows])[:, None])).any(axis=1)
    return covered


def _mixed(one: Floats, one_cov: Floats, other: Floats, other_cov: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of places that are as likely the one as the other: hidden feet, or someone who crouches."""
    apart = one - other
    return 0.5 * (one + other), 0.5 * (one_cov + other_cov) + 0.25 * apart[:, :, None] * apart[:, None, :]


def _spread(slope: Floats, sigma: Floats) -> Floats:
    """Covariance (N, 3, 3) from derivatives (N, 3, k) and standard deviations (k, N)."""
    scaled = slope * sigma.T[:, None, :]
    return scaled @ scaled.transpose(0, 2, 1)


def _by_foot(middle: Floats, foot: Floats, top: Floats, camera: CameraView) -> tuple[Floats, Floats, Bools]:
    """Place and height (N, 3) with their derivatives by middle, foot and top (N, 3, 3)."""
    floor, by_foot, _, valid = _at_height(np.column_stack([middle, foot]), 0.0, camera.floor)
    place, slope = np.empty((len(middle), 3)), np.zeros((len(middle), 3, 3))
    place[:, :2], slope[:, :2, :2] = floor, by_foot
    if not camera.upright:
        place[:, 2], slope[:, 2, 2] = HEAD_M, _OPEN_HEIGHT_M / (_HEAD_NOISE * (foot - top) + _PIXEL)
        return place, slope, valid
    view = camera.floor
    assert view.rise is not None
    rays, by_pixel, seen = _rays(np.column_stack([middle, top]), view)
    v, up = rays[:, 1], view.rise
    there = floor @ view.plane_from_floor[:, :2].T + view.plane_from_floor[:, 2]
    down = up[1] - v * up[2]
    down = np.where(np.abs(down) < 1e-12, 1e-12, down)
    height = (v * there[:, 2] - there[:, 1]) / down
    by_place = (v[:, None] * view.plane_from_floor[2, :2] - view.plane_from_floor[1, :2]) / down[:, None]
    by_row = (there[:, 2] + height * up[2]) / down
    place[:, 2] = height
    slope[:, 2, :2] = (by_place[:, None, :] @ by_foot)[:, 0]
    slope[:, 2, 0] += by_row * by_pixel[:, 1, 0]
    slope[:, 2, 2] = by_row * by_pixel[:, 1, 1]
    if not seen.all():
        blind = np.flatnonzero(~seen)
        place[blind, 2], slope[blind, 2] = HEAD_M, [0.0, 0.0, 1.0]
    return place, slope, valid


def _by_head(middle: Floats, top: Floats, camera: CameraView) -> tuple[Floats, Floats, Bools]:
    """Place under the head and height (N, 3), with derivatives by middle, top and height (N, 3, 3)."""
    floor, by_head, by_height, valid = _at_height(np.column_stack([middle, top]), HEAD_M, camera.floor)
    slope = np.zeros((len(middle), 3, 3))
    slope[:, :2, :2], slope[:, :2, 2], slope[:, 2, 2] = by_head, by_height, 1.0
    return np.column_stack([floor, np.full(len(middle), HEAD_M)]), slope, valid


def _rays(points_px: Floats, view: FloorView) -> tuple[Floats, Floats, Bools]:
    """Pixels (N, 2) in the plane that the view speaks of, with the derivative (N, 2, 2), and whether they are there."""
    if view.lens is not None:
        return view.lens.to_rays(points_px)
    count = len(points_px)
    return points_px, np.broadcast_to(np.eye(2), (count, 2, 2)), np.ones(count, dtype=np.bool_)


def _at_height(points_px: Floats, height_m: float, view: FloorView) -> tuple[Floats, Floats, Floats, Bools]:
    """Below points seen at ``height_m``: the floor (N, 2), its derivatives by pixel (N, 2, 2) and by height (N, 2).

    The line of sight d meets that height where G d, scaled by s, less the height times G rise has weight 1; G takes the
    view's plane to the floor.
    """
    rays, by_pixel, ok = _rays(points_px, view)
    G = view.floor_from_plane
    lift = G @ view.rise if view.rise is not None else np.zeros(3)
    aim = rays @ G[:, :2].T + G[:, 2]
    fall = G[2, :2] @ by_pixel
    valid = ok & (aim[:, 2] > HORIZON_MARGIN_PX * np.hypot(fall[:, 0], fall[:, 1])) & (1.0 + height_m * lift[2] > 0)
    depth = np.where(valid, aim[:, 2], 1.0)
    ground = aim[:, :2] / depth[:, None]
    scale = 1.0 + height_m * lift[2]
    slope = scale * (G[None, :2, :2] - ground[:, :, None] * G[2, :2]) / depth[:, None, None] @ by_pixel
    return scale * ground - height_m * lift[:2], slope, ground * lift[2] - lift[:2], valid


def expected_boxes(floor_m: Floats, camera: CameraView, height_m: float = HEAD_M) -> tuple[Floats, Bools]:
    """Where a standing person on each floor point (N, 2) would be in the picture: boxes (N, 4), and whether it shows.

    It shows when the feet are inside the picture and so is most of the body.
    """
    foot, seen = camera.floor.to_image(floor_m)
    head, high = camera.floor.to_image(floor_m, height_m)
    head = np.where(high[:, None], head, foot - np.array([0.0, 1.0]))
    height = np.abs(foot[:, 1] - head[:, 1])
    boxes = np.column_stack([foot[:, 0] - _SLIMNESS * height / 2, head[:, 1], _SLIMNESS * height, height])
    width_px, height_px = camera.size_px
    inside = (foot[:, 0] > 0.02 * width_px) & (foot[:, 0] < 0.98 * width_px) & (foot[:, 1] < 0.98 * height_px)
    inside &= head[:, 1] > -0.3 * height
    return boxes, seen & inside & (height > 0.03 * height_px)
