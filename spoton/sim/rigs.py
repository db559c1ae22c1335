"""How cameras are mounted over a floor of any size: in a grid, along a corridor, in a ring, or with blind gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton.sim.rig import View, look_at
from spoton.sim.scenario import Scenario

Floats = NDArray[np.float64]

HEIGHT_M = 4.5
_NEAREST_AIM_M, _FARTHEST_AIM_M = 5.0, 14.0
_GAPS = (
    ("centre-south-west", (0.31, 0.04), 41.0, 6.0),
    ("centre-north-east", (0.69, 0.96), 221.0, 6.0),
    ("centre-south-east", (0.69, 0.04), 139.0, 6.0),
    ("centre-north-west", (0.31, 0.96), 319.0, 6.0),
    ("west-north", (0.25, 0.62), 148.0, 6.0),
    ("west-south", (0.25, 0.38), 212.0, 6.0),
    ("east-north", (0.75, 0.62), 32.0, 6.0),
    ("east-south", (0.75, 0.38), 328.0, 6.0),
)
"""Name, place as a share of the floor, direction in degrees from x, and how far away the camera aims, metres.

Of a floor of 36 by 14 m the four in the centre see the middle together. The two in the west have no common view with
each other, and next to none with the centre; the two in the east neither: who walks between them is unseen for a while.
"""


def views_of(scenario: Scenario) -> tuple[View, ...]:
    """The calibrated cameras of the scenario, in the order of their numbers."""
    if scenario.rig == "gaps":
        size = np.array(scenario.floor_m)
        return tuple(
            _view(scenario, name, np.array(share) * size, np.radians(degrees), aim_m)
            for name, share, degrees, aim_m in _GAPS
        )
    places, headings, aims = {"grid": _grid, "corridor": _corridor, "ring": _ring}[scenario.rig](scenario)
    digits = max(2, len(str(scenario.cameras)))
    return tuple(
        _view(scenario, f"c{k + 1:0{digits}d}", place, heading, aim)
        for k, (place, heading, aim) in enumerate(zip(places, headings, aims, strict=True))
    )


def _view(scenario: Scenario, name: str, place: Floats, heading: float, aim_m: float) -> View:
    target = place + aim_m * np.array([np.cos(heading), np.sin(heading)])
    return look_at(name, np.array([*place, HEIGHT_M]), np.array([*target, 0.0]), scenario.size_px)


def _aim(distance_m: Floats) -> Floats:
    return np.asarray(np.clip(distance_m, _NEAREST_AIM_M, _FARTHEST_AIM_M))


def _grid(scenario: Scenario) -> tuple[Floats, Floats, Floats]:
    """Rows and columns of near-square cells, a camera over the outer side of each, looking inwards by turns left and
    right of the middle."""
    size, count = np.array(scenario.floor_m), scenario.cameras
    columns = int(np.clip(round(float(np.sqrt(count * size[0] / size[1]))), 1, count))
    rows = -(-count // columns)
    k = np.arange(count)
    # The last row may be short: its cells are wider.
    in_row = np.where(k // columns < rows - 1, columns, count - columns * (rows - 1))
    share = np.stack(((k % columns + 0.5) / in_row, (k // columns + 0.5) / rows), axis=1)
    cell = np.stack((size[0] / in_row, np.full(count, size[1] / rows)), axis=1)
    to_middle = size / 2 - share * size
    lost = np.linalg.norm(to_middle, axis=1) < 1e-6
    to_middle[lost] = (1.0, 0.0)
    inward = to_middle / np.linalg.norm(to_middle, axis=1, keepdims=True)
    place = np.clip(share * size - 0.35 * cell * inward, 0.4, size - 0.4)
    heading = np.arctan2(inward[:, 1], inward[:, 0]) + np.radians(35.0) * np.where(k % 2, -1.0, 1.0)
    return place, heading, _aim(0.8 * cell.max(axis=1))


def _corridor(scenario: Scenario) -> tuple[Floats, Floats, Floats]:
    """Along the longer side, one after another, by turns at either wall, all looking the same way along it."""
    size, count = np.array(scenario.floor_m), scenario.cameras
    long, across = (0, 1) if size[0] >= size[1] else (1, 0)
    stretch = size[long] / count
    k = np.arange(count)
    place = np.empty((count, 2))
    place[:, long] = 0.4 + k * stretch
    place[:, across] = np.where(k % 2, size[across] - 0.4, 0.4)
    lean = np.radians(12.0) * np.where(k % 2, -1.0, 1.0)
    heading = lean if long == 0 else np.pi / 2 - lean
    return place, heading, _aim(np.full(count, 0.7 * stretch))


def _ring(scenario: Scenario) -> tuple[Floats, Floats, Floats]:
    """On the ellipse within the walls, all looking at the middle."""
    size, count = np.array(scenario.floor_m), scenario.cameras
    turn = 2 * np.pi * (np.arange(count) + 0.5) / count
    place = size / 2 + (size / 2 - 0.4) * np.stack((np.cos(turn), np.sin(turn)), axis=1)
    inward = size / 2 - place
    return place, np.arctan2(inward[:, 1], inward[:, 0]), _aim(0.8 * np.linalg.norm(inward, axis=1))
