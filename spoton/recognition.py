"""Who is who by their looks: whoever comes back, and whoever was mistaken for another while they stood together.

Geometry and time say who somebody can be (``recognition_case``): those who were near them since it was last sure who
they are, and, of whoever is new, everyone who is away and could have walked here. Looks then decide among these, for
all at once and one to one (an assignment, so that two who were exchanged are exchanged back), and only where what is
decided is likely enough: open-set recognition, with being somebody new among the answers.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import likeness, portraits
from spoton import memory as memories
from spoton.association import assign
from spoton.lives import Lives
from spoton.portraits import APART, Album
from spoton.recognition_case import READY_LOOKS, YOUNG_US, Case, case_of, met
from spoton.renaming import made_one, renamed
from spoton.sightings import SiteView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STALE_LOOKS = 20
"""An impression that is still doubtful after so many looks is begun anew: it may be of two people."""
STAY = 3.0
"""Log odds that somebody is who they were, before looks are asked."""
NEW = -1.0
"""Log odds that whoever is new is new, over all together who are away."""
KEPT = 1.0
"""Log odds that whoever was recognised a moment ago was recognised rightly, beyond what looks say."""
TAKEN = -1.0
"""Log odds that somebody is new after all, once who they were turns out to be another."""
SURE = 0.8
"""An impression at least so likely of somebody becomes part of their portrait,"""
CLEAR = 1.0
"""if by looks alone it is theirs with these log odds, or nobody was near."""
ALIKE, SAME = 2.0, 5.0
"""Two portraits that are of one person with these log odds may be, and are."""
_MOST_ROUNDS = 8
_WORST = 1000.0


def recognised(lives: Lives, view: SiteView) -> Lives:
    """Everyone after those whose impression is ready were held against the portraits of whom they can be."""
    if not lives.album.model:
        return lives
    lives = _home(replace(lives, album=_glimpsed(lives, _of_those_known(lives))))
    case = case_of(lives, view)
    if case is None:
        return lives
    least = view.site.thresholds.recognise_p
    column, likely = _chosen(_values(case), case, lives.album, least)
    lives = replace(lives, album=_learned(lives, case))
    if least < 1.0:
        case, column, lives = made_one(lives, case, column, _parts(lives, case, column))
    lives, after = renamed(lives, case, column, likely, view)
    return replace(lives, album=_drawn(lives.album, case, after, likely >= SURE, lives.at_us))


def _of_those_known(lives: Lives) -> Album:
    """The album with portraits of those only who are there, or remembered."""
    album, number = lives.album, lives.album.portraits.number
    keep = np.isin(number, lives.crowd.number) | np.isin(number, lives.memory.number)
    if keep.all():
        return album
    made: Album = msgspec.structs.replace(album, portraits=portraits.only(album.portraits, keep))
    return made


def _home(lives: Lives) -> Lives:
    """Without the memory of those who came back long enough ago to stay."""
    crowd, memory = lives.crowd, lives.memory
    stays = (lives.at_us - crowd.born_us >= YOUNG_US) & np.isin(crowd.number, memory.number)
    for number in crowd.number[stays].tolist():
        memory = memories.without(memory, number)
    return replace(lives, memory=memory)


def _glimpsed(lives: Lives, album: Album) -> Album:
    """The album that knows better what a first look says: from those whom nobody can have been mistaken for."""
    seen, known, crowd = album.impressions, album.portraits, lives.crowd
    first = np.flatnonzero((seen.since_us == lives.at_us) & (seen.count == 1))
    if not len(first) or not len(known) or not len(crowd):
        return album
    row = np.minimum(np.searchsorted(crowd.uid, seen.uid[first]), len(crowd) - 1)
    number, born_us = crowd.number[row], crowd.born_us[row]
    own = np.minimum(np.searchsorted(known.number, number), len(known) - 1)
    near_us = met(album, number, known.number)
    certain = (known.number[own] == number) & (known.sure_us[own] >= born_us)
    certain &= near_us.max(axis=1, initial=0) <= known.sure_us[own]
    first, own, near_us = first[certain], own[certain], near_us[certain]
    if not len(first):
        return album
    apart = 1.0 - likeness.measured(album.likeness, seen.look[first]) @ likeness.measured(album.likeness, known.look).T
    others = np.isin(known.number, crowd.number[crowd.seen_us == lives.at_us]) & (near_us == 0)
    others[np.arange(len(first)), own] = False
    same = apart[np.arange(len(first)), own]
    made: Album = msgspec.structs.replace(album, glimpse=likeness.learned(album.glimpse, same, apart[others]))
    return made


def _values(case: Case) -> Floats:
    """(R, K + R) log odds of being each portrait's person, or, in a column of each one's own, somebody new."""
    every, known = np.arange(len(case.row)), case.says.shape[1]
    value = np.full((len(every), known + len(every)), -np.inf)
    value[:, :known] = np.where(case.allowed, case.says + case.prior, -np.inf)
    value[every, known + every] = TAKEN
    likely = case.allowed * np.exp(case.prior)
    back = np.flatnonzero(case.returned)
    likely[back, case.own[back]] = np.exp(case.prior[back, case.own[back]])
    new = NEW + np.log1p(likely.sum(axis=1))
    # Nobody stays who has long looked like somebody else, and may have been mistaken for them.
    stay = np.where((case.count >= STALE_LOOKS) & case.contested, 0.0, STAY) + case.settled
    # Whoever is new and has a portrait does not go over to somebody who is here for looking like both.
    drawn = case.fresh & (case.own >= 0)
    value[:, :known] -= np.where(drawn[:, None] & ~case.away, np.maximum(stay - new, 0.0)[:, None], 0.0)
    value[every, _own(case)] = np.where(case.fresh, new, stay)
    value[back, case.own[back]] = case.settled[back] + case.prior[back, case.own[back]] + KEPT
    value[back, known + back] = new[back]
    return value


def _own(case: Case) -> Ints:
    """(R,) the column that stands for staying who one is."""
    return np.where(case.own >= 0, case.own, case.says.shape[1] + np.arange(len(case.row)))


def _chosen(value: Floats, case: Case, album: Album, least: float) -> tuple[Ints, Floats]:
    """Which column each row is, (R,), and how likely that is by itself, (R,).

    Whoever is not at least so likely to be another stays, and so does, then, who would have been them. Portraits that
    look alike count as one: they may be of one person who was not recognised before.
    """
    every, known = np.arange(len(value)), case.says.shape[1]
    own = _own(case)
    likely = np.exp(value - value.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    cost = np.where(np.isfinite(value), -value, np.inf)
    for _ in range(_MOST_ROUNDS):
        rows, columns = assign(cost, _WORST)
        chosen = own.copy()
        chosen[rows] = columns
        changed = np.flatnonzero((chosen != own) & ((chosen < known) | case.returned))
        certain = likely[every, chosen]
        if not len(changed):
            return chosen, certain
        others = changed[chosen[changed] < known]
        certain[others] = (likely[others, :known] * _alike(album, chosen[others], ALIKE)).sum(axis=1)
        doubtful = np.isin(every, changed) & ((certain < least) | (least >= 1.0))
        if not doubtful.any():
            return chosen, certain
        cost[every[doubtful], chosen[doubtful]] = np.inf
    return own, likely[every, own]


def _alike(album: Album, which: Ints, least: float) -> Bools:
    """(W, K) whose portraits are of the person of ``which`` (W,) with at least these log odds, by looks alone."""
    look = likeness.measured(album.likeness, album.portraits.look)
    alike: Bools = likeness.evidence(album.likeness, 1.0 - look[which] @ look.T) > least
    alike[np.arange(len(which)), which] = True
    return alike


def _parts(lives: Lives, case: Case, column: Ints) -> dict[int, Ints]:
    """By row all the portraits that are of this person, who was not recognised before: of somebody who is away and
    back, and of somebody who is here under another number than before.
    """
    known, memory, crowd = lives.album.portraits, lives.memory.number, lives.crowd.number
    away = np.isin(known.number, memory) & ~np.isin(known.number, crowd)
    away[column[column < len(known)]] &= False
    parts = {}
    back = (column < len(known)) & (column != case.own)
    stays = (column == case.own) & ~case.young & (case.count >= READY_LOOKS)
    for r in np.flatnonzero(back | stays).tolist():
        best = int(column[r])
        if stays[r] or known.number[best] in memory:
            same = (case.says[r] > SAME) & away & (known.together[best] < APART)
            same &= case.reach[r] if stays[r] else case.allowed[r]
            if same.any():
                same &= _alike(lives.album, column[[r]], SAME)[0]
            same[best] = True
            if back[r] or same.sum() > 1:
                parts[r] = np.flatnonzero(same)
                away &= ~same
    return parts


def _learned(lives: Lives, case: Case) -> Album:
    """The album that knows better what distances say: from those whom nobody can have been mistaken for."""
    album, crowd = lives.album, lives.crowd
    certain = ~case.young & (case.own >= 0) & (case.met_us.max(axis=1, initial=0) < case.since_us)
    if album.likeness.known:
        certain &= ~case.allowed.any(axis=1)
    rows = np.flatnonzero(certain)
    if not len(rows):
        return album
    here = np.isin(album.portraits.number, crowd.number[crowd.seen_us == lives.at_us])
    others = here & (met(album, case.number[rows], album.portraits.number) == 0)
    others[np.arange(len(rows)), case.own[rows]] = False
    same, other = case.apart[rows, case.own[rows]], case.apart[rows][others]
    made: Album = msgspec.structs.replace(album, likeness=likeness.learned(album.likeness, same, other))
    return made


def _drawn(album: Album, case: Case, after: Ints, sure: Bools, at_us: int) -> Album:
    """The album with the impressions of which it is sure whose they are among the portraits. after: (R,) numbers."""
    same = after == case.number
    anew = (case.fresh & same) | ~np.isin(after, album.portraits.number)
    # Whoever came a moment ago may turn out to be another: the portrait of who they were is not touched before.
    waits = case.young & ~case.grown
    # Who may have been mistaken for another has to look like themselves; whom nobody was near may look different.
    clear = (case.settled > CLEAR) | ~case.contested | ~same
    draws = (sure & clear & ~waits) | anew
    known = portraits.drawn(
        album.portraits, after[draws], case.look[draws], case.count[draws], at_us,
        np.where(waits, 0, case.since_us)[draws], anew[draws],
    )  # fmt: skip
    over = np.where(case.young, case.grown, (sure & clear) | (case.count >= STALE_LOOKS) | ~same)
    left = portraits.forgotten(album.impressions, case.uid[over])
    made: Album = msgspec.structs.replace(album, portraits=known, impressions=left)
    return made
