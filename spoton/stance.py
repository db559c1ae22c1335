"""Where a person's box says that they stand, how tall they are, and how surely: place, height and their covariance.

A box tells three things about an upright person: its lower edge is a place on the floor, near the middle, and its upper
edge over that place is a height. The errors of all three belong together: a foot taken too low puts its person too near
and makes them too small. So once a person's height is known, every later box is held against it, and a place that fits
the height wins over one that does not. Where the feet are hidden, by the picture's edge or someone in front, the place
follows from the head alone, at a height that stays open. A box that is too short for no such reason may show somebody
behind a thing, or somebody who crouches: it speaks for all places between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.geometry import FloorView
from spoton.views import Views, together

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
_LEAN = 0.4
"""Feet and head are this share of what lies between them across away from the middle of the box; half for a pole."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """C cameras as one. size_px: (C, 2). upright: (C,). anchor_m: (C, 2); each as in ``CameraView``."""

    views: Views
    size_px: Floats
    upright: Bools
    anchor_m: Floats


def cameras(each: Sequence[CameraView]) -> Cameras:
    """One or more cameras as one, in the order given."""
    return Cameras(
        together([camera.floor for camera in each]),
        np.array([camera.size_px for camera in each], dtype=np.float64),
        np.array([camera.upright for camera in each], dtype=np.bool_),
        np.array([camera.anchor_m for camera in each]),
    )


def camera_view(floor: FloorView, size_px: tuple[int, int]) -> CameraView:
    """How a camera whose floor view is for pictures of that size sees people."""
    width, height = size_px
    below = floor.to_floor(np.array([[width / 2, 0.75 * height], [width / 2, height]]))
    x_m, y_m = below.floor_m[int(np.argmax(below.valid))].tolist()
    return CameraView(floor, size_px, (x_m, y_m))


def stand(boxes_px: Floats, seen_by: Cameras, of: Ints) -> tuple[Floats, Floats, Bools]:
    """Boxes (N, 4) to x, y and height (N, 3) metres, their covariance (N, 3, 3) and whether they have a place (N,).

    of: (N,) the camera that each box is from.
    """
    left, top, width, height = boxes_px.T
    middle, foot = left + width / 2.0, top + height
    sigma = np.stack([
        _SIDE_NOISE * height + _PIXEL + np.where(width > _WIDEST * height, 0.25 * width, 0.0),
        _FOOT_NOISE * height + _PIXEL,
        _HEAD_NOISE * height + _PIXEL,
    ])  # fmt: skip
    cut = (left < _EDGE_PX) | (left + width > seen_by.size_px[of, 0] - _EDGE_PX)
    sigma[0] += np.where(cut, 0.25 * width, 0.0)
    sigma[2] = np.where(top < _EDGE_PX, 0.5 * height, sigma[2])
    aside = _aside(middle, foot, height, seen_by, of)
    place, slope, valid = _by_foot(middle - aside, foot, top, seen_by, of)
    cov = _spread(slope, sigma)
    _without_feet(boxes_px, aside, sigma, place, cov, valid, seen_by, of)
    cov[:, 2, 2] += np.where(seen_by.upright[of], _POSTURE_M**2, 0.0)
    cov[:, [0, 1], [0, 1]] += _CALIBRATION_M**2
    return place, cov, valid & np.isfinite(place).all(axis=1) & np.isfinite(cov).all(axis=(1, 2))


def _aside(middle: Floats, foot: Floats, height: Floats, seen_by: Cameras, of: Ints) -> Floats:
    """(N,) pixels by which the lower end of a body is left of the middle of its box, and the upper end right of it.

    People lean away from the middle of the picture, and a box goes around all of them that shows.
    """
    floor, _, _, valid = seen_by.views.at_height(np.column_stack([middle, foot]), of, 0.0)
    head, seen = seen_by.views.to_image(floor, of, HEAD_M)
    up = foot - head[:, 1]
    known = valid & seen & seen_by.upright[of] & (up > _PIXEL)
    aside: Floats = np.where(known, _LEAN * height * (head[:, 0] - middle) / np.where(known, up, 1.0), 0.0)
    return aside


def _without_feet(
    boxes_px: Floats, aside: Floats, sigma: Floats, place: Floats, cov: Floats, valid: Bools, seen_by: Cameras, of: Ints
) -> None:
    """Put boxes whose feet do not show, or may not, in place by their heads; ``place``, ``cov``, ``valid`` change.

    Only of cameras that can tell heights.
    """
    left, top, width, height = boxes_px.T
    short = (place[:, 2] < _HIDDEN_BELOW * HEAD_M) & (width < height)
    cut = top + height > seen_by.size_px[of, 1] - _EDGE_PX
    rows = np.flatnonzero((short | cut | ~valid) & (top > _EDGE_PX) & seen_by.upright[of])
    if not len(rows):
        return
    at, slope, seen = _by_head((left + width / 2.0 + aside)[rows], top[rows], seen_by, of[rows])
    opened = np.stack([sigma[0, rows], sigma[2, rows], np.full(len(rows), _OPEN_HEIGHT_M)])
    at, spread = at[seen], _spread(slope, opened)[seen]
    rows = rows[seen]
    either = np.flatnonzero(valid[rows] & ~cut[rows] & ~_feet_covered(boxes_px, of, rows))
    low, low_cov = place[rows[either]], cov[rows[either]]
    low[:, 2], low_cov[:, :, 2], low_cov[:, 2, :] = HEAD_M, 0.0, 0.0
    low_cov[:, 2, 2] = _OPEN_HEIGHT_M**2
    at[either], spread[either] = _mixed(at[either], spread[either], low, low_cov)
    place[rows], cov[rows], valid[rows] = at, spread, True


def _feet_covered(boxes_px: Floats, of: Ints, rows: Ints) -> Bools:
    """Which of the boxes ``rows`` end, in their middle half, inside a box that reaches lower: someone stands before."""
    left, top, width, height = boxes_px.T
    one, other = same_camera(of[rows], of)
    mine = rows[one]
    near, far, low = left[mine] + 0.25 * width[mine], left[mine] + 0.75 * width[mine], top[mine] + height[mine]
    beside = (left[other] < far) & (left[other] + width[other] > near) & (top[other] < low)
    covers = beside & (top[other] + height[other] > low + _LOWER * height[mine])
    covered = np.zeros(len(rows), dtype=np.bool_)
    covered[one[covers]] = True
    return covered


def same_camera(of: Ints, of_others: Ints) -> tuple[Ints, Ints]:
    """All pairs of a row of ``of`` (N,) and one of ``of_others`` (M,), in which cameras ascend, of the same camera."""
    first = np.searchsorted(of_others, of, "left")
    count = np.searchsorted(of_others, of, "right") - first
    one = np.repeat(np.arange(len(of)), count)
    return one, np.arange(len(one)) + np.repeat(first - np.cumsum(count) + count, count)


def _mixed(one: Floats, one_cov: Floats, other: Floats, other_cov: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of places that are as likely the one as the other: hidden feet, or someone who crouches."""
    apart = one - other
    return 0.5 * (one + other), 0.5 * (one_cov + other_cov) + 0.25 * apart[:, :, None] * apart[:, None, :]


def _spread(slope: Floats, sigma: Floats) -> Floats:
    """Covariance (N, 3, 3) from derivatives (N, 3, k) and standard deviations (k, N)."""
    scaled = slope * sigma.T[:, None, :]
    return scaled @ scaled.transpose(0, 2, 1)


def _by_foot(
    middle: Floats, foot: Floats, top: Floats, seen_by: Cameras, of: Ints
) -> tuple[Floats, Floats, Bools]:
    """Place and height (N, 3) with their derivatives by middle, foot and top (N, 3, 3)."""
    views = seen_by.views
    floor, by_foot, _, valid = views.at_height(np.column_stack([middle, foot]), of, 0.0)
    place, slope = np.empty((len(middle), 3)), np.zeros((len(middle), 3, 3))
    place[:, :2], slope[:, :2, :2] = floor, by_foot
    rays, by_pixel, seen = views.rays(np.column_stack([middle, top]), of)
    v, up, P = rays[:, 1], views.rise[of], views.plane_from_floor[of]
    # Of the view's plane only the row and the depth: what the head's row says of the height.
    row = P[:, 1, 0] * floor[:, 0] + P[:, 1, 1] * floor[:, 1] + P[:, 1, 2]
    depth = P[:, 2, 0] * floor[:, 0] + P[:, 2, 1] * floor[:, 1] + P[:, 2, 2]
    down = up[:, 1] - v * up[:, 2]
    down = np.where(np.abs(down) < 1e-12, 1e-12, down)
    height = (v * depth - row) / down
    by_place = (v[:, None] * P[:, 2, :2] - P[:, 1, :2]) / down[:, None]
    by_row = (depth + height * up[:, 2]) / down
    place[:, 2] = height
    slope[:, 2, :2] = (by_place[:, :, None] * by_foot).sum(axis=1)
    slope[:, 2, 0] += by_row * by_pixel[:, 1, 0]
    slope[:, 2, 2] = by_row * by_pixel[:, 1, 1]
    blind = np.flatnonzero(~seen)
    place[blind, 2], slope[blind, 2] = HEAD_M, [0.0, 0.0, 1.0]
    flat = np.flatnonzero(~seen_by.upright[of])
    place[flat, 2], slope[flat, 2] = HEAD_M, 0.0
    slope[flat, 2, 2] = _OPEN_HEIGHT_M / (_HEAD_NOISE * (foot - top)[flat] + _PIXEL)
    return place, slope, valid


def _by_head(middle: Floats, top: Floats, seen_by: Cameras, of: Ints) -> tuple[Floats, Floats, Bools]:
    """Place under the head and height (N, 3), with derivatives by middle, top and height (N, 3, 3)."""
    floor, by_head, by_height, valid = seen_by.views.at_height(np.column_stack([middle, top]), of, HEAD_M)
    slope = np.zeros((len(middle), 3, 3))
    slope[:, :2, :2], slope[:, :2, 2], slope[:, 2, 2] = by_head, by_height, 1.0
    return np.column_stack([floor, np.full(len(middle), HEAD_M)]), slope, valid


def expected_boxes(floor_m: Floats, seen_by: Cameras, of: Ints, height_m: float = HEAD_M) -> tuple[Floats, Bools]:
    """Where a standing person on each floor point (N, 2) would be in the picture: boxes (N, 4), and whether it shows.

    of: (N,) the camera whose picture it is. It shows when the feet are inside the picture and so is most of the body;
    the boxes of who does not show are all zero.
    """
    foot, seen = seen_by.views.to_image(floor_m, of)
    width_px, height_px = seen_by.size_px[of].T
    inside = (foot[:, 0] > 0.02 * width_px) & (foot[:, 0] < 0.98 * width_px) & (foot[:, 1] < 0.98 * height_px)
    boxes, shows = np.zeros((len(floor_m), 4)), np.zeros(len(floor_m), dtype=np.bool_)
    rows = np.flatnonzero(seen & inside)
    foot = foot[rows]
    head, high = seen_by.views.to_image(floor_m[rows], of[rows], height_m)
    head = np.where(high[:, None], head, foot - np.array([0.0, 1.0]))
    height = np.abs(foot[:, 1] - head[:, 1])
    shows[rows] = (head[:, 1] > -0.3 * height) & (height > 0.03 * height_px[rows])
    aside = head[:, 0] - foot[:, 0]
    width = _SLIMNESS * height + (2.0 * _LEAN) * np.abs(aside)
    boxes[rows] = np.column_stack([foot[:, 0] + _LEAN * aside - width / 2.0, head[:, 1], width, height])
    boxes[~shows] = 0.0
    return boxes, shows
