"""Which sighting is whom, and where that puts them: gates, evidence, one-to-one assignment and weighted fusion.

Sightings of one tick are held against everyone known; each camera shows a person at most once. What is left over is
gathered into new people. Positions are fused by information (inverse covariance) with Huber's weights, so that one
camera's bad box moves nobody whom others see well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.association import assign
from spoton.crowd import Crowd, with_values
from spoton.sightings import Sightings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAHALANOBIS_GATE = 11.8
"""Chi-square with two degrees of freedom, 99.7 %."""
STICKY_GATE = 25.0
"""The same for a track that has been this person's so far."""

_STICKY = 1.0
_LOOKS_WEIGHT = 8.0
_USUAL_M2 = 0.15**2
_HUBER = 1.5
_ROUNDS = 2
_POSITION = motion.position_of(2)


def inverse2(matrices: Floats) -> tuple[Floats, Floats]:
    """Inverse and determinant of symmetric (..., 2, 2) matrices."""
    a, b, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    det = a * d - b * b
    inverse = np.empty_like(matrices)
    inverse[..., 0, 0], inverse[..., 1, 1] = d / det, a / det
    inverse[..., 0, 1] = inverse[..., 1, 0] = -b / det
    return inverse, det


class Match:
    """How well every person (N rows) fits every sighting (M columns)."""

    __slots__ = ("d2", "dearer", "distance_m")

    def __init__(self, crowd: Crowd, sightings: Sightings) -> None:
        moved = crowd.mean[:, None, :2] + crowd.mean[:, None, 2:] * sightings.dt_s[None, :, None]
        apart = sightings.floor_m[None] - moved
        spread = crowd.cov[:, None, :2, :2] + sightings.cov_m2[None]
        inverse, det = inverse2(spread)
        self.d2: Floats = np.einsum("nmi,nmij,nmj->nm", apart, inverse, apart)
        self.distance_m: Floats = np.hypot(apart[..., 0], apart[..., 1])
        _, usual = inverse2(sightings.cov_m2 + _USUAL_M2 * np.eye(2))
        # A person whose place is vague fits everything a little: the log of the spread makes that dearer.
        self.dearer: Floats = np.log(det / usual[None])


def reach_m(crowd: Crowd, sightings: Sightings, gate_m: float) -> Floats:
    """How far apart a person and a sighting may lie, (N, M) metres: the gate and what both leave open."""
    open_n = np.sqrt(np.maximum(crowd.cov[:, 0, 0], crowd.cov[:, 1, 1]))
    open_m = np.sqrt(np.maximum(sightings.cov_m2[:, 0, 0], sightings.cov_m2[:, 1, 1]))
    reach: Floats = gate_m + open_n[:, None] + open_m[None, :]
    return reach


def assign_known(
    crowd: Crowd, sightings: Sightings, bound: Floats, looks: Floats, active: Bools, gate_m: float
) -> tuple[Ints, Match]:
    """The row of the person that each sighting shows, -1 for none.

    bound: (N, M) in [-1, 1]: 1 when the sighting's track has long been this person, negative when it is another's.
    looks: (N, M) evidence of appearance in [-1, 1], positive when alike. active: (N,) whom a track that is nobody's yet
    may be given to.
    """
    match = Match(crowd, sightings)
    owner = np.full(len(sightings), -1, dtype=np.int64)
    near = match.distance_m <= reach_m(crowd, sightings, gate_m)
    gate = np.where(bound > 0, STICKY_GATE, MAHALANOBIS_GATE)
    possible = near & (match.d2 <= gate) & (active[:, None] | (bound > 0))
    cost = match.d2 + match.dearer - _STICKY * bound - _LOOKS_WEIGHT * looks
    cost = np.where(possible, cost, np.inf)
    for camera in np.unique(sightings.camera):
        columns = np.flatnonzero(sightings.camera == camera)
        rows, chosen = assign(cost[:, columns], STICKY_GATE + 10.0)
        owner[columns[chosen]] = rows
    return owner, match


def fuse(crowd: Crowd, sightings: Sightings, owner: Ints) -> Crowd:
    """Everyone corrected by all of their sightings at once; who has none stays as predicted."""
    taken = np.flatnonzero(owner >= 0)
    if not len(taken):
        return crowd
    who = owner[taken]
    places = sightings.floor_m[taken] - crowd.mean[who, 2:] * sightings.dt_s[taken, None]
    weights = np.ones(len(taken))
    informed, _ = inverse2(sightings.cov_m2[taken])
    prior, _ = inverse2(crowd.cov[:, :2, :2])
    for _ in range(_ROUNDS):
        total, pull = _gathered(len(crowd), who, informed * weights[:, None, None], places)
        centre_cov, _ = inverse2(total + prior)
        centre = np.einsum("nij,nj->ni", centre_cov, pull + np.einsum("nij,nj->ni", prior, crowd.mean[:, :2]))
        apart = places - centre[who]
        off = np.sqrt(np.einsum("mi,mij,mj->m", apart, informed, apart))
        weights = np.minimum(1.0, _HUBER / np.maximum(off, 1e-9))
    total, pull = _gathered(len(crowd), who, informed * weights[:, None, None], places)
    rows = np.unique(who)
    R, _ = inverse2(total[rows])
    z = np.einsum("nij,nj->ni", R, pull[rows])
    mean, cov = crowd.mean.copy(), crowd.cov.copy()
    mean[rows], cov[rows] = motion.update(crowd.mean[rows], crowd.cov[rows], z, R, _POSITION)
    return with_values(crowd, mean=mean, cov=cov)


def _gathered(count: int, who: Ints, informed: Floats, places: Floats) -> tuple[Floats, Floats]:
    total, pull = np.zeros((count, 2, 2)), np.zeros((count, 2))
    np.add.at(total, who, informed)
    np.add.at(pull, who, np.einsum("mij,mj->mi", informed, places))
    return total, pull


def gathered_groups(sightings: Sightings, rows: Ints, gate_m: float) -> list[Ints]:
    """Sightings that may show one new person each: nearest pairs first, one sighting per camera and person.

    Agglomerative with information-weighted centres. Groups come in the order of their first sighting.
    """
    if not len(rows):
        return []
    informed, _ = inverse2(sightings.cov_m2[rows])
    pull = np.einsum("mij,mj->mi", informed, sightings.floor_m[rows])
    seen = np.zeros((len(rows), int(sightings.camera.max()) + 1), dtype=np.bool_)
    seen[np.arange(len(rows)), sightings.camera[rows]] = True
    members = [[int(row)] for row in rows]
    cost = _pair_costs(informed, pull, seen, gate_m)
    while True:
        first = int(np.argmin(cost))
        a, b = divmod(first, len(rows))
        if not np.isfinite(cost[a, b]):
            break
        informed[a], pull[a], seen[a] = informed[a] + informed[b], pull[a] + pull[b], seen[a] | seen[b]
        members[a] += members[b]
        members[b] = []
        cost[b, :] = cost[:, b] = np.inf
        alive = np.array([bool(each) for each in members])
        fresh = _costs_from(a, informed, pull, seen, gate_m)
        fresh[~alive] = np.inf
        cost[a, a + 1 :] = fresh[a + 1 :]
        cost[:a, a] = fresh[:a]
    return [np.array(sorted(each), dtype=np.int64) for each in members if each]


def _costs_from(a: int, informed: Floats, pull: Floats, seen: Bools, gate_m: float) -> Floats:
    cov, _ = inverse2(informed)
    centre = np.einsum("mij,mj->mi", cov, pull)
    apart = centre - centre[a]
    spread, _ = inverse2(cov + cov[a])
    d2 = np.einsum("mi,mij,mj->m", apart, spread, apart)
    open_m = np.sqrt(np.maximum(cov[:, 0, 0], cov[:, 1, 1]))
    near = np.hypot(apart[:, 0], apart[:, 1]) <= gate_m + 0.5 * (open_m + open_m[a])
    possible = near & (d2 <= MAHALANOBIS_GATE) & ~(seen & seen[a]).any(axis=1)
    possible[a] = False
    return np.where(possible, d2, np.inf)


def _pair_costs(informed: Floats, pull: Floats, seen: Bools, gate_m: float) -> Floats:
    cost = np.stack([_costs_from(a, informed, pull, seen, gate_m) for a in range(len(informed))])
    return np.where(np.triu(np.ones(cost.shape, dtype=np.bool_), 1), cost, np.inf)


def centre_of(sightings: Sightings, group: Ints) -> tuple[Floats, Floats]:
    """Place (2,) and covariance (2, 2) of one person's sightings together."""
    informed, _ = inverse2(sightings.cov_m2[group])
    cov, _ = inverse2(informed.sum(axis=0))
    return cov @ np.einsum("mij,mj->i", informed, sightings.floor_m[group]), cov
