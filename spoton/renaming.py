"""What recognition decided, carried out: numbers change over, and events say so with their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import likeness, walking
from spoton import memory as memories
from spoton.bindings import Binding, Gallery
from spoton.crowd import kept, with_values
from spoton.events import Evidence, PersonLeft, PersonReturned, PersonsMerged, PersonSplit, TrackReassigned, TrackRef
from spoton.lives import Finding, Lives, looks_gate, tracks_of
from spoton.memory import Memory
from spoton.recognition_case import Case
from spoton.sightings import SiteView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def made_one(lives: Lives, case: Case, column: Ints, parts: Mapping[int, Ints]) -> tuple[Case, Ints, Lives]:
    """Everyone after those who are one were made one, and the case and the columns that are chosen then.

    parts: by row the portraits that are of this person, ascending. Their first identity stays.
    """
    known, memory, found, column = lives.album.portraits, lives.memory, list(lives.found), column.copy()
    fresh = case.fresh.copy()
    for r, (first, *others) in ((r, each.tolist()) for r, each in parts.items()):
        # Whoever is here under a later number is so no more than whoever is new.
        fresh[r] |= column[r] == case.own[r]
        column[r] = first
        for other in others:
            if other == case.own[r]:
                continue
            one, two = likeness.measured(lives.album.likeness, known.look[[first, other]])
            apart = 1.0 - float(one @ two)
            number = int(known.number[other])
            found.append((PersonsMerged, {
                "person": lives.name(int(known.number[first])), "merged": lives.name(number), "tracks": [],
                "evidence": Evidence(appearance=round(apart, 4), by="looks"),
            }))  # fmt: skip
            memory = memories.without(memory, number)
    return replace(case, fresh=fresh), column, replace(lives, memory=memory, found=tuple(found))


def renamed(lives: Lives, case: Case, column: Ints, likely: Floats, view: SiteView) -> tuple[Lives, Ints]:
    """Everyone under the number that was chosen, and these numbers, (R,).

    column: (R,) as ``recognition`` chose them: a portrait, or beyond these somebody without one, who is new where
    another is who they were. likely: (R,) how likely.
    """
    after, lives = _numbers(lives, case, column)
    changed = np.flatnonzero(after != case.number).tolist()
    if not changed:
        return lives, after
    found: list[Finding] = []
    memory, bindings = lives.memory, dict(lives.bindings)
    for r in changed:
        before, number = int(case.number[r]), int(after[r])
        tracks = [ref for ref in tracks_of(lives, int(case.uid[r])) if bindings[ref.camera, ref.track].told]
        for ref in tracks:
            each = bindings[ref.camera, ref.track]
            bindings[ref.camera, ref.track] = Binding(each.uid, each.weight, each.seen_us, number, each.pinned)
        gone = before not in after
        evidence = _evidence(lives, case, r, int(column[r]), float(likely[r]), view)
        found += _told(lives, case, r, number, tracks, evidence, gone=gone)
        if gone and not case.fresh[r]:
            finding, memory = _gone(lives, memory, case, r, view)
            found.append(finding)
    came = np.setdiff1d(after, case.number)
    for number in came.tolist():
        memory = _left_before(lives, memory, number, view)
        if not case.young[after == number].any():
            memory = memories.without(memory, number)
    numbers = lives.crowd.number.copy()
    numbers[case.row] = after
    # Who was lost from sight, and is here now, is nowhere else.
    crowd = kept(with_values(lives.crowd, number=numbers), ~np.isin(lives.crowd.number, came))
    gallery, own = lives.gallery, ~np.isin(lives.gallery.owner, case.uid[changed])
    return replace(
        lives, crowd=crowd, memory=memory, bindings=bindings, found=(*lives.found, *found),
        gallery=Gallery(gallery.owner[own], gallery.camera[own], gallery.look[own], gallery.model),
        album=msgspec.structs.replace(lives.album, walks=_walks(lives, case, column, changed, view)),
    ), after  # fmt: skip


def _numbers(lives: Lives, case: Case, column: Ints) -> tuple[Ints, Lives]:
    """(R,) the numbers chosen; who is new because another is who they were gets the next one."""
    known = lives.album.portraits.number
    drawn = column < len(known)
    after = np.where(drawn, np.append(known, 0)[np.minimum(column, len(known))], case.number)
    new = np.flatnonzero(~drawn & (np.isin(after, after[drawn]) | (case.returned & (column != case.own))))
    after[new] = lives.last_number + 1 + np.arange(len(new))
    return after, replace(lives, last_number=lives.last_number + len(new))


def _evidence(lives: Lives, case: Case, r: int, column: int, likely: float, view: SiteView) -> Evidence:
    if column >= case.says.shape[1]:
        return Evidence(probability=round(likely, 4), by="looks")
    away = bool(case.prior[r, column])
    distance_m, gap_s, walk = (
        round(float(each[r, column]), 4) if away else None for each in (case.way_m, case.gap_s, case.walk)
    )
    return Evidence(
        distance_m=distance_m, gap_s=gap_s, walk=walk, appearance=round(float(case.apart[r, column]), 4),
        appearance_gate=round(looks_gate(lives, view), 4), probability=round(likely, 4), by="looks",
    )  # fmt: skip


def _told(
    lives: Lives, case: Case, r: int, number: int, tracks: list[TrackRef], evidence: Evidence, *, gone: bool
) -> list[Finding]:
    """What is said of row ``r`` of the case, who is ``number`` from now on. gone: nobody is who they were."""
    name, was = lives.name(number), lives.name(int(case.number[r]))
    if number not in lives.album.portraits.number:
        return [(PersonSplit, {
            "person": was, "new_person": name, "number": number, "tracks": tracks, "evidence": evidence,
        })]  # fmt: skip
    found: list[Finding] = []
    if number in lives.memory.number:
        x_m, y_m = (round(value, 3) for value in lives.crowd.mean[case.row[r], :2].tolist())
        found.append((PersonReturned, {
            "person": name, "number": number, "x_m": x_m, "y_m": y_m, "seen": tracks, "evidence": evidence,
        }))  # fmt: skip
    if gone and case.fresh[r]:
        return [*found, (PersonsMerged, {"person": name, "merged": was, "tracks": tracks, "evidence": evidence})]
    return found + [
        (TrackReassigned, {
            "person": name, "number": number, "from_person": was, "camera": ref.camera, "track": ref.track,
            "evidence": evidence,
        })
        for ref in tracks
    ]  # fmt: skip


def _left_before(lives: Lives, memory: Memory, number: int, view: SiteView) -> Memory:
    """The memory with where somebody was lost from sight who has not left yet: they may not be who is there now."""
    at = np.flatnonzero(lives.crowd.number == number)
    if not len(at):
        return memory
    camera = view.cameras[int(np.argmax(lives.crowd.shown_us[at[0]]))]
    return memories.remembered(memory, number, int(lives.crowd.seen_us[at[0]]), lives.crowd.mean[at[0]], camera)


def _gone(lives: Lives, memory: Memory, case: Case, r: int, view: SiteView) -> tuple[Finding, Memory]:
    """Who row ``r`` of the case was taken for is not there: they left when it was last sure that they were."""
    number, row = int(case.number[r]), int(case.row[r])
    at = np.flatnonzero(memory.number == number)
    if len(at):
        (x_m, y_m), last_us = memory.place_m[at[0]].tolist(), int(memory.left_us[at[0]])
        left = {"person": lives.name(number), "x_m": round(x_m, 3), "y_m": round(y_m, 3), "last_at": last_us}
        return (PersonLeft, left), memory
    last_us = int(lives.album.portraits.sure_us[case.own[r]])
    x_m, y_m = (round(value, 3) for value in lives.crowd.mean[row, :2].tolist())
    camera = view.cameras[int(np.argmax(lives.crowd.shown_us[row]))]
    left = {"person": lives.name(number), "x_m": x_m, "y_m": y_m, "last_at": last_us}
    return (PersonLeft, left), memories.remembered(memory, number, last_us, lives.crowd.mean[row], camera)


def _walks(lives: Lives, case: Case, column: Ints, changed: list[int], view: SiteView) -> walking.Walks:
    """What is usual of each way, with those who came back just now."""
    walks, memory = lives.album.walks, lives.memory
    known = lives.album.portraits.number
    for r in changed:
        at = np.flatnonzero(memory.number == known[column[r]]) if column[r] < len(known) else known[:0]
        if len(at) and case.young[r]:
            came = int(np.argmax(lives.crowd.shown_us[case.row[r]] == lives.at_us))
            way = memory.camera[int(at[0])], view.cameras[came]
            walks = walking.learned(walks, way, float(case.gap_s[r, column[r]]), float(case.way_m[r, column[r]]))
    return walks
