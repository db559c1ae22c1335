"""Where one simulated person wants to go: a pure function of the plaza's seed and the person's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Layout

Floats = NDArray[np.float64]

ROUTE_STREAM = 101
"""Keeps the random numbers of routes apart from those of looks and noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One person's way from a hidden spot behind a gate through the plaza and out again.

    speed_mps: walking speed, 1.0 to 1.65; points_m: (S, 2) legs in order, the first is where the person appears;
    pauses_s: (S,) rest after reaching each point; rest_s: how long the place stays empty after the person left.
    """

    speed_mps: float
    points_m: Floats
    pauses_s: Floats
    rest_s: float


def free_points(layout: Layout, rng: np.random.Generator, count: int, spacing_m: float) -> Floats:
    """(count, 2) floor points clear of obstacles, each at least ``spacing_m`` from the one before it."""
    discs = layout.discs_m()
    width, depth = layout.size_m
    found: list[Floats] = []
    while len(found) < count:
        point = rng.uniform((0.9, 0.9), (width - 0.9, depth - 0.9))
        clear = np.hypot(*(discs[:, :2] - point).T) > discs[:, 2] + 0.6
        if clear.all() and (not found or np.hypot(*(found[-1] - point)) > spacing_m):
            found.append(point)
    return np.array(found).reshape(count, 2)


def route_of(seed: int, person: int, layout: Layout, *, begins_inside: bool = False) -> Route:
    """The route of ``person``; with ``begins_inside`` it starts at a free spot of the plaza instead of a gate."""
    rng = np.random.default_rng([seed, ROUTE_STREAM, person])
    speed = float(np.clip(rng.normal(1.3, 0.16), 1.0, 1.65))
    stops = free_points(layout, rng, int(rng.integers(4, 9)), 3.5)
    rests = np.where(rng.random(len(stops)) < 0.3, rng.uniform(1.5, 6.0, len(stops)), 0.0)
    entry, leave = (layout.gates[k] for k in rng.choice(len(layout.gates), 2, replace=False))
    sides = rng.choice((-1.0, 1.0), 2)
    offset = rng.uniform(-0.6, 0.6, 2)
    way_in = [entry.at(-1.2, 3.4 * sides[0]), entry.at(-1.1, 0.7 * sides[0]), entry.at(1.0, offset[0])]
    way_out = [leave.at(1.0, offset[1]), leave.at(-1.1, 0.7 * sides[1]), leave.at(-1.2, 3.4 * sides[1])]
    before = np.zeros((0, 2)) if begins_inside else np.array(way_in)
    points = np.concatenate((before, stops, way_out))
    pauses = np.concatenate((np.zeros(len(before)), rests, np.zeros(len(way_out))))
    points, pauses = _around_fountain(points, pauses, layout)
    return Route(speed, points, pauses, float(rng.uniform(0.0, 2.0)))


def _around_fountain(points: Floats, pauses: Floats, layout: Layout) -> tuple[Floats, Floats]:
    """The same way with a point beside the fountain wherever a leg would lead through it."""
    if layout.fountain is None:
        return points, pauses
    centre, radius = np.array(layout.fountain.centre_m), layout.fountain.radius_m
    way, rests = [points[0]], [pauses[0]]
    for begin, end, rest in zip(points[:-1], points[1:], pauses[1:], strict=True):
        leg = end - begin
        share = float(np.clip((centre - begin) @ leg / max(float(leg @ leg), 1e-9), 0.0, 1.0))
        aside = begin + share * leg - centre
        gap = float(np.hypot(*aside))
        if gap < radius + 0.5:
            side = aside / gap if gap > 1e-6 else np.array([0.0, 1.0])
            way.append(centre + side * (radius + 0.85))
            rests.append(0.0)
        way.append(end)
        rests.append(rest)
    return np.array(way), np.array(rests)
