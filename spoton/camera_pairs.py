"""Numbers kept for pairs of cameras that see the same people: few of all pairs do, so only those are kept."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Pairs(msgspec.Struct, frozen=True):
    """first, second: (P,) columns of cameras, first < second, no pair twice. rows: (P, W) what is kept of each pair."""

    first: Ints
    second: Ints
    rows: Floats

    def __len__(self) -> int:
        return len(self.first)


def none(width: int) -> Pairs:
    """No pair, of which ``width`` numbers would be kept."""
    return Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, width)))


def with_sums(pairs: Pairs, first: Ints, second: Ints, rows: Floats, kept: float) -> Pairs:
    """The sums after rows (K, W) of pairs (K,) each, first < second; what those pairs had counts for ``kept`` of it."""
    if not len(first):
        return pairs
    widest = 1 + int(max(second.max(), pairs.second.max(initial=0)))
    had, new = pairs.first * widest + pairs.second, first * widest + second
    every = np.union1d(had, new)
    sums = np.zeros((len(every), rows.shape[1]))
    sums[np.searchsorted(every, had)] = pairs.rows
    here = np.searchsorted(every, new)
    sums[np.unique(here)] *= kept
    np.add.at(sums, here, rows)
    return Pairs(every // widest, every % widest, sums)


def without(pairs: Pairs, camera: int) -> Pairs:
    """All pairs but those of one camera."""
    left = (pairs.first != camera) & (pairs.second != camera)
    return Pairs(pairs.first[left], pairs.second[left], pairs.rows[left])


def of_cameras(pairs: Pairs, before: Sequence[str], after: Sequence[str]) -> Pairs:
    """The pairs for another set of cameras, both in the order of names; those of cameras that went away are gone."""
    moved = np.array([after.index(name) if name in after else -1 for name in before], dtype=np.int64)
    if not len(pairs):
        return pairs
    first, second = moved[pairs.first], moved[pairs.second]
    left = (first >= 0) & (second >= 0)
    return Pairs(first[left], second[left], pairs.rows[left])


def parts(pairs: Pairs, cameras: int) -> Ints:
    """For each camera (C,) the lowest of those that it hangs together with over pairs."""
    part = np.arange(cameras)
    while True:
        before = part
        part = part.copy()
        np.minimum.at(part, pairs.first, before[pairs.second])
        np.minimum.at(part, pairs.second, before[pairs.first])
        part = part[part]
        if np.array_equal(part, before):
            return part
