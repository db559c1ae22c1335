"""From joints to picture outlines: every part of every figure as a polygon in pixels, sorted for painting."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.figure import PARTS, J
from spoton.sim.rig import View

Floats = NDArray[np.float64]
Polygon = NDArray[np.int32]

SHIFT = 4
"""Fractional bits of polygon coordinates: outlines are placed to 1/16 pixel."""
NEAREST_M = 0.5
"""Figures with a joint nearer to the camera plane than this are left out."""

_PAIRS = np.array([[J[a], J[b]] for a, b in (names[:2] for _, names in PARTS)])
_HULLS = {k: row for row, k in enumerate(k for k, (_, names) in enumerate(PARTS) if len(names) > 2)}
_CORNERS = np.array([[J[name] for name in PARTS[k][1]] for k in _HULLS])
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 6)
_CIRCLE = np.linspace(0, 2 * np.pi, 10, endpoint=False)
_RING = np.stack((np.cos(_CIRCLE), np.sin(_CIRCLE)), axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """All figures in one camera, farthest first.

    order: (F,) rows of the crowd that can be seen; parts: per figure the polygons (K, 2) in 1/16 px, by part;
    middles_m: (F,) depth that stands for a whole figure against walls and planters; far_to_near: per figure the
    order in which to paint its parts; boxes_px: (F, 4) left, top, right, bottom of the whole figure, unclipped.
    """

    order: NDArray[np.int64]
    parts: list[list[Polygon]]
    middles_m: Floats
    far_to_near: list[list[int]]
    boxes_px: Floats


def outlines(view: View, joints: Floats, radii: Floats) -> Outlines:
    """Outlines of figures with ``joints`` (N, J, 3) and sphere ``radii`` (N, J), metres, in ``view``."""
    px, depth = view.project(joints)
    radius_px = view.K[0, 0] * radii / np.maximum(depth, NEAREST_M)
    width, height = view.size_px
    low, high = (px - radius_px[..., None]).min(axis=1), (px + radius_px[..., None]).max(axis=1)
    inside = (depth.min(axis=1) > NEAREST_M) & (high > 0).all(axis=1) & (low < (width, height)).all(axis=1)
    order = np.flatnonzero(inside)
    order = order[np.argsort(-depth[order].mean(axis=1), kind="stable")]
    px, radius_px, depth = px[order], radius_px[order], depth[order]
    parts = [list(figure) for figure in _fixed(_capsules(px, radius_px))]
    rings = _fixed(px[:, _CORNERS, None] + radius_px[:, _CORNERS, None, None] * _RING)
    rings = rings.reshape(len(order), len(_HULLS), _CORNERS.shape[1] * len(_RING), 2)
    depths = depth[:, _PAIRS].mean(axis=2)
    for part, k in _HULLS.items():
        depths[:, part] = depth[:, _CORNERS[k]].mean(axis=1)
        for figure, ring in zip(parts, rings[:, k], strict=True):
            figure[part] = cv2.convexHull(ring)[:, 0]
    far_to_near = np.argsort(-depths, axis=1, kind="stable").tolist()
    boxes_px = np.concatenate((low, high), axis=1)[order]
    return Outlines(order, parts, depth.mean(axis=1), far_to_near, boxes_px)


def _fixed(px: Floats) -> Polygon:
    return np.round(px * (1 << SHIFT)).astype(np.int32)


def _capsules(px: Floats, radius_px: Floats) -> Floats:
    """(F, P, 12, 2) outlines around the first two joints of each part: a half circle at either end."""
    a, b = px[:, _PAIRS[:, 0]], px[:, _PAIRS[:, 1]]
    ra, rb = radius_px[:, _PAIRS[:, 0]], radius_px[:, _PAIRS[:, 1]]
    along = b - a
    along /= np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-6)[..., None]
    across = np.stack((-along[..., 1], along[..., 0]), axis=-1)
    ring = along[:, :, None] * np.cos(_ARC)[:, None] + across[:, :, None] * np.sin(_ARC)[:, None]
    end_b = b[:, :, None] + rb[..., None, None] * ring
    end_a = a[:, :, None] - ra[..., None, None] * ring
    return np.concatenate((end_b, end_a), axis=2)
