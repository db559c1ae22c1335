"""The trials of the whole system, small: what they measure comes from real processes on a real broker."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from spoton.errors import InputError
from spoton.geometry import floor_view
from spoton.offline import engine_bench
from spoton.trials import latency, scaling
from spoton.trials.grounds import APART_M, grounds

pytestmark = pytest.mark.timeout(300)


def test_the_grounds_are_plazas_side_by_side_whose_boxes_stand_where_people_walk(tmp_path: Path) -> None:
    recording = grounds(10, 2.0, tmp_path)
    assert len(recording.cameras) == len(set(recording.cameras)) == 10
    assert len(recording.frames) == 20
    found = [len(one.scores) for frame in recording.frames for one in frame]
    assert 8 <= np.mean(found) <= 12
    for index, camera in enumerate(recording.site.cameras):
        assert camera.calibration is not None
        boxes = np.array(recording.frames[0][index].boxes_px)
        feet = np.column_stack((boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3]))
        floor_m = floor_view(camera.calibration, camera.size_px).to_floor(feet, np.ones_like(feet)).floor_m
        east_m = APART_M * (index // 4)
        on_plaza = (floor_m[:, 0] > east_m - 2) & (floor_m[:, 0] < east_m + 18) & (abs(floor_m[:, 1] - 6) < 8)
        assert on_plaza.mean() > 0.8, camera.name


def test_the_grounds_are_the_same_each_time(tmp_path: Path) -> None:
    assert grounds(5, 0.5, tmp_path).frames == grounds(5, 0.5, tmp_path).frames


async def test_latency_hears_of_every_frame_and_every_tick(tmp_path: Path, local_kafka: Callable[..., Any]) -> None:
    os.chmod(tmp_path, 0o755)
    measured = await latency.measure(3, tmp_path, local_kafka().url, seconds=4.0, warm_up_s=6.0)
    assert measured.frames >= 3 * 10 * 3
    # What is under way at the ends of the window counts in one of the two only.
    assert abs(measured.boxes - measured.frames) <= 3 * 10
    assert abs(measured.persons - measured.frames / 3) <= 10
    assert measured.kept_up == (measured.boxes >= latency.KEPT_UP * measured.frames)
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert set(measured.cpu) == set(measured.memory_mb) == {*latency.ROLES, "api"}
    assert all(used > 0 for used in (*measured.cpu.values(), *measured.memory_mb.values()))
    assert measured.cpu_per_camera == pytest.approx(sum(measured.cpu.values()) / 3, abs=1e-4)
    latency.render({"latency": [asdict(measured)]}, _console())


def test_scaling_counts_every_frame_once(tmp_path: Path, local_kafka: Callable[..., Any]) -> None:
    result = scaling.run_rounds(tmp_path, local_kafka().url, frames=20, rounds=1, partitions=4, bare_s=0.2, warm_ups=0)
    assert [one["workers"] for one in result["scaling"]] == [1, 2]
    for one in result["scaling"]:
        assert (one["frames"], one["detected"], one["twice"]) == (80, 80, 0)
        assert one["frames_per_s"] > 0
        assert one["bare_frames_per_s"] > 0
        assert one["cores"]["workers"] > 0
    one, two = result["scaling"]
    assert result["scaling_ratio"] == pytest.approx(two["frames_per_s"] / one["frames_per_s"], abs=0.01)
    assert result["bare_ratio"] == pytest.approx(two["bare_frames_per_s"] / one["bare_frames_per_s"], abs=0.01)
    assert result["scaling_efficiency"] == pytest.approx(result["scaling_ratio"] / result["bare_ratio"], abs=0.01)
    json.dumps(result)
    scaling.render(result, _console())


def test_a_part_of_the_bench_that_does_not_exist_is_one_error() -> None:
    with pytest.raises(InputError, match="part 'speed' does not exist; choose from hop, latency, scaling"):
        engine_bench.run("speed")


def _console() -> Console:
    return Console(file=io.StringIO())
