"""Where sightings put people: groups of them that show someone new, and weighted fusion for everyone.

Positions are fused by information (inverse covariance) with Huber's weights, so that one camera's bad box moves nobody
whom others see well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.association import near_pairs
from spoton.crowd import PLACE, Crowd, with_values
from spoton.sightings import Sightings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_HUBER = 1.5
_ROUNDS = 2
_GROUP_GATE = 14.2
"""Chi-square with three degrees of freedom, 99.7 %."""
_PLACE_OF = np.eye(5)[list(PLACE)]


def inverse3(m: Floats) -> tuple[Floats, Floats]:
    """Inverse and determinant of symmetric (..., 3, 3) matrices."""
    a, b, c = m[..., 0, 0], m[..., 0, 1], m[..., 0, 2]
    d, e, f = m[..., 1, 1], m[..., 1, 2], m[..., 2, 2]
    A, B, C = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * A + b * B + c * C
    inverse = np.empty_like(m)
    inverse[..., 0, 0], inverse[..., 1, 1], inverse[..., 2, 2] = A / det, (a * f - c * c) / det, (a * d - b * b) / det
    inverse[..., 0, 1] = inverse[..., 1, 0] = B / det
    inverse[..., 0, 2] = inverse[..., 2, 0] = C / det
    inverse[..., 1, 2] = inverse[..., 2, 1] = (b * c - a * e) / det
    return inverse, det


def open_m(cov_m2: Floats) -> Floats:
    """How far (N,) each covariance (N, >=2, >=2) leaves a place on the floor open, one standard deviation, metres."""
    widest: Floats = np.sqrt(np.maximum(cov_m2[:, 0, 0], cov_m2[:, 1, 1]))
    return widest


def moved_places(crowd: Crowd, sightings: Sightings, who: Ints, which: Ints) -> Floats:
    """Where each of the sightings ``which`` (K,) puts its person ``who`` (K,) at the time of the tick: (K, 3)."""
    places = sightings.place_m[which].copy()
    places[:, :2] -= crowd.mean[who, 2:4] * sightings.dt_s[which, None]
    return places


def precise(sightings: Sightings) -> Floats:
    """How surely each sighting tells place and height: the inverse of its covariance, (M, 3, 3)."""
    return inverse3(sightings.cov_m2)[0]


def pulled(matrices: Floats, vectors: Floats) -> Floats:
    """Each matrix (K, 3, 3) times its vector (K, 3)."""
    product: Floats = (matrices @ vectors[:, :, None])[:, :, 0]
    return product


def squared(vectors: Floats, matrices: Floats) -> Floats:
    """Each vector (K, 3) squared by its matrix (K, 3, 3): (K,)."""
    total: Floats = (pulled(matrices, vectors) * vectors).sum(axis=1)
    return total


def fuse(crowd: Crowd, sightings: Sightings, owner: Ints) -> Crowd:
    """Everyone corrected by all of their sightings at once; who has none stays as predicted."""
    taken = np.flatnonzero(owner >= 0)
    if not len(taken):
        return crowd
    who = owner[taken]
    places = moved_places(crowd, sightings, who, taken)
    weights = np.ones(len(taken))
    informed, _ = inverse3(sightings.cov_m2[taken])
    prior, _ = inverse3(crowd.cov[:, PLACE][:, :, PLACE])
    drawn = pulled(prior, crowd.mean[:, PLACE])
    for _ in range(_ROUNDS):
        total, pull = _gathered(len(crowd), who, informed * weights[:, None, None], places)
        centre_cov, _ = inverse3(total + prior)
        centre = np.einsum("nij,nj->ni", centre_cov, pull + drawn)
        apart = places - centre[who]
        off = np.sqrt(squared(apart, informed))
        weights = np.minimum(1.0, _HUBER / np.maximum(off, 1e-9))
    total, pull = _gathered(len(crowd), who, informed * weights[:, None, None], places)
    rows = np.unique(who)
    R, _ = inverse3(total[rows])
    z = pulled(R, pull[rows])
    mean, cov = crowd.mean.copy(), crowd.cov.copy()
    mean[rows], cov[rows] = motion.update(crowd.mean[rows], crowd.cov[rows], z, R, _PLACE_OF)
    return with_values(crowd, mean=mean, cov=cov)


def _gathered(count: int, who: Ints, informed: Floats, places: Floats) -> tuple[Floats, Floats]:
    total, pull = np.zeros((count, 3, 3)), np.zeros((count, 3))
    np.add.at(total, who, informed)
    np.add.at(pull, who, pulled(informed, places))
    return total, pull


def gathered_groups(sightings: Sightings, rows: Ints, gate_m: float) -> list[Ints]:
    """Sightings that may show one new person each: nearest pairs first, one sighting per camera and person.

    Agglomerative with information-weighted centres, apart for each part of the floor that nothing joins to another.
    Groups come in the order of their first sighting.
    """
    groups = [group for part in _parts(sightings, rows, gate_m) for group in _gathered_part(sightings, part, gate_m)]
    return sorted(groups, key=lambda group: int(group[0]))


def _parts(sightings: Sightings, rows: Ints, gate_m: float) -> list[Ints]:
    """The sightings ``rows`` in parts between which no two are near enough to be one person."""
    place, reach = sightings.place_m[rows, :2], 0.5 * (gate_m + open_m(sightings.cov_m2[rows]))
    one, other = near_pairs(place, place, reach, reach)
    part = np.arange(len(rows))
    while True:
        before = part
        part = part.copy()
        np.minimum.at(part, one, before[other])
        part = part[part]
        if np.array_equal(part, before):
            break
    order = np.argsort(part, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(part[order])) + 1) if len(rows) else []


def _gathered_part(sightings: Sightings, rows: Ints, gate_m: float) -> list[Ints]:
    if len(rows) == 1:
        return [rows]
    informed, _ = inverse3(sightings.cov_m2[rows])
    pull = pulled(informed, sightings.place_m[rows])
    seen = np.zeros((len(rows), int(sightings.camera.max()) + 1), dtype=np.bool_)
    seen[np.arange(len(rows)), sightings.camera[rows]] = True
    members = [[int(row)] for row in rows]
    alive = np.ones(len(rows), dtype=np.bool_)
    cost = _pair_costs(informed, pull, seen, gate_m)
    while True:
        a, b = divmod(int(np.argmin(cost)), len(rows))
        if not np.isfinite(cost[a, b]):
            break
        informed[a], pull[a], seen[a] = informed[a] + informed[b], pull[a] + pull[b], seen[a] | seen[b]
        members[a] += members[b]
        alive[b] = False
        cost[b, :] = cost[:, b] = np.inf
        fresh = np.where(alive, _costs_from(a, informed, pull, seen, gate_m), np.inf)
        cost[a, a + 1 :] = fresh[a + 1 :]
        cost[:a, a] = fresh[:a]
    return [np.array(sorted(each), dtype=np.int64) for each, stays in zip(members, alive, strict=True) if stays]


def _costs_from(a: int, informed: Floats, pull: Floats, seen: Bools, gate_m: float) -> Floats:
    cov, _ = inverse3(informed)
    centre = pulled(cov, pull)
    apart = centre - centre[a]
    spread, _ = inverse3(cov + cov[a])
    d2 = squared(apart, spread)
    wide = open_m(cov)
    near = np.hypot(apart[:, 0], apart[:, 1]) <= gate_m + 0.5 * (wide + wide[a])
    possible = near & (d2 <= _GROUP_GATE) & ~(seen & seen[a]).any(axis=1)
    possible[a] = False
    return np.where(possible, d2, np.inf)


def _pair_costs(informed: Floats, pull: Floats, seen: Bools, gate_m: float) -> Floats:
    """What it costs to join each pair (K, K), above the diagonal; infinite where they cannot be one."""
    count = len(informed)
    cost = np.full((count, count), np.inf)
    for a in range(count - 1):
        cost[a, a + 1 :] = _costs_from(a, informed, pull, seen, gate_m)[a + 1 :]
    return cost


def centre_of(sightings: Sightings, group: Ints) -> tuple[Floats, Floats]:
    """Place and height (3,) and covariance (3, 3) of one person's sightings together."""
    informed, _ = inverse3(sightings.cov_m2[group])
    cov, _ = inverse3(informed.sum(axis=0))
    return cov @ np.einsum("mij,mj->i", informed, sightings.place_m[group]), cov
