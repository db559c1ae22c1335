"""Walls and gates of a simulated floor, and what stands on it. World axes in metres: x east, y north, z up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gate:
    """An opening in one of the four walls, through which people come and go.

    origin_m: the middle of the opening on the wall line; inward: unit vector into the plaza.
    """

    name: str
    origin_m: tuple[float, float]
    inward: tuple[float, float]
    width_m: float

    def at(self, inward_m: float, sideways_m: float = 0.0) -> tuple[float, float]:
        """Floor point that lies ``inward_m`` inside the wall (negative: behind it) and to the left of the way in."""
        (x, y), (u, v) = self.origin_m, self.inward
        return x + inward_m * u - sideways_m * v, y + inward_m * v + sideways_m * u


@dataclass(frozen=True, slots=True)
class Block:
    """A box: a ``planter`` with greenery, the seat of a ``bench``, or a bench's ``foot``."""

    kind: str
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Fountain:
    """A round basin."""

    centre_m: tuple[float, float]
    radius_m: float
    height_m: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that does not move; ``size_m`` is the inner extent, its lower left corner at (0, 0)."""

    size_m: tuple[float, float]
    wall_height_m: float
    gate_height_m: float
    passage_m: float
    gates: tuple[Gate, ...]
    blocks: tuple[Block, ...]
    fountain: Fountain | None

    def discs_m(self) -> Floats:
        """(M, 3) x, y, radius: discs that cover what people must walk around."""
        discs = [(*self.fountain.centre_m, self.fountain.radius_m)] if self.fountain else []
        for block in (block for block in self.blocks if block.kind != "foot"):
            low, high = np.array(block.low_m[:2]), np.array(block.high_m[:2])
            width = high - low
            count = max(1, int(np.ceil(width.max() / width.min())))
            radius = float(np.hypot(width.max() / count, width.min()) / 2)
            for k in range(count):
                share = (k + 0.5) / count
                middle = low + width * np.where(width == width.max(), share, 0.5)
                discs.append((float(middle[0]), float(middle[1]), radius))
        return np.array(discs).reshape(-1, 3)

    def walkable(self, floor_m: Floats, margin_m: float = 0.3) -> NDArray[np.bool_]:
        """Which of the (..., 2) floor points lie in the plaza, in a gate, or in the passage behind one."""
        x, y = floor_m[..., 0], floor_m[..., 1]
        width, depth = self.size_m
        good = (x > margin_m) & (x < width - margin_m) & (y > margin_m) & (y < depth - margin_m)
        if good.all():
            return good
        origin_x, origin_y = np.array([gate.origin_m for gate in self.gates]).T
        u, v = np.array([gate.inward for gate in self.gates]).T
        half = np.array([gate.width_m / 2 for gate in self.gates])
        x, y = x[..., None] - origin_x, y[..., None] - origin_y
        inward, sideways = x * u + y * v, np.abs(y * u - x * v)
        door = (np.abs(inward) < 0.8) & (sideways < half - margin_m)
        lane = (inward > -self.passage_m + margin_m) & (inward < -margin_m) & (sideways < 5.0)
        good |= (door | lane).any(axis=-1)
        return good


def _planter(x: float, y: float) -> Block:
    return Block("planter", (x - 0.95, y - 0.35, 0.0), (x + 0.95, y + 0.35, 0.62))


def _bench(x: float, y: float) -> tuple[Block, ...]:
    feet = (Block("foot", (x + k - 0.09, y - 0.19, 0.0), (x + k + 0.09, y + 0.19, 0.37)) for k in (-0.6, 0.6))
    return Block("bench", (x - 0.85, y - 0.23, 0.37), (x + 0.85, y + 0.23, 0.44)), *feet


def plaza_layout() -> Layout:
    """The one plaza of the simulated site: 16 by 12 m with a fountain, four planters, two benches and six gates."""
    gates = (
        Gate("west", (0.0, 6.4), (1.0, 0.0), 2.6),
        Gate("east", (16.0, 5.6), (-1.0, 0.0), 2.6),
        Gate("south-west", (4.6, 0.0), (0.0, 1.0), 2.4),
        Gate("south-east", (11.6, 0.0), (0.0, 1.0), 2.4),
        Gate("north-west", (4.8, 12.0), (0.0, -1.0), 2.4),
        Gate("north-east", (11.4, 12.0), (0.0, -1.0), 2.4),
    )
    planters = (_planter(3.2, 3.1), _planter(12.8, 3.1), _planter(3.2, 9.1), _planter(12.8, 9.1))
    blocks = (*planters, *_bench(8.0, 3.2), *_bench(8.0, 9.0))
    return Layout((16.0, 12.0), 9.0, 2.6, 2.4, gates, blocks, Fountain((8.0, 6.1), 1.2, 0.5))


def hall_layout(size_m: tuple[float, float]) -> Layout:
    """A walled floor of any size with nothing on it and a gate every dozen metres of wall, two at least."""
    width, depth = size_m
    gates = []
    walls = (
        ("south", width, (0.0, 1.0)), ("north", width, (0.0, -1.0)), ("west", depth, (1.0, 0.0)),
        ("east", depth, (-1.0, 0.0)),
    )  # fmt: skip
    for name, length, inward in walls:
        count = max(1, round(length / 12.0))
        for k in range(count):
            # Gates that face each other are not opposite, so that ways across the floor differ.
            along = length * (k + (0.4 if name in ("south", "east") else 0.6)) / count
            origin = {
                "south": (along, 0.0), "north": (along, depth), "west": (0.0, along), "east": (width, along)
            }[name]  # fmt: skip
            gates.append(Gate(f"{name}-{k + 1}", origin, inward, 2.4))
    return Layout(size_m, 9.0, 2.6, 2.4, tuple(gates), (), None)
