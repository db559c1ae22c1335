"""One site: identities and places on the floor, held against people who walk about before calibrated cameras."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import motrics
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spoton import people, zones
from spoton.errors import InputError
from spoton.events import (
    CameraOffline,
    CameraOnline,
    DetectionEvent,
    Embedding,
    Event,
    PeopleDetected,
    PeopleLocated,
    PersonAppeared,
    PersonHandedOver,
    PersonLeft,
    PersonsMerged,
    PersonSplit,
    TrackAssigned,
    TrackRef,
    ZoneEntered,
    ZoneLeft,
    encode,
    event_id,
)
from spoton.geometry import floor_view, ioa
from spoton.site import CameraSite, Pinhole, Site, Thresholds, Zone

Floats = NDArray[np.float64]

SIZE_PX = (640, 480)
CORNERS = {"north": (13.0, 10.0), "east": (13.0, -1.0), "south": (-1.0, -1.0), "west": (-1.0, 10.0)}
MIDDLE = (6.0, 4.5)


def camera(name: str, place: tuple[float, float], middle: tuple[float, float] = MIDDLE, turn: float = 0.0,
           shift: tuple[float, float] = (0.0, 0.0)) -> CameraSite:  # fmt: skip
    """A camera 4 m up that looks at ``middle``, the whole world then turned and shifted on the floor."""
    eye, aim = np.array([*place, 4.0]), np.array([*middle, 0.5])
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    t = -R @ eye
    c, s = np.cos(turn), np.sin(turn)
    world = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    t = t - R @ world.T @ np.array([*shift, 0.0])
    R = R @ world.T
    K = ((480.0, 0.0, 320.0), (0.0, 480.0, 240.0), (0.0, 0.0, 1.0))
    rows = tuple(tuple(float(each) for each in row) for row in R)
    return CameraSite(name, fps=10.0, size_px=SIZE_PX, calibration=Pinhole(K, rows, tuple(t.tolist())))


def plaza(names: tuple[str, ...] = ("north", "east", "south", "west"), zones: tuple[Zone, ...] = (),
          turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0), **thresholds: float) -> Site:  # fmt: skip
    cameras = tuple(camera(name, CORNERS[name], turn=turn, shift=shift) for name in names)
    return Site("plaza", cameras, zones=zones, thresholds=Thresholds(**thresholds))


def paths(seed: int, people: int, frames: int, fps: float = 10.0) -> Floats:
    """(frames, people, 2) metres: everyone walks from one random place to the next, 0.7 to 1.5 m/s, never too close."""
    chance = np.random.default_rng(seed)
    low, high = np.array([1.5, 1.5]), np.array([10.5, 7.5])
    place, goal = chance.uniform(low, high, (people, 2)), chance.uniform(low, high, (people, 2))
    speed = chance.uniform(0.7, 1.5, people)
    track = []
    steps = max(1, round(20.0 / fps))
    for _ in range(frames * steps):
        step = goal - place
        far = np.hypot(*step.T)
        reached = far < 0.3
        goal[reached] = chance.uniform(low, high, (int(reached.sum()), 2))
        velocity = step / np.maximum(far, 1e-6)[:, None] * speed[:, None]
        apart = place[:, None] - place[None]
        distance = np.hypot(apart[..., 0], apart[..., 1]) + 10.0 * np.eye(people)
        push = apart / distance[..., None] * np.maximum(0.0, 0.9 - distance)[..., None]
        place = place + (velocity + 3.0 * push.sum(axis=1)) / (fps * steps)
        track.append(place)
    return np.stack(track[::steps])


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in front of a camera, as probabilities per box or boxes per frame; sizes as shares of a box."""

    missed: float = 0.0
    jitter: float = 0.0
    false_boxes: float = 0.0
    merged_above: float = 1.1
    new_track: float = 0.0


CALM = Trouble()
ROUGH = Trouble(missed=0.12, jitter=0.03, false_boxes=0.4, merged_above=0.6, new_track=0.01)


def boxes_of(camera: CameraSite, floor_m: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes (N, 4) of people 1.7 m tall on the floor (N, 2), and who is inside the picture."""
    assert camera.calibration is not None
    view = floor_view(camera.calibration, camera.size_px)
    foot, front = view.to_image(floor_m)
    head, _ = view.to_image(floor_m, 1.7)
    height = foot[:, 1] - head[:, 1]
    boxes = np.column_stack([(foot + head)[:, 0] / 2 - 0.19 * height, head[:, 1], 0.38 * height, height])
    inside = front & (foot[:, 0] > 0) & (foot[:, 0] < SIZE_PX[0]) & (foot[:, 1] < SIZE_PX[1]) & (head[:, 1] > 0)
    return boxes, inside


def stream(
    site: Site, walks: Floats, *, fps: float = 10.0, trouble: Trouble = CALM, seed: int = 0,
    looks: bool = False,
) -> dict[str, list[DetectionEvent]]:  # fmt: skip
    """Per camera what its detections stream would carry, frame n at n / fps; tracks follow a person until troubled."""
    return {
        camera.name: _camera_stream(site, camera, walks, fps, trouble, np.random.default_rng([seed, k]), looks)
        for k, camera in enumerate(site.cameras)
    }


def _camera_stream(
    site: Site, camera: CameraSite, walks: Floats, fps: float, trouble: Trouble,
    chance: np.random.Generator, looks: bool,
) -> list[DetectionEvent]:  # fmt: skip
    tracks = np.arange(1, walks.shape[1] + 1)
    events: list[DetectionEvent] = []
    for n, floor_m in enumerate(walks):
        boxes, inside = boxes_of(camera, floor_m)
        size = boxes[:, 3:]
        boxes = boxes + trouble.jitter * size * chance.normal(size=boxes.shape)
        seen = inside & (chance.random(len(boxes)) >= trouble.missed)
        covered = ioa(boxes, boxes) - np.eye(len(boxes))
        for one, other in zip(*np.nonzero(covered > trouble.merged_above), strict=True):
            if seen[one] and seen[other] and one != other:
                low = np.minimum(boxes[one, :2], boxes[other, :2])
                far = np.maximum(boxes[one, :2] + boxes[one, 2:], boxes[other, :2] + boxes[other, 2:])
                boxes[other], seen[one] = np.concatenate([low, far - low]), False
        renewed = chance.random(len(tracks)) < trouble.new_track
        tracks = np.where(renewed, tracks.max(initial=0) + np.cumsum(renewed), tracks)
        rows = np.flatnonzero(seen)
        false = _false_boxes(camera, chance, trouble.false_boxes)
        events.append(_event(site, camera, n, fps, boxes[rows], false, tracks[rows], rows if looks else None))
    return events


def _false_boxes(camera: CameraSite, chance: np.random.Generator, rate: float) -> Floats:
    spots = chance.uniform((1.0, 1.0), (11.0, 8.0), (int(chance.poisson(rate)), 2))
    boxes, inside = boxes_of(camera, spots)
    return boxes[inside]


def _event(
    site: Site, camera: CameraSite, n: int, fps: float, boxes: Floats, false: Floats,
    tracks: NDArray[np.int64], people: NDArray[np.intp] | None,
) -> PeopleDetected:  # fmt: skip
    at, seq = round(n * 1e6 / fps), n + 1
    every = np.round(np.concatenate([boxes, false]), 2).tolist()
    embeddings = []
    if people is not None and n % 5 == 0:
        for row, person in enumerate(people):
            look = np.random.default_rng(int(person)).normal(size=32)
            data = (look / np.linalg.norm(look)).astype("<f2").tobytes()
            embeddings.append(Embedding(row=row, model="test", data=data))
    return PeopleDetected(
        id=event_id("detections", f"{site.name}/{camera.name}", seq, at), at=at, site=site.name, seq=seq,
        camera=camera.name, frame=n, size_px=SIZE_PX, boxes_px=[tuple(box) for box in every],
        scores=[0.9] * len(boxes) + [0.6] * len(false), tracks=[*tracks.tolist(), *[0] * len(false)],
        embeddings=embeddings,
    )  # fmt: skip


def in_time(streams: dict[str, list[DetectionEvent]]) -> list[DetectionEvent]:
    """All cameras' events as one stream in the order of their times."""
    return sorted((event for each in streams.values() for event in each), key=lambda event: (event.at, event.camera))


def run(site: Site, events: list[DetectionEvent]) -> list[Event]:
    view, state = people.site_view(site), people.initial(site)
    decided: list[Event] = []
    for event in events:
        more, state = people.step(state, event, view)
        decided += more
    return decided + people.flush(state, view)[0]


def ticks_of(decided: list[Event]) -> list[PeopleLocated]:
    return [event for event in decided if isinstance(event, PeopleLocated)]


def kinds(decided: list[Event]) -> Counter[str]:
    return Counter(type(event).__name__ for event in decided)


def scored(decided: list[Event], walks: Floats, gate_m: float = 1.0) -> tuple[float, float, list[float]]:
    """IDF1 and MOTA in percent by floor distance, and the distances in metres."""
    true_ids, found_ids, alike, errors = [], [], [], []
    ticks = {max(tick.frames.values()): tick for tick in ticks_of(decided)}
    for n, floor_m in enumerate(walks):
        located = ticks[n].people if n in ticks else []
        places = np.array([(each.x_m, each.y_m) for each in located]).reshape(-1, 2)
        apart = np.hypot(*(floor_m[:, None] - places[None]).transpose(2, 0, 1))
        true_ids.append(list(range(len(floor_m))))
        found_ids.append([each.number for each in located])
        alike.append(np.clip(1.0 - apart / (2 * gate_m), 0.0, 1.0).tolist())
        errors += [float(each) for each in apart.min(axis=1, initial=np.inf) if each < gate_m]
    numbers = {number: k for k, number in enumerate(sorted({each for row in found_ids for each in row}))}
    found_ids = [[numbers[each] for each in row] for row in found_ids]
    identity = motrics.compute_identity_from_similarity(true_ids, found_ids, alike)
    clear = motrics.compute_clear_from_similarity(true_ids, found_ids, alike)
    return 100 * identity.idf1, 100 * clear.mota, errors


def bytes_of(decided: list[Event]) -> list[bytes]:
    return [encode(event) for event in decided]


@pytest.fixture(scope="module")
def rough() -> tuple[Site, Floats, list[DetectionEvent], list[Event]]:
    """Eight people before four cameras for 8 s, with everything going wrong that Trouble knows."""
    site, walks = plaza(), paths(3, 8, 80)
    events = in_time(stream(site, walks, trouble=ROUGH, looks=True))
    return site, walks, events, run(site, events)


def test_calm_people_keep_one_identity_each_where_they_are() -> None:
    site, walks = plaza(), paths(1, 12, 150)
    decided = run(site, in_time(stream(site, walks)))
    idf1, mota, errors = scored(decided, walks)
    assert idf1 > 97.0
    assert mota > 95.0
    assert np.median(errors) < 0.1
    assert kinds(decided)["PersonAppeared"] == 12


def test_rough_views_still_give_one_identity_each(rough) -> None:
    _, walks, _, decided = rough
    idf1, mota, errors = scored(decided, walks)
    assert idf1 > 88.0
    assert mota > 85.0
    assert np.median(errors) < 0.25


def test_cameras_that_disagree_about_the_floor_still_show_one_identity_each() -> None:
    """Every camera's calibration is shifted by 0.4 m to another side."""
    true = plaza()
    shifts = {"north": (0.4, 0.0), "east": (0.0, 0.4), "south": (-0.4, 0.0), "west": (0.0, -0.4)}
    wrong = replace(true, cameras=tuple(camera(name, CORNERS[name], shift=shifts[name]) for name in CORNERS))
    walks = paths(5, 8, 200)
    decided = run(wrong, in_time(stream(true, walks, trouble=Trouble(missed=0.1, jitter=0.02))))
    idf1, mota, errors = scored(decided, walks)
    assert idf1 > 95.0
    assert mota > 90.0
    assert np.median(errors) < 0.15


def test_whoever_crouches_stays_who_and_where_they_are() -> None:
    site = plaza()
    events = []
    for event in in_time(stream(site, np.tile([6.0, 4.5], (80, 1, 1)))):
        low = [(x, y + 0.55 * h, w, 0.45 * h) for x, y, w, h in event.boxes_px]
        events.append(msgspec.structs.replace(event, boxes_px=low) if 30 <= event.frame < 55 else event)
    decided = run(site, events)
    assert kinds(decided)["PersonAppeared"] == 1
    assert kinds(decided)["PersonLeft"] == 0
    places = np.array([(each.x_m, each.y_m) for tick in ticks_of(decided)[3:] for each in tick.people])
    assert len(places) == 77
    assert np.hypot(*(places - [6.0, 4.5]).T).max() < 0.6


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), fps=st.sampled_from([2.0, 5.0, 10.0]))
def test_nobody_is_in_two_places_at_once_and_no_camera_shows_two_of_one(seed: int, fps: float) -> None:
    site = Site("plaza", tuple(replace(each, fps=fps) for each in plaza().cameras))
    decided = run(site, in_time(stream(site, paths(seed, 10, 25, fps), fps=fps, trouble=ROUGH, seed=seed)))
    numbers = [event.number for event in decided if isinstance(event, PersonAppeared | PersonSplit)]
    assert numbers == list(range(1, len(numbers) + 1))
    for tick in ticks_of(decided):
        assert len({each.number for each in tick.people}) == len(tick.people)
        refs = [ref for each in tick.people for ref in each.seen]
        assert len(set(refs)) == len(refs)
        assert all(len({ref.camera for ref in each.seen}) == len(each.seen) for each in tick.people)


def test_speed_and_spread_are_told() -> None:
    site = plaza()
    walks = np.stack([np.column_stack([2.0 + 1.2 * np.arange(60) / 10, np.full(60, 4.0)])], axis=1)
    last = ticks_of(run(site, in_time(stream(site, walks))))[-1].people[0]
    assert last.vx_m_s == pytest.approx(1.2, abs=0.15)
    assert last.vy_m_s == pytest.approx(0.0, abs=0.15)
    assert 0 < last.cov_m2[0] < 0.1
    assert {ref.camera for ref in last.seen} == {"north", "east", "south", "west"}


def test_zones_are_named() -> None:
    zone = Zone("left", ((0.0, 0.0), (6.0, 0.0), (6.0, 9.0), (0.0, 9.0)))
    site = plaza(zones=(zone,))
    walks = np.stack([np.tile([3.0, 4.0], (10, 1)), np.tile([9.0, 4.0], (10, 1))], axis=1)
    people_now = ticks_of(run(site, in_time(stream(site, walks))))[-1].people
    assert sorted((each.x_m < 6.0, each.zone) for each in people_now) == [(False, None), (True, "left")]


def test_nobody_is_an_answer() -> None:
    site = plaza()
    ticks = ticks_of(run(site, in_time(stream(site, np.zeros((5, 0, 2))))))
    assert [(tick.tick, tick.people) for tick in ticks] == [(k, []) for k in range(1, 6)]
    assert ticks[0].frames == {"north": 0, "east": 0, "south": 0, "west": 0}


def test_one_camera_alone_is_enough_where_no_other_looks() -> None:
    site, walks = plaza(("north",)), paths(5, 3, 80)
    decided = run(site, in_time(stream(site, walks)))
    inside = np.array([boxes_of(site.cameras[0], floor_m)[1] for floor_m in walks])
    assert kinds(decided)["PersonAppeared"] >= 1
    assert sum(len(tick.people) for tick in ticks_of(decided)) > 0.85 * inside.sum()


def test_a_ghost_in_one_camera_is_nobody_where_others_ought_to_see() -> None:
    site = plaza()
    streams = stream(site, np.zeros((60, 0, 2)))
    ghost = stream(plaza(("south",)), np.tile([6.0, 4.5], (60, 1, 1)))
    assert kinds(run(site, in_time(streams | ghost)))["PersonAppeared"] == 0
    assert kinds(run(plaza(("south",)), in_time(ghost)))["PersonAppeared"] == 1


def test_a_person_who_stays_away_has_left_and_comes_back_as_another() -> None:
    site = plaza(leave_after_s=2.0)
    streams = stream(site, np.tile([6.0, 4.5], (80, 1, 1)))
    hidden = {
        name: [event if not 20 <= event.frame < 50 else _emptied(event) for event in each]
        for name, each in streams.items()
    }
    decided = run(site, in_time(hidden))
    left = [event for event in decided if isinstance(event, PersonLeft)]
    appeared = [event for event in decided if isinstance(event, PersonAppeared)]
    assert [event.number for event in appeared] == [1, 2]
    assert [(event.person, event.last_at) for event in left] == [(appeared[0].person, 1_900_000)]
    assert (left[0].x_m, left[0].y_m) == pytest.approx((6.0, 4.5), abs=0.2)
    assert not [t for t in ticks_of(decided) if 3_000_000 < t.at < 5_000_000 and t.people]


def test_a_person_who_is_back_in_time_keeps_the_identity_also_under_new_tracks() -> None:
    site = plaza(leave_after_s=5.0)
    away = stream(site, np.tile([6.0, 4.5], (20, 1, 1)))
    back = stream(site, np.tile([6.8, 4.9], (80, 1, 1)))
    for name, events in back.items():
        away[name] += [_emptied(event) if event.frame < 50 else _renamed(event, 100) for event in events[20:]]
    decided = run(site, in_time(away))
    assert kinds(decided)["PersonAppeared"] == 1
    again = [event for event in decided if isinstance(event, TrackAssigned) and event.track > 100]
    assert len(again) == 4
    assert {event.person for event in again} == {f"{0:x}-1"}


def test_a_person_is_handed_from_camera_to_camera() -> None:
    near = camera("first", (0.0, -6.0), (0.0, 0.0)), camera("second", (9.0, -6.0), (9.0, 0.0))
    site = Site("corridor", near)
    walks = np.column_stack([np.linspace(-3.0, 12.0, 120), np.zeros(120)])[:, None]
    decided = run(site, in_time(stream(site, walks)))
    moved = [event for event in decided if isinstance(event, PersonHandedOver)]
    assert kinds(decided)["PersonAppeared"] == 1
    assert [(event.from_camera, event.to_camera) for event in moved] == [("first", "second")]
    assert moved[0].evidence.gap_s >= 1.0


def test_two_identities_that_prove_to_be_one_become_the_older() -> None:
    site = plaza(("north", "south"))
    still, walks = np.tile([5.0, 4.5], (80, 1)), np.full((80, 2), 4.5)
    walks[:, 0] = np.concatenate([np.linspace(8.5, 5.0, 40), np.full(40, 5.0)])
    first, second = stream(site, still[:, None]), stream(site, walks[:, None])
    view, state = people.site_view(site), people.initial(site)
    decided: list[Event] = []
    for one, other in zip(in_time(first), in_time(second), strict=True):
        # both see both while they are apart; from then on each camera sees one of them only
        both = one.frame < 25
        rows = [one, other] if both else [one] if one.camera == "north" else [other]
        seen = msgspec.structs.replace(
            one, boxes_px=[box for each in rows for box in each.boxes_px], scores=[0.9] * len(rows),
            tracks=[1 if each is one else 2 for each in rows],
        )  # fmt: skip
        more, state = people.step(state, seen, view)
        decided += more
    merged = [event for event in decided if isinstance(event, PersonsMerged)]
    assert [(event.person, event.merged) for event in merged] == [("0-1", "0-2")]
    assert merged[0].evidence.distance_m < 0.5
    assert [each.person for each in ticks_of(decided)[-1].people] == ["0-1"]


@pytest.mark.parametrize("fps", [2.0, 4.0, 12.5, 30.0])
def test_any_frame_rate_will_do(fps: float) -> None:
    site = Site("plaza", tuple(replace(each, fps=fps) for each in plaza().cameras))
    walks = paths(7, 6, round(min(12.0, 150 / fps) * fps), fps)
    decided = run(site, in_time(stream(site, walks, fps=fps)))
    tracked = np.mean([len(tick.people) for tick in ticks_of(decided)])
    assert tracked == pytest.approx(6.0, abs=0.6)
    assert kinds(decided)["PersonAppeared"] == 6


def test_cameras_at_rates_and_phases_of_their_own() -> None:
    site, walks = plaza(), paths(9, 5, 300, 30.0)
    every = stream(site, walks, fps=30.0)
    streams = {
        name: [msgspec.structs.replace(event, seq=k) for k, event in enumerate(every[name][phase::stride], 1)]
        for name, phase, stride in (("north", 0, 1), ("east", 1, 3), ("south", 2, 6), ("west", 5, 15))
    }
    decided = run(site, in_time(streams))
    assert kinds(decided)["PersonAppeared"] == 5
    assert kinds(decided)["PersonLeft"] == 0


def test_a_camera_that_dies_takes_nobody_with_it() -> None:
    site, walks = plaza(), paths(11, 5, 100)
    streams = stream(site, walks)
    last = streams["west"][39]
    offline = CameraOffline(
        id="offline", at=last.at + 50_000, site=site.name, seq=41, camera="west", session=1, reason="pulled"
    )
    streams["west"] = [*streams["west"][:40], offline]
    decided = run(site, in_time(streams))
    assert kinds(decided)["PersonAppeared"] == 5
    assert len(ticks_of(decided)) == 100
    assert kinds(decided)["PersonLeft"] == 0


def test_frames_of_cameras_without_calibration_or_unknown_to_the_site_change_nothing() -> None:
    site = plaza()
    blind = Site("plaza", (*site.cameras, CameraSite("blind", size_px=SIZE_PX)))
    walks = paths(2, 3, 30)
    streams = stream(site, walks)
    strange = [msgspec.structs.replace(event, camera="blind") for event in streams["north"]]
    unknown = [msgspec.structs.replace(event, camera="unknown") for event in streams["north"]]
    with_them = run(blind, in_time(streams | {"blind": strange, "unknown": unknown}))
    assert bytes_of(with_them) == bytes_of(run(site, in_time(streams)))


def test_events_count_up_and_name_their_partition(rough) -> None:
    decided = rough[3]
    for name in ("identities", "positions"):
        one_stream = [event for event in decided if event.stream == name]
        assert [event.seq for event in one_stream] == list(range(1, len(one_stream) + 1))
        assert all(event.id == event_id(name, "plaza", event.seq, event.at) for event in one_stream)
    assert len({event.id for event in decided}) == len(decided)


def test_identities_are_consistent_over_time(rough) -> None:
    """No number twice, nobody in two places at once, nobody shown before appearing or after leaving or merging."""
    alive, ever = set(), set()
    for event in rough[3]:
        if isinstance(event, PersonAppeared):
            assert event.person not in ever
            ever.add(event.person)
            alive.add(event.person)
        elif isinstance(event, PersonSplit):
            assert event.person in alive
            assert event.new_person not in ever
            ever.add(event.new_person)
            alive.add(event.new_person)
        elif isinstance(event, PersonLeft):
            alive.remove(event.person)
        elif isinstance(event, PersonsMerged):
            alive.remove(event.merged)
            assert event.person in alive
        elif isinstance(event, TrackAssigned | PersonHandedOver):
            assert event.person in alive
        elif isinstance(event, PeopleLocated):
            shown = [each.person for each in event.people]
            assert len(set(shown)) == len(shown)
            assert set(shown) <= alive
            refs = [ref for each in event.people for ref in each.seen]
            assert len(set(refs)) == len(refs)
            for each in event.people:
                assert len({ref.camera for ref in each.seen}) == len(each.seen)


def test_every_track_shown_was_assigned_to_its_person_before(rough) -> None:
    whose: dict[TrackRef, str] = {}
    merged: dict[str, str] = {}
    for event in rough[3]:
        if isinstance(event, TrackAssigned):
            whose[TrackRef(event.camera, event.track)] = event.person
        elif isinstance(event, PersonsMerged):
            merged[event.merged] = event.person
            whose = {ref: merged.get(person, person) for ref, person in whose.items()}
        elif isinstance(event, PeopleLocated):
            assert all(ref in whose for each in event.people for ref in each.seen)


def test_step_is_decide_and_then_evolve_of_every_event(rough) -> None:
    site, _, events, _ = rough
    view = people.site_view(site)
    state = folded = people.initial(view)
    for event in events[:160]:
        decided, state = people.step(state, event, view)
        assert bytes_of(people.decide(folded, event, view)) == bytes_of(decided)
        folded = people.evolve(folded, event, view)
        for each in decided:
            folded = people.evolve(folded, each, view)
        assert people.pack(folded) == people.pack(state)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 319))
def test_another_worker_goes_on_with_the_same_people(rough, at: int) -> None:
    site, _, events, decided = rough
    view, state = people.site_view(site), people.initial(site)
    again: list[Event] = []
    for event in events[:at]:
        more, state = people.step(state, event, view)
        again += more
    state, view = people.unpack(people.pack(state)), people.site_view(site)
    for event in events[at:]:
        more, state = people.step(state, event, view)
        again += more
    assert bytes_of(again + people.flush(state, view)[0]) == bytes_of(decided)


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(delays_ms=st.lists(st.integers(0, 250), min_size=4, max_size=4))
def test_the_order_in_which_cameras_arrive_changes_nobody(rough, delays_ms: list[int]) -> None:
    site, _, events, decided = rough
    delay = {each.name: 1000 * by for each, by in zip(site.cameras, delays_ms, strict=True)}
    shuffled = sorted(events, key=lambda event: (event.at + delay[event.camera], event.camera))
    assert bytes_of(run(site, shuffled)) == bytes_of(decided)


def test_the_order_of_cameras_in_the_site_file_changes_nobody(rough) -> None:
    site, _, events, decided = rough
    turned = Site(site.name, site.cameras[::-1], thresholds=site.thresholds)
    assert bytes_of(run(turned, events)) == bytes_of(decided)


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(repeats=st.lists(st.integers(1, 319), min_size=1, max_size=12))
def test_a_repeated_event_changes_nothing(rough, repeats: list[int]) -> None:
    site, _, events, decided = rough
    again = list(events)
    for at in sorted(repeats, reverse=True):
        again[at:at] = events[max(0, at - 9) : at]
    assert bytes_of(run(site, again)) == bytes_of(decided)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(turn=st.floats(-3.1, 3.1), x_m=st.floats(-50, 50), y_m=st.floats(-50, 50))
def test_a_floor_turned_and_shifted_keeps_its_people(turn: float, x_m: float, y_m: float) -> None:
    walks = paths(4, 6, 60)
    plain = run(plaza(), in_time(stream(plaza(), walks, trouble=ROUGH, seed=1)))
    moved_site = plaza(turn=turn, shift=(x_m, y_m))
    boxes = in_time(stream(plaza(), walks, trouble=ROUGH, seed=1))
    moved = run(moved_site, boxes)
    c, s = np.cos(turn), np.sin(turn)
    assert len(ticks_of(plain)) == len(ticks_of(moved))
    for here, there in zip(ticks_of(plain), ticks_of(moved), strict=True):
        assert [each.person for each in here.people] == [each.person for each in there.people]
        for a, b in zip(here.people, there.people, strict=True):
            assert (b.x_m, b.y_m) == pytest.approx((c * a.x_m - s * a.y_m + x_m, s * a.x_m + c * a.y_m + y_m), abs=1e-3)


def test_memory_stays_with_those_who_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoton.memory.MOST", 6)
    site = plaza(leave_after_s=1.0)
    view, state = people.site_view(site), people.initial(site)
    sizes = []
    for round_ in range(8):
        walks = np.concatenate([paths(round_, 6, 20), np.full((15, 6, 2), 500.0)])
        for event in in_time(stream(site, walks, looks=True)):
            late = msgspec.structs.replace(
                event, at=event.at + round_ * 3_500_000, seq=event.seq + 35 * round_, frame=event.frame + 35 * round_,
                tracks=[track + 100 * round_ for track in event.tracks],
            )  # fmt: skip
            _, state = people.step(state, late, view)
        sizes.append(len(people.pack(state)))
    assert len(state.crowd) == 0
    assert max(sizes[2:]) < 1.2 * sizes[1]


def test_a_site_file_may_gain_and_lose_cameras_between_two_events() -> None:
    before, after = plaza(("north", "south", "west")), plaza(("east", "north", "south"))
    walks = paths(6, 4, 60)
    events = in_time(stream(plaza(), walks))
    state, decided = people.initial(before), []
    for event in events:
        site = before if event.frame < 30 else after
        if event.camera in {each.name for each in site.cameras}:
            more, state = people.step(state, event, site)
            decided += more
    assert kinds(decided)["PersonAppeared"] == 4
    assert state.cameras == ("east", "north", "south")


def test_whoever_comes_after_a_gap_in_the_ticks_is_another_person() -> None:
    """Nothing was seen meanwhile, and the tracks even go on under their old numbers."""
    site = plaza(("north", "south"), leave_after_s=5.0)
    for gap_us in (5_200_000, 61_000_000):
        for place in ([6.0, 4.5], [8.3, 5.5]):
            before, after = np.tile([6.0, 4.5], (30, 1, 1)), np.tile(place, (20, 1, 1))
            decided = run(site, _one_after_the_other(site, before, after, gap_us))
            appeared = [event for event in decided if isinstance(event, PersonAppeared)]
            left = [event for event in decided if isinstance(event, PersonLeft)]
            assert [event.number for event in appeared] == [1, 2]
            assert [(event.person, event.at, event.last_at) for event in left] == [
                (appeared[0].person, 2_900_000 + gap_us, 2_900_000)
            ]
            assert (left[0].x_m, left[0].y_m) == pytest.approx((6.0, 4.5), abs=0.2)
            again = {each.number for tick in ticks_of(decided) if tick.at > 2_900_000 for each in tick.people}
            assert again == {2}


def test_whoever_is_there_after_a_short_gap_in_the_ticks_is_the_same_person() -> None:
    site, place = plaza(leave_after_s=5.0), np.tile([6.0, 4.5], (30, 1, 1))
    decided = run(site, _one_after_the_other(site, place, place + 0.3, 4_000_000))
    assert kinds(decided)["PersonAppeared"] == 1
    assert kinds(decided)["PersonLeft"] == 0


def test_a_walker_lost_in_a_gap_has_left_where_they_were_seen_last() -> None:
    site = plaza()
    walk = np.stack([np.column_stack([2.0 + 0.13 * np.arange(40), np.full(40, 4.0)])], axis=1)
    left = [
        event for event in run(site, _one_after_the_other(site, walk, np.zeros((3, 0, 2)), 30_000_000))
        if isinstance(event, PersonLeft)
    ]  # fmt: skip
    assert (left[0].x_m, left[0].y_m) == pytest.approx((7.1, 4.0), abs=0.3)


def test_nobody_leaves_between_two_ticks_that_are_farther_apart_than_leave_after_s() -> None:
    site = plaza(leave_after_s=0.1)
    decided = run(site, in_time(stream(site, np.tile([6.0, 4.5], (30, 1, 1)))))
    assert kinds(decided)["PersonAppeared"] == 1
    assert kinds(decided)["PersonLeft"] == 0


def test_everyone_leaves_and_leaves_their_zones_when_the_last_recording_ends() -> None:
    zone = Zone("hall", ((0.0, 0.0), (12.0, 0.0), (12.0, 9.0), (0.0, 9.0)))
    site, walks = plaza(zones=(zone,)), paths(1, 4, 30)
    streams = stream(site, walks)
    streams["west"] = streams["west"][:-1]
    ends = [
        _gone(site, each.name, len(streams[each.name]) + 1, 2_900_000 + 1000 * k, ended=True)
        for k, each in enumerate(site.cameras)
    ]
    for turn in (0, 2):
        view, state, told = people.site_view(site), people.initial(site), []
        decided: list[Event] = []
        for event in [*in_time(streams), *ends[turn:], *ends[:turn]]:
            assert kinds(decided)["PersonLeft"] == 0
            more, state = people.step(state, event, view)
            decided += more
        left = [event for event in decided if isinstance(event, PersonLeft)]
        assert {event.person for event in left} == {event.person for event in ticks_of(decided)[-1].people}
        assert len(left) == 4
        assert len(ticks_of(decided)) == 30
        assert {event.last_at for event in left} == {2_900_000}
        assert {event.at for event in left} == {ends[turn - 1].at}
        assert state.alignment.pending == ()
        assert (len(state.crowd), len(state.bindings), len(state.gallery.owner)) == (0, 0, 0)
        zone_state = zones.ZoneState()
        for event in decided:
            if isinstance(event, PeopleLocated | PersonLeft | PersonsMerged):
                facts, zone_state = zones.step(zone_state, event, site.zones)
                told += facts
        assert [type(fact) for fact in told] == [ZoneEntered] * 4 + [ZoneLeft] * 4
        assert zone_state.people == {}
        assert people.flush(state, view)[0] == []


def test_a_departure_is_never_older_than_the_last_tick() -> None:
    site = plaza(("north",))
    events = stream(site, np.tile([6.0, 4.5], (20, 1, 1)))["north"]
    decided = run(site, [*events, _gone(site, "north", 21, 5, ended=True)])
    assert [(event.at, event.last_at) for event in decided if isinstance(event, PersonLeft)] == [(1_900_000, 1_900_000)]


def test_cameras_that_come_back_in_time_find_everyone_and_too_late_nobody() -> None:
    site, place = plaza(("east", "west"), leave_after_s=5.0), np.tile([6.0, 4.5], (20, 1, 1))
    for gap_us, appeared in ((3_000_000, 1), (9_000_000, 2)):
        events = _one_after_the_other(site, place, place, gap_us, between=2)
        away = [_gone(site, each.name, 21, 2_000_000, ended=False) for each in site.cameras]
        back = [
            CameraOnline(
                id="back", at=1_900_000 + gap_us, site=site.name, seq=22, camera=each.name, session=2,
                size_px=SIZE_PX, epoch=0,
            )
            for each in site.cameras
        ]  # fmt: skip
        split = sum(event.at < 2_000_000 for event in events)
        silent = run(site, [*events[:split], *away])
        assert (kinds(silent)["PersonAppeared"], kinds(silent)["PersonLeft"]) == (1, 0)
        decided = run(site, [*events[:split], *away, *back, *events[split:]])
        assert kinds(decided)["PersonAppeared"] == appeared
        assert [event.last_at for event in decided if isinstance(event, PersonLeft)] == [1_900_000] * (appeared - 1)


def test_a_camera_that_stays_away_tells_the_time_that_people_leave_by() -> None:
    site = plaza(("north",), leave_after_s=5.0)
    events: list[DetectionEvent] = list(stream(site, np.tile([6.0, 4.5], (20, 1, 1)))["north"])
    events += [_gone(site, "north", 21, 2_000_000, ended=False), _gone(site, "north", 22, 6_899_999, ended=False)]
    assert kinds(run(site, events))["PersonLeft"] == 0
    left = [
        event for event in run(site, [*events, _gone(site, "north", 23, 6_900_000, ended=False)])
        if isinstance(event, PersonLeft)
    ]  # fmt: skip
    assert [(event.at, event.last_at) for event in left] == [(6_900_000, 1_900_000)]


def test_departures_replay_byte_for_byte_from_any_state_between_and_repeated() -> None:
    site, walks = plaza(("north", "south")), paths(1, 3, 12)
    middle = _one_after_the_other(site, walks, walks, 40_000_000)
    last = max(event.at for event in middle)
    events = [*middle, *(_gone(site, name, 25, last, ended=True) for name in ("south", "north"))]
    view = people.site_view(site)
    whole = run(site, events)
    assert kinds(whole)["PersonLeft"] >= 4
    state, again = people.initial(site), []
    for event in events:
        state = people.unpack(people.pack(state))
        decided, after = people.step(state, event, view)
        assert bytes_of(people.decide(state, event, view)) == bytes_of(decided)
        folded = people.evolve(state, event, view)
        for each in decided:
            folded = people.evolve(folded, each, view)
        assert people.pack(folded) == people.pack(after)
        assert people.step(after, event, view) == ([], after)
        again += decided
        state = after
    assert bytes_of(again) == bytes_of(whole)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("east", "north", "south", "west"), id="one more"),
        pytest.param(("south", "west"), id="one less"),
        pytest.param(("aisle", "south", "north"), id="others"),
        pytest.param(("west", "south", "north"), id="written in another order"),
        pytest.param(("east",), id="none of them"),
    ],
)
def test_looks_stay_with_their_cameras_when_the_site_gets_others(names: tuple[str, ...]) -> None:
    before = plaza(("north", "south", "west"))
    after = Site("plaza", tuple(camera(name, CORNERS.get(name, (6.0, -4.0))) for name in names))
    state = people.initial(before)
    for event in in_time(stream(before, paths(6, 4, 10), looks=True)):
        state = people.step(state, event, before)[1]
    state = people.unpack(people.pack(state))
    known = _looks_by_name(state)
    assert {name for _, name in known} == {"north", "south", "west"}
    nothing = stream(after, np.zeros((12, 0, 2)))
    for event in in_time(nothing):
        if event.frame >= 10:
            state = people.step(state, event, after)[1]
    assert state.cameras == tuple(sorted(names))
    assert _looks_by_name(state) == {key: look for key, look in known.items() if key[1] in names}
    assert np.array_equal(np.lexsort((state.gallery.camera, state.gallery.owner)), np.arange(len(state.gallery.owner)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x93\x01\x02", id="cut short"),
        pytest.param(msgspec.msgpack.encode([1, 2]), id="no state"),
        pytest.param(msgspec.msgpack.encode({"crowd": {"uid": 3}}), id="no array"),
        pytest.param(msgspec.msgpack.encode({"gallery": {"owner": ["<i8", [3], b"1"]}}), id="array cut short"),
        pytest.param(msgspec.msgpack.encode({"at_us": "noon"}), id="another type"),
        pytest.param(msgspec.msgpack.encode({"cameras": ["north"]}), id="cameras nothing is known of"),
    ],
)
def test_broken_state_bytes_are_named_with_what_to_do(data: bytes) -> None:
    with pytest.raises(InputError, match=f"people, {len(data)} bytes, cannot be read.*new data folder"):
        people.unpack(data)


def _looks_by_name(state: people.PeopleState) -> dict[tuple[int, str], bytes]:
    gallery = state.gallery
    rows = zip(gallery.owner.tolist(), gallery.camera.tolist(), gallery.look, strict=True)
    return {(owner, state.cameras[column]): look.tobytes() for owner, column, look in rows}


def _gone(site: Site, name: str, seq: int, at: int, *, ended: bool) -> CameraOffline:
    return CameraOffline(
        id=event_id("detections", f"{site.name}/{name}", seq, at), at=at, site=site.name, seq=seq, camera=name,
        session=1, reason="gone", ended=ended,
    )  # fmt: skip


def _one_after_the_other(
    site: Site, before: Floats, after: Floats, gap_us: int, between: int = 0
) -> list[DetectionEvent]:
    """Two walks before the same cameras under the same tracks, ``gap_us`` from the last frame to the next.

    between: how many events every camera says in the gap.
    """
    last, count = round((len(before) - 1) * 1e5), len(before)
    late = [
        msgspec.structs.replace(
            event, at=event.at + last + gap_us, seq=event.seq + count + between, frame=event.frame + count
        )
        for event in in_time(stream(site, after))
    ]
    return in_time(stream(site, before)) + late


def _emptied(event: PeopleDetected) -> PeopleDetected:
    return msgspec.structs.replace(event, boxes_px=[], scores=[], tracks=[], embeddings=[])


def _renamed(event: PeopleDetected, by: int) -> PeopleDetected:
    return msgspec.structs.replace(event, tracks=[track + by for track in event.tracks])
