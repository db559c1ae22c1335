"""Cameras without a common clock, rate or phase come together by event time alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton.events import CameraOffline, CameraOnline, DetectionEvent, FramesSkipped, PeopleDetected, event_id
from spoton.site import CameraSite, Homography, Site, Thresholds
from spoton.ticks import Alignment, Tick, admit, close, rhythm, silent

FLAT = Homography(((0.01, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 1.0)))


def site(*names: str, tick_hz: float | None = 10.0, late_s: float = 0.5, uncalibrated: tuple[str, ...] = ()) -> Site:
    cameras = [CameraSite(name, size_px=(640, 480), calibration=FLAT) for name in names]
    cameras += [CameraSite(name, size_px=(640, 480)) for name in uncalibrated]
    return Site("yard", tuple(cameras), thresholds=Thresholds(tick_hz=tick_hz, late_s=late_s))


def frame(camera: str, seq: int, at_ms: float) -> PeopleDetected:
    at = round(at_ms * 1000)
    return PeopleDetected(
        id=event_id("detections", f"yard/{camera}", seq, at), at=at, site="yard", seq=seq, camera=camera, frame=seq - 1,
        size_px=(640, 480), boxes_px=[], scores=[], tracks=[],
    )  # fmt: skip


def stream(camera: str, times_ms: list[float], first_seq: int = 1) -> list[DetectionEvent]:
    return [frame(camera, seq, at) for seq, at in enumerate(times_ms, first_seq)]


def offline(camera: str, seq: int, at_ms: float) -> CameraOffline:
    at = round(at_ms * 1000)
    key = event_id("detections", f"yard/{camera}", seq, at)
    return CameraOffline(id=key, at=at, site="yard", seq=seq, camera=camera, session=1, reason="pulled")


def online(camera: str, seq: int, at_ms: float) -> CameraOnline:
    at = round(at_ms * 1000)
    key = event_id("detections", f"yard/{camera}", seq, at)
    return CameraOnline(id=key, at=at, site="yard", seq=seq, camera=camera, session=1, size_px=(640, 480), epoch=at)


def run(where: Site, events: list[DetectionEvent], *, ended: bool = True) -> list[Tick]:
    plan, alignment, ticks = rhythm(where), Alignment(), []
    for event in events:
        alignment = admit(alignment, event, plan)
        closed, alignment = close(alignment, plan)
        ticks += closed
    if ended:
        closed, alignment = close(alignment, plan, ended=True)
        assert alignment.pending == ()
        ticks += closed
    return ticks


def shape(ticks: list[Tick]) -> list[list[tuple[str, int]]]:
    return [[(each.camera, each.frame) for each in tick.frames] for tick in ticks]


def by_time(*streams: list[DetectionEvent]) -> list[DetectionEvent]:
    return sorted(itertools.chain(*streams), key=lambda event: (event.at, event.camera))


def test_a_tick_closes_at_once_when_every_camera_has_contributed() -> None:
    where = site("a", "b")
    assert shape(run(where, [frame("a", 1, 0)], ended=False)) == []
    assert shape(run(where, [frame("a", 1, 0), frame("b", 1, 20)], ended=False)) == [[("a", 0), ("b", 0)]]


@pytest.mark.parametrize(
    ("times_a", "times_b", "held"),
    [
        pytest.param([0, 100, 200], [0, 100, 200], [2, 2, 2], id="in step"),
        pytest.param([0, 100, 200], [50, 150, 250], [2, 2, 2], id="half a period off"),
        pytest.param([0, 100, 200, 300], [95, 195, 295], [1, 2, 2, 2], id="nearly a period off finds its own pairs"),
        pytest.param([0, 500, 1000], [0, 100, 200, 300, 400, 500], [2, 1, 1, 1, 1, 2, 1], id="2 beside 10 per second"),
        pytest.param([0, 33, 67, 100, 133, 167, 200], [0, 100, 200], [2, 2, 2], id="30 per second is thinned"),
        pytest.param([0, 112, 189, 305], [0, 100, 200, 300], [2, 2, 2, 2], id="jitter loses no frame"),
    ],
)
def test_frames_of_one_moment_share_a_tick(times_a: list[float], times_b: list[float], held: list[int]) -> None:
    ticks = run(site("a", "b"), by_time(stream("a", times_a), stream("b", times_b)))
    assert [len(tick.frames) for tick in ticks] == held
    for tick in ticks:
        assert len({each.camera for each in tick.frames}) == len(tick.frames)
        assert max(each.at for each in tick.frames) - tick.at_us < 90_000
    assert [tick.at_us for tick in ticks] == sorted({tick.at_us for tick in ticks})


def test_a_silent_camera_holds_a_tick_no_longer_than_late_s() -> None:
    where = site("a", "b", late_s=0.5)
    events = [frame("a", 1, 0), frame("b", 1, 0), *stream("a", [100 * k for k in range(1, 8)], 2)]
    ticks = run(where, events, ended=False)
    assert [tick.at_us for tick in ticks] == [0, 100_000]


def test_an_offline_camera_is_not_waited_for_and_is_again_when_it_is_back() -> None:
    where = site("a", "b")
    events: list[DetectionEvent] = [frame("a", 1, 0), frame("b", 1, 0), offline("b", 2, 50), frame("a", 2, 100)]
    assert len(run(where, events, ended=False)) == 2
    back = [*events, online("b", 3, 190), frame("a", 3, 200)]
    assert len(run(where, back, ended=False)) == 2
    assert shape(run(where, [*back, frame("b", 4, 210)], ended=False))[-1] == [("a", 2), ("b", 3)]


def test_a_site_is_silent_once_every_camera_that_counts_is_offline() -> None:
    plan = rhythm(site("a", "b", uncalibrated=("c",)))
    quiet, alignment = [], Alignment()
    events: list[DetectionEvent] = [
        frame("a", 1, 0), frame("c", 1, 0), offline("a", 2, 50), offline("b", 1, 50), online("b", 2, 60),
        offline("b", 3, 70), frame("c", 2, 100), frame("a", 3, 200),
    ]  # fmt: skip
    for event in events:
        alignment = admit(alignment, event, plan)
        quiet.append(silent(alignment, plan))
        if quiet[-1]:
            assert close(alignment, plan)[1].pending == ()
    assert quiet == [False, False, False, True, False, True, True, False]


def test_a_camera_never_heard_of_keeps_a_site_from_being_silent_until_it_is_given_up() -> None:
    plan, alignment = rhythm(site("a", "ghost")), Alignment()
    for event in [frame("a", 1, 0), offline("a", 2, 50)]:
        alignment = admit(alignment, event, plan)
    assert not silent(alignment, plan)
    for event in [*stream("a", [2000, 4000], 3), offline("a", 5, 4000)]:
        alignment = admit(alignment, event, plan)
    assert silent(alignment, plan)


def test_cameras_without_calibration_are_neither_waited_for_nor_shown() -> None:
    where = site("a", uncalibrated=("c",))
    assert shape(run(where, [frame("c", 1, 0), frame("a", 1, 0), frame("c", 2, 100)])) == [[("a", 0)]]


def test_a_camera_never_heard_of_is_given_up_after_a_while() -> None:
    where = site("a", "ghost")
    ticks = run(where, stream("a", [100 * k for k in range(60)]), ended=False)
    assert ticks[-1].at_us == 5_900_000


def test_a_frame_later_than_allowed_counts_in_no_tick() -> None:
    where = site("a", "b", late_s=0.2)
    events = [frame("a", 1, 0), frame("b", 1, 0), *stream("a", [100, 200, 300, 400, 500, 600], 2), frame("b", 2, 110)]
    assert ("b", 1) not in list(itertools.chain(*shape(run(where, events))))


def test_repeated_events_change_nothing() -> None:
    plan, alignment = rhythm(site("a", "b")), Alignment()
    skipped = FramesSkipped(id="x", at=100_000, site="yard", seq=3, camera="a", first=2, last=4)
    events: list[DetectionEvent] = [online("a", 1, 0), frame("a", 2, 0), skipped]
    for event in events:
        alignment = admit(alignment, event, plan)
    for event in events:
        assert admit(alignment, event, plan) is alignment


def test_the_fastest_camera_sets_the_rate_up_to_ten() -> None:
    def fps(*rates: float | None) -> Site:
        cameras = [CameraSite(f"c{k}", fps=rate, calibration=FLAT) for k, rate in enumerate(rates)]
        return Site("yard", tuple(cameras))

    assert rhythm(fps(2.0, 4.0)).period_us == 250_000
    assert rhythm(fps(2.0, 25.0)).period_us == 100_000
    assert rhythm(fps(None)).period_us == 100_000


@st.composite
def streams_and_an_order(draw: st.DrawFn) -> tuple[list[list[DetectionEvent]], list[int]]:
    """Cameras at 2 to 30 frames per second with jitter and gaps, each arriving with a delay of its own."""
    streams = []
    for name in "abc":
        gap_ms = 1000.0 / draw(st.sampled_from([2, 5, 10, 12.5, 25, 30]))
        phase_ms = draw(st.floats(0, 200))
        wobble = draw(st.lists(st.floats(-0.2, 0.2), min_size=12, max_size=30))
        lost = draw(st.sets(st.integers(0, 29), max_size=6))
        times = [phase_ms + gap_ms * (k + shift) + 100 for k, shift in enumerate(wobble) if k not in lost or k < 2]
        streams.append(stream(name, sorted({round(each, 3) for each in times})))
    delays = [draw(st.integers(0, 250)) for _ in range(3)]
    return streams, delays


@settings(max_examples=60, deadline=None, derandomize=True)
@given(streams_and_an_order())
def test_the_order_in_which_cameras_arrive_changes_no_tick(case: tuple[list[list[DetectionEvent]], list[int]]) -> None:
    streams, delays = case
    where = site("a", "b", "c", late_s=0.5)
    in_time = by_time(*streams)
    shifted = sorted(in_time, key=lambda event: (event.at + 1000 * delays["abc".index(event.camera)], event.camera))
    assert shape(run(where, in_time)) == shape(run(where, shifted))
