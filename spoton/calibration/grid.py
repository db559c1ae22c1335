"""The floor's grid as a camera sees it: lines in the picture where metres are on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.geometry import FloorView

Floats = NDArray[np.float64]

STEPS_M = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_MOST_LINES = 40
_SAMPLES = 160
_LOOKED = 32
_FAR = 0.9
"""Part of the floor points, nearest first, that the grid covers: the last ones lie near the horizon."""
_MARGIN = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """step_m: between lines. lines: each with its floor coordinate, whether x is fixed, and its pieces (N, 2) px."""

    step_m: float
    lines: list[tuple[float, bool, list[Floats]]]


def grid(view: FloorView, size_px: tuple[int, int]) -> Grid:
    """The lines of a grid of round metres over the floor that the picture shows; no lines where it shows none."""
    low, high = _seen_floor(view, size_px)
    longest = float((high - low).max())
    step = next((each for each in STEPS_M if longest / each <= _MOST_LINES), STEPS_M[-1])
    lines = []
    for axis in (0, 1):
        other = 1 - axis
        along = np.linspace(low[other], high[other], _SAMPLES)
        first, last = np.ceil(low[axis] / step), np.floor(high[axis] / step)
        for number in range(int(first), int(last) + 1):
            points = np.empty((_SAMPLES, 2))
            points[:, axis], points[:, other] = number * step, along
            if pieces := _pieces(view, size_px, points):
                lines.append((number * step, axis == 0, pieces))
    return Grid(step, lines)


def _seen_floor(view: FloorView, size_px: tuple[int, int]) -> tuple[Floats, Floats]:
    width, height = size_px
    across, down = np.linspace(0, width, _LOOKED), np.linspace(0, height, _LOOKED)
    pixels = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    floor = view.to_floor(pixels)
    back, seen = view.to_image(floor.floor_m)
    there = floor.floor_m[floor.valid & seen & (np.abs(back - pixels) < 0.5).all(axis=1)]
    if not len(there):
        return np.zeros(2), np.zeros(2) - 1.0
    nearest = np.median(there[-_LOOKED:], axis=0) if len(there) >= _LOOKED else there.mean(axis=0)
    away = np.linalg.norm(there - nearest, axis=1)
    there = there[away <= np.quantile(away, _FAR)]
    return there.min(axis=0), there.max(axis=0)


def _pieces(view: FloorView, size_px: tuple[int, int], points: Floats) -> list[Floats]:
    """The parts of a line on the floor (N, 2) that fall into the picture or near it, as pixels."""
    pixels, seen = view.to_image(points)
    margin = _MARGIN * np.array(size_px)
    inside = seen & (pixels > -margin).all(axis=1) & (pixels < np.array(size_px) + margin).all(axis=1)
    cuts = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
    parts = zip(np.split(pixels, cuts), np.split(inside, cuts), strict=True)
    return [part for part, ok in parts if ok[0] and len(part) > 1]
