"""Which sighting is whom: gates, evidence, and one-to-one assignment over all cameras of a tick.

Every camera shows a person at most once. Which of its sightings that is, is decided camera by camera, each against
where the person is by prediction *and by what all other cameras show of them*: sharper than the prediction alone, most
of all at few frames per second. Between the rounds everyone's sightings may change over as a whole, so that two people
whom all cameras have taken for each other are told apart again. A few rounds climb to a good explanation of the whole
tick: coordinate ascent on the multidimensional assignment problem (Poore 1994; the exact problem is NP-hard).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.association import assign_pairs, near_pairs
from spoton.crowd import PLACE, Crowd
from spoton.fusion import inverse3, moved_places, open_m, precise, pulled, squared
from spoton.sightings import Sightings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAHALANOBIS_GATE = 14.2
"""Chi-square with three degrees of freedom, 99.7 %."""
STICKY_GATE = 25.0
"""The same for a track that has been this person's so far."""

_STICKY = 3.0
_STICKY_S = 0.35
_LOOKS_WEIGHT = 8.0
_USUAL_M2 = 0.15**2
_ROUNDS = 3
_DEAREST = 35.0
_DEAREST_GROUP = 70.0
_FARTHEST_M = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """K people and sightings that may belong together, by camera.

    who, which: (K,) rows of people and sightings. place_m: (K, 3) where the sighting puts the person at the time of the
    tick. sure, pull: (K, 3, 3) and (K, 3) the sighting's information. tie: (K,) what the sighting's track says.
    gate: (K,) highest squared Mahalanobis distance. extra: (K,) what else adds to the cost of the pair.
    """

    who: Ints
    which: Ints
    place_m: Floats
    sure: Floats
    pull: Floats
    tie: Floats
    gate: Floats
    extra: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Some cameras' part of the pairs as a cost table: the k-th of ``pairs`` is at (row[k], column[k])."""

    pairs: Ints
    rows: Ints
    columns: Ints
    row: Ints
    column: Ints


def tie_weight(dt_s: float) -> float:
    """What a settled track counts, in units of squared Mahalanobis distance: trackers confuse people at few frames."""
    return float(_STICKY * np.exp(-dt_s / _STICKY_S))


def candidates(
    crowd: Crowd, sightings: Sightings, tied: Ints, tie: Floats, active: Bools, gate_m: float,
    pinned: Bools | None = None,
) -> tuple[Ints, Ints, Floats]:  # fmt: skip
    """Pairs near enough to be looked at, by camera: rows of people (K,), of sightings (K,), and ties (K,) in [-1, 1].

    tied, tie: (M,) the row of the person that a sighting's track is, -1 for none, and how settled that is, in [0, 1].
    active: (N,) whom a track that is nobody's yet may be given to. pinned: (M,) tracks that may be nobody else's.
    """
    reach = [np.minimum(open_m(cov), _FARTHEST_M) for cov in (crowd.cov, sightings.cov_m2)]
    who, which = near_pairs(crowd.mean[:, :2], sightings.place_m[:, :2], gate_m + reach[0], reach[1])
    own = tied[which] == who
    weight = np.where(own, tie[which], np.where(tied[which] >= 0, -0.5 * tie[which], 0.0))
    keep = active[who] | own
    if pinned is not None:
        keep &= own | ~pinned[which]
    who, which, weight = who[keep], which[keep], weight[keep]
    order = np.argsort(sightings.camera[which], kind="stable")
    return who[order], which[order], weight[order]


def assign_known(
    crowd: Crowd, sightings: Sightings, found: tuple[Ints, Ints, Floats], looks: Floats, dt_s: float
) -> Ints:
    """The row of the person that each sighting shows, (M,), -1 for none.

    found: what ``candidates`` gave. looks: (K,) evidence of appearance of each pair, in [-1, 1], positive when alike.
    """
    owner = np.full(len(sightings), -1, dtype=np.int64)
    if not len(found[0]):
        return owner
    sure = precise(sightings)
    pairs = _weighed(crowd, sightings, found, looks, sure, dt_s)
    camera = sightings.camera[pairs.which]
    tables = [_table(pairs, level) for level in _levels(pairs, camera)]
    total, drawn = _predicted(crowd)
    tally = (total.copy(), drawn.copy())
    for turn in range(_ROUNDS):
        before, owner = owner, owner.copy()
        if turn:
            owner = _regrouped(crowd, sightings, owner, pairs, sure)
            tally = _tallied(total, drawn, owner, pairs)
            unsettled = np.flatnonzero(_unsettled(owner, tally, pairs, sightings))
            tables = [_table(pairs, np.flatnonzero(camera == one)) for one in unsettled.tolist()]
        for table in tables:
            _reassign(owner, tally, table, pairs, sightings.cov_m2)
        if np.array_equal(before, owner):
            break
    return owner


def _unsettled(owner: Ints, tally: tuple[Floats, Floats], pairs: Pairs, sightings: Sightings) -> Bools:
    """Which cameras (C,) to look at again: all others' sightings are where they fit best, none is left."""
    total, drawn = tally
    mine = owner[pairs.which] == pairs.who
    others = total[pairs.who] - pairs.sure * mine[:, None, None]
    cov, _ = inverse3(others)
    mean = pulled(cov, drawn[pairs.who] - pairs.pull * mine[:, None])
    inverse, det = inverse3(cov + sightings.cov_m2[pairs.which])
    d2 = squared(pairs.place_m - mean, inverse)
    cost = np.where(d2 <= pairs.gate, d2 + np.log(det) + pairs.extra, np.inf)
    best = np.full(len(owner), _DEAREST)
    np.minimum.at(best, pairs.which, cost)
    own = np.full(len(owner), _DEAREST)
    own[pairs.which[mine]] = cost[mine]
    unsettled = np.zeros(int(sightings.camera.max()) + 1, dtype=np.bool_)
    unsettled[sightings.camera[best < own]] = True
    return unsettled


def _predicted(crowd: Crowd) -> tuple[Floats, Floats]:
    total, _ = inverse3(crowd.cov[:, PLACE][:, :, PLACE])
    return total, pulled(total, crowd.mean[:, PLACE])


def _weighed(
    crowd: Crowd, sightings: Sightings, found: tuple[Ints, Ints, Floats], looks: Floats, sure: Floats, dt_s: float
) -> Pairs:
    who, which, weight = found
    places = moved_places(crowd, sightings, who, which)
    # A person whose place is vague fits everything a little: the log of the spread makes that dearer.
    _, usual = inverse3(sightings.cov_m2 + _USUAL_M2 * np.eye(3))
    tie = tie_weight(dt_s) * weight
    extra = -np.log(usual)[which] - tie - _LOOKS_WEIGHT * looks
    gate = np.where(weight > 0, STICKY_GATE, MAHALANOBIS_GATE)
    return Pairs(who, which, places, sure[which], pulled(sure[which], places), tie, gate, extra)


def _levels(pairs: Pairs, camera: Ints) -> list[Ints]:
    """The pairs in parts that are decided one after the other: cameras with no candidate in common at the same time.

    Of two cameras with one in common the lower is decided first, so the parts give what camera by camera gives.
    camera: (K,) ascending.
    """
    after = np.zeros(int(pairs.who.max()) + 1, dtype=np.int64)
    level = np.empty(len(camera), dtype=np.int64)
    ends = np.flatnonzero(np.diff(camera, append=-1)) + 1
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        people = pairs.who[start:end]
        level[start:end] = own = after[people].max()
        after[people] = own + 1
    order = np.lexsort((pairs.which, pairs.who, level))
    return np.split(order, np.flatnonzero(np.diff(level[order])) + 1)


def _table(pairs: Pairs, part: Ints) -> _Table:
    """part: ordered by person."""
    rows, row = np.unique(pairs.who[part], return_inverse=True)
    columns, column = np.unique(pairs.which[part], return_inverse=True)
    return _Table(part, rows, columns, row, column)


def _reassign(owner: Ints, tally: tuple[Floats, Floats], table: _Table, pairs: Pairs, cov_m2: Floats) -> None:
    """Some cameras' sightings given anew, in place, against everyone as all other cameras see them."""
    total, drawn = tally
    part = table.pairs
    who, which = pairs.who[part], pairs.which[part]
    mine = np.flatnonzero(owner[which] == who)
    total[who[mine]] -= pairs.sure[part[mine]]
    drawn[who[mine]] -= pairs.pull[part[mine]]
    cov, _ = inverse3(total[table.rows])
    mean = pulled(cov, drawn[table.rows])
    inverse, det = inverse3(cov[table.row] + cov_m2[which])
    d2 = squared(pairs.place_m[part] - mean[table.row], inverse)
    cost = np.where(d2 <= pairs.gate[part], d2 + np.log(det) + pairs.extra[part], np.inf)
    owner[table.columns] = -1
    fits = np.flatnonzero(cost < _DEAREST)
    row, column = table.row[fits], table.column[fits]
    if len(fits):
        row, column = assign_pairs(row, column, cost[fits], _DEAREST)
    owner[table.columns[column]] = table.rows[row]
    mine = np.flatnonzero(owner[which] == who)
    total[who[mine]] += pairs.sure[part[mine]]
    drawn[who[mine]] += pairs.pull[part[mine]]


def _regrouped(crowd: Crowd, sightings: Sightings, owner: Ints, pairs: Pairs, sure: Floats) -> Ints:
    """Everyone's sightings given anew as a whole, by the predictions alone."""
    taken = np.flatnonzero(owner >= 0)
    if not len(taken):
        return owner
    rows, group = np.unique(owner[taken], return_inverse=True)
    total, drawn = np.zeros((len(rows), 3, 3)), np.zeros((len(rows), 3))
    np.add.at(total, group, sure[taken])
    np.add.at(drawn, group, pulled(sure[taken], moved_places(crowd, sightings, owner[taken], taken)))
    cov, _ = inverse3(total)
    centre = pulled(cov, drawn)
    index = np.full(len(owner), -1)
    index[taken] = group
    inside = np.flatnonzero(index[pairs.which] >= 0)
    keys, at = np.unique(pairs.who[inside] * len(rows) + index[pairs.which[inside]], return_inverse=True)
    tie = np.bincount(at, weights=pairs.tie[inside])
    who, which = np.divmod(keys, len(rows))
    inverse, det = inverse3(crowd.cov[who][:, PLACE][:, :, PLACE] + cov[which])
    d2 = squared(centre[which] - crowd.mean[who][:, PLACE], inverse)
    _, usual = inverse3(cov + _USUAL_M2 * np.eye(3))
    cost = np.where(d2 <= STICKY_GATE, d2 + np.log(det / usual[which]) - tie, np.inf)
    fits = np.flatnonzero(cost < _DEAREST_GROUP)
    chosen, to = who[fits], which[fits]
    if len(fits):
        chosen, to = assign_pairs(chosen, to, cost[fits], _DEAREST_GROUP)
    after = np.where(np.isin(rows, chosen), -1, rows)
    after[to] = chosen
    fresh = owner.copy()
    fresh[taken] = after[group]
    return fresh


def _tallied(total: Floats, drawn: Floats, owner: Ints, pairs: Pairs) -> tuple[Floats, Floats]:
    """Prediction and sightings together, as information and its pull.

    A sighting that went over to someone it was no candidate for is let go of.
    """
    mine = np.flatnonzero(owner[pairs.which] == pairs.who)
    lost = owner >= 0
    lost[pairs.which[mine]] = False
    owner[lost] = -1
    total, drawn = total.copy(), drawn.copy()
    np.add.at(total, pairs.who[mine], pairs.sure[mine])
    np.add.at(drawn, pairs.who[mine], pairs.pull[mine])
    return total, drawn


def misfit(crowd: Crowd, sightings: Sightings, who: Ints, which: Ints) -> tuple[Floats, Floats]:
    """Squared Mahalanobis distance and metres, (K,), of people to sightings, pair by pair."""
    apart = moved_places(crowd, sightings, who, which) - crowd.mean[who][:, PLACE]
    inverse, _ = inverse3(crowd.cov[who][:, PLACE][:, :, PLACE] + sightings.cov_m2[which])
    return squared(apart, inverse), np.hypot(apart[:, 0], apart[:, 1])
