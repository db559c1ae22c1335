"""What always holds of identities, whatever cameras see and operators say: on scenes and words drawn at random."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spoton import corrections, events, people, zones
from spoton.events import (
    Correction,
    CorrectionRefused,
    Event,
    MergeRequested,
    PeopleLocated,
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
    TrackRef,
    ZoneEntered,
    ZoneLeft,
    encode,
)
from spoton.explanation import everyone, explain
from spoton.live.state import LiveState
from spoton.site import Site, Zone

# A scene takes seconds, so that to look for the smallest one that fails would take many minutes.
slowly = settings(
    deadline=None, derandomize=True, max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


class Scene(NamedTuple):
    """Who walks before which cameras, and in what trouble: enough to make the same events again."""

    seed: int
    people: int
    fps: float
    cameras: tuple[str, ...]
    rough: bool

    def site(self, scenes: ModuleType, **place: Any) -> Site:
        site = scenes.plaza(self.cameras, leave_after_s=1.5, **place)
        return replace(site, cameras=tuple(replace(each, fps=self.fps) for each in site.cameras))

    def seen(self, scenes: ModuleType) -> list[Event]:
        walks = scenes.paths(self.seed, self.people, round(4.5 * self.fps), self.fps)
        trouble = scenes.ROUGH if self.rough else scenes.CALM
        site = self.site(scenes)
        found: list[Event] = scenes.in_time(
            scenes.stream(site, walks, fps=self.fps, trouble=trouble, seed=self.seed, looks=True)
        )
        return found


anything = st.builds(
    Scene,
    seed=st.integers(0, 9999),
    people=st.integers(1, 8),
    fps=st.sampled_from([5.0, 10.0]),
    cameras=st.sampled_from([("north", "east", "south", "west"), ("north", "south", "west"), ("east", "west")]),
    rough=st.booleans(),
)


def run(site: Site, inputs: Sequence[Event], kept_every: int = 0) -> list[Event]:
    """All that is decided; with ``kept_every`` another worker takes over after every so many inputs."""
    view, state = people.site_view(site), people.initial(site)
    decided: list[Event] = []
    for place, one in enumerate(inputs):
        if kept_every and place % kept_every == 0:
            view, state = people.site_view(site), people.unpack(people.pack(state))
        more, state = people.step(state, one, view)  # type: ignore[arg-type]
        decided += more
    return decided + people.flush(state, view)[0]


def among(seen: Sequence[Event], said: Sequence[Correction]) -> list[Event]:
    """The events with each correction a tenth of a second before its time."""
    return sorted([*seen, *said], key=lambda one: one.at - 100_000 * isinstance(one, Correction))


def said_of(site: Site, seen: Sequence[Event], seed: int, most: int = 6) -> list[Correction]:
    """What operators say of people and tracks that are there, right or wrong; then some of it is taken back."""
    chance = Random(seed)
    ticks = [one for one in run(site, seen) if isinstance(one, PeopleLocated) and one.people]
    early = sorted(chance.sample(ticks, min(most, len(ticks))), key=lambda one: one.at)
    wishes = [_wish(tick, seq, chance) for seq, tick in enumerate(early, 1) if tick.at < 3_000_000]
    kinds = PersonsMerged | PersonSplit | TrackReassigned
    outcomes = [one for one in run(site, among(seen, wishes)) if isinstance(one, kinds)]
    for at, outcome in zip(range(3_050_000, 4_000_000, 200_000), chance.sample(outcomes, len(outcomes)), strict=False):
        if (undo := corrections.reversal(outcome, at=at, by="ben", why="mistaken")) is not None:
            wishes.append(corrections.numbered(undo, len(wishes) + 1))
    return wishes


def _wish(tick: PeopleLocated, seq: int, chance: Random) -> Correction:
    one, other = chance.choice(tick.people), chance.choice(tick.people)
    head: dict[str, Any] = {"id": "", "seq": 0, "at": tick.at + 1, "site": tick.site, "by": "anna", "why": ""}
    made: list[Correction] = [MergeRequested(**head, person=one.person, merged=other.person)]
    if one.seen:
        some = chance.sample(one.seen, chance.randint(1, len(one.seen)))
        made.append(SplitRequested(**head, person=one.person, tracks=some))
        made.append(
            ReassignmentRequested(**head, person=other.person, camera=some[0].camera, track=some[0].track)
        )
    return corrections.numbered(chance.choice(made), seq)


def identities(decided: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Who is who, without places and distances."""
    names = ("person", "merged", "new_person", "from_person", "number", "camera", "track", "tracks", "seen")
    return [
        (type(one).__name__, one.at, *(getattr(one, name, None) for name in names))
        if not isinstance(one, PeopleLocated)
        else (one.at, *((each.person, tuple(each.seen)) for each in one.people))
        for one in decided
    ]


@slowly
@given(scene=anything, words=st.integers(0, 9999))
def test_nobody_is_in_two_places_at_once_and_no_number_is_used_again(
    scenes: ModuleType, scene: Scene, words: int
) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    alive: set[str] = set()
    numbers: list[int] = []
    for one in run(site, among(seen, said_of(site, seen, words))):
        match one:
            case PersonAppeared():
                numbers.append(one.number)
                alive.add(one.person)
            case PersonReturned() | TrackReassigned():
                alive.add(one.person)
            case PersonSplit():
                if not one.reverses:
                    numbers.append(one.number)
                alive.add(one.new_person)
            case PersonsMerged():
                alive = (alive - {one.merged}) | ({one.person} if one.merged in alive else set())
            case PersonLeft():
                alive.discard(one.person)
            case PeopleLocated():
                shown = [each.person for each in one.people]
                assert len(set(shown)) == len(shown)
                assert set(shown) <= alive
                refs = [ref for each in one.people for ref in each.seen]
                assert len(set(refs)) == len(refs)
                assert all(len({ref.camera for ref in each.seen}) == len(each.seen) for each in one.people)
    assert numbers == list(range(1, len(numbers) + 1))


@slowly
@given(scene=anything, words=st.integers(0, 9999), order=st.randoms(use_true_random=False))
def test_the_order_of_cameras_within_a_tick_changes_nothing(
    scenes: ModuleType, scene: Scene, words: int, order: Random
) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    said = said_of(site, seen, words)
    place = {id(one): order.random() for one in seen}
    shuffled = sorted(seen, key=lambda one: (one.at, place[id(one)]))
    turned = replace(site, cameras=site.cameras[::-1])
    expected = [encode(one) for one in run(site, among(seen, said))]
    assert [encode(one) for one in run(turned, among(shuffled, said))] == expected


@slowly
@given(scene=anything, words=st.integers(0, 9999), every=st.integers(1, 60))
def test_ids_survive_another_worker_at_any_time(scenes: ModuleType, scene: Scene, words: int, every: int) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    inputs = among(seen, said_of(site, seen, words))
    twice = [again for one in inputs for again in (one, one)]
    expected = [encode(one) for one in run(site, inputs)]
    assert [encode(one) for one in run(site, inputs, kept_every=every)] == expected
    assert [encode(one) for one in run(site, twice, kept_every=every)] == expected


@slowly
@given(
    scene=anything, words=st.integers(0, 9999), turn=st.floats(-3.1, 3.1), shift=st.tuples(*[st.floats(-80, 80)] * 2)
)
def test_a_floor_turned_and_shifted_keeps_every_identity(
    scenes: ModuleType, scene: Scene, words: int, turn: float, shift: tuple[float, float]
) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    inputs = among(seen, said_of(site, seen, words))
    here, there = run(site, inputs), run(scene.site(scenes, turn=turn, shift=shift), inputs)
    assert identities(there) == identities(here)
    c, s = np.cos(turn), np.sin(turn)
    for a, b in zip(here, there, strict=True):
        if isinstance(a, PeopleLocated) and isinstance(b, PeopleLocated):
            for old, new in zip(a.people, b.people, strict=True):
                moved = (c * old.x_m - s * old.y_m + shift[0], s * old.x_m + c * old.y_m + shift[1])
                assert (new.x_m, new.y_m) == pytest.approx(moved, abs=1e-3)


@slowly
@given(scene=anything, words=st.integers(0, 9999))
def test_the_map_and_the_zones_hold_whoever_is_there(scenes: ModuleType, scene: Scene, words: int) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    hall = (Zone("hall", ((-50.0, -50.0), (50.0, -50.0), (50.0, 50.0), (-50.0, 50.0))),)
    live, inside, stays, lately = LiveState(site), zones.ZoneState(), dict[str, bool](), deque[set[str]]()
    for one in run(site, among(seen, said_of(site, seen, words))):
        live.apply(one)
        if isinstance(one, zones.Input):
            facts, inside = zones.step(inside, one, hall)
            for fact in facts:
                assert stays.get(fact.person, False) is isinstance(fact, ZoneLeft)
                stays[fact.person] = isinstance(fact, ZoneEntered)
        if isinstance(one, PeopleLocated):
            shown = {each.person for each in one.people}
            there = {each.person: each for each in live.persons()}
            assert shown <= set(there)
            for each in one.people:
                assert there[each.person].number == each.number
            lately.append(shown)
            if len(lately) >= zones.SETTLE_US * scene.fps / 1e6 + 1:
                # Who was there for all the time that it takes to be told, is told.
                assert set.intersection(*lately) <= {person for person, within in stays.items() if within}
                lately.popleft()
            assert {person for person, within in stays.items() if within} <= set(there)


def _named(one: Event) -> list[tuple[str, TrackRef]]:
    """Which tracks a decision says are whose."""
    match one:
        case PersonAppeared() | PersonReturned():
            return [(one.person, ref) for ref in one.seen]
        case TrackAssigned() | TrackReassigned():
            return [(one.person, TrackRef(one.camera, one.track))]
        case PersonHandedOver():
            return [(one.person, TrackRef(one.to_camera, one.track))]
        case PersonsMerged():
            return [(one.person, ref) for ref in one.tracks]
        case PersonSplit():
            return [(one.new_person, ref) for ref in one.tracks]
        case _:
            return []


@slowly
@given(scene=anything, words=st.integers(0, 9999))
def test_the_log_explains_every_identity_and_every_track_that_shows_it(
    scenes: ModuleType, scene: Scene, words: int
) -> None:
    site, seen = scene.site(scenes), scene.seen(scenes)
    said = said_of(site, seen, words)
    log = [events.decode(encode(one)) for one in [*run(site, among(seen, said)), *said]]
    by_id, steady = {one.id: one for one in log}, _steady(log)
    assert {person for _, person, _ in steady} <= set(everyone(log))
    for person in everyone(log):
        explanation = explain(log, person)
        assert explanation is not None
        chain = [by_id[step.event] for step in explanation.steps]
        first = next(one for one in chain if not isinstance(one, CorrectionRefused))
        assert isinstance(first, PersonAppeared | PersonSplit), first
        family = {person, *explanation.previous_ids}
        named = {(ref, one.at) for one in chain for who, ref in _named(one) if who in family}
        for at, who, ref in steady:
            assert who != person or any(one == ref and since <= at for one, since in named), (person, ref, at)


def _steady(log: Sequence[Event]) -> list[tuple[int, str, TrackRef]]:
    """When a track has shown a person four times on end: a box may go to a neighbour for a tick or two, unsaid."""
    last: dict[TrackRef, tuple[str, int]] = {}
    found = []
    for tick in log:
        for each in tick.people if isinstance(tick, PeopleLocated) else ():
            for ref in each.seen:
                who, times = last.get(ref, ("", 0))
                last[ref] = each.person, times + 1 if who == each.person else 1
                if last[ref][1] == 4:
                    found.append((tick.at, each.person, ref))
    return found
