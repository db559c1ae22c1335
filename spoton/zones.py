"""Who is in which zone: polygons on the floor, and the facts of entering and leaving them.

To run: ``step`` each event of the ``positions`` and ``identities`` streams; both carry all that is needed, so
replaying them gives the same facts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from spoton.events import (
    BehaviourEvent,
    PeopleLocated,
    PersonLeft,
    PersonsMerged,
    PersonSplit,
    PositionEvent,
    ZoneEntered,
    ZoneLeft,
    event_id,
)
from spoton.site import Point, Zone

SETTLE_US = 300_000
"""A person must be on the other side of an edge for this long, so that jitter on it makes no facts."""

_FORGET_LEFT_US = 60_000_000

Bools = NDArray[np.bool_]
Input: TypeAlias = PositionEvent | PersonLeft | PersonsMerged | PersonSplit


def inside(points_m: ArrayLike, polygon: Sequence[Point]) -> Bools:
    """Which points (N, 2) lie in a polygon, (N,), by the even-odd rule.

    The edge: of zones that share an edge or a corner each point of it belongs to exactly one, so a floor cut into
    zones counts everybody once. For an axis-parallel rectangle the left and lower edges belong to it, the right and
    upper ones do not. Not finite points are outside.
    """
    points = np.asarray(points_m, dtype=np.float64).reshape(-1, 2)
    within = np.zeros(len(points), dtype=np.bool_)
    x, y = points[:, 0], points[:, 1]
    for start, end in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        # from the lower end up, whichever way the polygon runs: the zones on both sides then compute the same
        (ax, ay), (bx, by) = (start, end) if start[1] <= end[1] else (end, start)
        level = (ay <= y) & (y < by)
        if ay != by:
            within ^= level & (x < ax + (y - ay) * ((bx - ax) / (by - ay)))
    return within


def zone_of(points_m: ArrayLike, zones: Sequence[Zone]) -> list[str | None]:
    """The name of the first zone that holds each point (N, 2), None outside all."""
    points = np.asarray(points_m, dtype=np.float64).reshape(-1, 2)
    names: list[str | None] = [None] * len(points)
    if not zones:
        return names
    low = np.array([np.min(zone.polygon_m, axis=0) for zone in zones])
    high = np.array([np.max(zone.polygon_m, axis=0) for zone in zones])
    near: Bools = np.logical_and.reduce((points >= low[:, None]) & (points <= high[:, None]), axis=2)
    for number in np.flatnonzero(near.any(axis=1))[::-1].tolist():
        rows = np.flatnonzero(near[number])
        for row in rows[inside(points[rows], zones[number].polygon_m)].tolist():
            names[row] = zones[number].name
    return names


def crossing_edges(polygon: Sequence[Point]) -> tuple[int, int] | None:
    """Two edges, by the number of their first corner from 0, that touch though they are no neighbours; None if none."""
    n = len(polygon)
    for i in range(n):
        for j in range(i + 1, n):
            a, b, c, d = polygon[i], polygon[(i + 1) % n], polygon[j], polygon[(j + 1) % n]
            if j == i + 1 or (i == 0 and j == n - 1):
                first, middle, last = (a, b, d) if j == i + 1 else (c, a, b)
                if _turn(first, middle, last) == 0 and _ahead(first, middle, last) < 0:
                    return i, j
            elif _touch(a, b, c, d):
                return i, j
    return None


def _turn(a: Point, b: Point, c: Point) -> float:
    """Twice the signed area of the triangle; positive to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _ahead(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])


def _touch(a: Point, b: Point, c: Point, d: Point) -> bool:
    turns = [_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)]
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    on = ((turns[0], a, b, c), (turns[1], a, b, d), (turns[2], c, d, a), (turns[3], c, d, b))
    return any(turn == 0 and _between(p, q, r) for turn, p, q, r in on)


def _between(p: Point, q: Point, r: Point) -> bool:
    """r, on the line of p and q, lies on the piece between them."""
    return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])


class Presence(msgspec.Struct, frozen=True, array_like=True):
    """One person and one zone.

    within: as last told. since_us: when the stay began. turned_us: since when the person is seen on the other side,
    None on the side that was told.
    """

    within: bool = False
    since_us: int = 0
    turned_us: int | None = None


class ZoneState(msgspec.Struct, frozen=True, array_like=True):
    """One site. seq: of the last fact told. positions_seq, identities_seq: of the last events taken in.

    people: presence by person and zone, only where a person is or may be inside. left: when people left lately, so
    that a tick which arrives after that does not bring them back.
    """

    seq: int = 0
    positions_seq: int = 0
    identities_seq: int = 0
    people: dict[str, dict[str, Presence]] = {}
    left: dict[str, int] = {}


def step(state: ZoneState, event: Input, zones: Sequence[Zone]) -> tuple[list[BehaviourEvent], ZoneState]:
    """``decide``, then the event and all that was decided folded in with ``evolve``."""
    decided = decide(state, event, zones)
    for each in (event, *decided):
        state = evolve(state, each, zones)
    return decided, state


def decide(state: ZoneState, event: Input, zones: Sequence[Zone]) -> list[BehaviourEvent]:
    """Who entered and left which zone, in the order of people and zones; nothing for an event already seen.

    ``stayed_s`` runs from the first tick inside to the first one outside; the facts come SETTLE_US later.
    """
    if _seen(state, event):
        return []
    changes: list[tuple[str, str, float | None]] = []
    if isinstance(event, PeopleLocated):
        settled = _observed(state, event, zones)
        for person, presences in settled.items():
            for zone, now in presences.items():
                if now.turned_us is not None and event.at - now.turned_us >= SETTLE_US:
                    stayed_s = (now.turned_us - now.since_us) / 1e6 if now.within else None
                    changes.append((person, zone, stayed_s))
    elif isinstance(event, PersonLeft | PersonsMerged):
        person = _departed(event)
        for zone, last in state.people.get(person, {}).items():
            if last.within:
                until_us = event.last_at if isinstance(event, PersonLeft) else event.at
                changes.append((person, zone, max(0.0, (until_us - last.since_us) / 1e6)))
    return [
        _fact(event, state.seq + number, person, zone, stayed_s)
        for number, (person, zone, stayed_s) in enumerate(changes, start=1)
    ]


def evolve(state: ZoneState, event: Input | BehaviourEvent, zones: Sequence[Zone]) -> ZoneState:
    """The state after an event, taken in or told; an event already seen changes nothing."""
    if isinstance(event, ZoneEntered | ZoneLeft):
        return _told(state, event)
    if _seen(state, event):
        return state
    if isinstance(event, PeopleLocated):
        left = {person: at for person, at in state.left.items() if event.at - at < _FORGET_LEFT_US}
        people = {**state.people, **_observed(state, event, zones)}
        people = {person: presences for person, presences in people.items() if presences}
        return msgspec.structs.replace(state, positions_seq=event.seq, people=people, left=left)
    if isinstance(event, PersonSplit):
        # Whose merge is taken back is there, and may be seen at times before the one when they were thought gone.
        left = {person: at for person, at in state.left.items() if person != event.new_person}
        return msgspec.structs.replace(state, identities_seq=event.seq, left=left)
    person = _departed(event)
    people = {name: presences for name, presences in state.people.items() if name != person}
    return msgspec.structs.replace(
        state, identities_seq=event.seq, people=people, left={**state.left, person: event.at}
    )


def _seen(state: ZoneState, event: Input) -> bool:
    return event.seq <= (state.positions_seq if isinstance(event, PeopleLocated) else state.identities_seq)


def _departed(event: PersonLeft | PersonsMerged) -> str:
    return event.person if isinstance(event, PersonLeft) else event.merged


def _observed(state: ZoneState, event: PeopleLocated, zones: Sequence[Zone]) -> dict[str, dict[str, Presence]]:
    """The presences of everyone in the tick, with who is on the other side since when."""
    here = [located for located in event.people if event.at > state.left.get(located.person, event.at - 1)]
    points = np.array([(located.x_m, located.y_m) for located in here], dtype=np.float64).reshape(-1, 2)
    holds = {zone.name: inside(points, zone.polygon_m) for zone in zones}
    observed: dict[str, dict[str, Presence]] = {}
    for row, located in enumerate(here):
        known: Mapping[str, Presence] = state.people.get(located.person, {})
        names = [*holds, *(name for name in known if name not in holds)]  # a zone the site no longer has is left
        presences = {}
        for name in names:
            now = _turned(known.get(name, Presence()), name in holds and bool(holds[name][row]), event.at)
            if now.within or now.turned_us is not None:
                presences[name] = now
        observed[located.person] = presences
    return observed


def _turned(last: Presence, within: bool, at_us: int) -> Presence:
    if within == last.within:
        return last if last.turned_us is None else msgspec.structs.replace(last, turned_us=None)
    return last if last.turned_us is not None else msgspec.structs.replace(last, turned_us=at_us)


def _told(state: ZoneState, event: BehaviourEvent) -> ZoneState:
    if event.seq <= state.seq:
        return state
    presences = dict(state.people.get(event.person, {}))
    last = presences.pop(event.zone, None)
    if isinstance(event, ZoneEntered):
        since_us = event.at if last is None or last.turned_us is None else last.turned_us
        presences[event.zone] = Presence(within=True, since_us=since_us)
    people = {name: stays for name, stays in state.people.items() if name != event.person}
    if presences:
        people[event.person] = presences
    return msgspec.structs.replace(state, seq=event.seq, people=people)


def _fact(event: Input, seq: int, person: str, zone: str, stayed_s: float | None) -> BehaviourEvent:
    name = event_id("behaviour", event.site, seq, event.at)
    if stayed_s is None:
        return ZoneEntered(id=name, at=event.at, site=event.site, seq=seq, person=person, zone=zone)
    return ZoneLeft(id=name, at=event.at, site=event.site, seq=seq, person=person, zone=zone, stayed_s=stayed_s)
