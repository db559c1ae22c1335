"""Velocities to choose from, and how soon each leads into somebody; shared by all simulated walkers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def fan(wanted: Floats, current: Floats) -> tuple[Floats, Floats]:
    """(N, C) x and y of velocities to choose from: around the wanted one, the current one, and standing still."""
    turn = np.radians([0, 14, -14, 30, -30, 52, -52, 80, -80, 115, -115])
    x = wanted[:, :1] * np.cos(turn) - wanted[:, 1:] * np.sin(turn)
    y = wanted[:, :1] * np.sin(turn) + wanted[:, 1:] * np.cos(turn)
    still = np.zeros((len(wanted), 1))
    x = np.concatenate((x, 0.5 * x, current[:, :1], still), axis=1)
    return x, np.concatenate((y, 0.5 * y, current[:, 1:], still), axis=1)


def time_to_touch(gap: tuple[Floats, Floats], nearing: tuple[Floats, Floats], radius: Floats | float) -> Floats:
    """Seconds until what lies at ``gap`` and nears with ``nearing`` comes within ``radius``; inf for never."""
    (x, y), (u, v) = gap, nearing
    a = u * u + v * v + 1e-9
    b = x * u + y * v
    c = x * x + y * y - radius * radius
    root = b * b - a * c
    time = np.maximum(b - np.sqrt(np.maximum(root, 0.0)), 0.0) / a
    return np.where((root > 0) & (b > 0), time, np.inf)


def near_pairs(points_m: Floats, reach_m: float) -> tuple[Ints, Ints]:
    """All ordered pairs (i, j), i != j, of points (N, 2) within ``reach_m``, sorted by i; by cells, not all by all."""
    cell = np.floor(points_m / reach_m).astype(np.int64)
    cell -= cell.min(axis=0, initial=0) - 1
    wide = int(cell[:, 1].max(initial=0)) + 2
    key = cell[:, 0] * wide + cell[:, 1]
    order = np.argsort(key, kind="stable")
    known = key[order]
    ones, others = [], []
    for shift in (-wide, 0, wide):
        start = np.searchsorted(known, key + shift - 1, "left")
        count = np.searchsorted(known, key + shift + 1, "right") - start
        one = np.repeat(np.arange(len(key)), count)
        within = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
        ones.append(one)
        others.append(order[np.repeat(start, count) + within])
    i, j = np.concatenate(ones), np.concatenate(others)
    gap = points_m[j] - points_m[i]
    near = (i != j) & (gap[:, 0] ** 2 + gap[:, 1] ** 2 <= reach_m**2)
    i, j = i[near], j[near]
    sort = np.argsort(i, kind="stable")
    return i[sort], j[sort]
