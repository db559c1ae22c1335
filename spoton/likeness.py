"""What a distance between two looks says: learnt on site, from people whom geometry tells together and apart.

Every embedder has distances of its own, and so has every place, with its light and its uniforms. Cosine distances
between what somebody looks like now and what they were known by are counted, and so are those between different people
who are there at the same time. The ratio of the two is the evidence (calibration of scores as likelihood ratios:
Brümmer and du Preez, Computer Speech and Language 2006), never more for a larger distance than for a smaller one.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPOILT, MISTAKEN = 0.05, 0.001
"""So many impressions do not look like the person they are of, and so many look like another."""
ENOUGH_SAME, ENOUGH_OTHER = 30.0, 200.0
"""Fewer distances than these say nothing yet."""
BINS = 64
_LEAST, _MOST = 1e-3, 2.0
_EDGES = np.linspace(np.log(_LEAST), np.log(_MOST), BINS + 1)
_MIDDLE = (_EDGES[1:] + _EDGES[:-1]) / 2.0
_MEMORY = 5000.0
"""Old distances count less and less beyond so many: the light changes."""
_SMOOTH = np.exp(-0.5 * ((_MIDDLE[:, None] - _MIDDLE) / 0.15) ** 2)
_SMOOTH /= _SMOOTH.sum(axis=0)
_NARROWEST = 0.1
_WORTH = 10.0
"""Where few distances were counted, they are taken to be normal in their logarithm: as much as so many say."""


class Likeness(msgspec.Struct, frozen=True):
    """How often each cosine distance was seen, (BINS,) by its logarithm: of the same people, and of different ones."""

    same: Floats = msgspec.field(default_factory=lambda: np.zeros(BINS))
    other: Floats = msgspec.field(default_factory=lambda: np.zeros(BINS))

    @property
    def known(self) -> bool:
        """Whether enough has been seen to say anything, and the same people look more alike than others."""
        enough = self.same.sum() >= ENOUGH_SAME and self.other.sum() >= ENOUGH_OTHER
        return bool(enough and self.same @ _MIDDLE / self.same.sum() < self.other @ _MIDDLE / self.other.sum())


def learned(likeness: Likeness, same: Floats, other: Floats) -> Likeness:
    """With cosine distances (K,) of the same people and (L,) of different ones."""
    return Likeness(_with(likeness.same, same), _with(likeness.other, other))


def evidence(likeness: Likeness, apart: Floats) -> Floats:
    """How much more likely distances are of one person than of two, as logarithms; 0 while nothing is known.

    apart: cosine distances of any shape.
    """
    if not likeness.known:
        return np.zeros_like(apart)
    told: Floats = _table(likeness)[_bin(apart)]
    return told


def gate(likeness: Likeness, default: float) -> float:
    """The distance that the same and different people have equally often; ``default`` while nothing is known."""
    if not likeness.known:
        return default
    return float(np.exp(_EDGES[int((_table(likeness) > 0.0).sum())]))


def _table(likeness: Likeness) -> Floats:
    """(BINS,) what each distance says."""
    mine, theirs = _shares(likeness.same), _shares(likeness.other)
    mine, theirs = (1 - SPOILT) * mine + SPOILT * theirs, (1 - MISTAKEN) * theirs + MISTAKEN * mine
    falling: Floats = np.minimum.accumulate(np.log(mine / theirs))
    return falling


def _shares(count: Floats) -> Floats:
    total = count.sum()
    mean = count @ _MIDDLE / total
    sigma = max(float(np.sqrt(count @ (_MIDDLE - mean) ** 2 / total)), _NARROWEST)
    usual = np.exp(-0.5 * ((_MIDDLE - mean) / sigma) ** 2)
    shares: Floats = (_SMOOTH @ count + _WORTH * usual / usual.sum() + 1e-6) / (total + _WORTH)
    return shares


def _bin(apart: Floats) -> NDArray[np.intp]:
    return np.clip(np.searchsorted(_EDGES, np.log(np.maximum(apart, _LEAST))) - 1, 0, BINS - 1)


def _with(count: Floats, apart: Floats) -> Floats:
    fresh = np.bincount(_bin(apart), minlength=BINS).astype(np.float64)
    total = count.sum() + fresh.sum()
    after: Floats = (count + fresh) * min(1.0, _MEMORY / max(total, 1.0))
    return after
