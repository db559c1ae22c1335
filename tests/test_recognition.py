"""Who is who by their looks, where places alone do not say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from spoton import people, portraits, recognition
from spoton.crowd import newborn, with_values
from spoton.events import (
    Embedding,
    Event,
    PeopleDetected,
    PeopleLocated,
    PersonAppeared,
    PersonLeft,
    PersonReturned,
    PersonsMerged,
    PersonSplit,
    TrackReassigned,
)
from spoton.lives import Lives
from spoton.recognition_case import Case, case_of
from spoton.sightings import Sightings, SiteView
from spoton.site import Site
from tests.test_people import in_time, kinds, plaza, run, stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AWAY = (500.0, 500.0)
FRAMES = 700
LEAVES, RETURNS = 300, 400
SIX = np.array([[2.0, 2.0], [4.5, 6.5], [6.0, 2.5], [7.5, 6.0], [9.0, 3.0], [10.0, 6.5]])
"""Where everyone walks up and down, too far from each other to be mistaken."""


def apart(frames: int = FRAMES) -> Floats:
    """(frames, 6, 2) metres."""
    sway = 0.5 * np.sin(np.arange(frames) / 12.0)
    return SIX + np.stack([sway, np.zeros(frames)], axis=1)[:, None]


def noisy(events: list[PeopleDetected], look_of: Callable[[int, int, str], int | None]) -> list[PeopleDetected]:
    """The events with looks: look_of(track, frame, camera) says like whom, None for no look; no two looks are equal."""
    chance, after = np.random.default_rng(3), []
    for event in events:
        embeddings = []
        for row, track in enumerate(event.tracks):
            who = look_of(track, event.frame, event.camera) if event.frame % 5 == 0 else None
            if who is not None:
                look = np.random.default_rng(who).normal(size=32) + 0.25 * chance.normal(size=32)
                data = (look / np.linalg.norm(look)).astype("<f2").tobytes()
                embeddings.append(Embedding(row=row, model="test", data=data))
        after.append(msgspec.structs.replace(event, embeddings=embeddings))
    return after


def watched(site: Site, walks: Floats, look_of: Callable[[int, int, str], int | None], anew: int = 0) -> list[Event]:
    """What is decided of people who walk so. anew: frame from which track 1 is track 101."""
    events = [event for event in in_time(stream(site, walks)) if isinstance(event, PeopleDetected)]
    if anew:
        events = [
            msgspec.structs.replace(event, tracks=[101 if one == 1 else one for one in event.tracks])
            if event.frame >= anew
            else event
            for event in events
        ]
    return run(site, noisy(events, look_of))


def who_is_at(decided: list[Event], place_m: Floats) -> set[int]:
    """The numbers that were within a metre of a place in the last three seconds."""
    ticks = [event for event in decided if isinstance(event, PeopleLocated)][-30:]
    there = [one for tick in ticks for one in tick.people]
    return {one.number for one in there if np.hypot(one.x_m - place_m[0], one.y_m - place_m[1]) < 1.0}


def person_at(decided: list[Event], place_m: Floats) -> int:
    """Who appeared there first."""
    born = [event for event in decided if isinstance(event, PersonAppeared)]
    return min(born, key=lambda event: np.hypot(event.x_m - place_m[0], event.y_m - place_m[1])).number


def gone_and_back() -> Floats:
    """Everyone walks; the first is away for ten seconds, and comes back elsewhere."""
    walks = apart()
    walks[LEAVES:RETURNS, 0] = AWAY
    walks[RETURNS:, 0] += np.array([1.5, 2.0])
    return walks


def test_whoever_comes_back_is_known_by_their_looks() -> None:
    site = plaza(leave_after_s=2.0)
    decided = watched(site, gone_and_back(), lambda track, frame, camera: track % 100, anew=RETURNS)
    first, place = person_at(decided, SIX[0]), SIX[0] + np.array([1.5, 2.0])
    assert who_is_at(decided, place) == {first}
    back = [event for event in decided if isinstance(event, PersonReturned)]
    merged = [event for event in decided if isinstance(event, PersonsMerged)]
    assert [event.number for event in back] == [first]
    assert [(event.person, len(event.tracks) > 0) for event in merged] == [(back[0].person, True)]
    told = back[0].evidence
    assert told.by == "looks"
    assert told.appearance < told.appearance_gate
    assert told.probability >= 0.8
    assert told.distance_m == pytest.approx(2.5, abs=0.8)
    assert told.gap_s == pytest.approx((RETURNS - LEAVES) / 10, abs=0.2)
    assert RETURNS / 10 <= back[0].at / 1e6 <= RETURNS / 10 + 1.5


@pytest.mark.parametrize(
    ("thresholds", "look_of"),
    [
        pytest.param({}, lambda track, frame, camera: track, id="who comes looks like nobody"),
        pytest.param({}, lambda track, frame, camera: None, id="no looks are taken"),
        pytest.param({"recognise_p": 1.0}, lambda track, frame, camera: track % 100, id="it is turned off"),
    ],
)
def test_whoever_is_not_known_is_new(
    thresholds: dict[str, float], look_of: Callable[[int, int, str], int | None]
) -> None:
    site = plaza(leave_after_s=2.0, **thresholds)
    decided = watched(site, gone_and_back(), look_of, anew=RETURNS)
    assert kinds(decided)["PersonAppeared"] == 7
    assert kinds(decided)["PersonReturned"] == kinds(decided)["PersonsMerged"] == 0
    assert who_is_at(decided, SIX[0] + np.array([1.5, 2.0])) == {7}


def test_nobody_is_recalled_from_farther_than_they_can_walk() -> None:
    site = plaza(leave_after_s=2.0)
    walks = apart()
    walks[LEAVES : LEAVES + 25, 0] = AWAY
    walks[LEAVES + 25 :, 0] += np.array([8.5, 6.0])
    decided = watched(site, walks, lambda track, frame, camera: track % 100, anew=LEAVES + 25)
    assert kinds(decided)["PersonReturned"] == 0
    assert who_is_at(decided, SIX[0] + np.array([8.5, 6.0])) == {7}


def crossing() -> Floats:
    """The first two meet where the way of both is half done, and to the eye of a tracker walk on."""
    walks = apart()
    along = np.clip((np.arange(FRAMES) - 230) / 120.0, 0.0, 1.0)[:, None]
    start, end = np.array([2.0, 4.0]), np.array([9.0, 4.6])
    walks[:, 0], walks[:, 1] = start + along * (end - start), end + along * (start - end) + (0.0, 0.5)
    return walks


def test_two_who_were_exchanged_while_they_stood_together_are_exchanged_back() -> None:
    """They turn round where they meet: their tracks, and so their places, are those of the other from then on."""
    site = plaza(leave_after_s=2.0)

    def look_of(track: int, frame: int, camera: str) -> int:
        return {1: 2, 2: 1}.get(track, track) if frame >= 290 else track

    decided = watched(site, crossing(), look_of)
    one, other = person_at(decided, np.array([2.0, 4.0])), person_at(decided, np.array([9.0, 4.6]))
    moved = [event for event in decided if isinstance(event, TrackReassigned)]
    assert {(event.number, event.track) for event in moved} == {(one, 2), (other, 1)}
    assert {event.evidence.by for event in moved} == {"looks"}
    # Each is where they turned back to.
    assert who_is_at(decided, np.array([2.0, 4.5])) == {one}
    assert who_is_at(decided, np.array([9.0, 4.6])) == {other}
    assert kinds(decided)["PersonAppeared"] == 6


def test_those_who_look_like_themselves_stay_who_they_are() -> None:
    decided = watched(plaza(leave_after_s=2.0), crossing(), lambda track, frame, camera: track)
    told = kinds(decided)
    assert (told["PersonAppeared"], told["TrackReassigned"], told["PersonsMerged"], told["PersonSplit"]) == (6, 0, 0, 0)


def test_whoever_looks_like_another_who_is_there_stays_who_they_are() -> None:
    """They change clothes, each into those of another at the far end."""
    site = plaza(leave_after_s=2.0)
    decided = watched(site, apart(), lambda track, frame, camera: 7 - track if frame >= 300 else track)
    told = kinds(decided)
    assert (told["PersonAppeared"], told["PersonsMerged"], told["PersonReturned"]) == (6, 0, 0)
    assert (told["TrackReassigned"], told["PersonSplit"]) == (0, 0)


def test_whoever_was_recognised_wrongly_is_told_apart_again_and_who_they_were_taken_for_stays_away() -> None:
    """At first somebody new looks like one who left; that one comes back ten seconds later."""
    site = plaza(leave_after_s=2.0)
    walks = np.concatenate([gone_and_back(), np.full((FRAMES, 1, 2), AWAY)], axis=1)
    back, place = RETURNS + 150, SIX[0] + np.array([-0.5, 0.0])
    walks[back:, 6] = place

    def look_of(track: int, frame: int, camera: str) -> int:
        new = track == 101 and frame >= RETURNS + 12
        return 50 if new else {101: 1, 7: 1}.get(track, track)

    decided = watched(site, walks, look_of, anew=RETURNS)
    first = person_at(decided, SIX[0])
    returned = [event for event in decided if isinstance(event, PersonReturned)]
    split = [event for event in decided if isinstance(event, PersonSplit)]
    assert [event.number for event in returned] == [first, first]
    assert [(event.person, event.evidence.by) for event in split] == [(returned[0].person, "looks")]
    assert returned[0].at < split[0].at < returned[1].at
    assert who_is_at(decided, walks[-1, 0]) == {split[0].number}
    assert who_is_at(decided, place) == {first}
    left = [event for event in decided if isinstance(event, PersonLeft) and event.person == returned[0].person]
    # The second time they are told to have left it is where and when they did.
    assert [event.last_at for event in left] == [left[0].last_at] * 2
    assert left[1].x_m == pytest.approx(left[0].x_m, abs=0.01)


def test_two_identities_are_made_one_once_looks_say_so() -> None:
    """Somebody left and came back before anything was known of looks."""
    site = plaza(leave_after_s=2.0)
    walks = apart()
    walks[20:60, 0] = AWAY
    walks[60:, 0] += np.array([1.5, 2.0])
    decided = watched(site, walks, lambda track, frame, camera: track % 100, anew=60)
    first = person_at(decided, SIX[0])
    merged = [event for event in decided if isinstance(event, PersonsMerged)]
    assert kinds(decided)["PersonAppeared"] == 7
    assert [(event.person, event.merged, event.evidence.by) for event in merged] == [
        (f"0-{first}", "0-7", "looks")
    ]
    assert who_is_at(decided, walks[-1, 0]) == {first}


def cases(
    monkeypatch: pytest.MonkeyPatch, walks: Floats, look_of: Callable[[int, int, str], int | None]
) -> list[tuple[int, Case, Ints]]:
    """Of each tick that had anybody to decide on: its frame, who could be whom, and whose portraits there were."""
    found = []

    def noted(lives: Lives, view: SiteView) -> Case | None:
        case = case_of(lives, view)
        if case is not None:
            found.append((round(lives.at_us / 1e5), case, lives.album.portraits.number))
        return case

    monkeypatch.setattr(recognition, "case_of", noted)
    watched(plaza(leave_after_s=2.0), walks, look_of, anew=RETURNS)
    return found


def test_whoever_is_new_is_decided_on_when_they_were_looked_at_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told = cases(monkeypatch, gone_and_back(), lambda track, frame, camera: track)
    asked = {frame for frame, case, _ in told if (case.number == 7).any() and frame < RETURNS + 60}
    assert len(asked) >= 10
    assert {frame % 5 for frame in asked} == {0}


def test_whoever_came_back_may_still_turn_out_to_be_another_who_left_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second leaves for good before the first, who comes back and was somebody before."""
    walks = gone_and_back()
    walks[LEAVES - 60 :, 1] = AWAY
    plain = watched(plaza(leave_after_s=2.0), walks, lambda track, frame, camera: None)
    first, second = (person_at(plain, place) for place in SIX[:2])
    reached = [
        case.reach[case.number == first][:, known == second].all()
        for frame, case, known in cases(monkeypatch, walks, lambda track, frame, camera: track % 100)
        if frame > RETURNS + 80 and (case.number == first).any()
    ]
    assert len(reached) > 5
    assert all(reached)


def test_whoever_comes_to_stand_beside_their_double_is_somebody_new_and_nobody_is_exchanged() -> None:
    site = plaza(leave_after_s=2.0)
    walks = np.concatenate([apart(), np.full((FRAMES, 1, 2), AWAY)], axis=1)
    walks[LEAVES:, 6] = walks[LEAVES:, 0] + np.array([1.4, 0.3])
    decided = watched(site, walks, lambda track, frame, camera: 1 if track == 7 else track)
    first, told = person_at(decided, SIX[0]), kinds(decided)
    assert (told["PersonAppeared"], told["TrackReassigned"], told["PersonsMerged"]) == (7, 0, 0)
    assert first in who_is_at(decided, walks[-1, 0])


def test_who_was_seen_beside_somebody_for_a_moment_may_be_them_and_who_was_seen_far_away_may_not() -> None:
    """A detector may see one person twice, but never at two ends of the floor."""
    none = np.zeros(0, dtype=np.int64)
    nothing = Sightings(
        none, none, none > 0, np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 2)), np.zeros(0), np.zeros(0),
        np.zeros((0, 4)), "",
    )  # fmt: skip
    known = portraits.drawn(
        portraits.no_portraits(4), np.array([1, 2, 3]), np.eye(4)[:3], np.full(3, 3), 0, np.zeros(3, dtype=np.int64),
        np.zeros(3, dtype=np.bool_),
    )  # fmt: skip
    album = portraits.Album("test", known, portraits.no_impressions(4))
    places = np.array([[0.0, 0.0, 1.7], [1.0, 0.0, 1.7], [9.0, 0.0, 1.7]])
    there = newborn(range(1, 4), places, np.tile(np.eye(3), (3, 1, 1)), 0, 1)
    there = with_values(there, number=np.array([1, 2, 3]))
    for tick in range(1, portraits.APART + 1):
        there = with_values(there, seen_us=np.full(3, tick))
        album = portraits.looked(album, there, nothing, none, tick)
        together = album.portraits.together
        assert together[0, 1] == together[1, 0] == tick
        assert together[0, 2] == together[1, 2] == min(tick * portraits.FAR, portraits.APART)


def test_what_is_known_of_looks_is_packed_with_the_rest() -> None:
    """A state that is packed and read after every event decides the same."""
    site = plaza(leave_after_s=2.0)
    events = [event for event in in_time(stream(site, gone_and_back()[200:450])) if isinstance(event, PeopleDetected)]
    events = noisy(events, lambda track, frame, camera: track)
    view = people.site_view(site)
    plain = packed = people.initial(site)
    for event in events:
        decided, plain = people.step(plain, event, view)
        again, packed = people.step(people.unpack(people.pack(packed)), event, view)
        assert again == decided
    assert people.pack(plain) == people.pack(packed)
    assert len(plain.album.portraits) >= 5


def test_what_is_remembered_is_bounded_by_who_is_there() -> None:
    """People come and go without end; portraits are of those there and those remembered."""
    site = plaza(leave_after_s=1.0)
    walks = np.full((240, 40, 2), 500.0)
    for n in range(40):
        walks[6 * n : 6 * n + 40, n] = SIX[n % 6]
    state, view = people.initial(site), people.site_view(site)
    events = [event for event in in_time(stream(site, walks)) if isinstance(event, PeopleDetected)]
    for event in noisy(events, lambda track, frame, camera: track):
        state = people.step(state, event, view)[1]
        known = set(state.crowd.number.tolist()) | set(state.memory.number.tolist())
        assert set(state.album.portraits.number.tolist()) <= known
        assert set(state.album.impressions.uid.tolist()) <= set(state.crowd.uid.tolist())
    assert Counter(state.album.portraits.number.tolist()).most_common(1)[0][1] == 1


def test_a_portrait_grows_with_each_impression_and_keeps_unit_length() -> None:
    drawn = portraits.no_portraits(4)
    for n in range(3):
        drawn = portraits.drawn(
            drawn, np.array([2, 5]), np.eye(4)[[n, n + 1]], np.array([3, 3]), 10 * n, np.array([0, 7]),
            np.array([False, False]),
        )  # fmt: skip
    assert drawn.number.tolist() == [2, 5]
    assert drawn.count.tolist() == [9, 9]
    assert drawn.since_us.tolist() == [0, 0]
    assert drawn.sure_us.tolist() == [0, 7]
    assert np.linalg.norm(drawn.look.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-3)
    assert (drawn.look[0, :3] > 0).all()
