"""What an operator says about who is who, carried out: two are one, one is two, a track is somebody else's.

A wish is an input like any other: the same people and the same wish give the same events. It holds from the first
tick at or after its ``at``. What contradicts what the cameras show is refused, with the reason, so that nobody is ever
in two places at once; and who was told apart is not made one again because they stand in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec
import numpy as np

from spoton import crowd as crowds
from spoton import memory as memories
from spoton import portraits
from spoton.bindings import Binding, Gallery, TrackKey
from spoton.events import (
    Correction,
    CorrectionRefused,
    Evidence,
    IdentityEvent,
    MergeRequested,
    PersonsMerged,
    PersonSplit,
    ReassignmentRequested,
    SplitRequested,
    TrackReassigned,
    TrackRef,
    event_id,
)
from spoton.lives import Finding, Lives, one_instead, renumbered, tracks_of
from spoton.sightings import SiteView
from spoton.ticks import NEVER_US

Merged: TypeAlias = Mapping[int, int]
"""Who was merged into whom, by number."""

MOST_APART = 256
MOST_MERGED = 1024
_VAGUE_M2 = 1.0
"""Where somebody stands who was just told apart is known no better than this."""


class _Refused(Exception):
    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Everyone, who was merged into whom, and the uid that the next one gets."""

    lives: Lives
    merged: Merged
    next_uid: int


def numbered(wish: Correction, seq: int) -> Correction:
    """A wish as the ``seq``-th command of its site."""
    made: Correction = msgspec.structs.replace(wish, id=event_id("commands", wish.site, seq, wish.at), seq=seq)
    return made


def reversal(event: IdentityEvent, *, at: int, by: str, why: str) -> Correction | None:
    """The wish that takes a decision back; None for one that cannot be. It has no place in a sequence yet."""
    head: dict[str, Any] = {"id": "", "seq": 0, "at": at, "site": event.site, "by": by, "why": why}
    match event:
        case PersonsMerged():
            return SplitRequested(
                **head, person=event.person, tracks=event.tracks, new_person=event.merged, reverses=event.id
            )
        case PersonSplit():
            return MergeRequested(**head, person=event.person, merged=event.new_person, reverses=event.id)
        case TrackReassigned() if event.from_person:
            return ReassignmentRequested(
                **head, person=event.from_person, camera=event.camera, track=event.track, reverses=event.id
            )
        case _:
            return None


def number_of(person: str) -> int:
    """The number in an identity; 0 when there is none."""
    digits = person.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else 0


def followed(merged: Merged, event: IdentityEvent) -> Merged:
    """Who was merged into whom after one more decision."""
    if isinstance(event, PersonsMerged):
        after = {**merged, number_of(event.merged): number_of(event.person)}
        after.pop(number_of(event.person), None)
        return dict(list(after.items())[-MOST_MERGED:])
    if isinstance(event, PersonSplit) and number_of(event.new_person) in merged:
        return {gone: stays for gone, stays in merged.items() if gone != number_of(event.new_person)}
    return merged


def carried_out(site: Site, wish: Correction, view: SiteView) -> Site:
    """Everyone after a wish, with what it led to among the findings of ``lives``."""
    try:
        match wish:
            case MergeRequested():
                return _merged(site, wish, view)
            case SplitRequested():
                return _split(site, wish)
            case ReassignmentRequested():
                return _reassigned(site, wish, view)
    except _Refused as refused:
        told = {"command": wish.id, "reason": refused.reason, "remedy": refused.remedy}
        return _with(site, site.lives, (CorrectionRefused, told))


def _with(site: Site, lives: Lives, finding: Finding, *, births: int = 0) -> Site:
    return replace(
        site, lives=replace(lives, found=(*lives.found, finding)), next_uid=site.next_uid + births,
    )  # fmt: skip


def _evidence(wish: Correction, **measured: float) -> Evidence:
    return Evidence(by="operator", command=wish.id, who=wish.by, why=wish.why, **measured)


def _current(site: Site, person: str) -> int:
    """The number that somebody goes by now; refused where nobody ever had this identity."""
    number = number_of(person)
    if not 1 <= number <= site.lives.last_number or site.lives.name(number) != person:
        raise _Refused(f"{person!r} is no person of this site", "see `spoton persons list`")
    for _ in range(len(site.merged) + 1):
        if number not in site.merged:
            break
        number = site.merged[number]
    return number


def _row(lives: Lives, number: int) -> int | None:
    rows = np.flatnonzero(lives.crowd.number == number)
    return int(rows[0]) if len(rows) else None


def _seen_now(lives: Lives, row: int) -> bool:
    return lives.at_us != NEVER_US and int(lives.crowd.seen_us[row]) == lives.at_us


def _distance_m(lives: Lives, one: int, other: int) -> float:
    return float(np.hypot(*(lives.crowd.mean[one, :2] - lives.crowd.mean[other, :2])))


def _fit(lives: Lives, one: int, other: int, view: SiteView, *, again: bool) -> dict[str, float]:
    """How far apart two rows are that are to be one; refused where both are seen now by one camera, or far apart.

    again: they were one before. Cameras that disagree may have shown them up to a gate to either side of their place.
    """
    apart_m, gate_m = _distance_m(lives, one, other), view.site.thresholds.gate_m * (2.0 if again else 1.0)
    if not (_seen_now(lives, one) and _seen_now(lives, other)):
        return {"gap_s": round(abs(int(lives.crowd.seen_us[one] - lives.crowd.seen_us[other])) / 1e6, 4)}
    both = np.flatnonzero((lives.crowd.shown_us[[one, other]] == lives.at_us).all(axis=0))
    names = [lives.name(int(lives.crowd.number[row])) for row in (one, other)]
    if len(both):
        raise _Refused(f"camera {view.cameras[int(both[0])]} shows {names[0]} and {names[1]} at the same time")
    if apart_m > gate_m:
        raise _Refused(f"{names[0]} and {names[1]} are seen {apart_m:.1f} m apart at the same time")
    return {"distance_m": round(apart_m, 4), "gate_m": gate_m}


def _merged(site: Site, wish: MergeRequested, view: SiteView) -> Site:
    lives = site.lives
    number, gone = _current(site, wish.person), _current(site, wish.merged)
    if number == gone:
        raise _Refused(f"{wish.person} and {wish.merged} are one person already")
    row, other = _row(lives, number), _row(lives, gone)
    tracks: list[TrackRef] = []
    measured: dict[str, float] = {}
    if other is not None:
        tracks = tracks_of(lives, int(lives.crowd.uid[other]))
        if row is None:
            lives = renumbered(lives, other, number)
            lives = replace(lives, bindings=_told(lives.bindings, int(lives.crowd.uid[other]), number))
        else:
            measured = _fit(lives, row, other, view, again=bool(wish.reverses))
            moved = bool(lives.crowd.seen_us[other] > lives.crowd.seen_us[row])
            lives = one_instead(lives, other, row, moved=moved, told=number)
    lives = replace(
        lives,
        memory=memories.without(lives.memory, gone),
        album=portraits.without(lives.album, [gone]),
        apart=tuple(pair for pair in lives.apart if pair != (min(number, gone), max(number, gone))),
    )
    fields = {
        "person": lives.name(number), "merged": lives.name(gone), "tracks": tracks, "reverses": wish.reverses,
        "evidence": _evidence(wish, **measured),
    }  # fmt: skip
    return _with(site, lives, (PersonsMerged, fields))


def _told(bindings: Mapping[TrackKey, Binding], uid: int, number: int) -> dict[TrackKey, Binding]:
    return {
        key: Binding(uid, each.weight, each.seen_us, number if each.told else 0, each.pinned)
        if each.uid == uid
        else each
        for key, each in bindings.items()
    }


def _split(site: Site, wish: SplitRequested) -> Site:
    lives = site.lives
    number = _current(site, wish.person)
    row = _row(lives, number)
    uid = 0 if row is None else int(lives.crowd.uid[row])
    keys = [(ref.camera, ref.track) for ref in wish.tracks]
    theirs = [key for key in keys if key in lives.bindings and lives.bindings[key].uid == uid]
    if wish.reverses:
        new = number_of(wish.new_person)
        if site.merged.get(new) is None or _current(site, wish.new_person) != number:
            raise _Refused(f"{wish.new_person} is not part of {wish.person} any more")
    else:
        if not keys:
            raise _Refused("no track was named", "name those that are somebody else's, as in north/3")
        for key in keys:
            if key not in theirs:
                raise _Refused(f"track {key[0]}/{key[1]} does not show {wish.person} now")
        new = lives.last_number + 1
    births = 0
    if row is not None and theirs:
        lives, births = _beside(lives, row, site.next_uid, new, theirs), 1
    lives = replace(lives, last_number=max(lives.last_number, new), apart=_apart(lives, number, new))
    fields = {
        "person": lives.name(number), "new_person": lives.name(new), "number": new, "tracks": wish.tracks,
        "reverses": wish.reverses, "evidence": _evidence(wish),
    }  # fmt: skip
    return _with(site, lives, (PersonSplit, fields), births=births)


def _reassigned(site: Site, wish: ReassignmentRequested, view: SiteView) -> Site:
    lives, key = site.lives, (wish.camera, wish.track)
    number, binding = _current(site, wish.person), site.lives.bindings.get((wish.camera, wish.track))
    rows = np.flatnonzero(lives.crowd.uid == binding.uid) if binding is not None else np.zeros(0, dtype=np.int64)
    if not len(rows) or binding is None:
        raise _Refused(f"track {wish.camera}/{wish.track} shows nobody now")
    here = int(rows[0])
    before = int(lives.crowd.number[here])
    if before == number:
        raise _Refused(f"track {wish.camera}/{wish.track} is {wish.person}'s already")
    births, there = 0, _row(lives, number)
    measured: dict[str, float] = {}
    if there is None:
        lives, births = _beside(lives, here, site.next_uid, number, [key]), 1
        lives = replace(lives, memory=memories.without(lives.memory, number))
    else:
        lives, measured = _given(lives, here, there, key, view)
    if before:
        lives = replace(lives, apart=_apart(lives, before, number))
    fields = {
        "person": lives.name(number), "number": number, "from_person": lives.name(before) if before else "",
        "camera": wish.camera, "track": wish.track, "reverses": wish.reverses,
        "evidence": _evidence(wish, **measured),
    }  # fmt: skip
    return _with(site, lives, (TrackReassigned, fields), births=births)


def _given(lives: Lives, here: int, there: int, key: TrackKey, view: SiteView) -> tuple[Lives, dict[str, float]]:
    """A track of row ``here`` given to somebody who is there too; who is not seen now, is where the track is."""
    crowd, camera = lives.crowd, view.cameras.index(key[0])
    name, apart_m, gate_m = lives.name(int(crowd.number[there])), _distance_m(lives, here, there), 0.0
    measured = {"distance_m": round(apart_m, 4)}
    if _seen_now(lives, there):
        gate_m = measured["gate_m"] = view.site.thresholds.gate_m
        if int(crowd.shown_us[there, camera]) == lives.at_us:
            raise _Refused(f"camera {key[0]} shows {name} at the same time under another track")
        if _seen_now(lives, here) and apart_m > gate_m:
            raise _Refused(f"{name} is seen {apart_m:.1f} m away at the same time")
    else:
        values = {name: getattr(crowd, name).copy() for name in ("mean", "cov", "belief", "seen_us")}
        for array in values.values():
            array[there] = array[here]
        values["cov"][there] = _widened(crowd.cov[here])
        crowd = crowds.with_values(crowd, **values)
    each = lives.bindings[key]
    bound = Binding(int(crowd.uid[there]), 1.0, each.seen_us, int(crowd.number[there]), pinned=True)
    return replace(lives, crowd=crowd, bindings={**lives.bindings, key: bound}), measured


def _beside(lives: Lives, row: int, uid: int, number: int, keys: Iterable[TrackKey]) -> Lives:
    """A new row for somebody who was taken for ``row``: in the same place, with these tracks."""
    crowd, keys = lives.crowd, list(keys)
    old_uid = int(crowd.uid[row])
    values = {name: getattr(crowd, name)[[row]].copy() for name in type(crowd).__struct_fields__}
    values["uid"][0], values["number"][0], values["home"][0] = uid, number, -1
    values["cov"][0] = _widened(crowd.cov[row])
    bindings = dict(lives.bindings)
    for key in keys:
        bindings[key] = Binding(uid, 1.0, bindings[key].seen_us, number, pinned=True)
    return replace(
        lives,
        crowd=crowds.joined(crowd, type(crowd)(**values)),
        bindings=bindings,
        gallery=_seen_as(lives.gallery, old_uid),
        album=portraits.without(lives.album, [int(crowd.number[row])]),
        close={pair: since for pair, since in lives.close.items() if old_uid not in pair},
    )


def _widened(cov: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    after = cov.copy()
    after[[0, 1], [0, 1]] = np.maximum(after[[0, 1], [0, 1]], _VAGUE_M2)
    return after


def _seen_as(gallery: Gallery, uid: int) -> Gallery:
    """Without the looks of somebody who was two: they are of both."""
    keep = gallery.owner != uid
    return Gallery(gallery.owner[keep], gallery.camera[keep], gallery.look[keep], gallery.model)


def _apart(lives: Lives, one: int, other: int) -> tuple[tuple[int, int], ...]:
    pair = (min(one, other), max(one, other))
    return (*(known for known in lives.apart if known != pair), pair)[-MOST_APART:]
