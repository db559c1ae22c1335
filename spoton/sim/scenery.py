"""What one camera sees of the empty plaza, painted once by casting a ray through every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Block, Fountain, Layout
from spoton.sim.rig import View
from spoton.sim.surfaces import FACADE_PPM, PAVING_PPM, SHADE, SUN, Raster, facade, gate_along_m, paving

Floats = NDArray[np.float32]

FINER = 2
"""Rays per pixel and axis."""
MARGIN_M = 2.6
MIPS = 4
BLOCK_COLOURS = {"planter": (150, 146, 140), "bench": (132, 98, 66), "foot": (112, 110, 108)}


@dataclass(frozen=True, slots=True, eq=False)
class Scenery:
    """The empty picture of one camera.

    picture: (H, W, 3) RGB; depth_m: (H, W) along the optical axis of what can hide people, inf where that is floor;
    sunlit: (H, W) bool, floor on which shadows fall.
    """

    picture: Raster
    depth_m: Floats
    sunlit: NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class _Canvas:
    """Rays and what they have hit so far: ``near`` is the ray parameter of the nearest hit, equal to its depth."""

    origin: Floats
    rays: Floats
    near: Floats
    colour: Floats
    floor: NDArray[np.bool_]
    sunlit: NDArray[np.bool_]

    def hit(self, where: NDArray[np.bool_], t: Floats, colour: Floats | tuple[float, ...]) -> None:
        """Paint ``colour`` where a surface at ray parameter ``t`` is the nearest so far."""
        where = where & (t > 0.05) & (t < self.near)
        self.near[where] = t[where]
        self.colour[where] = colour[where] if isinstance(colour, np.ndarray) else np.array(colour, np.float32)
        self.floor[where] = False
        self.sunlit[where] = False

    def part(self, rows: slice, columns: slice) -> _Canvas:
        """A window into this canvas; painting in it paints here."""
        at = rows, columns
        return _Canvas(
            self.origin, self.rays[at], self.near[at], self.colour[at], self.floor[at], self.sunlit[at]
        )  # fmt: skip

    def around(self, where: NDArray[np.bool_]) -> tuple[slice, slice]:
        """The smallest window that holds all of ``where``, empty for nothing."""
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def at(self, t: Floats, axis: int) -> Floats:
        """One world coordinate of the rays' points at ``t``."""
        return np.asarray(self.origin[axis] + t * self.rays[..., axis])

    def plane(self, axis: int, level: float) -> Floats:
        """Ray parameters at which the rays meet the plane where ``axis`` equals ``level``."""
        slope = self.rays[..., axis]
        return np.asarray((level - self.origin[axis]) / np.where(np.abs(slope) < 1e-9, 1e-9, slope), np.float32)


def scenery(seed: int, layout: Layout, view: View) -> Scenery:
    """Paint the empty plaza for one camera."""
    canvas = _rays(view)
    _paint_floor(canvas, seed, layout, view)
    for wall in range(4):
        _paint_wall(canvas, seed, layout, view, wall)
    for block in layout.blocks:
        _paint_block(canvas.part(*_window(view, block.low_m, block.high_m)), seed, block)
    if layout.fountain is not None:
        (x, y), wide, high = layout.fountain.centre_m, layout.fountain.radius_m, layout.fountain.height_m + 1.0
        window = _window(view, (x - wide, y - wide, 0.0), (x + wide, y + wide, high))
        _paint_fountain(canvas.part(*window), layout.fountain)
    width, height = view.size_px
    picture = cv2.resize(canvas.colour, (width, height), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.55)
    depth = np.where(canvas.floor, np.inf, canvas.near)[FINER // 2 :: FINER, FINER // 2 :: FINER]
    return Scenery(
        np.clip(picture + 0.5, 0, 255).astype(np.uint8),
        np.ascontiguousarray(depth),
        np.ascontiguousarray(canvas.sunlit[FINER // 2 :: FINER, FINER // 2 :: FINER]),
    )


def _window(view: View, low_m: tuple[float, ...], high_m: tuple[float, ...]) -> tuple[slice, slice]:
    """Rows and columns of the canvas in which the box between two corners can appear."""
    corners = np.array([[(low_m, high_m)[k >> axis & 1][axis] for axis in range(3)] for k in range(8)])
    px, depth = view.project(corners)
    width, height = view.size_px[0] * FINER, view.size_px[1] * FINER
    if depth.min() < 0.1:
        return slice(0, height if depth.max() > 0.1 else 0), slice(0, width)
    left, top = np.clip(np.floor(px.min(axis=0) * FINER) - FINER, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(px.max(axis=0) * FINER) + 2 * FINER, 0, (width, height)).astype(int)
    return slice(top, bottom), slice(left, right)


def _rays(view: View) -> _Canvas:
    width, height = view.size_px[0] * FINER, view.size_px[1] * FINER
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    px, py = (columns + 0.5) / FINER - 0.5, (rows + 0.5) / FINER - 0.5
    K = view.K
    seen = np.stack(((px - K[0, 2]) / K[0, 0], (py - K[1, 2]) / K[1, 1], np.ones_like(px)), axis=-1)
    rays = (seen @ view.R).astype(np.float32)
    shape = (height, width)
    none = np.zeros(shape, dtype=bool)
    far = np.full(shape, np.inf, np.float32)
    sky = np.full((*shape, 3), (186, 196, 206), np.float32)
    return _Canvas(view.place_m().astype(np.float32), rays, far, sky, none, none.copy())


def _paint_floor(canvas: _Canvas, seed: int, layout: Layout, view: View) -> None:
    t = canvas.plane(2, 0.0)
    x, y = canvas.at(t, 0), canvas.at(t, 1)
    width, depth = layout.size_m
    near = (t > 0) & (x > -MARGIN_M) & (x < width + MARGIN_M) & (y > -MARGIN_M) & (y < depth + MARGIN_M)
    inside = near & (x > 0) & (x < width) & (y > 0) & (y < depth)
    raster = paving(seed, layout, MARGIN_M)
    footprint = np.where(near, t, 1.0) ** 2 / (view.K[0, 0] * FINER * view.place_m()[2]) * PAVING_PPM
    colour = _sample(raster, (x + MARGIN_M) * PAVING_PPM, (depth + MARGIN_M - y) * PAVING_PPM, footprint)
    wall_gap = np.minimum(np.minimum(x, width - x), np.minimum(y, depth - y))
    colour *= np.where(inside, 1 - 0.22 * np.exp(-np.maximum(wall_gap, 0) / 0.25), 0.36)[..., None]
    shaded = _in_shade(layout, x, y) & inside
    colour *= np.where(shaded[..., None], np.array(SHADE, np.float32), 1.0)
    canvas.hit(near, t, colour)
    canvas.floor[near] = True
    canvas.sunlit |= inside & ~shaded


def _in_shade(layout: Layout, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Floor points whose way to the sun leads through a block or the fountain's basin."""
    per_m = SUN[:2] / -SUN[2]
    shaded = np.zeros(x.shape, dtype=bool)
    for block in layout.blocks:
        for share in (0.0, 0.33, 0.67, 1.0):
            rise = block.low_m[2] + share * (block.high_m[2] - block.low_m[2])
            sx, sy = x - per_m[0] * rise, y - per_m[1] * rise
            shaded |= (sx > block.low_m[0]) & (sx < block.high_m[0]) & (sy > block.low_m[1]) & (sy < block.high_m[1])
    if layout.fountain is None:
        return shaded
    (fx, fy), radius = layout.fountain.centre_m, layout.fountain.radius_m
    for share in (0.5, 1.0):
        rise = layout.fountain.height_m * share
        shaded |= np.hypot(x - per_m[0] * rise - fx, y - per_m[1] * rise - fy) < radius
    return shaded


def _sample(raster: Raster, column: Floats, row: Floats, footprint: Floats) -> Floats:
    """Colours at raster places, from ever coarser copies of the raster as a pixel's footprint grows."""
    level = np.clip(np.log2(np.maximum(footprint, 1e-6)), 0, MIPS - 1)
    colour = np.zeros((*column.shape, 3), np.float32)
    current = raster
    for k in range(MIPS):
        scale = 2.0**k
        mapped = cv2.remap(
            current, ((column + 0.5) / scale - 0.5).astype(np.float32), ((row + 0.5) / scale - 0.5).astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        colour += np.maximum(1 - np.abs(level - k), 0).astype(np.float32)[..., None] * mapped
        current = np.asarray(cv2.resize(current, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    return colour


def _paint_wall(canvas: _Canvas, seed: int, layout: Layout, view: View, wall: int) -> None:
    across = 1 if wall < 2 else 0
    level = (0.0, layout.size_m[1], 0.0, layout.size_m[0])[wall]
    t = canvas.plane(across, level)
    along, z = canvas.at(t, 1 - across), canvas.at(t, 2)
    length = layout.size_m[1 - across]
    solid = (along >= -0.01) & (along <= length + 0.01) & (z >= 0) & (z < layout.wall_height_m)
    outward = canvas.rays[..., across] * (-1.0 if wall % 2 == 0 else 1.0)
    solid &= outward > 0
    for gate in layout.gates:
        middle = gate_along_m(gate, wall)
        if middle is not None:
            hole = (np.abs(along - middle) < gate.width_m / 2) & (z < layout.gate_height_m)
            window = canvas.around(solid & hole)
            _paint_passage(canvas.part(*window), layout, wall, across, (solid & hole)[window])
            solid &= ~hole
    window = canvas.around(solid)
    solid, t = solid[window], t[window]
    if solid.size:
        columns, rows = along[window] * FACADE_PPM, (layout.wall_height_m - z[window]) * FACADE_PPM
        footprint = np.where(solid, t, 1.0).astype(np.float32) * (2 * FACADE_PPM / view.K[0, 0] / FINER)
        colour = _sample(facade(seed, layout, wall), columns, rows, footprint)
        canvas.part(*window).hit(solid, t, colour)


def _paint_passage(canvas: _Canvas, layout: Layout, wall: int, across: int, hole: NDArray[np.bool_]) -> None:
    """The dim back wall and ceiling seen through a gate; its floor is already painted."""
    sign = -1.0 if wall % 2 == 0 else 1.0
    level = (0.0, layout.size_m[1], 0.0, layout.size_m[0])[wall] + sign * layout.passage_m
    back = canvas.plane(across, level)
    z = canvas.at(back, 2)
    canvas.hit(hole & (z >= 0) & (z < layout.gate_height_m), back, (58.0, 54.0, 50.0))
    ceiling = canvas.plane(2, layout.gate_height_m)
    canvas.hit(hole & (canvas.rays[..., 2] > 0), ceiling, (40.0, 38.0, 36.0))


def _paint_block(canvas: _Canvas, seed: int, block: Block) -> None:
    low, high = np.array(block.low_m, np.float32), np.array(block.high_m, np.float32)
    rng = np.random.default_rng([seed, 104, round(block.low_m[0] * 100), round(block.low_m[1] * 100)])
    leaf = block.kind == "planter"
    soil_z = high[2] - (0.17 if leaf else 0.0)
    speckle = rng.standard_normal((96, 96)).astype(np.float32)
    speckle = cv2.GaussianBlur(speckle, (0, 0), 1.0) * 3.0
    for axis in range(3):
        level = high[axis] if canvas.origin[axis] > high[axis] else low[axis]
        t = canvas.plane(axis, level)
        point = [canvas.at(t, k) for k in range(3)]
        on = np.ones(t.shape, dtype=bool)
        for other in (k for k in range(3) if k != axis):
            on &= (point[other] >= low[other]) & (point[other] <= high[other])
        u, v = (np.where(on, point[k], 0) for k in range(3) if k != axis)
        grain = speckle[(v * 26).astype(np.int64) % 96, (u * 26).astype(np.int64) % 96]
        light = (0.72, 0.86, 1.0)[axis] if canvas.origin[axis] < high[axis] else (1.0, 0.92, 1.05)[axis]
        green = np.array((72, 98, 52), np.float32) * light * (1 + 0.3 * grain[..., None])
        plain = np.array(BLOCK_COLOURS[block.kind], np.float32) * light * (1 + 0.02 * grain[..., None])
        leafy = leaf & (np.bool_(axis == 2) | (point[2] > soil_z))
        slat = (axis == 2) & ((v * 9) % 1.0 < 0.14) & (block.kind == "bench")
        canvas.hit(on, t, np.where(leafy[..., None], green, plain) * np.where(slat, 0.6, 1.0)[..., None])


def _paint_fountain(canvas: _Canvas, fountain: Fountain) -> None:
    (fx, fy), radius, height = fountain.centre_m, fountain.radius_m, fountain.height_m
    _paint_drum(canvas, fx, fy, radius, 0.0, height, (168.0, 162.0, 154.0))
    for level, inner, outer, colour in (
        (height, radius - 0.18, radius, (196.0, 190.0, 180.0)),
        (height - 0.1, 0.0, radius - 0.18, (104.0, 138.0, 146.0)),
    ):
        t = canvas.plane(2, level)
        far = np.hypot(canvas.at(t, 0) - fx, canvas.at(t, 1) - fy)
        ripple = 1 + (0.05 * np.sin(far * 26) if inner == 0.0 else 0.0 * far)
        canvas.hit(
            (far >= inner) & (far < outer), t, np.array(colour, np.float32) * ripple[..., None].astype(np.float32)
        )
    _paint_drum(canvas, fx, fy, 0.16, 0.0, 1.15, (176.0, 170.0, 160.0))
    t = canvas.plane(2, 1.15)
    canvas.hit(np.hypot(canvas.at(t, 0) - fx, canvas.at(t, 1) - fy) < 0.42, t, (188.0, 184.0, 176.0))


def _paint_drum(
    canvas: _Canvas, x: float, y: float, radius: float, low: float, high: float, colour: tuple[float, ...]
) -> None:
    """The side of an upright cylinder, lit from the sun's side."""
    dx, dy = canvas.rays[..., 0], canvas.rays[..., 1]
    ox, oy = canvas.origin[0] - x, canvas.origin[1] - y
    a, b, c = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - radius * radius
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-9)
    z = canvas.at(t, 2)
    facing = ((ox + t * dx) * -SUN[0] + (oy + t * dy) * -SUN[1]) / (radius * np.hypot(SUN[0], SUN[1]))
    light = 0.78 + 0.22 * np.clip(facing, -1, 1)
    canvas.hit(
        (root > 0) & (z >= low) & (z <= high), t, np.array(colour, np.float32) * light[..., None].astype(np.float32)
    )
