"""Skews up to a second are found on simulated floors with a detector's mistakes, in either order of arrival."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from spoton import camera_pairs, people, skew, skew_search
from spoton.events import ClockSkewed, PeopleDetected
from spoton.offline.clock_bench import late
from spoton.offline.fusion_data import Row, detected, load
from spoton.sim import noise
from spoton.sim.scenario import Scenario
from spoton.sim.writing import write_simulation

FPS, SECONDS, CAMERA = 5.0, 30.0, 2


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A site of four cameras around 20 people, and what their trackers said."""
    folder = tmp_path_factory.mktemp("hall") / "hall"
    scenario = Scenario(seed=5, people=20, floor_m=(20.0, 14.0), cameras=4, rig="ring", fps=FPS)
    write_simulation(scenario, folder, SECONDS, noise.usual_noise(), "none", lambda *_: None)
    recording = load(Row("hall", str(folder), FPS), folder)
    return recording.site, detected(recording)


def shifted(happened, late_s, *, live):
    """The same with one camera's clock late; in the order in which frames came, or sorted by what the clocks said."""
    return late(happened, sorted({event.camera for event in happened})[CAMERA], late_s, live=live)


def followed(site, happened):
    state, view, decided = people.initial(site), people.site_view(site), []
    for event in happened:
        more, state = people.step(state, event, view)
        decided += more
    return state, [event for event in decided if isinstance(event, ClockSkewed)]


@pytest.mark.parametrize("live", [True, False], ids=["as it comes", "sorted by clocks"])
@pytest.mark.parametrize("late_s", [-1.0, -0.6, 0.3, 1.0])
def test_a_skew_is_found_within_half_a_minute(hall, late_s, live):
    site, happened = hall
    state, told = followed(site, shifted(happened, late_s, live=live))
    wanted_s = state.watch.skews.wanted_us / 1e6
    assert wanted_s[CAMERA] == pytest.approx(late_s, abs=0.08)
    assert np.abs(np.delete(wanted_s, CAMERA)).max() < 0.06
    assert told[-1].camera == state.cameras[CAMERA]
    assert told[-1].compensated_s == pytest.approx(late_s, abs=0.08)
    assert len(told) < 8


def test_clocks_that_agree_are_left_alone(hall):
    state, told = followed(hall[0], hall[1])
    assert not told
    assert not state.watch.skews.wanted_us.any()


def test_a_skew_stays_taken_out_while_nobody_is_seen(hall):
    site, happened = hall
    state, _ = followed(site, shifted(happened, 0.3, live=True))
    view, last = people.site_view(site), happened[-1]
    had_us = state.watch.skews.wanted_us
    assert had_us[CAMERA] > 200_000
    for frame in range(1, 600):
        for camera in state.cameras:
            event = PeopleDetected(
                id=f"{camera}{frame}", at=last.at + frame * 1_000_000, site=site.name, seq=10_000 + frame,
                camera=camera, frame=10_000 + frame, size_px=(640, 480), boxes_px=[], scores=[], tracks=[],
            )  # fmt: skip
            _, state = people.step(state, event, view)
    assert (np.abs(state.watch.skews.wanted_us - had_us) < 60_000).all()
    assert abs(state.watch.skews.applied_us[CAMERA] - had_us[CAMERA]) < 60_000


def test_where_everybody_was_is_kept_for_seconds_only(hall):
    state, _ = followed(*hall)
    ring = state.watch.skews.trials
    assert 0 < (state.at_us - ring.begun_us.min()) / 1e6 < 5.0
    assert len(np.unique(ring.begun_us)) < 25
    assert len(ring.begun_us) < 25 * 4 * 20


def test_a_crowd_is_looked_at_in_part():
    count = 1000
    seen = SimpleNamespace(
        place_m=np.column_stack([np.linspace(0, 500, count)] * 3), dt_s=np.zeros(count),
        camera=np.zeros(count, dtype=np.int64),
    )  # fmt: skip
    rows, still = np.arange(count), np.zeros((count, 2))
    trials = skew_search._with(skew_search.none_tried(), seen, rows, still, 0)
    assert len(trials.camera) == 256
    assert np.ptp(trials.moving[:, 0]) < 200


def test_pairs_of_cameras_are_kept_and_move_with_them():
    pairs = camera_pairs.with_sums(
        camera_pairs.none(1), np.array([0, 1, 0]), np.array([2, 2, 2]), np.array([[1.0], [2.0], [4.0]]), 0.5
    )
    assert list(zip(pairs.first, pairs.second, pairs.rows[:, 0], strict=True)) == [(0, 2, 5.0), (1, 2, 2.0)]
    more = camera_pairs.with_sums(pairs, np.array([0]), np.array([2]), np.array([[1.0]]), 0.5)
    assert more.rows[:, 0].tolist() == [3.5, 2.0]
    assert camera_pairs.parts(pairs, 4).tolist() == [0, 0, 0, 3]
    left = camera_pairs.of_cameras(pairs, ("a", "b", "c"), ("b", "bb", "c"))
    assert (left.first.tolist(), left.second.tolist(), left.rows[:, 0].tolist()) == ([0], [2], [2.0])
    assert len(camera_pairs.without(pairs, 2)) == 0


def test_skews_follow_their_cameras():
    known = skew.none_known(3)
    known = msgspec.structs.replace(known, wanted_us=np.array([0, 300_000, 0]), applied_us=np.array([0, 250_000, 0]))
    after = skew.of_cameras(known, ("a", "b", "c"), ("b", "d"))
    assert after.wanted_us.tolist() == [300_000, 0]
    assert after.applied_us.tolist() == [250_000, 0]
    assert skew.of_cameras(known, ("a", "b", "c"), ()).wanted_us.tolist() == []


def test_two_cameras_share_what_they_differ_by(hall):
    site, happened = hall
    names = sorted({event.camera for event in happened})[1:3]
    two = replace(site, cameras=tuple(camera for camera in site.cameras if camera.name in names))
    some = [event for event in shifted(happened, 0.6, live=True) if event.camera in names]
    state, _ = followed(two, some)
    wanted_s = state.watch.skews.wanted_us / 1e6
    assert wanted_s[1] - wanted_s[0] == pytest.approx(0.6, abs=0.1)

