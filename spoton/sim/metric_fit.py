"""What tells people apart by the colours that they wear, learnt from simulated people.

``python -m spoton.sim.metric_fit`` writes what the built-in embedder measures by, in about eight minutes. Linear
discriminant analysis (Rao 1948) of ``worn_colours``: the directions in which people differ most, beside how much one
person differs from view to view. The simulator dresses people from a small wardrobe, so everyone is recoloured: hues
turned by one angle and channels made stronger or weaker, the same in all their pictures; and every picture is made a
little lighter or darker, tinted and shifted, as other cameras, lights and detectors would. The floors have other
cameras than the hall that the demo shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.sim.floor import SimulatedFloor
from spoton.sim.scenario import Scenario
from spoton.vision.histogram_embedder import METRIC, HistogramEmbedder
from spoton.vision.looks import crop
from spoton.vision.protocols import Picture
from spoton.vision.worn_colours import of_small, small

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCENARIOS = tuple(
    Scenario(seed=1000 + k, rig=rig, floor_m=floor_m)
    for k, (rig, floor_m) in enumerate([("grid", (36.0, 14.0)), ("ring", (24.0, 18.0)), ("corridor", (40.0, 8.0))] * 8)
)
SECONDS, EVERY_S = 300.0, 1.5
RECOLOURED = 2
"""So many times everyone of a floor is dressed anew."""
_VISIBLE, _HIGH_PX = 0.55, 32.0
_WIDE_OFF, _TOP_OFF, _FOOT_OFF = 0.05, 0.025, 0.03
"""Boxes of detectors are off by these shares of width and height."""
_STRENGTH, _LIGHT, _TINT, _SIZE = 0.15, 0.06, 0.02, 0.03
_STEADY = 1.0
"""Nothing varies less within people than this share of what all varies in the mean (Friedman 1989: regularisation)."""


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Small pictures (N, height, width, 3) of people, (N,)."""

    pictures: NDArray[np.uint8]
    person: Ints


def seen(scenario: Scenario, seconds: float, every_s: float) -> Crops:
    """Everyone whom a camera shows well enough, in boxes that are a little off."""
    world, chance = SimulatedFloor(scenario), np.random.default_rng(scenario.seed)
    pictures, person = [], []
    for frame in range(0, round(seconds * scenario.fps), max(1, round(every_s * scenario.fps))):
        ids, sight = world.sight(frame)
        well = (sight.visible > _VISIBLE) & (sight.boxes_px[:, 3] > _HIGH_PX)
        for camera in np.unique(sight.camera[well]).tolist():
            picture = world.picture(frame, camera)
            rows = np.flatnonzero(well & (sight.camera == camera))
            pictures += [small(crop(picture, box)) for box in _off(sight.boxes_px[rows], chance)]
            person += ids[rows].tolist()
    return Crops(np.stack(pictures), np.array(person, dtype=np.int64))


def recoloured(crops: Crops, chance: np.random.Generator) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Everyone in other colours, and each of their pictures in another light: person, and their pictures."""
    for person in np.unique(crops.person).tolist():
        colours = _turned(chance.uniform(-np.pi, np.pi)) * np.exp(chance.normal(0.0, _STRENGTH))
        pictures = crops.pictures[crops.person == person] @ colours.T
        light = np.exp(chance.normal(0.0, _LIGHT, (len(pictures), 1)) + chance.normal(0.0, _TINT, (len(pictures), 3)))
        lit = np.clip(pictures * light[:, None, None, :], 0, 255).astype(np.uint8)
        yield person, np.stack([_shifted(picture, chance) for picture in lit])


def metric(people: Sequence[Floats], dim: int) -> Floats:
    """(D, dim) directions from the rows of people, each (n, D), n > 1: the more telling first.

    Rows times these have about the same spread within people in every direction.
    """
    means = np.stack([rows.mean(axis=0) for rows in people])
    spread = [(rows - mean) * np.sqrt(len(rows) / (len(rows) - 1)) for rows, mean in zip(people, means, strict=True)]
    off = np.concatenate(spread)
    within = off.T @ off / len(off)
    steady = np.eye(len(within)) * np.trace(within) / len(within)
    root = np.linalg.inv(np.linalg.cholesky(within + _STEADY * steady))
    _, directions = np.linalg.eigh(root @ np.cov(means.T) @ root.T)
    found: Floats = root.T @ directions[:, ::-1][:, :dim]
    found /= np.abs(found).max()
    return found


def learnt(scenarios: Sequence[Scenario], dim: int, seconds: float = SECONDS, every_s: float = EVERY_S) -> Floats:
    """The metric from everyone on these floors; the same scenarios give the same."""
    people = []
    for scenario in scenarios:
        crops, chance = seen(scenario, seconds, every_s), np.random.default_rng([scenario.seed, 1])
        for _ in range(RECOLOURED):
            people += [of_small(pictures).astype(np.float64) for _, pictures in recoloured(crops, chance)]
    return metric([rows for rows in people if len(rows) > 1], dim)


def _off(boxes_px: Floats, chance: np.random.Generator) -> Floats:
    left, top, width, height = boxes_px.T
    share = chance.normal(0.0, 1.0, (4, len(boxes_px)))
    near, far = left + _WIDE_OFF * share[0] * width, left + width + _WIDE_OFF * share[1] * width
    high, low = top + _TOP_OFF * share[2] * height, top + height + _FOOT_OFF * share[3] * height
    return np.column_stack([near, high, far - near, low - high])


def _turned(angle: float) -> Floats:
    """(3, 3) a rotation of colours about grey (Rodrigues)."""
    across = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3.0)
    turned: Floats = np.eye(3) + np.sin(angle) * across + (1.0 - np.cos(angle)) * across @ across
    return turned


def _shifted(picture: Picture, chance: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    size = 1.0 + chance.normal(0.0, _SIZE)
    right, down = int(chance.integers(-1, 2)), int(chance.integers(-2, 3))
    moved = np.array([[size, 0.0, right + width / 2 * (1 - size)], [0.0, size, down + height / 2 * (1 - size)]])
    return np.asarray(cv2.warpAffine(picture, moved, (width, height), borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def main() -> None:
    """Write the metric that the built-in embedder uses."""
    np.save(METRIC, learnt(SCENARIOS, HistogramEmbedder.dim).astype(np.float16))


if __name__ == "__main__":
    main()
