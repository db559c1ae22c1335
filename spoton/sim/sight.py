"""What all cameras see of a crowd at once: exact boxes of whole figures, and how much of each is in view.

A box holds every sphere of the body model (``figure``) that the person's clothes show, projected by the pinhole camera
(a sphere as a circle of f r / depth around its middle, as it is painted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.sim import cover
from spoton.sim.figure import JOINTS, PARTS, Dress, joint_radii, joints_m
from spoton.sim.layout import Layout
from spoton.sim.outline import NEAREST_M
from spoton.sim.plaza import Instant
from spoton.sim.rig import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WIDEST_M = 0.9
"""No joint is farther from the upright line above a person's place than this."""
_HEADROOM = 1.06
"""Height of the highest point of the body over its height."""


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Everybody's body. height_m, build: (N,); worn: (N, J) joints that a worn part has; places as in ``Instant``."""

    height_m: Floats
    build: Floats
    worn: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Boxes in all cameras, by camera, then by row of the crowd. K rows.

    camera, row: (K,). boxes_px: (K, 4) left, top, width, height, clipped to the picture. visible: (K,) share of the
    whole figure's box that is in the picture and not behind a nearer person's box or a wall.
    """

    camera: Ints
    row: Ints
    boxes_px: Floats
    visible: Floats


def worn_joints(dress: Dress) -> Bools:
    """(J,) which joints belong to a part that is there."""
    names = {name for colour, (_, joints) in zip(dress, PARTS, strict=True) if colour is not None for name in joints}
    return np.array([name in names for name in JOINTS])


class Lookout:
    """All cameras of a site as arrays."""

    def __init__(self, views: Sequence[View], layout: Layout) -> None:
        self._layout = layout
        self._R = np.stack([view.R for view in views])
        self._t = np.stack([view.t for view in views])
        self._focal = np.array([[view.K[0, 0], view.K[1, 1]] for view in views])
        self._middle = np.array([[view.K[0, 2], view.K[1, 2]] for view in views])
        self._size = np.array([view.size_px for view in views], dtype=np.float64)
        self._place_m = np.stack([view.place_m() for view in views])

    def look(self, instants: Sequence[Instant], bodies: Bodies) -> Sight:
        """What every camera sees of the crowd; instants: the crowd at each camera's moment, rows as in ``bodies``."""
        camera, row = self._within_reach(instants)
        pose = _picked(instants, camera, row)
        height_m = bodies.height_m[row]
        joints = joints_m(pose.floor_m, pose.heading, pose.phase, pose.stride_m, height_m)
        radii = joint_radii(height_m, bodies.build[row])
        seen = joints @ self._R[camera].transpose(0, 2, 1) + self._t[camera, None]
        depth = seen[..., 2]
        safe = np.maximum(depth, NEAREST_M)
        px = self._focal[camera, None] * seen[..., :2] / safe[..., None] + self._middle[camera, None]
        # Where a part is not worn, its joints count for nothing.
        radius = (self._focal[camera, :1] * radii / safe)[..., None]
        shown = bodies.worn[row][..., None]
        low = np.where(shown, px - radius, np.inf).min(axis=1)
        high = np.where(shown, px + radius, -np.inf).max(axis=1)
        size = self._size[camera]
        inside = (depth.min(axis=1) > NEAREST_M) & (high > 0).all(axis=1) & (low < size).all(axis=1)
        camera, row, size = camera[inside], row[inside], size[inside]
        boxes = np.concatenate((low, high), axis=1)[inside]
        rank = np.argsort(np.argsort(depth.mean(axis=1)[inside], kind="stable"), kind="stable")
        bits = cover.bits(boxes, np.concatenate((np.zeros_like(size), size), axis=1))
        bits &= self._through_walls(camera, pose.floor_m[inside], height_m[inside])
        visible = cover.visible(boxes, rank, bits, camera)
        left_top, right_low = np.maximum(boxes[:, :2], 0.0), np.minimum(boxes[:, 2:], size)
        return Sight(camera, row, np.concatenate((left_top, right_low - left_top), axis=1), visible)

    def _within_reach(self, instants: Sequence[Instant]) -> tuple[Ints, Ints]:
        """Cameras and rows of people who may be in the picture: the upright line of each, widened, meets it."""
        floor = np.stack([one.floor_m for one in instants])
        ends = []
        for z in (0.0, 2.0 * _HEADROOM):
            seen = np.einsum("cij,cnj->cni", self._R[:, :, :2], floor) + (self._t + z * self._R[:, :, 2])[:, None]
            ends.append(seen)
        depth = np.stack([seen[..., 2] for seen in ends])
        near = np.maximum(depth, NEAREST_M)
        px = np.stack([seen[..., :2] for seen in ends]) / near[..., None] * self._focal[:, None] + self._middle[:, None]
        wide = self._focal[:, :1, None] * _WIDEST_M / near.min(axis=0)[..., None]
        low, high = px.min(axis=0) - wide, px.max(axis=0) + wide
        size = self._size[:, None]
        # Someone at the camera's feet may cross the picture's plane: those are always looked at closely.
        close = depth.min(axis=0) < 1.5
        reach = (depth.max(axis=0) > NEAREST_M) & (close | ((high > 0) & (low < size)).all(axis=-1))
        camera, row = np.nonzero(reach)
        return camera, row

    def _through_walls(self, camera: Ints, floor_m: Floats, height_m: Floats) -> NDArray[np.uint64]:
        """(K,) bits of what walls leave of each box: people behind a wall show in its gates only, row by row."""
        bits = np.full(len(camera), cover.FULL)
        width, depth = self._layout.size_m
        x, y = floor_m.T
        outside = np.flatnonzero((x < 0) | (x > width) | (y < 0) | (y > depth))
        if not len(outside):
            return bits
        place, there, tall = self._place_m[camera[outside]], floor_m[outside], height_m[outside]
        rows = np.zeros((len(outside), 8), dtype=np.bool_)
        for k in range(8):
            point = np.column_stack((there, tall * (1 - (k + 0.5) / 8)))
            for gate in self._layout.gates:
                inward, origin = np.array(gate.inward), np.array(gate.origin_m)
                before, after = ((place[:, :2] - origin) @ inward, (there - origin) @ inward)
                crosses = (before > 0) & (after < 0)
                share = np.where(crosses, before / np.where(crosses, before - after, 1.0), 0.0)
                at = place + share[:, None] * (point - place)
                along = np.abs((at[:, :2] - origin) @ np.array([-inward[1], inward[0]]))
                rows[:, k] |= crosses & (along < gate.width_m / 2) & (at[:, 2] < self._layout.gate_height_m)
        mask = np.zeros(len(outside), dtype=np.uint64)
        for k in range(8):
            mask |= np.where(rows[:, k], np.uint64(0xFF << (8 * k)), np.uint64(0))
        bits[outside] = mask
        return bits


def _picked(instants: Sequence[Instant], camera: Ints, row: Ints) -> Instant:
    """Row by row the pose that a person has at a camera's moment."""
    kinds = {id(one): k for k, one in reversed(list(enumerate(instants)))}
    if len(kinds) == 1:
        one = instants[0]
        return Instant(one.ids[row], one.floor_m[row], one.heading[row], one.phase[row], one.stride_m[row])

    def column(name: str) -> Floats:
        return np.asarray(np.stack([getattr(one, name) for one in instants])[camera, row])

    ids = np.stack([one.ids for one in instants])[camera, row]
    return Instant(ids, column("floor_m"), column("heading"), column("phase"), column("stride_m"))
