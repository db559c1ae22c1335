"""Surfaces of the plaza as RGB rasters: the paving seen from above and the four facades seen from the front."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Gate, Layout

Raster = NDArray[np.uint8]
Floats = NDArray[np.float32]

PAVING_PPM = 72
FACADE_PPM = 60
SURFACE_STREAM = 103
SUN = np.array([-0.52, -0.38, -0.76])
"""Direction in which sunlight travels; its length does not matter."""
SHADE = (0.62, 0.65, 0.69)
"""What a shadow leaves of red, green and blue: about 35 % darker, slightly bluer, as under an open sky."""


def cloud(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Floats:
    """Smooth noise of mean 0 and unit spread, ``cells`` bumps high and wide, in a raster of ``shape``."""
    coarse = rng.standard_normal(cells).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def paving(seed: int, layout: Layout, margin_m: float) -> Raster:
    """The floor from above, row 0 at the north; ``margin_m`` of passage paving lies around the plaza."""
    rng = np.random.default_rng([seed, SURFACE_STREAM, 0])
    width, depth = (round((extent + 2 * margin_m) * PAVING_PPM) for extent in layout.size_m)
    x: Floats = (np.arange(width) / PAVING_PPM - margin_m).astype(np.float32)
    y: Floats = (layout.size_m[1] + margin_m - np.arange(depth) / PAVING_PPM).astype(np.float32)
    level = 172 + _slabs(rng, x, y, 0.8, 7.0, 26.0)
    ring = np.full(level.shape, np.inf)
    if layout.fountain is not None:
        fx, fy = layout.fountain.centre_m
        ring = np.hypot(x - fx, (y - fy)[:, None]) - layout.fountain.radius_m
    setts = _slabs(rng, x, y, 0.4, 6.0, 20.0)
    band = ((np.abs(x - 5.6) < 0.2) | (np.abs(x - 10.4) < 0.2)) & (ring > 0.7)
    level[band] = 146 + setts[band]
    edge = np.minimum(np.minimum(x, layout.size_m[0] - x), np.minimum(y, layout.size_m[1] - y)[:, None])
    dark = (edge < 0.8) | ((ring > 0.0) & (ring < 0.7))
    level[dark] = 128 + setts[dark]
    level += 3.5 * cloud(rng, level.shape, (9, 12)) + 2.0 * cloud(rng, level.shape, (60, 80))
    level += 2.5 * rng.standard_normal(level.shape, dtype=np.float32)
    picture = cv2.merge([level * share for share in (1.02, 0.995, 0.945)])
    picture[dark] = level[dark, None] * np.array((1.0, 0.99, 0.985), np.float32)
    return np.asarray(cv2.convertScaleAbs(picture), np.uint8)


def _slabs(rng: np.random.Generator, x: Floats, y: Floats, long_m: float, spread: float, groove: float) -> Floats:
    """Brightness (Y, X) around 0 of slabs 0.4 m wide laid in a running bond, their joints darker by ``groove``."""
    row = np.floor(y / 0.4).astype(np.int64)
    tones = spread * np.clip(rng.standard_normal((64, 64)), -1.6, 1.6).astype(np.float32)
    along = np.stack((x / long_m, x / long_m + 0.5))
    slab, joint = np.floor(along).astype(np.int64) % 64, _groove(along, long_m)
    level = np.empty((len(y), len(x)), np.float32)
    for k, (number, across) in enumerate(zip(row, _groove(y / 0.4, 0.4), strict=True)):
        level[k] = tones[number % 64, slab[number % 2]] - groove * np.maximum(joint[number % 2], across)
    return level


def _groove(value: Floats, pitch_m: float) -> Floats:
    """How much of a joint lies at a place counted in slabs: 1 on the joint's middle, 0 from 11 mm on."""
    share = value % 1.0
    return np.asarray(np.clip(1.4 - np.minimum(share, 1.0 - share) * pitch_m / 0.008, 0.0, 1.0), np.float32)


def facade(seed: int, layout: Layout, wall: int) -> Raster:
    """One wall from inside the plaza, row 0 at the top; walls count south, north, west, east.

    Columns run along x for the south and north walls and along y for the others.
    """
    rng = np.random.default_rng([seed, SURFACE_STREAM, 1 + wall])
    length = layout.size_m[0] if wall < 2 else layout.size_m[1]
    width, height = round(length * FACADE_PPM), round(layout.wall_height_m * FACADE_PPM)
    stone = np.array(((186, 172, 150), (178, 170, 158), (170, 152, 134), (190, 182, 168))[wall], np.float32)
    lit = (0.80, 0.98, 0.86, 1.0)[wall]
    courses = rng.standard_normal((height // 18 + 1, width // 36 + 2)).astype(np.float32)
    rows, columns = np.mgrid[0:height, 0:width]
    tone = courses[rows // 18, (columns + 18 * (rows // 18 % 2)) // 36]
    level = 1 + 0.022 * tone - 0.07 * (rows % 18 == 0) + 0.03 * cloud(rng, (height, width), (6, 12))
    level *= 1 - 0.12 * np.clip(1 - (height - rows) / (0.7 * FACADE_PPM), 0, 1)
    picture: Raster = np.clip(stone * lit * level[..., None], 0, 255).astype(np.uint8)
    _openings(picture, rng, layout, wall, length)
    return picture


def gate_along_m(gate: Gate, wall: int) -> float | None:
    """Where along ``wall`` the gate is, or None if it is in another wall."""
    inward = ((0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0))[wall]
    if gate.inward != inward:
        return None
    return gate.origin_m[0] if wall < 2 else gate.origin_m[1]


def _openings(picture: Raster, rng: np.random.Generator, layout: Layout, wall: int, length: float) -> None:
    gates = [(along, g.width_m) for g in layout.gates if (along := gate_along_m(g, wall)) is not None]
    for along, wide in gates:
        _frame(
            picture, along - wide / 2 - 0.18, along + wide / 2 + 0.18, 0.0, layout.gate_height_m + 0.2, (150, 142, 130)
        )
    count = round(length / 2.0)
    awning = ((150, 58, 50), (52, 86, 82), (70, 84, 116), (160, 128, 66))[wall]
    for k in range(count):
        middle = (k + 0.5) * length / count
        if all(abs(middle - along) > wide / 2 + 0.75 for along, wide in gates):
            _frame(picture, middle - 0.72, middle + 0.72, 0.45, 2.35, (96, 90, 84))
            _glass(picture, rng, middle - 0.62, middle + 0.62, 0.55, 2.25)
            _frame(picture, middle - 0.85, middle + 0.85, 2.4, 2.75, awning)
        for floor_m in (3.7, 6.5):
            _frame(picture, middle - 0.55, middle + 0.55, floor_m - 0.08, floor_m + 1.68, (206, 200, 190))
            _glass(picture, rng, middle - 0.45, middle + 0.45, floor_m, floor_m + 1.6)
    _frame(picture, 0.0, length, 3.05, 3.2, (160, 150, 136))


def _frame(picture: Raster, left: float, right: float, low: float, high: float, colour: tuple[int, ...]) -> None:
    top = picture.shape[0]
    corners = [round(v * FACADE_PPM) for v in (left, high, right, low)]
    cv2.rectangle(picture, (corners[0], top - corners[1]), (corners[2], top - corners[3]), colour, -1)


def _glass(picture: Raster, rng: np.random.Generator, left: float, right: float, low: float, high: float) -> None:
    shade = rng.uniform(0.8, 1.25)
    _frame(picture, left, right, low, high, tuple(int(c * shade) for c in (70, 78, 86)))
    _frame(picture, left, right, (low + high) / 2, high, tuple(int(c * shade) for c in (84, 94, 104)))
    middle = (left + right) / 2
    _frame(picture, middle - 0.025, middle + 0.025, low, high, (120, 114, 106))
