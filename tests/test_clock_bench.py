"""The bench of clocks and turns measures what it says."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from spoton import drift
from spoton.adjustment import moved
from spoton.events import PeopleDetected
from spoton.geometry import floor_view
from spoton.offline import clock_bench
from spoton.sim.scenario import Scenario
from spoton.site import CameraSite, Pinhole, Site

FLOOR = Scenario(seed=9, people=14, floor_m=(16.0, 12.0), cameras=3, rig="ring", fps=5.0)
K = ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0))
POSE = Pinhole(K, ((1.0, 0.0, 0.0), (0.0, -0.5, -0.8660254), (0.0, 0.8660254, -0.5)), (0.0, 3.0, 9.0))


def test_a_clock_is_found_and_nothing_is_invented_where_all_agree() -> None:
    result = clock_bench.run([FLOOR], skews_s=(0.0, 0.6), seconds=40.0, learn_s=10.0, watched_s=5.0)
    assert [(one["live"], one["late_s"]) for one in result["clocks"]] == [
        (True, 0.0), (True, 0.6), (False, 0.0), (False, 0.6),
    ]  # fmt: skip
    for one in result["clocks"]:
        assert one["error_s"] == pytest.approx(abs(one["found_s"] - one["late_s"]), abs=1e-4)
        assert one["error_s"] < 0.1
    # Nothing usual is known after ten seconds: no alarm, right or wrong.
    assert [(one["after_s"], one["wrong"]) for one in result["turns"]] == [(None, 0)]
    clock_bench.render(result, Console(file=io.StringIO()))


def test_a_turn_is_told_after_it_and_of_the_camera_that_was_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "LEARN_S", 40.0)
    result = clock_bench.run([clock_bench.FLOORS[2]], skews_s=(), learn_s=60.0, watched_s=50.0)
    (turn,) = result["turns"]
    assert 5.0 < turn["after_s"] < 50.0
    assert turn["wrong"] == 0


def test_boxes_move_as_a_camera_turns() -> None:
    size_px = (1280, 720)
    site = Site("yard", (CameraSite("north", fps=10, size_px=size_px, calibration=POSE),))
    after = floor_view(moved(POSE, np.array([0.0, np.radians(2.0), 0, 0, 0, 0, 0]), size_px), size_px)
    before = floor_view(POSE, size_px)
    places = np.array([[0.0, 3.0], [1.5, 5.0], [-2.0, 4.0]])
    feet, heads = before.to_image(places)[0], before.to_image(places, 1.7)[0]
    boxes = np.column_stack([feet[:, 0] - 20, heads[:, 1], 40 + 0 * feet[:, 0], feet[:, 1] - heads[:, 1]])
    event = PeopleDetected(
        id="1", at=2_000_000, site="yard", seq=1, camera="north", frame=1, size_px=size_px,
        boxes_px=[tuple(box) for box in boxes.tolist()], scores=[0.9] * 3, tracks=[1, 2, 3],
    )  # fmt: skip
    early, turned = clock_bench.turned(
        [msgspec.structs.replace(event, at=1_000_000), event], site, "north", 2.0, 2_000_000
    )
    assert early.boxes_px == event.boxes_px
    left, top, width, height = np.array(turned.boxes_px).T
    there = after.to_image(places)[0]
    assert np.abs(top + height - there[:, 1]).max() < 3.0
    assert np.abs(left + width / 2 - there[:, 0]).max() < 12.0
    assert np.abs(left + width / 2 - feet[:, 0]).min() > 15.0
