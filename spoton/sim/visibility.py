"""Exact truth about what a camera sees: whole-figure boxes and how much of each figure is in view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.figure import Dress
from spoton.sim.outline import SHIFT, outlines
from spoton.sim.render import Renderer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def seen_boxes(renderer: Renderer, joints: Floats, radii: Floats, dress: list[Dress]) -> tuple[Ints, Floats, Floats]:
    """Rows (M,) of the figures that reach into the picture, their boxes (M, 4) and visible fractions (M,).

    Silhouettes are painted into a buffer of owners from far to near; walls, planters and the fountain take back what
    lies behind them. The fraction compares what is left to the whole silhouette, off-picture parts included.
    """
    seen = outlines(renderer.view, joints, radii)
    width, height = renderer.view.size_px
    owner = np.zeros((height, width), np.uint8)
    wholes, boxes = [], []
    for row, person in enumerate(seen.order):
        worn = [colour is not None for colour in dress[person]]
        polygons = [polygon for polygon, there in zip(seen.parts[row], worn, strict=True) if there]
        box, whole = _silhouette(polygons)
        mask = np.zeros_like(owner)
        for polygon in polygons:
            cv2.fillConvexPoly(mask, polygon, 1, cv2.LINE_8, SHIFT)
        owner[(mask > 0) & (renderer.static_depth_m >= seen.middles_m[row])] = row + 1
        wholes.append(whole)
        boxes.append(box)
    counts = np.bincount(owner.ravel(), minlength=len(wholes) + 1)[1:]
    edges = np.array(boxes, np.float64).reshape(-1, 4)
    low, high = np.maximum(edges[:, :2], 0.0), np.minimum(edges[:, 2:], (width, height))
    visible = counts / np.maximum(np.array(wholes), 1)
    inside = (high > low).all(axis=1)
    boxes_px = np.concatenate((low, high - low), axis=1)
    return seen.order[inside], boxes_px[inside], np.minimum(visible[inside], 1.0)


def _silhouette(polygons: list[NDArray[np.int32]]) -> tuple[tuple[float, float, float, float], int]:
    """Left, top, right, bottom in pixels and area in pixels of one whole figure, wherever it lies."""
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    corner = (low >> SHIFT) << SHIFT
    size = ((high - corner) >> SHIFT) + 2
    mask = np.zeros((int(size[1]), int(size[0])), np.uint8)
    for polygon in polygons:
        cv2.fillConvexPoly(mask, polygon - corner, 1, cv2.LINE_8, SHIFT)
    left, top, right, bottom = np.concatenate((low, high)).tolist()
    unit = 1 << SHIFT
    return (left / unit, top / unit, right / unit, bottom / unit), int(mask.sum())
