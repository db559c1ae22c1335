"""Operators' corrections: carried out by the core like any other input, refused where cameras contradict them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoton import corrections, people, zones
from spoton.events import (
    Correction,
    CorrectionRefused,
    Event,
    Evidence,
    MergeRequested,
    PeopleLocated,
    PersonAppeared,
    PersonLeft,
    PersonsMerged,
    PersonSplit,
    ReassignmentRequested,
    SplitRequested,
    TrackAssigned,
    TrackReassigned,
    TrackRef,
    encode,
)
from spoton.explanation import explain
from spoton.live.floor import Floor
from spoton.live.state import LiveState
from spoton.site import Site, Zone


def wish(kind: type[Any], seq: int, at_s: float, **fields: Any) -> Any:
    """The ``seq``-th command of the plaza."""
    made = kind(id="", seq=0, at=round(at_s * 1e6), site="plaza", by="anna", why="seen on the tape", **fields)
    return corrections.numbered(made, seq)


def run(site: Site, events: list[Event], wishes: list[Correction] = ()) -> list[Event]:  # type: ignore[assignment]
    """All that is decided; a wish arrives a tenth of a second before its time."""
    inputs = sorted([*events, *wishes], key=lambda one: one.at - 100_000 * isinstance(one, Correction))
    view, state = people.site_view(site), people.initial(site)
    decided: list[Event] = []
    for one in inputs:
        more, state = people.step(state, one, view)
        decided += more
    return decided + people.flush(state, view)[0]


def who(decided: list[Event]) -> dict[int, set[str]]:
    """By tick time, who was there."""
    return {one.at: {each.person for each in one.people} for one in decided if isinstance(one, PeopleLocated)}


def of(decided: list[Event], kind: type[Any]) -> list[Any]:
    return [one for one in decided if isinstance(one, kind)]


@pytest.fixture(scope="module")
def standing(scenes: ModuleType) -> tuple[Site, list[Event]]:
    """One who stands before four cameras for 12 s."""
    site = scenes.plaza()
    return site, scenes.in_time(scenes.stream(site, np.tile([6.0, 4.5], (120, 1, 1))))


@pytest.fixture(scope="module")
def returning(scenes: ModuleType) -> tuple[Site, list[Event]]:
    """One who is there for 2 s, away for 4 s, and there again elsewhere for 6 s, under new tracks."""
    site = scenes.plaza(leave_after_s=2.0)
    here, nobody, there = (
        np.tile(place, (count, 1, 1)) for place, count in (([6.0, 4.5], 20), ([500.0, 500.0], 40), ([8.0, 5.0], 60))
    )
    events = scenes.in_time(scenes.stream(site, np.concatenate([here, nobody, there])))
    return site, [scenes._renamed(one, 100) if one.frame >= 60 else one for one in events]


def test_tracks_split_off_are_somebody_new_and_stay_so(standing: Any) -> None:
    site, events = standing
    tracks = [TrackRef("north", 1), TrackRef("east", 1)]
    decided = run(site, events, [wish(SplitRequested, 1, 3.0, person="0-1", tracks=tracks)])
    (split,) = of(decided, PersonSplit)
    assert (split.person, split.new_person, split.number, split.tracks) == ("0-1", "0-2", 2, tracks)
    assert (split.evidence.by, split.evidence.who, split.evidence.why) == ("operator", "anna", "seen on the tape")
    assert split.evidence.command == wish(SplitRequested, 1, 3.0, person="0-1", tracks=tracks).id
    assert not of(decided, PersonsMerged)
    for at, there in who(decided).items():
        assert there == ({"0-1", "0-2"} if at >= split.at else {"0-1"} if at > 100_000 else there)
    last = of(decided, PeopleLocated)[-1].people
    assert {ref.camera for ref in last[1].seen} == {"north", "east"}
    assert {ref.camera for ref in last[0].seen} == {"south", "west"}


def test_a_split_taken_back_leaves_one_person(standing: Any) -> None:
    site, events = standing
    first = wish(SplitRequested, 1, 3.0, person="0-1", tracks=[TrackRef("north", 1)])
    (split,) = of(run(site, events, [first]), PersonSplit)
    undo = corrections.numbered(corrections.reversal(split, at=6_000_000, by="ben", why="no"), 2)
    decided = run(site, events, [first, undo])
    (merged,) = of(decided, PersonsMerged)
    assert (merged.person, merged.merged, merged.reverses) == ("0-1", "0-2", split.id)
    assert merged.tracks == [TrackRef("north", 1)]
    assert who(decided)[merged.at + 1_000_000] == {"0-1"}
    assert len(of(decided, PeopleLocated)[-1].people[0].seen) == 4


@pytest.mark.parametrize(
    ("apart_m", "fresh", "again"),
    [
        pytest.param(0.6, PersonsMerged, PersonsMerged, id="within the gate"),
        pytest.param(1.4, CorrectionRefused, PersonsMerged, id="a gate to either side of where they were one"),
        pytest.param(3.0, CorrectionRefused, CorrectionRefused, id="too far for both"),
    ],
)
def test_who_was_one_before_may_be_seen_farther_apart_when_a_split_is_taken_back(
    scenes: ModuleType, apart_m: float, fresh: type[Any], again: type[Any]
) -> None:
    """The north camera's track, split off at 3 s, walks to ``apart_m`` from where the others see the person."""
    site = scenes.plaza()
    still = np.tile([6.0, 4.5], (90, 1, 1))
    away = still + np.array([[[float(np.clip((n - 32) / 30, 0, 1)) * apart_m, 0.0]] for n in range(90)])
    events = scenes.in_time(scenes.stream(site, still) | {"north": scenes.stream(site, away)["north"]})
    first = wish(SplitRequested, 1, 3.0, person="0-1", tracks=[TrackRef("north", 1)])
    (split,) = of(run(site, events, [first]), PersonSplit)
    undo = corrections.numbered(corrections.reversal(split, at=7_500_000, by="ben", why="no"), 2)
    for last, kind in ((wish(MergeRequested, 2, 7.5, person="0-1", merged="0-2"), fresh), (undo, again)):
        decided = run(site, events, [first, last])
        (outcome,) = of(decided, PersonsMerged) + of(decided, CorrectionRefused)
        assert type(outcome) is kind, outcome
        if isinstance(outcome, PersonsMerged):
            assert outcome.evidence.distance_m == pytest.approx(apart_m, abs=0.1)
            assert outcome.evidence.gate_m == (2.0 if outcome.reverses else 1.0)


def test_whoever_came_back_is_made_the_person_from_before_and_that_is_taken_back(returning: Any) -> None:
    site, events = returning
    merge = wish(MergeRequested, 1, 8.0, person="0-1", merged="0-2")
    decided = run(site, events, [merge])
    (merged,) = of(decided, PersonsMerged)
    assert (merged.person, merged.merged) == ("0-1", "0-2")
    assert [ref.camera for ref in merged.tracks] == ["east", "north", "south", "west"]
    assert who(decided)[9_000_000] == {"0-1"}
    undo = corrections.numbered(corrections.reversal(merged, at=9_500_000, by="ben", why=""), 2)
    decided = run(site, events, [merge, undo])
    (split,) = of(decided, PersonSplit)
    assert (split.person, split.new_person, split.number, split.reverses) == ("0-1", "0-2", 2, merged.id)
    assert who(decided)[11_000_000] == {"0-2"}
    assert len(of(decided, PersonAppeared)) == 2


def test_people_who_have_both_left_can_be_made_one_and_two_again(returning: Any) -> None:
    site, events = returning
    gone = [one for one in events if one.at < 8_000_000]
    view, state = people.site_view(site), people.initial(site)
    for one in gone:
        _, state = people.step(state, one, view)
    after: list[Event] = []
    for camera in site.cameras:
        ended = next(one for one in reversed(gone) if one.camera == camera.name)
        more, state = people.step(state, _ended(ended), view)
        after += more
    assert of(after, PersonLeft)
    more, state = people.step(state, wish(MergeRequested, 1, 20.0, person="0-1", merged="0-2"), view)
    (merged,) = of(more, PersonsMerged)
    assert merged.at == 20_000_000
    undo = corrections.numbered(corrections.reversal(merged, at=21_000_000, by="ben", why=""), 2)
    more, state = people.step(state, undo, view)
    (split,) = of(more, PersonSplit)
    assert (split.new_person, split.number, state.last_number, state.merged) == ("0-2", 2, 2, {})


def _ended(event: Any) -> Any:
    from spoton.events import CameraOffline

    return CameraOffline(
        id="", at=event.at, site=event.site, seq=event.seq + 1, camera=event.camera, session=1, reason="end", ended=True
    )


def test_a_track_is_given_to_somebody_who_is_not_seen(returning: Any) -> None:
    """Who came back is told to be the first one, track by track; then the first track is given back."""
    site, events = returning
    wishes = [
        wish(ReassignmentRequested, n, 8.0 + n, person="0-1", camera=camera, track=101)
        for n, camera in enumerate(("north", "east"), 1)
    ]
    decided = run(site, events, wishes)
    first, second = of(decided, TrackReassigned)
    assert (first.person, first.from_person, first.camera, first.track, first.number) == ("0-1", "0-2", "north", 101, 1)
    assert who(decided)[11_500_000] == {"0-1", "0-2"}
    undo = corrections.numbered(corrections.reversal(second, at=10_900_000, by="ben", why=""), 3)
    back = of(run(site, events, [*wishes, undo]), TrackReassigned)[2]
    assert (back.person, back.from_person, back.camera, back.reverses) == ("0-2", "0-1", "east", second.id)


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        pytest.param(MergeRequested, {"person": "0-1", "merged": "0-2"}, "at the same time", id="both are seen"),
        pytest.param(MergeRequested, {"person": "0-1", "merged": "0-9"}, "'0-9' is no person", id="nobody"),
        pytest.param(MergeRequested, {"person": "f00-1", "merged": "0-2"}, "'f00-1' is no person", id="of another log"),
        pytest.param(MergeRequested, {"person": "0-1", "merged": "0-1"}, "one person already", id="one and the same"),
        pytest.param(SplitRequested, {"person": "0-1", "tracks": []}, "no track was named", id="no track"),
        pytest.param(
            SplitRequested, {"person": "0-1", "tracks": [TrackRef("north", 77)]}, "north/77 does not show 0-1",
            id="not a track of theirs",
        ),
        pytest.param(
            SplitRequested,
            {"person": "0-1", "tracks": [TrackRef("north", 1)], "new_person": "0-2", "reverses": "x"},
            "not part of 0-1 any more", id="nothing to take back",
        ),
        pytest.param(
            ReassignmentRequested, {"person": "0-1", "camera": "north", "track": 77}, "shows nobody", id="ghost track"
        ),
        pytest.param(
            ReassignmentRequested, {"person": "0-2", "camera": "north", "track": 1}, "at the same time",
            id="shown twice",
        ),
        pytest.param(
            ReassignmentRequested, {"person": "0-1", "camera": "north", "track": 1}, "0-1's already", id="theirs"
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_reason_and_changes_nothing(
    scenes: ModuleType, kind: type[Any], fields: dict[str, Any], reason: str
) -> None:
    site = scenes.plaza()
    events = scenes.in_time(scenes.stream(site, np.tile([[4.0, 3.0], [8.0, 6.0]], (60, 1, 1))))
    plain = run(site, events)
    one = next(each.seen for tick in of(plain, PeopleLocated) for each in tick.people if each.person == "0-1")
    number = {ref.camera: ref.track for ref in one}["north"]
    if fields.get("track") == 1:
        fields = {**fields, "track": number}
    decided = run(site, events, [wish(kind, 1, 3.0, **fields)])
    (refused,) = of(decided, CorrectionRefused)
    assert reason in refused.reason
    assert refused.command == wish(kind, 1, 3.0, **fields).id
    rest = [one for one in decided if one is not refused]
    assert [encode(one) for one in rest if isinstance(one, PeopleLocated)] == [
        encode(one) for one in plain if isinstance(one, PeopleLocated)
    ]


def test_a_wish_counts_once_whenever_it_arrives_before_its_tick(standing: Any) -> None:
    site, events = standing
    split = wish(SplitRequested, 1, 4.0, person="0-1", tracks=[TrackRef("north", 1)])
    expected = [encode(one) for one in run(site, events, [split])]
    for at in (3, 40, 155):
        again = [*events[:at], split, split, *events[at : at + 3], split, *events[at + 3 :]]
        view, state = people.site_view(site), people.initial(site)
        decided: list[Event] = []
        for one in again:
            more, state = people.step(people.unpack(people.pack(state)), one, view)
            decided += more
        assert [encode(one) for one in decided + people.flush(state, view)[0]] == expected


def test_step_is_decide_and_then_evolve_with_wishes_too(returning: Any) -> None:
    site, events = returning
    view = people.site_view(site)
    wishes = [
        wish(MergeRequested, 1, 8.0, person="0-1", merged="0-2"),
        wish(SplitRequested, 2, 9.0, person="0-1", tracks=[TrackRef("north", 101)]),
    ]
    state = folded = people.initial(site)
    for one in sorted([*events, *wishes], key=lambda one: one.at):
        decided, state = people.step(state, one, view)
        assert people.decide(folded, one, view) == decided
        folded = people.evolve(folded, one, view)
        for each in decided:
            folded = people.evolve(folded, each, view)
        assert people.pack(folded) == people.pack(state)


@st.composite
def wishes(draw: st.DrawFn) -> list[Correction]:
    """Anything that an operator could say of the rough scene, right or wrong."""
    person = st.integers(1, 14).map("0-{}".format)
    camera = st.sampled_from(["north", "east", "south", "west"])
    track, at_s = st.integers(1, 14), st.floats(0.2, 4.0)
    refs = st.lists(st.builds(TrackRef, camera, track), min_size=1, max_size=3)
    made = []
    at = sorted(draw(st.lists(at_s, min_size=1, max_size=8)))
    for seq in range(1, len(at) + 1):
        kind = draw(st.sampled_from([MergeRequested, SplitRequested, ReassignmentRequested]))
        fields = {
            MergeRequested: {"person": person, "merged": person},
            SplitRequested: {"person": person, "tracks": refs},
            ReassignmentRequested: {"person": person, "camera": camera, "track": track},
        }[kind]
        made.append(wish(kind, seq, at[seq - 1], **{name: draw(one) for name, one in fields.items()}))
    return made


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(said=wishes(), seed=st.integers(0, 50))
def test_whatever_operators_say_nobody_is_in_two_places_and_no_number_is_used_again(
    scenes: ModuleType, said: list[Correction], seed: int
) -> None:
    site = scenes.plaza(leave_after_s=1.5)
    events = scenes.in_time(scenes.stream(site, scenes.paths(seed, 8, 45), trouble=scenes.ROUGH, seed=seed))
    decided = run(site, events, said)
    outcomes = [one for one in decided if getattr(getattr(one, "evidence", None), "command", "")]
    assert len(outcomes) + len(of(decided, CorrectionRefused)) == len(said)
    fresh = [one.number for one in decided if isinstance(one, PersonAppeared | PersonSplit)]
    assert fresh == list(range(1, len(fresh) + 1))
    alive: set[str] = set()
    for one in decided:
        match one:
            case PersonAppeared():
                alive.add(one.person)
            case PersonSplit():
                alive.add(one.new_person)
            case PersonsMerged():
                alive = (alive - {one.merged}) | ({one.person} if one.merged in alive else set())
            case TrackReassigned():
                alive.add(one.person)
            case PersonLeft():
                alive.remove(one.person)
            case PeopleLocated():
                numbers = [each.number for each in one.people]
                assert len(set(numbers)) == len(numbers)
                assert {each.person for each in one.people} <= alive
                refs = [ref for each in one.people for ref in each.seen]
                assert len(set(refs)) == len(refs)
                assert all(len({ref.camera for ref in each.seen}) == len(each.seen) for each in one.people)
    assert [encode(one) for one in run(site, events, said)] == [encode(one) for one in decided]


def test_live_state_and_zones_follow(returning: Any) -> None:
    """The map shows who it is with the earlier id, and zones tell that one person left and the other is inside."""
    site, events = returning
    merge = wish(MergeRequested, 1, 8.0, person="0-1", merged="0-2")
    zone = (Zone("all", ((-50.0, -50.0), (50.0, -50.0), (50.0, 50.0), (-50.0, 50.0))),)
    live, state, told = LiveState(site), zones.ZoneState(), []
    for one in run(site, events, [merge]):
        live.apply(one)
        if isinstance(one, zones.Input):
            more, state = zones.step(state, one, zone)
            told += more
    assert [(one.person, one.previous_ids) for one in live.persons()] == [("0-1", ["0-2"])]
    outcome = live.outcome(merge.id)
    assert isinstance(outcome, PersonsMerged)
    assert [(type(one).__name__, one.person) for one in told] == [
        ("ZoneEntered", "0-1"), ("ZoneLeft", "0-1"), ("ZoneEntered", "0-2"),
        ("ZoneLeft", "0-2"), ("ZoneEntered", "0-1"),
    ]  # fmt: skip


def test_the_floor_forgets_a_merge_that_is_taken_back(returning: Any) -> None:
    site, events = returning
    merge = wish(MergeRequested, 1, 8.0, person="0-1", merged="0-2")
    (merged,) = of(run(site, events, [merge]), PersonsMerged)
    undo = corrections.numbered(corrections.reversal(merged, at=9_500_000, by="ben", why=""), 2)
    floor = Floor()
    for one in run(site, events, [merge, undo]):
        match one:
            case PeopleLocated():
                floor.located(one)
            case PersonAppeared():
                floor.appeared(one)
            case PersonsMerged():
                floor.merged(one)
                assert [each.previous_ids for each in floor.persons(trails=False)] == [["0-2"]]
            case PersonSplit():
                floor.split(one)
            case PersonLeft():
                floor.left(one)
    assert [(each.person, each.previous_ids) for each in floor.persons(trails=False)] == [("0-2", [])]
    assert floor.who("north", 101) == ("0-2", 2)


def lived(events: list[Event], floor: Floor) -> Floor:
    """The floor after identities and positions."""
    tell = {
        PeopleLocated: floor.located, PersonAppeared: floor.appeared, PersonsMerged: floor.merged,
        PersonSplit: floor.split, PersonLeft: floor.left, TrackReassigned: floor.reassigned,
        TrackAssigned: floor.assigned,
    }  # fmt: skip
    for one in events:
        tell.get(type(one), lambda event: None)(one)  # type: ignore[operator]
    return floor


def test_a_merge_taken_back_when_all_tracks_are_over_puts_nobody_on_the_map(returning: Any) -> None:
    """The first one, who left, is said to be the second, and not to be: all that showed the first one is over."""
    site, events = returning
    merge = wish(MergeRequested, 1, 8.0, person="0-2", merged="0-1")
    (merged,) = of(run(site, events, [merge]), PersonsMerged)
    undo = corrections.numbered(corrections.reversal(merged, at=9_500_000, by="ben", why=""), 2)
    decided = run(site, events, [merge, undo])
    assert [(one.person, one.new_person) for one in of(decided, PersonSplit)] == [("0-2", "0-1")]
    floor = lived(decided, Floor())
    assert [(one.person, one.previous_ids) for one in floor.persons(trails=False)] == [("0-2", [])]


def test_whoever_was_merged_takes_their_own_earlier_ids_along_when_that_is_taken_back() -> None:
    evidence = Evidence(by="operator")
    head: dict[str, Any] = {"id": "", "at": 1, "site": "plaza", "seq": 1, "evidence": evidence}
    floor = Floor()
    for number in (1, 2, 3):
        ref = TrackRef("north", number)
        floor.appeared(
            PersonAppeared(
                id="", at=0, site="plaza", seq=1, person=f"0-{number}", number=number, x_m=0, y_m=0, seen=[ref]
            )
        )
    floor.merged(PersonsMerged(**head, person="0-2", merged="0-3"))
    floor.merged(PersonsMerged(**head, person="0-1", merged="0-2"))
    assert [(one.person, one.previous_ids) for one in floor.persons(trails=False)] == [("0-1", ["0-2", "0-3"])]
    refs = [TrackRef("north", 2), TrackRef("north", 3)]
    floor.split(PersonSplit(**head, person="0-1", new_person="0-2", number=2, tracks=refs, reverses="x"))
    assert [(one.person, one.previous_ids) for one in floor.persons(trails=False)] == [("0-1", []), ("0-2", ["0-3"])]
    assert [floor.who("north", track) for track in (1, 2, 3)] == [("0-1", 1), ("0-2", 2), ("0-2", 2)]


def test_an_explanation_holds_every_decision_about_a_person_and_about_who_proved_to_be_them(returning: Any) -> None:
    site, events = returning
    merge = wish(MergeRequested, 1, 8.0, person="0-1", merged="0-2")
    refused = wish(SplitRequested, 2, 9.0, person="0-1", tracks=[TrackRef("north", 77)])
    decided = run(site, events, [merge, refused])
    facts = [*[one for one in decided if not isinstance(one, PeopleLocated)], merge, refused]
    explanation = explain(facts, "0-1")
    assert explanation is not None
    assert (explanation.now, explanation.previous_ids) == ("0-1", ["0-2"])
    said = [step.said for step in explanation.steps]
    assert said[0].startswith("0-1 appeared at 6.0, 4.5 m, shown by")
    assert any(one.startswith("track north/1 is 0-1 (floor 0.") and "Mahalanobis squared" in one for one in said)
    assert '0-2 is 0-1 from now on (by operator, anna, "seen on the tape")' in said
    assert "a correction was refused: track north/77 does not show 0-1 now" in said
    other = explain(facts, "0-2")
    assert other is not None
    assert other.now == "0-1"
    assert explain(facts, "0-3") is None
    undo = corrections.numbered(corrections.reversal(of(decided, PersonsMerged)[0], at=10_000_000, by="ben", why=""), 3)
    apart = explain(run(site, events, [merge, undo]), "0-2")
    assert apart is not None
    assert (apart.now, apart.previous_ids) == ("0-2", [])
    assert any("which takes a merge back" in step.said for step in apart.steps)
