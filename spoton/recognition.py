"""Who is who by their looks: whoever comes back, and whoever was mistaken for another while they stood together.

Geometry says who somebody can be: those who were near them since it was last sure who they are, and, of whoever is
new, everyone who is away and could have walked here. Looks then decide among these, for all at once and one to one
(an assignment, so that two who were exchanged are exchanged back), and only where what is decided is likely enough
that nothing else is: open-set recognition, with being somebody new among the answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import likeness, portraits
from spoton import memory as memories
from spoton.association import assign
from spoton.bindings import Binding, Gallery
from spoton.crowd import kept, with_values
from spoton.events import Evidence, PersonLeft, PersonReturned, PersonsMerged, PersonSplit, TrackReassigned
from spoton.lives import LISTED_US, Finding, Lives, tracks_of
from spoton.portraits import Album
from spoton.sightings import SiteView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

READY_LOOKS = 3
READY_US = 1_000_000
"""An impression of fewer looks, or of a shorter time, says little: the same view again is no news."""
STALE_LOOKS = 12
"""An impression that is still doubtful after so many looks is begun anew: it may be of two people."""
YOUNG_US = 10_000_000
"""Whoever is new may still turn out to be somebody else for so long."""
STAY = 3.0
"""Log odds that somebody is who they were, before looks are asked."""
NEW = 1.0
"""Log odds that whoever is new is new, over each one who is away."""
TAKEN = -1.0
"""Log odds that somebody is new after all, once who they were turns out to be another."""
SURE = 0.8
"""An impression at least so likely of somebody becomes part of their portrait."""
WALK_M_S, SLACK_M = 2.5, 1.0
"""Nobody is expected to come faster than this from where they were seen last."""
RECENT_S = 30.0
DOUBT = -1.0
ALIKE = 2.0
CLEAR = 1.0
SAME = 4.0
_MOST_ROUNDS = 8
_WORST = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """R people with an impression that is held against K portraits.

    row: (R,) in the crowd; uid, number: (R,) who they are now; young: (R,). look: (R, D), count, since_us: (R,) their
    impressions. own: (R,) which portrait is theirs, -1 none. apart: (R, K) cosine distances. met_us: (R, K) when each
    was last near whom; allowed: (R, K) who else they can be.
    """

    row: Ints
    uid: Ints
    number: Ints
    young: Bools
    look: Floats
    count: Ints
    since_us: Ints
    own: Ints
    apart: Floats
    says: Floats
    met_us: Ints
    contested: Bools
    allowed: Bools
    prior: Floats


def recognised(lives: Lives, view: SiteView) -> Lives:
    """Everyone after those whose impression is ready were held against the portraits of whom they can be."""
    lives = replace(lives, album=_of_those_known(lives))
    case = _case(lives) if len(lives.album.impressions) else None
    if case is None or not len(case.row):
        return lives
    column, likely = _chosen(_values(case), case, lives.album, view.site.thresholds.recognise_p)
    album = _learned(lives, case)
    column, lives = _one(replace(lives, album=album), case, column)
    lives, after = renamed(lives, case, column, likely, view)
    return replace(lives, album=_drawn(album, case, after, likely >= SURE, lives.at_us))


def _of_those_known(lives: Lives) -> Album:
    """The album with portraits of those only who are there, or remembered."""
    album, number = lives.album, lives.album.portraits.number
    keep = np.isin(number, lives.crowd.number) | np.isin(number, lives.memory.number)
    if keep.all():
        return album
    made: Album = msgspec.structs.replace(album, portraits=portraits.only(album.portraits, keep))
    return made


def _case(lives: Lives) -> _Case | None:
    crowd, seen, known = lives.crowd, lives.album.impressions, lives.album.portraits
    if not len(crowd):
        return None
    ready = (seen.count >= READY_LOOKS) & (lives.at_us - seen.since_us >= READY_US)
    pinned = [each.uid for each in lives.bindings.values() if each.pinned]
    at = np.minimum(np.searchsorted(crowd.uid, seen.uid), len(crowd) - 1)
    ready &= (crowd.uid[at] == seen.uid) & (crowd.number[at] > 0) & (crowd.seen_us[at] == lives.at_us)
    ready &= ~np.isin(seen.uid, pinned)
    rows, ready_at = at[ready], np.flatnonzero(ready)
    number = crowd.number[rows]
    look = seen.look[ready_at].astype(np.float64)
    look /= np.maximum(np.linalg.norm(look, axis=1, keepdims=True), 1e-9)
    own = np.searchsorted(known.number, number)
    own = np.where(np.append(known.number, 0)[own] == number, own, -1)
    since_us, sure_us = np.append(known.since_us, lives.at_us)[own], np.append(known.sure_us, 0)[own]
    young = (sure_us == 0) & (lives.at_us - since_us < YOUNG_US)
    met_us = _met_us(lives.album, number, known.number)
    apart = 1.0 - look @ known.look.astype(np.float64).T
    case = _Case(
        rows, crowd.uid[rows], number, young, look, seen.count[ready_at], seen.since_us[ready_at], own,
        apart, likeness.evidence(lives.album.likeness, apart), met_us,
        met_us.max(axis=1, initial=0) > sure_us, np.zeros(met_us.shape, dtype=np.bool_), np.zeros(met_us.shape),
    )  # fmt: skip
    allowed, prior = _allowed(lives, case, sure_us)
    return replace(case, allowed=allowed, prior=prior)


def _met_us(album: Album, number: Ints, others: Ints) -> Ints:
    """(R, K) when each of ``number`` (R,) was last near each of ``others`` (K,), ascending; 0 never."""
    met = np.zeros((len(number), len(others)), dtype=np.int64)
    row = {one: r for r, one in enumerate(number.tolist())}
    column = {one: k for k, one in enumerate(others.tolist())}
    for (one, other), at_us in album.met.items():
        for mine, theirs in ((one, other), (other, one)):
            if mine in row and theirs in column:
                met[row[mine], column[theirs]] = at_us
    return met


def _allowed(lives: Lives, case: _Case, sure_us: Ints) -> tuple[Bools, Floats]:
    """(R, K) who else each can be."""
    crowd, memory, known = lives.crowd, lives.memory, lives.album.portraits.number
    place_m, left_us = np.full((len(known), 2), np.inf), np.zeros(len(known), dtype=np.int64)
    for numbers, places, times in (
        (memory.number, memory.place_m, memory.left_us),
        (crowd.number, crowd.mean[:, :2], crowd.seen_us),
    ):
        at = np.searchsorted(known, numbers)
        there = np.append(known, -1)[at] == numbers
        place_m[at[there]], left_us[at[there]] = places[there], times[there]
    away = lives.at_us - left_us > LISTED_US
    gap_s = (lives.at_us - left_us) / 1e6
    way_m = np.linalg.norm(crowd.mean[case.row, None, :2] - place_m, axis=2)
    doubted = ~case.young & (_settled(case) < DOUBT)
    # Nobody is away who was seen since this one is there.
    here_us = np.where(case.young, crowd.born_us[case.row], case.since_us)
    free = away & (way_m <= WALK_M_S * gap_s + SLACK_M) & (left_us <= here_us[:, None])
    free |= np.isin(known, case.number[doubted])
    allowed: Bools = free & (case.young | doubted)[:, None]
    allowed |= (away | np.isin(known, case.number)) & (case.met_us > sure_us[:, None])
    known_too = np.flatnonzero(case.own >= 0)
    allowed[known_too, case.own[known_too]] = False
    for one, other in lives.apart:
        for mine, theirs in ((one, other), (other, one)):
            allowed[np.ix_(case.number == mine, known == theirs)] = False
    prior = np.where(away, -np.log1p(np.maximum(gap_s, 0.0) / RECENT_S), 0.0)
    return allowed, np.broadcast_to(prior, allowed.shape)


def _settled(case: _Case) -> Floats:
    """(R,) what looks say of everyone's being who they are taken for."""
    every = np.arange(len(case.row))
    told: Floats = np.append(case.says, np.zeros((len(every), 1)), axis=1)[every, case.own]
    return told


def _values(case: _Case) -> Floats:
    """(R, K + R) log odds of being each portrait's person, or, in a column of each one's own, somebody new."""
    every, known = np.arange(len(case.row)), case.says.shape[1]
    value = np.full((len(every), known + len(every)), -np.inf)
    value[:, :known] = np.where(case.allowed, case.says + case.prior, -np.inf)
    value[every, known + every] = TAKEN
    new = NEW + np.log1p((case.allowed * np.exp(case.prior)).sum(axis=1))
    # Nobody stays who has long looked like somebody else, and may have been mistaken for them.
    stay = np.where((case.count >= STALE_LOOKS) & case.contested, 0.0, STAY)
    value[every, _own(case, known)] = np.where(case.young, new, stay + _settled(case))
    return value


def _own(case: _Case, known: int) -> Ints:
    """(R,) the column that stands for staying who one is."""
    return np.where(case.own >= 0, case.own, known + np.arange(len(case.row)))


def _chosen(value: Floats, case: _Case, album: Album, least: float) -> tuple[Ints, Floats]:
    """Which column each row is, (R,), and how likely that is by itself, (R,).

    Whoever is not at least so likely to be another stays, and so does, then, who would have been them.
    """
    every = np.arange(len(value))
    known = value.shape[1] - len(value)
    own = _own(case, known)
    likely = np.exp(value - value.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    cost = np.where(np.isfinite(value), -value, np.inf)
    for _ in range(_MOST_ROUNDS):
        rows, columns = assign(cost, _WORST)
        chosen = own.copy()
        chosen[rows] = columns
        changed = np.flatnonzero((chosen != own) & (chosen < known))
        certain = likely[every, chosen]
        certain[changed] = (likely[changed, :known] * _alike(album, chosen[changed], ALIKE)).sum(axis=1)
        doubtful = np.isin(every, changed) & (certain < least)
        if not doubtful.any():
            return chosen, certain
        cost[every[doubtful], chosen[doubtful]] = np.inf
    return own, likely[every, own]


def _alike(album: Album, which: Ints, least: float) -> Bools:
    """(W, K) whose portraits look so much like those of ``which`` (W,) that they may well be of one person."""
    look = album.portraits.look.astype(np.float64)
    alike: Bools = likeness.evidence(album.likeness, 1.0 - look[which] @ look.T) > least
    alike[np.arange(len(which)), which] = True
    return alike


def _one(lives: Lives, case: _Case, column: Ints) -> tuple[Ints, Lives]:
    """The columns that were chosen, and everyone after those who are away were made one who are this person too.

    Whoever comes back may have had several identities, when they were not recognised before: the first of them stays.
    """
    known, memory, found, column = lives.album.portraits, lives.memory, list(lives.found), column.copy()
    for r in np.flatnonzero((column < len(known)) & (column != case.own)).tolist():
        best = int(column[r])
        if known.number[best] not in memory.number:
            continue
        same = _alike(lives.album, column[[r]], SAME)[0] & (case.says[r] > SAME) & case.allowed[r]
        same &= ~known.together[best] & np.isin(known.number, memory.number)
        same[column[column < len(known)]] = False
        same[best] = True
        first, *others = np.flatnonzero(same).tolist()
        column[r] = first
        for other in others:
            number, name = int(known.number[other]), lives.name(int(known.number[first]))
            evidence = Evidence(
                appearance=round(float(1.0 - known.look[first].astype(np.float64) @ known.look[other]), 4), by="looks"
            )
            found.append((
                PersonsMerged, {"person": name, "merged": lives.name(number), "tracks": [], "evidence": evidence}
            ))  # fmt: skip
            memory = memories.without(memory, number)
    return column, replace(lives, memory=memory, found=tuple(found))


def _learned(lives: Lives, case: _Case) -> Album:
    """The album that knows better what distances say: from those whom nobody can have been mistaken for."""
    album, crowd = lives.album, lives.crowd
    certain = ~case.young & (case.own >= 0) & (case.met_us.max(axis=1, initial=0) < case.since_us)
    if album.likeness.known:
        certain &= ~case.allowed.any(axis=1)
    rows = np.flatnonzero(certain)
    if not len(rows):
        return album
    others = np.isin(album.portraits.number, crowd.number[crowd.seen_us == lives.at_us]) & (case.met_us[rows] == 0)
    others[np.arange(len(rows)), case.own[rows]] = False
    same, other = case.apart[rows, case.own[rows]], case.apart[rows][others]
    made: Album = msgspec.structs.replace(album, likeness=likeness.learned(album.likeness, same, other))
    return made


def _drawn(album: Album, case: _Case, after: Ints, sure: Bools, at_us: int) -> Album:
    """The album with the impressions of which it is sure whose they are among the portraits. after: (R,) numbers."""
    fresh = case.young & (after == case.number)
    since_us = np.append(album.portraits.since_us, at_us)[case.own]
    grown = fresh & (at_us - since_us >= YOUNG_US - READY_US)
    anew = fresh | ~np.isin(after, album.portraits.number)
    # Who may have been mistaken for another has to look like themselves; whom nobody was near may look different.
    clear = (_settled(case) > CLEAR) | ~case.contested | (after != case.number)
    draws = (sure & clear) | anew
    known = portraits.drawn(
        album.portraits, after[draws], case.look[draws], case.count[draws], at_us,
        np.where(fresh & ~grown, 0, case.since_us)[draws], anew[draws],
    )  # fmt: skip
    over = np.where(fresh, grown, (sure & clear) | (case.count >= STALE_LOOKS) | (after != case.number))
    left = portraits.forgotten(album.impressions, case.uid[over])
    made: Album = msgspec.structs.replace(album, portraits=known, impressions=left)
    return made


def renamed(lives: Lives, case: _Case, column: Ints, likely: Floats, view: SiteView) -> tuple[Lives, Ints]:
    """Everyone under the number that was chosen, and these numbers, (R,)."""
    known = lives.album.portraits.number
    after = np.where(column < len(known), np.append(known, 0)[np.minimum(column, len(known))], case.number)
    taken = set(after[column < len(known)].tolist())
    changed = []
    for r, number in enumerate(after.tolist()):
        if column[r] >= len(known) and number in taken:
            lives, after[r] = replace(lives, last_number=lives.last_number + 1), lives.last_number + 1
        if after[r] != case.number[r]:
            changed.append(r)
    if not changed:
        return lives, after
    gate = likeness.gate(lives.album.likeness, 0.0)
    kept_too = set(after.tolist())
    found: list[Finding] = []
    memory, crowd = lives.memory, lives.crowd
    back = set(memory.number.tolist())
    bindings = dict(lives.bindings)
    for r in changed:
        row, before, number = int(case.row[r]), int(case.number[r]), int(after[r])
        tracks = tracks_of(lives, int(case.uid[r]))
        told = [ref for ref in tracks if bindings[ref.camera, ref.track].told]
        for ref in told:
            each = bindings[ref.camera, ref.track]
            bindings[ref.camera, ref.track] = Binding(each.uid, each.weight, each.seen_us, number, each.pinned)
        apart = float(case.apart[r, column[r]]) if column[r] < len(known) else None
        evidence = Evidence(
            appearance=None if apart is None else round(apart, 4),
            appearance_gate=None if apart is None else round(gate, 4),
            probability=round(float(likely[r]), 4), by="looks",
        )  # fmt: skip
        name, was = lives.name(number), lives.name(before)
        x_m, y_m = (round(value, 3) for value in crowd.mean[row, :2].tolist())
        if number == lives.last_number and column[r] >= len(known):
            found.append((PersonSplit, {
                "person": was, "new_person": name, "number": number, "tracks": told, "evidence": evidence,
            }))  # fmt: skip
            continue
        if before not in kept_too and case.young[r]:
            found.append((PersonsMerged, {"person": name, "merged": was, "tracks": tracks, "evidence": evidence}))
            continue
        if number in back:
            found.append((PersonReturned, {
                "person": name, "number": number, "x_m": x_m, "y_m": y_m, "seen": told, "evidence": evidence,
            }))  # fmt: skip
        found += [
            (TrackReassigned, {
                "person": name, "number": number, "from_person": was, "camera": ref.camera, "track": ref.track,
                "evidence": evidence,
            })
            for ref in told
        ]  # fmt: skip
        if before not in kept_too:
            last_us = int(lives.album.portraits.sure_us[case.own[r]])
            camera = view.cameras[int(np.argmax(crowd.shown_us[row]))]
            memory = memories.remembered(memory, before, last_us, crowd.mean[row], camera)
            found.append((PersonLeft, {"person": was, "x_m": x_m, "y_m": y_m, "last_at": last_us}))
    numbers = crowd.number.copy()
    came = np.setdiff1d(after, case.number)
    stays = ~np.isin(crowd.number, came)
    numbers[case.row] = after
    for number in came.tolist():
        memory = memories.without(memory, number)
    renamed_uids = case.uid[changed]
    gallery = lives.gallery
    own = ~np.isin(gallery.owner, renamed_uids)
    return replace(
        lives, crowd=kept(with_values(crowd, number=numbers), stays), memory=memory, bindings=bindings,
        gallery=Gallery(gallery.owner[own], gallery.camera[own], gallery.look[own], gallery.model),
        found=(*lives.found, *found),
    ), after  # fmt: skip
