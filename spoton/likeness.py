"""What a distance between two looks says: learnt on site, from people whom geometry tells together and apart.

Every embedder has distances of its own, and so has every place, with its light and its uniforms. Some numbers of a look
change from moment to moment and from camera to camera, others stay: each counts by how little it varies within people.
A distance is 1 less the cosine of two looks weighted so. Those between what somebody looks like now and what they were
known by are counted, and so are those between different people who are there at the same time. The ratio of the two is
the evidence (calibration of scores as likelihood ratios: Brümmer and du Preez, Computer Speech and Language 2006),
never more for a larger distance than for a smaller one.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPOILT, MISTAKEN = 0.05, 0.001
"""So many impressions do not look like the person they are of, and so many look like another."""
ENOUGH_SAME, ENOUGH_OTHER = 15.0, 100.0
"""Fewer distances than these say nothing yet."""
WEIGHED_AT = (200, 1000, 4000)
"""After so many looks, and then whenever as many as the last came again, it is settled what each number counts,"""
KEEPS = 0.2
"""and what distances said by then counts for this share."""
FLOOR = 0.3
"""No number varies less within people than this share of what all vary in the mean."""
BINS = 64
_LEAST, _MOST = 1e-3, 2.0
_EDGES = np.linspace(np.log(_LEAST), np.log(_MOST), BINS + 1)
_MIDDLE = (_EDGES[1:] + _EDGES[:-1]) / 2.0
_MEMORY = 5000.0
"""Old distances count less and less beyond so many: the light changes."""
_SMOOTH = np.exp(-0.5 * ((_MIDDLE[:, None] - _MIDDLE) / 0.15) ** 2)
_SMOOTH /= _SMOOTH.sum(axis=0)
_NARROWEST = 0.1
_USUAL = {"histogram": 0.25, "osnet": 0.45}
_USUAL_OF_MOST = 0.5
"""Where as large a share of the same people lies beyond as of different people below (``spoton bench embedders``)."""
_WORTH = 10.0
"""Where few distances were counted, they are taken to be normal in their logarithm: as much as so many say."""


class Likeness(msgspec.Struct, frozen=True):
    """How often each distance was seen, (BINS,) by its logarithm: of the same people, and of different ones.

    table: (BINS,) what each says, falling; empty while that is not known. varies: (D,) by how much each number of a
    look differs between looks of one person, squared and summed over ``looks`` of them. weight: (D,) what each number
    counts in a distance; empty while that is not known, and each counts the same.
    """

    same: Floats = msgspec.field(default_factory=lambda: np.zeros(BINS))
    other: Floats = msgspec.field(default_factory=lambda: np.zeros(BINS))
    table: Floats = msgspec.field(default_factory=lambda: np.zeros(0))
    varies: Floats = msgspec.field(default_factory=lambda: np.zeros(0))
    looks: float = 0.0
    weight: Floats = msgspec.field(default_factory=lambda: np.zeros(0))

    @property
    def known(self) -> bool:
        """Whether enough has been seen to say anything, and the same people look more alike than others."""
        return len(self.table) > 0


def learned(likeness: Likeness, same: Floats, other: Floats) -> Likeness:
    """With distances (K,) of the same people and (L,) of different ones."""
    mine, theirs = _with(likeness.same, same), _with(likeness.other, other)
    known = mine.sum() >= ENOUGH_SAME and theirs.sum() >= ENOUGH_OTHER and _mean(mine) < _mean(theirs)
    table = _table(_shares(mine), _shares(theirs)) if known else np.zeros(0)
    made: Likeness = msgspec.structs.replace(likeness, same=mine, other=theirs, table=table)
    return made


def weighed(likeness: Likeness, off: Floats) -> Likeness:
    """With what looks of one person each are off from that person's others, (N, D).

    Numbers that vary within people count less: the diagonal of within-class covariance normalisation (Hatch, Kajarekar
    and Stolcke, Interspeech 2006), learnt on site. Weights change at a few moments only, and what distances said until
    then counts for less from then on.
    """
    if not len(off):
        return likeness
    varies = (off**2).sum(axis=0) + (likeness.varies if len(likeness.varies) else 0.0)
    looks = likeness.looks + len(off)
    weight, same, other = likeness.weight, likeness.same, likeness.other
    full = looks > 2 * WEIGHED_AT[-1]
    if full or any(likeness.looks < often <= looks for often in WEIGHED_AT):
        variance = varies / looks
        weight = 1.0 / np.sqrt(variance + FLOOR * variance.mean() + 1e-12)
        same, other = KEEPS * same, KEEPS * other
    fade = WEIGHED_AT[-1] / looks if full else 1.0
    made: Likeness = msgspec.structs.replace(
        likeness, varies=fade * varies, looks=fade * looks, weight=weight, same=same, other=other,
    )  # fmt: skip
    return made


def measured(likeness: Likeness, looks: NDArray[np.floating]) -> Floats:
    """Looks (N, D) as unit rows whose dot products are 1 less their distances; zero rows stay zero."""
    rows: Floats = looks.astype(np.float64)
    if len(likeness.weight):
        rows = rows * likeness.weight
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


def evidence(likeness: Likeness, apart: Floats) -> Floats:
    """How much more likely distances are of one person than of two, as logarithms; 0 while nothing is known.

    apart: distances of any shape.
    """
    if not likeness.known:
        return np.zeros_like(apart)
    told: Floats = likeness.table[_bin(apart)]
    return told


def usual_gate(model: str, given: float | None) -> float:
    """The distance beyond which two looks are rather of different people: ``given``, else the usual one of a model."""
    return given if given is not None else _USUAL.get(model, _USUAL_OF_MOST)


def gate(likeness: Likeness, model: str, given: float | None) -> float:
    """The distance that the same and different people have equally often: as given, as learnt, or as is usual."""
    if given is not None or not likeness.known:
        return usual_gate(model, given)
    return float(np.exp(_EDGES[int((likeness.table > 0.0).sum())]))


def _table(mine: Floats, theirs: Floats) -> Floats:
    """(BINS,) the likelihood ratio's logarithm, falling: neighbours that rise are pooled (pool adjacent violators, Ayer
    et al., Annals of Mathematical Statistics 1955).
    """
    mine, theirs = (1 - SPOILT) * mine + SPOILT * theirs, (1 - MISTAKEN) * theirs + MISTAKEN * mine
    pools: list[tuple[float, float, int]] = []
    for one, other in zip(mine.tolist(), theirs.tolist(), strict=True):
        pool = (one, other, 1)
        while pools and pools[-1][0] * pool[1] <= pool[0] * pools[-1][1]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    return np.repeat([np.log(one / other) for one, other, _ in pools], [count for *_, count in pools])


def _mean(count: Floats) -> float:
    return float(count @ _MIDDLE / count.sum())


def _shares(count: Floats) -> Floats:
    total, mean = count.sum(), _mean(count)
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
