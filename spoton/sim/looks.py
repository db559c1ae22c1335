"""What one simulated person looks like: body size and clothing, a pure function of the seed and the person's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rgb = tuple[int, int, int]

LOOKS_STREAM = 102
TOPS: tuple[Rgb, ...] = (
    (172, 42, 40), (30, 56, 118), (214, 156, 44), (34, 96, 66), (96, 54, 126), (240, 238, 232), (30, 32, 36),
    (22, 116, 128), (204, 96, 44), (122, 30, 58), (74, 124, 190), (110, 74, 48), (198, 92, 128), (84, 96, 42),
    (70, 76, 86), (126, 172, 64), (46, 150, 116),
)  # fmt: skip
"""Shirt and coat colours; with a stride through them that has no common divisor, neighbours in number differ."""
BOTTOMS: tuple[Rgb, ...] = (
    (32, 36, 50), (46, 62, 96), (74, 90, 120), (40, 40, 42), (94, 76, 58), (62, 68, 58), (112, 96, 72),
)  # fmt: skip
SKINS: tuple[Rgb, ...] = ((226, 180, 150), (204, 154, 122), (170, 118, 86), (122, 82, 58), (92, 60, 44))
HAIRS: tuple[Rgb, ...] = ((36, 28, 24), (72, 48, 32), (110, 78, 46), (172, 138, 84), (120, 116, 112), (24, 22, 24))
SHOES: tuple[Rgb, ...] = ((34, 32, 32), (82, 58, 42), (208, 206, 202), (60, 64, 72))
BAGS: tuple[Rgb, ...] = ((52, 60, 54), (120, 44, 40), (48, 70, 110), (150, 110, 60))


@dataclass(frozen=True, slots=True)
class Looks:
    """Body and clothing. height_m: 1.56 to 1.92; build: 0.92 to 1.12, widths relative to the usual."""

    height_m: float
    build: float
    top: Rgb
    bottom: Rgb
    skin: Rgb
    hair: Rgb
    shoes: Rgb
    bag: Rgb | None
    short_sleeves: bool
    legs: str
    """``trousers``, ``shorts`` or ``skirt``."""
    long_hair: bool


def looks_of(seed: int, person: int) -> Looks:
    """The looks of ``person``; people of nearby numbers never share both shirt and trousers."""
    rng = np.random.default_rng([seed, LOOKS_STREAM, person])

    def pick(colours: tuple[Rgb, ...]) -> Rgb:
        return colours[int(rng.integers(len(colours)))]

    short_sleeves = bool(rng.random() < 0.4)
    return Looks(
        height_m=float(np.clip(rng.normal(1.73, 0.075), 1.56, 1.92)),
        build=float(rng.uniform(0.92, 1.12)),
        top=TOPS[(person * 5 + seed) % len(TOPS)],
        bottom=BOTTOMS[(person * 3 + seed) % len(BOTTOMS)],
        skin=pick(SKINS),
        hair=pick(HAIRS),
        shoes=pick(SHOES),
        bag=pick(BAGS) if rng.random() < 0.35 else None,
        short_sleeves=short_sleeves,
        legs=str(rng.choice(("trousers", "shorts", "skirt"), p=(0.7, 0.12, 0.18))),
        long_hair=bool(rng.random() < 0.4),
    )
