"""Pictures of the plaza as one camera gives them: background, soft shadows, people from far to near, sensor noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.figure import PART, Dress
from spoton.sim.layout import Layout
from spoton.sim.outline import SHIFT, Outlines, Polygon, outlines
from spoton.sim.rig import View
from spoton.sim.scenery import scenery
from spoton.sim.surfaces import SHADE, SUN

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

NOISE_SIGMA = 3.0
NOISE_BANK = 3
"""The noise bank holds this many pictures' worth of samples; every frame reads it from a place of its own."""
DRIFT = 0.025
"""Illumination wanders by up to this share over about a minute."""
DRIFT_STEPS = 256
DARK_SIDE = 0.86
SHADOW_PARTS = tuple(
    PART[name]
    for name in (
        "shin_l", "shin_r", "thigh_l", "thigh_r", "torso", "upper_arm_l", "upper_arm_r", "forearm_l", "forearm_r",
        "face",
    )
)  # fmt: skip
ROUND_PARTS = frozenset(PART[name] for name in ("torso", "skirt"))
"""Parts that get a darker side away from the sun."""


class Renderer:
    """Paints what one camera sees. What it keeps (background, noise) is fixed when it is made."""

    def __init__(self, seed: int, camera: int, layout: Layout, view: View) -> None:
        self.view = view
        self._seed, self._camera, self._size_m = seed, camera, layout.size_m
        self._scenery = scenery(seed, layout, view)
        self.static_depth_m = self._scenery.depth_m
        width, height = view.size_px
        rng = np.random.default_rng([seed, 105, camera])
        samples = NOISE_SIGMA * rng.standard_normal(NOISE_BANK * width * height * 3, dtype=np.float32)
        self._brighter = np.clip(np.round(samples), 0, 255).astype(np.uint8)
        self._darker = np.clip(np.round(-samples), 0, 255).astype(np.uint8)
        half = (width // 2, height // 2)
        sunlit = self._scenery.sunlit.astype(np.uint8) * 255
        self._unlit = cv2.bitwise_not(cv2.resize(sunlit, half, interpolation=cv2.INTER_AREA))
        self._sun_on_right = bool((-view.R @ (SUN * (1, 1, 0)))[0] > 0)

    def paint(self, joints: Floats, radii: Floats, dress: list[Dress], seconds: float, frame: int) -> Picture:
        """One (H, W, 3) RGB picture of figures with ``joints`` (N, J, 3) and ``radii`` (N, J) in metres.

        dress: per figure the colours of its parts; seconds: time of the frame since the world began, for the light;
        frame: its number, for the noise.
        """
        gain = self._gain(seconds)
        picture = np.asarray(cv2.convertScaleAbs(self._scenery.picture, alpha=gain), np.uint8)
        light = self._daylight(joints)
        ground = joints.copy()
        ground[..., :2] -= SUN[:2] / SUN[2] * joints[..., 2:]
        ground[..., 2] = 0.0
        # Figures and their shadows in one go: most of the cost of outlines is per call.
        seen = outlines(self.view, np.concatenate((joints, ground)), np.concatenate((radii, 0.9 * radii)))
        self._cast_shadows(picture, [seen.parts[row] for row in np.flatnonzero(seen.order >= len(joints))])
        for row in np.flatnonzero(seen.order < len(joints)).tolist():
            person = seen.order[row]
            self._paint_figure(picture, seen, row, dress[person], gain * float(light[person]))
        return self._add_noise(picture, frame)

    def _gain(self, seconds: float) -> float:
        wave = np.sin(seconds / 7.3 + self._seed) + np.sin(seconds / 19.7 + 2.0 * self._seed)
        return 1.0 + DRIFT * 0.5 * round(float(wave) * DRIFT_STEPS) / DRIFT_STEPS

    def _daylight(self, joints: Floats) -> Floats:
        """(N,) how bright each figure is: full inside the plaza, dim in the passages behind its gates."""
        middle = joints[..., :2].mean(axis=1)
        inside_m = np.minimum(middle, np.array(self._size_m) - middle).min(axis=1)
        return np.asarray(np.clip(0.95 + 0.4 * inside_m, 0.5, 1.0))

    def _cast_shadows(self, picture: Picture, shadows: list[list[Polygon]]) -> None:
        height, width = picture.shape[:2]
        shade: Picture = np.full((height // 2, width // 2), 255, np.uint8)
        dark = 255 * sum(SHADE) / len(SHADE)
        for parts in shadows:
            for part in SHADOW_PARTS:
                cv2.fillConvexPoly(shade, parts[part], dark, lineType=cv2.LINE_8, shift=SHIFT + 1)
        cv2.blur(shade, (3, 3), dst=shade)
        cv2.max(shade, self._unlit, dst=shade)
        full = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.multiply(picture, cv2.merge([full, full, full]), dst=picture, scale=1 / 255)

    def _paint_figure(self, picture: Picture, seen: Outlines, row: int, colours: Dress, gain: float) -> None:
        corner, other = _window(seen.boxes_px[row], self.view.size_px)
        window = (slice(corner[1], other[1]), slice(corner[0], other[0]))
        hidden = self.static_depth_m[window] < seen.middles_m[row]
        covered = bool(hidden.any())
        before = picture[window][hidden] if covered else None
        parts = seen.parts[row]
        for part in seen.far_to_near[row]:
            colour = colours[part]
            if colour is None:
                continue
            red, green, blue = (gain * channel for channel in colour)
            if part in ROUND_PARTS:
                dim = (DARK_SIDE * red, DARK_SIDE * green, DARK_SIDE * blue)
                cv2.fillConvexPoly(picture, parts[part], dim, cv2.LINE_AA, SHIFT)
                lit = _lit_side(parts[part], self._sun_on_right)
                cv2.fillConvexPoly(picture, lit, (red, green, blue), cv2.LINE_AA, SHIFT)
            else:
                cv2.fillConvexPoly(picture, parts[part], (red, green, blue), cv2.LINE_AA, SHIFT)
        if before is not None:
            picture[window][hidden] = before

    def _add_noise(self, picture: Picture, frame: int) -> Picture:
        room = self._brighter.size - picture.size
        start = int(np.random.default_rng([self._seed, 106, self._camera, frame]).integers(room // 3)) * 3
        taken = slice(start, start + picture.size)
        cv2.add(picture, self._brighter[taken].reshape(picture.shape), dst=picture)
        cv2.subtract(picture, self._darker[taken].reshape(picture.shape), dst=picture)
        return picture


def _window(box_px: Floats, size_px: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    left, top = (max(0, int(np.floor(value)) - 1) for value in box_px[:2])
    right, low = (min(size, int(np.ceil(value)) + 2) for value, size in zip(box_px[2:], size_px, strict=True))
    return (left, top), (max(right, left), max(low, top))


def _lit_side(polygon: Polygon, right: bool) -> Polygon:
    """The outline narrowed to two thirds, keeping to the side where the sun is."""
    narrow = polygon.copy()
    columns = narrow[:, 0]
    columns *= 11
    columns += 5 * int(polygon[:, 0].max() if right else polygon[:, 0].min())
    columns >>= 4
    return narrow
