"""The people on the floor as they are now: places, trails, and whose each track is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from spoton.corrections import MOST_MERGED, number_of
from spoton.events import (
    Located,
    PeopleLocated,
    PersonAppeared,
    PersonHandedOver,
    PersonLeft,
    PersonReturned,
    PersonsMerged,
    PersonSplit,
    TrackAssigned,
    TrackReassigned,
    TrackRef,
)
from spoton.live.departed import Departed
from spoton.live.messages import PersonNow

TRAIL_US = 10_000_000
TRAIL_POINTS = 120
FORGET_US = 60_000_000
"""A person unheard of for this much event time is dropped, even when nothing ever said that they left."""


class Floor:
    """Folds identities and positions. Bounded: who left, and every track of theirs, is forgotten."""

    def __init__(self) -> None:
        self._persons: dict[str, PersonNow] = {}
        self._trails: dict[str, deque[tuple[int, float, float]]] = {}
        self._departed = Departed()
        self._owner: dict[TrackRef, str] = {}
        self._into: dict[str, str] = {}
        self._previous: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._persons)

    def persons(self, *, trails: bool) -> list[PersonNow]:
        """Everyone, by number; with where they came from in the last 10 s."""
        everyone = sorted(self._persons.values(), key=lambda one: one.number)
        if not trails:
            return everyone
        return [msgspec.structs.replace(one, trail_m=list(self._trails.get(one.person, ()))) for one in everyone]

    def who(self, camera: str, track: int) -> tuple[str, int] | None:
        """Person and number that a track belongs to; None when nobody said yet."""
        person = self._owner.get(TrackRef(camera, track))
        known = None if person is None else self._persons.get(person)
        return None if known is None else (known.person, known.number)

    def located(self, event: PeopleLocated) -> list[PersonNow]:
        """Everyone at one tick; returns those the tick speaks of."""
        there = [one for one in event.people if not self._departed.gone(one.person, event.at)]
        here = [self._place(event.at, located) for located in there]
        stale = [one.person for one in self._persons.values() if event.at - one.at > FORGET_US]
        for person in stale:
            self._gone(person)
        return here

    def appeared(self, event: PersonAppeared | PersonReturned) -> None:
        """Somebody new, or back."""
        if event.person not in self._persons:
            self._persons[event.person] = PersonNow(
                person=event.person, number=event.number, at=event.at, x_m=event.x_m, y_m=event.y_m, seen=event.seen
            )
        self._own(event.person, event.seen)

    def assigned(self, event: TrackAssigned) -> None:
        """A track is somebody's."""
        self._own(event.person, [TrackRef(event.camera, event.track)])

    def handed_over(self, event: PersonHandedOver) -> None:
        """Somebody went on into another camera."""
        self._own(event.person, [TrackRef(event.to_camera, event.track)])

    def merged(self, event: PersonsMerged) -> None:
        """Two were one: the tracks of ``merged`` are ``person``'s, and so is what they were before."""
        self._own(event.person, [track for track, owner in self._owner.items() if owner == event.merged])
        self._into[event.merged] = event.person
        if len(self._into) > MOST_MERGED:
            del self._into[next(iter(self._into))]
        self._previous.pop(event.merged, None)
        self._named(event.person)
        if event.person not in self._persons and (gone := self._persons.get(event.merged)) is not None:
            # Who is back under an earlier identity stands where they were taken for somebody new.
            self._persons[event.person] = msgspec.structs.replace(
                gone, person=event.person, number=number_of(event.person),
                previous_ids=list(self._previous[event.person]),
            )  # fmt: skip
        self._departed.note(event.merged, event.at)
        self._drop(event.merged)

    def split(self, event: PersonSplit) -> None:
        """One was two: where a track shows the new one, they stand where the old one does until located."""
        self._departed.back(event.new_person)
        self._into.pop(event.new_person, None)
        self._named(event.person)
        self._named(event.new_person)
        # A merge may be taken back when all that showed who was merged is over: nobody new stands anywhere then.
        theirs = [track for track in event.tracks if self._owner.get(track) == event.person]
        self._own(event.new_person, theirs)
        old = self._persons.get(event.person)
        if theirs and old is not None and event.new_person not in self._persons:
            self._persons[event.new_person] = msgspec.structs.replace(
                old, person=event.new_person, number=event.number, seen=theirs,
                previous_ids=list(self._previous.get(event.new_person, ())),
            )  # fmt: skip

    def reassigned(self, event: TrackReassigned) -> None:
        """A track is somebody else's."""
        self._own(event.person, [TrackRef(event.camera, event.track)])

    def left(self, event: PersonLeft) -> None:
        """Somebody is gone."""
        self._departed.note(event.person, event.at)
        self._gone(event.person)

    def ended(self, camera: str, tracks: Iterable[int]) -> None:
        """These tracks are over; their numbers are not used again."""
        for track in tracks:
            self._owner.pop(TrackRef(camera, track), None)

    def _place(self, at: int, located: Located) -> PersonNow:
        one = PersonNow(
            person=located.person,
            number=located.number,
            at=at,
            x_m=round(located.x_m, 3),
            y_m=round(located.y_m, 3),
            vx_m_s=round(located.vx_m_s, 3),
            vy_m_s=round(located.vy_m_s, 3),
            cov_m2=located.cov_m2,
            seen=located.seen,
            zone=located.zone,
            previous_ids=list(self._previous.get(located.person, ())),
        )
        self._persons[one.person] = one
        self._own(one.person, one.seen)
        trail = self._trails.setdefault(one.person, deque(maxlen=TRAIL_POINTS))
        trail.append((at, one.x_m, one.y_m))
        while trail[0][0] < at - TRAIL_US:
            trail.popleft()
        return one

    def _own(self, person: str, tracks: Iterable[TrackRef]) -> None:
        self._owner.update(dict.fromkeys(tracks, person))

    def _named(self, person: str) -> None:
        """Keep whom somebody was taken for before; of those who are there that is known, not of all who ever were."""
        previous = self._before(person)
        if previous:
            self._previous[person] = tuple(previous)
        else:
            self._previous.pop(person, None)
        known = self._persons.get(person)
        if known is not None:
            self._persons[person] = msgspec.structs.replace(known, previous_ids=previous)

    def _before(self, person: str) -> list[str]:
        line = [person]
        for one in line:
            line += [gone for gone, into in self._into.items() if into == one and gone not in line]
        return line[1:]

    def _gone(self, person: str) -> None:
        for one in self._before(person):
            del self._into[one]
        self._drop(person)

    def _drop(self, person: str) -> None:
        self._previous.pop(person, None)
        self._persons.pop(person, None)
        self._trails.pop(person, None)
        for track in [track for track, owner in self._owner.items() if owner == person]:
            del self._owner[track]
