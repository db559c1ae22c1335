"""The plan of a simulated floor, drawn like an architect's: light ground, solid walls, water, green, quiet shadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Block, Fountain, Layout
from spoton.sim.world import World

Raster = NDArray[np.uint8]
Rgb = tuple[int, int, int]

METRES_PER_PIXEL = 0.0125
"""Of the plan picture."""
PLAN_MARGIN_M = 1.0
FINER = 2
WALL_M = 0.32

PAPER: Rgb = (226, 224, 219)
FLOOR: Rgb = (246, 244, 239)
LINE: Rgb = (233, 230, 223)
BORDER: Rgb = (236, 233, 226)
WALL: Rgb = (88, 86, 84)
WATER: Rgb = (190, 216, 224)
STONE: Rgb = (214, 210, 202)
GREEN: Rgb = (168, 190, 150)
WOOD: Rgb = (205, 180, 148)


class _Sheet:
    """A drawing in metres, y up, with the origin ``PLAN_MARGIN_M`` inside the lower left corner."""

    def __init__(self, size_m: tuple[float, float]) -> None:
        self.scale = FINER / METRES_PER_PIXEL
        self.top_m = size_m[1] + PLAN_MARGIN_M
        width, height = (round((extent + 2 * PLAN_MARGIN_M) * self.scale) for extent in size_m)
        self.picture: Raster = np.full((height, width, 3), PAPER, np.uint8)

    def point(self, x: float, y: float) -> tuple[int, int]:
        return round((x + PLAN_MARGIN_M) * self.scale), round((self.top_m - y) * self.scale)

    def box(self, low: tuple[float, float], high: tuple[float, float], colour: Rgb) -> None:
        (left, bottom), (right, top) = self.point(*low), self.point(*high)
        cv2.rectangle(self.picture, (left, top), (right - 1, bottom - 1), colour, -1)

    def disc(self, x: float, y: float, radius: float, colour: Rgb, line_m: float | None = None) -> None:
        thickness = -1 if line_m is None else max(1, round(line_m * self.scale))
        cv2.circle(self.picture, self.point(x, y), round(radius * self.scale), colour, thickness, cv2.LINE_AA)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: Rgb, wide_m: float) -> None:
        wide = max(1, round(wide_m * self.scale))
        cv2.line(self.picture, self.point(*start), self.point(*end), colour, wide, cv2.LINE_AA)


def plan_picture(plaza: World) -> Raster:
    """The plan as an RGB picture (H, W, 3), north up, with ``PLAN_MARGIN_M`` of walls around the floor."""
    layout = plaza.layout
    sheet = _Sheet(layout.size_m)
    _draw_floor(sheet, layout)
    _cast_shadows(sheet, layout)
    _draw_walls(sheet, layout)
    for block in (block for block in layout.blocks if block.kind != "foot"):
        _draw_block(sheet, block)
    if layout.fountain is not None:
        _draw_fountain(sheet, layout.fountain)
    height, width = (side // FINER for side in sheet.picture.shape[:2])
    return np.asarray(cv2.resize(sheet.picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _draw_floor(sheet: _Sheet, layout: Layout) -> None:
    width, depth = layout.size_m
    sheet.box((0, 0), (width, depth), BORDER)
    sheet.box((0.8, 0.8), (width - 0.8, depth - 0.8), FLOOR)
    for k in range(1, round((depth - 1.6) / 0.4)):
        y = 0.8 + 0.4 * k
        sheet.line((0.8, y), (width - 0.8, y), LINE, 0.012)
        for j in range(round((width - 1.6) / 0.8) + 1):
            x = 0.8 + 0.8 * j + 0.4 * (k % 2)
            if x < width - 0.8:
                sheet.line((x, y), (x, y - 0.4), LINE, 0.012)
    for x in (5.6, 10.4):
        sheet.box((x - 0.2, 0.8), (x + 0.2, depth - 0.8), BORDER)
    if layout.fountain is not None:
        sheet.disc(*layout.fountain.centre_m, layout.fountain.radius_m + 0.7, BORDER)


def _cast_shadows(sheet: _Sheet, layout: Layout) -> None:
    """Soft shadows of walls and furniture towards the south-east, multiplied onto the floor."""
    shade = np.full(sheet.picture.shape[:2], 255, np.uint8)
    drop = 0.14
    dark = 205
    width, depth = layout.size_m
    left, bottom = sheet.point(0, 0)
    right, top = sheet.point(width, depth)
    reach = round(0.28 * sheet.scale)
    shade[top : top + reach, left:right] = dark
    shade[top:bottom, left : left + reach] = dark
    for block in layout.blocks:
        start = sheet.point(block.low_m[0] + drop, block.high_m[1] - drop)
        end = sheet.point(block.high_m[0] + drop, block.low_m[1] - drop)
        cv2.rectangle(shade, start, end, dark, -1)
    if layout.fountain is not None:
        x, y = layout.fountain.centre_m
        cv2.circle(shade, sheet.point(x + drop, y - drop), round(layout.fountain.radius_m * sheet.scale), dark, -1)
    shade = cv2.GaussianBlur(shade, (0, 0), 0.07 * sheet.scale).astype(np.uint8)
    sheet.picture = cv2.multiply(sheet.picture, cv2.merge([shade] * 3), scale=1 / 255).astype(np.uint8)


def _draw_walls(sheet: _Sheet, layout: Layout) -> None:
    """Building mass outside, solid walls with the gates left open, thin thresholds in them."""
    width, depth = layout.size_m
    far = PLAN_MARGIN_M
    for low, high in (
        ((-far, -far), (width + far, 0)), ((-far, depth), (width + far, depth + far)),
        ((-far, -far), (0, depth + far)), ((width, -far), (width + far, depth + far)),
    ):  # fmt: skip
        sheet.box(low, high, PAPER)
    w = WALL_M
    for low, high in (
        ((-w, -w), (width + w, 0)), ((-w, depth), (width + w, depth + w)), ((-w, -w), (0, depth + w)),
        ((width, -w), (width + w, depth + w)),
    ):  # fmt: skip
        sheet.box(low, high, WALL)
    for gate in layout.gates:
        half = gate.width_m / 2
        corners = np.array([gate.at(0.0, -half), gate.at(-far, half)])
        low, high = corners.min(axis=0), corners.max(axis=0)
        sheet.box((low[0], low[1]), (high[0], high[1]), FLOOR)
        for side in (-half, half):
            sheet.line(gate.at(-0.05, side), gate.at(-far, side), WALL, 0.06)
        for inward in (0.0, -w):
            sheet.line(gate.at(inward, 0.05 - half), gate.at(inward, half - 0.05), STONE, 0.03)


def _draw_block(sheet: _Sheet, block: Block) -> None:
    (x0, y0), (x1, y1) = block.low_m[:2], block.high_m[:2]
    if block.kind == "bench":
        for k in range(4):
            y = y0 + (y1 - y0) * k / 4
            sheet.box((x0, y), (x1, y + (y1 - y0) / 4 - 0.02), WOOD)
        return
    sheet.box((x0, y0), (x1, y1), STONE)
    sheet.box((x0 + 0.06, y0 + 0.06), (x1 - 0.06, y1 - 0.06), GREEN)
    rng = np.random.default_rng([104, round(x0 * 100), round(y0 * 100)])
    for x, y, size, tone in rng.uniform((x0 + 0.16, y0 + 0.16, 0.05, -16), (x1 - 0.16, y1 - 0.16, 0.1, 14), (46, 4)):
        red, green, blue = (int(np.clip(channel + tone, 0, 255)) for channel in GREEN)
        sheet.disc(x, y, size, (red, green, blue))


def _draw_fountain(sheet: _Sheet, fountain: Fountain) -> None:
    (x, y), radius = fountain.centre_m, fountain.radius_m
    sheet.disc(x, y, radius, STONE)
    sheet.disc(x, y, radius, (180, 176, 168), 0.02)
    sheet.disc(x, y, radius - 0.18, WATER)
    for share in (0.82, 0.6, 0.38):
        sheet.disc(x, y, (radius - 0.18) * share, (208, 228, 234), 0.02)
    sheet.disc(x, y, 0.3, STONE)
    sheet.disc(x, y, 0.13, (184, 180, 172))
