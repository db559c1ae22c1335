"""One site: what its cameras detect becomes people with an identity and a place on the floor.

``decide`` says what an event of the ``detections`` stream means, ``evolve`` folds that event, and every event decided,
into the state; ``step`` does both in one pass. All are pure: the same events give the same people byte for byte, and a
state packed by one worker goes on unchanged in another.

Only cameras with a calibration take part: an identity needs a place on the floor. Frames of the others change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import camera_watch, corrections, likeness, portraits
from spoton import crowd as crowds
from spoton import lives as lifes
from spoton.bindings import Bindings, alike, looked, no_looks, rebound, ties
from spoton.crowd import Crowd
from spoton.events import (
    CameraOffline,
    CameraOnline,
    Correction,
    CorrectionRefused,
    DetectionEvent,
    FramesSkipped,
    IdentityEvent,
    Located,
    PeopleDetected,
    PeopleLocated,
    TrackRef,
    event_id,
)
from spoton.fusion import centre_of, fuse, gathered_groups, open_m
from spoton.lives import LISTED_US, RECENT_US, Finding, Lives
from spoton.matching import assign_known, candidates
from spoton.offsets import corrected, learned, none_known
from spoton.people_state import PeopleState, pack, unpack, with_cameras
from spoton.presence import CONFIRMED, DOUBTED, believed
from spoton.recognition import recognised
from spoton.sightings import Sightings, SiteView, boxes, sight, site_view
from spoton.site import Site
from spoton.ticks import NEVER_US, Tick, admit, close, silent
from spoton.zones import zone_of

__all__ = ["PeopleState", "SiteView", "decide", "evolve", "flush", "initial", "pack", "site_view", "step", "unpack"]

Ints = NDArray[np.int64]
Decided = IdentityEvent | PeopleLocated
Input = DetectionEvent | Correction

_ACTIVE_PERIODS = 2.5
_VAGUE_M = 1.5
_FORGET_TRACK_US = 10_000_000


def initial(site: Site | SiteView) -> PeopleState:
    """Nobody, before the first event."""
    view = _view(site)
    count = len(view.cameras)
    return PeopleState(
        cameras=view.cameras, crowd=crowds.nobody(count), offsets=none_known(count),
        watch=camera_watch.none_known(count),
    )  # fmt: skip


def decide(state: PeopleState, event: Input, site: Site | SiteView) -> list[Decided]:
    """What follows from an event of a camera or an operator: nothing for one seen before or whose tick is open."""
    return step(state, event, site)[0]


def evolve(state: PeopleState, event: Input | Decided, site: Site | SiteView) -> PeopleState:
    """The state after an event of a camera or an operator, or one decided; each counts once, however often it comes."""
    if isinstance(event, PeopleDetected | FramesSkipped | CameraOnline | CameraOffline | Correction):
        after = step(state, event, site)[1]
        return msgspec.structs.replace(after, **_counts(state))
    return _counted(state, event)


def step(
    state: PeopleState, event: Input, site: Site | SiteView
) -> tuple[list[Decided], PeopleState]:
    """``decide`` and ``evolve`` of the event and all that was decided, in one pass."""
    view = _view(site)
    if isinstance(event, Correction):
        return _wished(state, event, view)
    event = camera_watch.on_time(state.watch, state.cameras, event)
    alignment = admit(state.alignment, event, view.rhythm)
    if alignment is state.alignment:
        return [], state
    watch = camera_watch.late(state.watch, event, state.alignment.closed_us, view)
    ticks, alignment = close(alignment, camera_watch.rhythm(watch, view))
    decided, state = _run(msgspec.structs.replace(state, alignment=alignment, watch=watch), ticks, view)
    if event.camera in view.rhythm.cameras and silent(alignment, view.rhythm):
        settled, state = _settled(state, view)
        left, state = _abandoned(state, event, view)
        decided = [*decided, *settled, *left]
    return decided, state


def flush(state: PeopleState, site: Site | SiteView) -> tuple[list[Decided], PeopleState]:
    """Close every tick that still waits for a camera: nothing more will come."""
    view = _view(site)
    ticks, alignment = close(state.alignment, view.rhythm, ended=True)
    decided, state = _run(msgspec.structs.replace(state, alignment=alignment), ticks, view)
    settled, state = _settled(state, view)
    return [*decided, *settled], state


def _wished(state: PeopleState, wish: Correction, view: SiteView) -> tuple[list[Decided], PeopleState]:
    """A correction waits for its tick; where no camera looks, no tick will come, and it holds at once."""
    if wish.seq <= state.commands_seq:
        return [], state
    waiting = tuple(sorted((*state.waiting, wish), key=lambda each: (each.at, each.seq)))
    state = msgspec.structs.replace(state, waiting=waiting, commands_seq=wish.seq)
    return _settled(state, view) if silent(state.alignment, view.rhythm) else ([], state)


def _settled(state: PeopleState, view: SiteView) -> tuple[list[Decided], PeopleState]:
    """Every correction that waits, carried out: no tick will come."""
    decided: list[Decided] = []
    while state.waiting:
        wish = state.waiting[0]
        findings, state = _corrected(state, wish.at, view, most=1)
        told = _identities(state, findings, max(wish.at, state.at_us), view)
        decided += told
        state = _all_counted(state, told)
    return decided, state


def _corrected(
    state: PeopleState, until_us: int, view: SiteView, most: int | None = None
) -> tuple[tuple[Finding, ...], PeopleState]:
    """The corrections whose time has come, carried out on everyone as they were at the last tick."""
    due = [wish for wish in state.waiting if wish.at <= until_us][:most]
    if not due:
        return (), state
    state = with_cameras(state, view.cameras)
    site = corrections.Site(_lives(state, state.at_us), state.merged, state.next_uid)
    for wish in due:
        before = len(site.lives.found)
        site = corrections.carried_out(site, wish, view)
        for kind, fields in site.lives.found[before:]:
            if kind is not CorrectionRefused:
                told = kind(id="", at=0, site="", seq=0, **fields)
                site = replace(site, merged=corrections.followed(site.merged, told))
    lives = site.lives
    after = msgspec.structs.replace(
        state, crowd=lives.crowd, bindings=dict(lives.bindings), gallery=lives.gallery, memory=lives.memory,
        album=lives.album, close=dict(lives.close), apart=lives.apart, next_uid=site.next_uid,
        last_number=lives.last_number, merged=dict(site.merged), waiting=state.waiting[len(due) :],
    )  # fmt: skip
    return lives.found, after


def _view(site: Site | SiteView) -> SiteView:
    return site if isinstance(site, SiteView) else site_view(site)


def _run(state: PeopleState, ticks: Sequence[Tick], view: SiteView) -> tuple[list[Decided], PeopleState]:
    decided: list[Decided] = []
    for tick in ticks:
        findings, people, state = _tick(state, tick, view)
        numbered = _numbered(state, findings, people, tick, view)
        decided += numbered
        state = _all_counted(state, numbered)
    return decided, state


def _tick(
    state: PeopleState, tick: Tick, view: SiteView
) -> tuple[tuple[Finding, ...], list[Located], PeopleState]:
    """One tick: corrections, then predict, assign, fuse, believe, and see to everyone's life."""
    wished, state = _corrected(state, tick.at_us, view) if state.waiting else ((), state)
    state = with_cameras(state, view.cameras)
    first_us = tick.at_us if state.first_us == NEVER_US else state.first_us
    dt_s = 0.0 if state.at_us == NEVER_US else (tick.at_us - state.at_us) / 1e6
    active_us = max(RECENT_US, round(_ACTIVE_PERIODS * view.rhythm.period_us))
    found = boxes(tick)
    raw = sight(tick, found, view)
    sightings = corrected(state.offsets, raw)
    news_s = dt_s or view.rhythm.period_us / 1e6
    before = lifes.overdue(_lives(state, tick.at_us), view)
    crowd = crowds.predicted(before.crowd, dt_s, tick.at_us, 1.5 * view.rhythm.period_us / 1e6)
    crowd, owner, next_uid = _recognised(state, crowd, sightings, tick, view, active_us, news_s)
    crowd = _vouched(believed(crowd, sightings, owner, tick, found, view, news_s), state.bindings)
    crowd = _shown(crowd, sightings, owner, tick.at_us)
    lives = Lives(
        tick.at_us, first_us, state.last_number, crowd,
        rebound(state.bindings, crowd, sightings, owner, view.cameras, tick.at_us, _FORGET_TRACK_US),
        looked(state.gallery, crowd, sightings, owner),
        before.memory, portraits.looked(state.album, crowd, sightings, owner, tick.at_us), state.close, before.found,
        state.apart,
    )  # fmt: skip
    owner_uid = np.where(owner >= 0, crowd.uid[owner] if len(crowd) else 0, 0)
    lives, seen = _lived(lives, sightings, owner_uid, view)
    told, watch = camera_watch.learned(state.watch, raw, sightings, crowd, owner, tick.at_us, news_s, view)
    after = msgspec.structs.replace(
        state, at_us=tick.at_us, first_us=first_us, crowd=lives.crowd,
        bindings=dict(lives.bindings), gallery=lives.gallery, memory=lives.memory, album=lives.album,
        close=dict(lives.close), next_uid=next_uid,
        offsets=learned(state.offsets, raw, sightings, owner, news_s), watch=watch,
    )  # fmt: skip
    return (*wished, *lives.found, *told), _located(lives, seen, view), after


def _lives(state: PeopleState, at_us: int) -> Lives:
    return Lives(
        at_us, state.first_us, state.last_number, state.crowd, state.bindings, state.gallery, state.memory, state.album,
        state.close, apart=state.apart,
    )


def _abandoned(
    state: PeopleState, event: DetectionEvent, view: SiteView
) -> tuple[list[Decided], PeopleState]:
    """Who leaves when no camera looks any more, so that no tick will tell.

    Everyone, when the last recording is at its end; else, as cameras may come back, whoever was unseen for long.
    """
    lives = _lives(state, max(event.at, state.at_us))
    if isinstance(event, CameraOffline) and event.ended:
        lives = lifes.let_go(lives, np.ones(len(lives.crowd), dtype=np.bool_), view)
    else:
        lives = lifes.overdue(lives, view)
    after = msgspec.structs.replace(state, crowd=lives.crowd, memory=lives.memory)
    if not len(lives.crowd):
        after = msgspec.structs.replace(after, bindings={}, gallery=no_looks(), close={})
    decided = _identities(state, lives.found, lives.at_us, view)
    return decided, _all_counted(after, decided)


def _recognised(
    state: PeopleState, crowd: Crowd, sightings: Sightings, tick: Tick, view: SiteView, active_us: int, news_s: float
) -> tuple[Crowd, Ints, int]:
    """Whose each sighting is, and everyone where it puts them, newcomers last."""
    thresholds = view.site.thresholds
    tied, tie, pinned = ties(state.bindings, crowd, sightings, view.cameras)
    active = tick.at_us - crowd.seen_us <= active_us
    found = candidates(crowd, sightings, tied, tie, active, thresholds.gate_m, pinned)
    gate = likeness.gate(state.album.likeness, sightings.looks_by, thresholds.appearance_gate)
    looks = alike(state.gallery, crowd, sightings, *found[:2], gate, state.album.likeness)
    owner = assign_known(crowd, sightings, found, looks, news_s)
    crowd = fuse(crowd, sightings, owner)
    free = np.flatnonzero((owner < 0) & (open_m(sightings.cov_m2) < _VAGUE_M))
    groups = gathered_groups(sightings, free, thresholds.gate_m)
    groups = [group for group in groups if len(group) > 1 or sightings.track[group[0]] > 0]
    if not groups:
        return crowd, owner, state.next_uid
    for k, group in enumerate(groups):
        owner[group] = len(crowd) + k
    centres = [centre_of(sightings, group) for group in groups]
    uids = range(state.next_uid, state.next_uid + len(groups))
    fresh = crowds.newborn(
        uids, np.stack([c for c, _ in centres]), np.stack([v for _, v in centres]), tick.at_us, len(view.cameras)
    )
    return crowds.joined(crowd, fresh), owner, state.next_uid + len(groups)


def _vouched(crowd: Crowd, bindings: Bindings) -> Crowd:
    """Whom an operator has told apart from others is there, whatever it looks like."""
    said = [each.uid for each in bindings.values() if each.pinned]
    if not said:
        return crowd
    belief = np.where(np.isin(crowd.uid, said), np.maximum(crowd.belief, CONFIRMED), crowd.belief)
    return crowds.with_values(crowd, belief=belief)


def _shown(crowd: Crowd, sightings: Sightings, owner: Ints, at_us: int) -> Crowd:
    taken = owner >= 0
    shown, seen = crowd.shown_us.copy(), crowd.seen_us.copy()
    shown[owner[taken], sightings.camera[taken]] = at_us
    seen[owner[taken]] = at_us
    return crowds.with_values(crowd, shown_us=shown, seen_us=seen)


def _lived(
    lives: Lives, sightings: Sightings, owner_uid: Ints, view: SiteView
) -> tuple[Lives, dict[int, list[TrackRef]]]:
    lives = lifes.paired(lives, view.site.thresholds.gate_m)
    lives = lifes.merged(lives)
    unnumbered = np.isin(owner_uid, lives.crowd.uid[lives.crowd.number == 0])
    lives = lifes.confirmed(lives, view, _refs(lives, sightings, np.where(unnumbered, owner_uid, 0), view))
    lives = recognised(lives, view)
    owner_uid = _still(lives, sightings, owner_uid, view)
    lives = lifes.told(lives, sightings, owner_uid, view)
    seen = _refs(lives, sightings, owner_uid, view)
    lives = lifes.handed_over(lives, view, seen)
    return lifes.departed(lives, view), seen


def _still(lives: Lives, sightings: Sightings, owner_uid: Ints, view: SiteView) -> Ints:
    """The sightings' people after some turned out to be others."""
    known = set(lives.crowd.uid.tolist())
    after = owner_uid.copy()
    for m in np.flatnonzero(owner_uid > 0).tolist():
        if int(owner_uid[m]) not in known:
            binding = lives.bindings.get((view.cameras[int(sightings.camera[m])], int(sightings.track[m])))
            after[m] = binding.uid if binding is not None else 0
    return after


def _refs(
    lives: Lives, sightings: Sightings, owner_uid: Ints, view: SiteView
) -> dict[int, list[TrackRef]]:
    refs: dict[int, list[TrackRef]] = {}
    rows = np.flatnonzero((owner_uid > 0) & sightings.firm)
    columns = (owner_uid[rows].tolist(), sightings.camera[rows].tolist(), sightings.track[rows].tolist())
    for uid, camera, track in zip(*columns, strict=True):
        refs.setdefault(uid, []).append(TrackRef(view.cameras[camera], track))
    return refs


def _located(lives: Lives, seen: dict[int, list[TrackRef]], view: SiteView) -> list[Located]:
    crowd = lives.crowd
    listed = (crowd.number > 0) & (lives.at_us - crowd.seen_us < LISTED_US) & (crowd.belief > DOUBTED)
    rows = np.flatnonzero(listed)
    zones = zone_of(crowd.mean[rows, :2], view.site.zones)
    people = []
    means = np.round(crowd.mean[rows, :4], 4).tolist()
    spreads = np.round(crowd.cov[rows][:, [0, 0, 1], [0, 1, 1]], 6).tolist()
    columns = (crowd.uid[rows].tolist(), crowd.number[rows].tolist(), means, spreads, zones)
    for uid, number, (x_m, y_m, vx, vy), spread, zone in zip(*columns, strict=True):
        people.append(
            Located(
                person=lives.name(number), number=number, x_m=x_m, y_m=y_m, vx_m_s=vx, vy_m_s=vy,
                cov_m2=tuple(spread), seen=seen.get(uid, []), zone=zone,
            )
        )  # fmt: skip
    return sorted(people, key=lambda each: each.number)


def _numbered(
    state: PeopleState, findings: Sequence[Finding], people: list[Located], tick: Tick, view: SiteView
) -> list[Decided]:
    site, at = view.site.name, tick.at_us
    events = _identities(state, findings, at, view)
    seq = state.positions_seq + 1
    frames = {frame.camera: frame.frame for frame in tick.frames}
    events.append(
        PeopleLocated(
            id=event_id("positions", site, seq, at), at=at, site=site, seq=seq, tick=state.ticks + 1, frames=frames,
            people=people,
        )
    )  # fmt: skip
    return events


def _identities(state: PeopleState, findings: Sequence[Finding], at: int, view: SiteView) -> list[Decided]:
    site = view.site.name
    return [
        kind(id=event_id("identities", site, seq, at), at=at, site=site, seq=seq, **fields)
        for seq, (kind, fields) in enumerate(findings, state.identities_seq + 1)
    ]


def _counts(state: PeopleState) -> dict[str, int]:
    names = ("last_number", "merged", "ticks", "identities_seq", "positions_seq")
    return {name: getattr(state, name) for name in names}


def _all_counted(state: PeopleState, events: Iterable[Decided]) -> PeopleState:
    for event in events:
        state = _counted(state, event)
    return state


def _counted(state: PeopleState, event: Decided) -> PeopleState:
    """The counters after a decided event; one already counted changes nothing."""
    changed: dict[str, Any]
    if isinstance(event, PeopleLocated):
        changed = {"positions_seq": max(state.positions_seq, event.seq), "ticks": max(state.ticks, event.tick)}
    else:
        number = getattr(event, "number", 0)
        changed = {
            "identities_seq": max(state.identities_seq, event.seq), "last_number": max(state.last_number, number),
            "merged": dict(corrections.followed(state.merged, event)),
        }  # fmt: skip
    after: PeopleState = msgspec.structs.replace(state, **changed)
    return after
