"""Whom somebody can be at all: by where everyone is or was, and by what they look like."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spoton import likeness, walking
from spoton.crowd import Crowd, kept
from spoton.lives import LISTED_US, Lives
from spoton.portraits import Album
from spoton.sightings import SiteView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

READY_LOOKS = 3
READY_US = 1_000_000
"""An impression of fewer looks, or of a shorter time, says little: the same view again is no news."""
YOUNG_US = 7_000_000
"""Whoever is new may still turn out to be somebody else for so long."""
DOUBT = -1.0
"""What looks say, as log odds, of somebody who may be anyone who is away: it is not them, most likely."""
WALK_M_S, SLACK_M = 2.5, 2.0
"""Nobody is expected to come faster than this from where they were seen last."""
RECENT_S = 30.0
"""Whoever has been away for so long is half as likely to come as one who just left."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """R people with an impression that is held against K portraits.

    row: (R,) in the crowd; uid, number: (R,) who they are now. young: (R,) who came a moment ago; fresh: (R,) those of
    them who are nobody who was known; grown: (R,) who came long enough ago to settle who they are. look: (R, D), count,
    since_us: (R,) their impressions. own: (R,) which portrait is theirs, -1 none. apart: (R, K) distances, and what
    each says, as log odds. met_us: (R, K) when each was last near whom; contested: (R,) somebody was since it was last
    sure who they are. away: (R, K) who is not here, or was not before; reach: (R, K) who left before each came, and
    could have walked to where they came. allowed: (R, K) who else they can be; prior: (R, K) how likely each is before
    looks are asked, gap_s, way_m, walk: (R, K) the time and way since each was seen, in seconds, metres and deviations
    from the usual time.
    """

    row: Ints
    uid: Ints
    number: Ints
    young: Bools
    fresh: Bools
    grown: Bools
    look: Floats
    count: Ints
    since_us: Ints
    own: Ints
    apart: Floats
    says: Floats
    met_us: Ints
    contested: Bools
    away: Bools
    reach: Bools
    allowed: Bools
    prior: Floats
    gap_s: Floats
    way_m: Floats
    walk: Floats

    @property
    def returned(self) -> Bools:
        """(R,) who came a moment ago and was recognised: it may still turn out otherwise."""
        return self.young & ~self.fresh

    @property
    def settled(self) -> Floats:
        """(R,) what looks say of everyone's being who they are taken for; 0 for those without a portrait."""
        none = np.zeros((len(self.row), 1))
        told: Floats = np.append(self.says, none, axis=1)[np.arange(len(self.row)), self.own]
        return told


def case_of(lives: Lives, view: SiteView) -> Case | None:
    """Everyone who is seen now, has a number, was not named by an operator, and has been looked at often enough."""
    crowd, seen, known = lives.crowd, lives.album.impressions, lives.album.portraits
    if not len(crowd) or not len(seen):
        return None
    at = np.minimum(np.searchsorted(crowd.uid, seen.uid), len(crowd) - 1)
    number = crowd.number[at]
    own = np.searchsorted(known.number, number)
    own = np.where(np.append(known.number, 0)[own] == number, own, -1)
    since_us, sure_us = np.append(known.since_us, lives.at_us)[own], np.append(known.sure_us, 0)[own]
    born_us = crowd.born_us[at]
    young = (lives.at_us - born_us < YOUNG_US) & (sure_us < born_us)
    long = (seen.count >= READY_LOOKS) & (lives.at_us - seen.since_us >= READY_US)
    pinned = [each.uid for each in lives.bindings.values() if each.pinned]
    ready = (crowd.uid[at] == seen.uid) & (number > 0) & (crowd.seen_us[at] == lives.at_us)
    # Of whoever came a moment ago every look is news, and without one there is none.
    ready &= np.where(young, seen.last_us == lives.at_us, long) & ~np.isin(seen.uid, pinned)
    if not ready.any():
        return None
    rows, own, number, sure_us, young = at[ready], own[ready], number[ready], sure_us[ready], young[ready]
    look = seen.look[ready].astype(np.float64)
    look /= np.maximum(np.linalg.norm(look, axis=1, keepdims=True), 1e-9)
    told = lives.album.likeness
    apart = 1.0 - likeness.measured(told, look) @ likeness.measured(told, known.look).T
    says = np.where(long[ready, None], likeness.evidence(told, apart), likeness.evidence(lives.album.glimpse, apart))
    met_us, nothing = met(lives.album, number, known.number), np.zeros(apart.shape)
    case = Case(
        rows, crowd.uid[rows], number, young, young & ((own < 0) | (since_us[ready] >= born_us[ready])),
        lives.at_us - born_us[ready] >= YOUNG_US - READY_US,
        look, seen.count[ready], seen.since_us[ready], own, apart, says, met_us,
        met_us.max(axis=1, initial=0) > sure_us, *(nothing > 0.0,) * 3, *(nothing,) * 4,
    )  # fmt: skip
    return _with_others(lives, case, sure_us, view)


def met(album: Album, number: Ints, others: Ints) -> Ints:
    """(R, K) when each of ``number`` (R,) was last near each of ``others`` (K,), ascending; 0 never."""
    when = np.zeros((len(number), len(others)), dtype=np.int64)
    row = {one: r for r, one in enumerate(number.tolist())}
    column = {one: k for k, one in enumerate(others.tolist())}
    for (one, other), at_us in album.met.items():
        for mine, theirs in ((one, other), (other, one)):
            if mine in row and theirs in column:
                when[row[mine], column[theirs]] = at_us
    return when


def _with_others(lives: Lives, case: Case, sure_us: Ints, view: SiteView) -> Case:
    """The case with who else each can be.

    Who was near them since it was sure who they are, if that one is not sure either; and, of whoever is new, or
    does not look like themselves, everyone who is away and could have walked here, and who somebody is taken for
    without looking like it.
    """
    crowd, known = lives.crowd, lives.album.portraits.number
    shape = case.apart.shape
    left_m, left_us, left = _last_seen(lives, crowd, view)
    place_m, gone_us = np.tile(left_m, (shape[0], 1, 1)), np.tile(left_us, (shape[0], 1))
    by = np.tile(left, (shape[0], 1))
    # Of whoever was recognised a moment ago it counts where they were before.
    if case.returned.any():
        back = np.flatnonzero(case.returned), case.own[case.returned]
        before_m, before_us, before = _last_seen(lives, kept(crowd, crowd.uid < 0), view)
        place_m[back], gone_us[back], by[back] = before_m[back[1]], before_us[back[1]], before[back[1]]
    away = lives.at_us - gone_us > LISTED_US
    doubted = ~case.young & (case.settled < DOUBT)
    # Whoever is new came when and where they were seen first; nobody is away who was seen since this one is there.
    born_us, born_m = crowd.born_us[case.row], crowd.born_m[case.row]
    came_us = np.where(case.young, born_us, lives.at_us)
    came_m = np.where(case.young[:, None], born_m, crowd.mean[case.row, :2])
    here_us = np.where(case.young, came_us, case.since_us)
    gap_s = (came_us[:, None] - gone_us) / 1e6
    way_m = np.linalg.norm(came_m[:, None] - place_m, axis=2)
    free = away & (way_m <= WALK_M_S * gap_s + SLACK_M) & (gone_us <= here_us[:, None])
    before_s = (born_us[:, None] - gone_us) / 1e6
    reach = away & (before_s >= 0.0)
    reach &= np.linalg.norm(born_m[:, None] - place_m, axis=2) <= WALK_M_S * before_s + SLACK_M
    # Only whoever is new can be somebody for whom another is taken far from here.
    taken = np.isin(known, case.number[doubted])
    allowed = np.where(case.young[:, None], free | taken, free & doubted[:, None])
    allowed |= (away | np.isin(known, case.number)) & (case.met_us > sure_us[:, None])
    has = np.flatnonzero(case.own >= 0)
    allowed[has, case.own[has]] = False
    for one, other in lives.apart:
        for mine, theirs in ((one, other), (other, one)):
            allowed[np.ix_(case.number == mine, known == theirs)] = False
    came = np.broadcast_to(np.argmax(crowd.shown_us[case.row] == lives.at_us, axis=1)[:, None], shape)
    ways = lives.album.walks, view.cameras, np.maximum(by, 0), came, np.maximum(gap_s, 1e-3), way_m
    # In front of one camera people stand about; what is usual says something of ways between two.
    told = away & (by >= 0) & (by != came) & (way_m >= walking.LEAST_M)
    doubt = np.where(told, walking.doubt(*ways), 0.0)
    return replace(
        case, away=away, reach=reach, allowed=allowed,
        prior=np.where(away, -np.log1p(np.maximum(gap_s, 0.0) / RECENT_S) - doubt, 0.0),
        gap_s=gap_s, way_m=way_m, walk=np.where(told, walking.surprise(*ways), 0.0),
    )  # fmt: skip


def _last_seen(lives: Lives, crowd: Crowd, view: SiteView) -> tuple[Floats, Ints, Ints]:
    """Of everyone with a portrait: where (K, 2), when (K,), and by which camera (K,), -1 one that is gone.

    crowd: who is there; the others are remembered.
    """
    memory, known = lives.memory, lives.album.portraits.number
    place_m, left_us = np.zeros((len(known), 2)), np.zeros(len(known), dtype=np.int64)
    camera = np.full(len(known), -1, dtype=np.int64)
    index = {name: k for k, name in enumerate(view.cameras)}
    by = np.array([index.get(name, -1) for name in memory.camera], dtype=np.int64)
    shown = crowd.shown_us.argmax(axis=1) if len(crowd) else crowd.number
    for numbers, places, times, cameras in (
        (memory.number, memory.place_m, memory.left_us, by),
        (crowd.number, crowd.mean[:, :2], crowd.seen_us, shown),
    ):
        at = np.searchsorted(known, numbers)
        there = np.append(known, -1)[at] == numbers
        place_m[at[there]], left_us[at[there]], camera[at[there]] = places[there], times[there], cameras[there]
    return place_m, left_us, camera
