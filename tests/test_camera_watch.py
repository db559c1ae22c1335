"""Clocks and calibrations that are off are found from people who walk, and only then."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from spoton import adjustment, camera_watch, drift, people, skew
from spoton.events import CalibrationDrifted, ClockSkewed, PeopleDetected, event_id
from spoton.geometry import floor_view
from spoton.refinement import FootPoints, View, apart, disagreement, middles, pulled, refined
from spoton.site import CameraSite, Pinhole, Site

SIZE_PX = (1280, 720)
K = ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0))


def camera(angle: float) -> Pinhole:
    """5 m up on a circle of 14 m, looking at the middle."""
    place = np.array([14 * np.cos(angle), 14 * np.sin(angle), 5.0])
    forward = -place / np.linalg.norm(place)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    x, y, z = (-R @ place).tolist()
    return Pinhole(K, adjustment.matrix3(R), (x, y, z))


POSES = [camera(angle) for angle in (0.2, 1.8, 3.3, 4.9)]
SITE = Site("plaza", tuple(CameraSite(f"c{n}", fps=10, size_px=SIZE_PX, calibration=p) for n, p in enumerate(POSES)))


def walked(
    seconds: float, late_s: float = 0.0, turned_at_s: float = 1e9, turn: tuple[float, float] = (0.0, 1.0)
) -> list[PeopleDetected]:
    """Four people walk on circles, both ways; camera c2's clock is late, or it turns at some time, degrees."""
    chance, happened = np.random.default_rng(2), []
    turned = adjustment.moved(POSES[2], np.array([*np.radians(turn), 0, 0, 0, 0, 0]), SIZE_PX)
    for frame in range(int(seconds * 10)):
        t = frame / 10
        phase = np.arange(4) * np.pi / 2 + np.array([1, -1, 1, -1]) * t * 1.2 / np.array([3.0, 4, 2.2, 5])
        floor = np.array([3.0, 4, 2.2, 5])[:, None] * np.column_stack([np.cos(phase), np.sin(phase)])
        for n, pose in enumerate(POSES):
            view = floor_view(turned if n == 2 and t >= turned_at_s else pose, SIZE_PX)
            feet, heads = view.to_image(floor)[0], view.to_image(floor, 1.7)[0]
            tall = feet[:, 1] - heads[:, 1] + chance.normal(0, 1, 4)
            low = feet + chance.normal(0, 1.5, (4, 2))
            boxes = np.column_stack([low[:, 0] - 0.18 * tall, low[:, 1] - tall, 0.36 * tall, tall]).round(2)
            at = round(1e6 * (t + (late_s if n == 2 else 0.0)))
            happened.append(
                PeopleDetected(
                    id=event_id("detections", f"c{n}", frame + 1, at), at=at, site="plaza", seq=frame + 1,
                    camera=f"c{n}", frame=frame, size_px=SIZE_PX, boxes_px=[tuple(box) for box in boxes.tolist()],
                    scores=[0.9] * 4, tracks=[1, 2, 3, 4],
                )
            )  # fmt: skip
    return sorted(happened, key=lambda event: (event.at, event.camera))


def followed(happened):
    state, view, decided = people.initial(SITE), people.site_view(SITE), []
    for event in happened:
        more, state = people.step(state, event, view)
        decided += more
    return decided, state


def test_a_late_clock_is_found_told_and_taken_out():
    decided, state = followed(walked(60, late_s=0.25))
    found = skew.estimate(state.watch.skews)
    assert abs(found.skew_s[2] - 0.25) < 0.05
    assert np.abs(np.delete(found.skew_s, 2)).max() < 0.05
    assert abs(state.watch.skews.applied_us[2] - 250_000) < 50_000
    told = [event for event in decided if isinstance(event, ClockSkewed)]
    assert {event.camera for event in told} == {"c2"}
    assert abs(told[-1].compensated_s - 0.25) < 0.05


def test_clocks_that_agree_and_cameras_that_stand_are_left_alone():
    decided, state = followed(walked(60))
    assert not state.watch.skews.applied_us.any()
    assert not any(isinstance(event, ClockSkewed | CalibrationDrifted) for event in decided)


@pytest.mark.parametrize("turn", [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0)], ids=["left", "right", "down"])
def test_a_camera_turned_by_a_degree_raises_the_alarm_within_a_minute(monkeypatch, turn):
    monkeypatch.setattr(drift, "LEARN_S", 40.0)
    decided, state = followed(walked(110, turned_at_s=50, turn=turn))
    (alarm,) = (event for event in decided if isinstance(event, CalibrationDrifted))
    assert alarm.camera == "c2"
    assert alarm.drifted
    assert alarm.at > 50e6
    assert 0.08 <= alarm.moved_m < 0.4
    assert state.watch.drift.drifted.tolist() == [False, False, True, False]


def test_what_is_watched_survives_packing_and_goes_on_the_same():
    happened = walked(40, late_s=0.25)
    _, whole = followed(happened)
    state, view = people.initial(SITE), people.site_view(SITE)
    for event in happened:
        state = people.unpack(people.pack(people.step(state, event, view)[1]))
    assert people.pack(state) == people.pack(whole)


def test_a_state_of_before_clocks_were_watched_starts_watching():
    _, state = followed(walked(5))
    old = people.pack(msgspec.structs.replace(state, watch=camera_watch.none_known(0)))
    assert len(people.unpack(old).watch.skews.applied_us) == len(POSES)


def stood(chance: np.random.Generator) -> FootPoints:
    """300 people, each seen by all four cameras."""
    floor = np.repeat(chance.uniform(-4, 4, (300, 2)), 4, axis=0)
    cameras = np.tile(np.arange(4), 300)
    feet = np.empty((1200, 2))
    for n, pose in enumerate(POSES):
        rows = cameras == n
        feet[rows] = floor_view(pose, SIZE_PX).to_image(floor[rows])[0] + chance.normal(0, 1, (300, 2))
    return FootPoints(np.arange(1200) // 4, cameras, feet, np.full((1200, 2), 3.0), np.zeros(1200, dtype=np.int64))


def test_only_the_weak_camera_is_moved_and_the_common_floor_stays():
    points = stood(np.random.default_rng(4))
    weak = adjustment.moved(POSES[2], np.array([0.01, 0.04, 0, 0.2, -0.1, 0.1, 0.01]), SIZE_PX)
    views = [View(weak if n == 2 else pose, SIZE_PX) for n, pose in enumerate(POSES)]
    true = [View(pose, SIZE_PX) for pose in POSES]
    free, after = pulled(points, views)
    assert free == [2]
    assert [after[k] for k in (0, 1, 3)] == [views[k] for k in (0, 1, 3)]
    assert disagreement(points, after)[2] < 0.5 * disagreement(points, views)[2]
    was, now = (np.linalg.norm(middles(points, each) - middles(points, true), axis=1).mean() for each in (views, after))
    assert now < 0.4 * was


def test_cameras_that_agree_are_not_moved():
    views = [View(pose, SIZE_PX) for pose in POSES]
    assert pulled(stood(np.random.default_rng(5)), views) == ([], views)


def test_a_weak_camera_is_pulled_to_the_others_and_the_common_floor_stays():
    points = stood(np.random.default_rng(4))
    cameras = points.camera
    weak = adjustment.moved(POSES[2], np.array([0.01, 0.02, 0, 0.2, -0.1, 0.1, 0.01]), SIZE_PX)
    views = [View(weak if n == 2 else pose, SIZE_PX) for n, pose in enumerate(POSES)]
    after = refined(points, views, [2])
    was, now = (np.nanmedian(apart(points, each).distance_m[cameras == 2]) for each in (views, after))
    assert was > 0.18
    assert now < 0.1
    assert [each.calibration for k, each in enumerate(after) if k != 2] == [POSES[0], POSES[1], POSES[3]]
    everyone = refined(points, views, range(4))
    assert np.linalg.norm(middles(points, everyone) - middles(points, views), axis=1).mean() < 0.15
