"""Why somebody is who they are said to be: the chain of evidence behind one identity, from the recorded events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

import msgspec

from spoton.events import (
    AnyEvent,
    CorrectionRefused,
    Event,
    Evidence,
    MergeRequested,
    PersonAppeared,
    PersonHandedOver,
    PersonLeft,
    PersonReturned,
    PersonsMerged,
    PersonSplit,
    ReassignmentRequested,
    SplitRequested,
    TrackAssigned,
    TrackReassigned,
)

About: TypeAlias = (
    PersonAppeared | PersonReturned | TrackAssigned | PersonHandedOver | PersonsMerged | PersonSplit | TrackReassigned
    | PersonLeft | CorrectionRefused
)  # fmt: skip

Who = TypeVar("Who", str, int)
"""A person by identity or by number."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. at: event time, microseconds UTC; event: its id; said: in words; evidence: as recorded."""

    at: int
    event: str
    type: str
    person: str
    said: str
    evidence: Evidence | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One identity. previous_ids: others that proved to be this person; now: whom the identity belongs to today."""

    person: str
    now: str
    previous_ids: list[str]
    steps: list[Step]


def explain(events: Iterable[AnyEvent], person: str) -> Explanation | None:
    """The chain of evidence of ``person``: theirs, and of everyone who proved to be them; None for one never heard of.

    events: of one site, those of the ``identities`` stream in order; ``commands`` among them tell of whom a refused
    correction was.
    """
    told: list[About] = []
    wishes: dict[str, set[str]] = {}
    for event in events:
        if isinstance(event, About):
            told.append(event)
        elif isinstance(event, MergeRequested):
            wishes[event.id] = {event.person, event.merged}
        elif isinstance(event, SplitRequested | ReassignmentRequested):
            wishes[event.id] = {event.person}
    taken_back = {event.reverses for event in told if isinstance(event, PersonSplit)} - {""}
    into = {
        event.merged: event.person
        for event in told
        if isinstance(event, PersonsMerged) and event.id not in taken_back
    }
    family = {person} | {gone for gone in into if person in chain(into, gone)}
    steps = [_step(event, family) for event in told if family & _people(event, wishes)]
    if not steps:
        return None
    return Explanation(
        person=person, now=chain(into, person)[-1], previous_ids=sorted(family - {person}, key=_order), steps=steps
    )


def everyone(events: Iterable[AnyEvent]) -> list[str]:
    """Every identity that the events of one site tell of, in the order of their numbers."""
    told = (_people(event, {}) for event in events if isinstance(event, About))
    return sorted(set().union(*told) - {""}, key=_order)


def chain(into: Mapping[Who, Who], person: Who) -> list[Who]:
    """The person and whom they proved to be, one after the other. into: who was merged into whom."""
    proved = [person]
    while proved[-1] in into and into[proved[-1]] not in proved:
        proved.append(into[proved[-1]])
    return proved


def _order(person: str) -> tuple[int, str]:
    return len(person), person


def _people(event: About, wishes: dict[str, set[str]]) -> set[str]:
    match event:
        case PersonsMerged():
            return {event.person, event.merged}
        case PersonSplit():
            return {event.person, event.new_person}
        case TrackReassigned():
            return {event.person, event.from_person}
        case CorrectionRefused():
            return wishes.get(event.command, set())
        case _:
            return {event.person}


def _step(event: About, family: set[str]) -> Step:
    evidence = getattr(event, "evidence", None)
    said = _said(event) + (f" ({because})" if evidence is not None and (because := _because(evidence)) else "")
    who = "" if isinstance(event, CorrectionRefused) else event.person
    return Step(at=event.at, event=event.id, type=type(event).__name__, person=who, said=said, evidence=evidence)


def _said(event: Event) -> str:
    match event:
        case PersonAppeared():
            seen = " ".join(f"{ref.camera}/{ref.track}" for ref in event.seen)
            return f"{event.person} appeared at {event.x_m:.1f}, {event.y_m:.1f} m, shown by {seen or 'no track yet'}"
        case PersonReturned():
            seen = " ".join(f"{ref.camera}/{ref.track}" for ref in event.seen)
            return f"{event.person} was back at {event.x_m:.1f}, {event.y_m:.1f} m, shown by {seen or 'no track yet'}"
        case TrackAssigned():
            return f"track {event.camera}/{event.track} is {event.person}"
        case PersonHandedOver():
            return f"{event.person} went from {event.from_camera} to {event.to_camera}, track {event.track}"
        case PersonsMerged():
            again = ", which takes a split back" if event.reverses else ""
            return f"{event.merged} is {event.person} from now on{again}"
        case PersonSplit():
            again = ", which takes a merge back" if event.reverses else ""
            tracks = " ".join(f"{ref.camera}/{ref.track}" for ref in event.tracks) or "no track that is known"
            return f"{event.new_person} was taken for {event.person}: {tracks}{again}"
        case TrackReassigned():
            before = event.from_person or "nobody"
            again = ", which takes a reassignment back" if event.reverses else ""
            return f"track {event.camera}/{event.track} is {event.person}, not {before}{again}"
        case PersonLeft():
            return f"{event.person} left, last seen at {event.x_m:.1f}, {event.y_m:.1f} m"
        case CorrectionRefused():
            return f"a correction was refused: {event.reason}"
        case _:
            return type(event).__name__


def _because(evidence: Evidence) -> str:
    measured = [
        _held("floor", evidence.distance_m, evidence.gate_m, " m"),
        _held("Mahalanobis squared", evidence.mahalanobis, evidence.mahalanobis_gate),
        _held("looks", evidence.appearance, evidence.appearance_gate),
        _held("unseen for", evidence.gap_s, None, " s"),
        None if evidence.probability is None else f"{evidence.probability:.0%} likely",
        _held("walking time", evidence.walk, evidence.walk_gate, " sigma"),
        f"by {evidence.by}" if evidence.by else "",
        evidence.who,
        f'"{evidence.why}"' if evidence.why else "",
    ]
    return ", ".join(one for one in measured if one)


def _held(name: str, value: float | None, gate: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    return f"{name} {value:.2f}" + (f" of {gate:.2f}" if gate is not None else "") + unit
