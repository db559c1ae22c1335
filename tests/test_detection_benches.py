"""The benches of detectors: what they print is what happened, and without a GPU nothing is printed as one."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from spoton.cli import app
from spoton.errors import InputError, ModelError
from spoton.offline import detection_speed, gpu_bench, soak_bench
from spoton.offline.detection_bench import VIDEO
from spoton.vision.inference import Inference
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Detections

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))

_spec = importlib.util.spec_from_file_location("small_networks", Path(__file__).with_name("small_networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)


class Sleeping:
    """A detector that takes so long a run and so long a picture, and notes its batches."""

    name, shared = "sleeping", True

    def __init__(self, run_s=0.0, picture_s=0.0):
        self.run_s, self.picture_s, self.batches = run_s, picture_s, []

    def detect(self, frames):
        self.batches.append(len(frames))
        time.sleep(self.run_s + self.picture_s * len(frames))
        return [Detections.none() for _ in frames]


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there may be a GPU here")
def test_bench_gpu_without_a_gpu_says_so_in_one_line(tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    with pytest.raises(
        ModelError, match="bench gpu: net runs on the CPU here, nothing was measured; it needs"
    ) as caught:
        gpu_bench.run(tmp_path, detector=str(path), weights_dir=tmp_path)
    assert "\n" not in str(caught.value)
    answer = CliRunner().invoke(app, ["bench", "gpu", "--json", "--detector", str(path)])
    assert answer.exit_code != 0
    assert not any(line.startswith("{") for line in answer.stdout.splitlines())


def test_latency_counts_from_when_a_picture_was_due():
    picture = np.zeros((8, 8, 3), np.uint8)
    quick = gpu_bench.latency(Sleeping(run_s=0.005), [picture], 2, 20, 0.5)
    assert quick >= 5
    slow = Sleeping(picture_s=0.05)  # 20 a second are asked for 60
    assert gpu_bench.latency(slow, [picture], 3, 20, 1.0) > 150
    assert sum(slow.batches) < 60


def test_the_search_finds_the_last_load_that_holds():
    for capacity in (0, 1, 5, 12, 64):
        good, bad = gpu_bench._doubled(lambda streams, capacity=capacity: streams <= capacity)
        assert good <= capacity < bad


def test_throughput_counts_pictures():
    found = gpu_bench.throughput(Sleeping(run_s=0.02), [np.zeros((8, 8, 3), np.uint8)] * 4, 0.2)
    assert 0 < found["fps"] <= 200
    assert found["p99_ms"] >= 20


def test_the_soak_reports_its_memory(tmp_path):
    if not (SHARED / VIDEO).is_file():
        pytest.skip(f"no {VIDEO} under {SHARED}")
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    call = ["bench", "soak", "--json", "--frames", "400", "--detector", str(path), "--shared", str(SHARED)]
    report = json.loads(CliRunner().invoke(app, call, catch_exceptions=False).stdout.splitlines()[-1])
    assert report["frames"] == 400
    assert report["people"] > 400
    assert report["out_of_memory"] == 0
    assert report["rss_start_mb"] > 50
    assert report["rss_peak_mb"] >= max(report["rss_mb"])
    assert report["flat"] == (report["growth"] <= 0.02)
    assert len(report["rss_mb"]) == 100


def test_a_leak_is_not_flat(tmp_path, monkeypatch):
    if not (SHARED / VIDEO).is_file():
        pytest.skip(f"no {VIDEO} under {SHARED}")
    kept = []

    class Leaking(Sleeping):
        def detect(self, frames):
            kept.append(np.ones(2**22, np.uint8))  # 400 MB in all
            return super().detect(frames)

    monkeypatch.setattr(soak_bench, "make_detector", lambda *_, **__: Leaking())
    report = soak_bench.run(SHARED, detector="leaking", frames=400, weights_dir=tmp_path)
    assert report["growth"] > 0.05, "of a process that other tests may have made large"
    assert not report["flat"]


def test_the_soak_without_a_video_says_where_to_point(tmp_path):
    with pytest.raises(InputError, match=r"no such video; point SPOTON_SHARED"):
        soak_bench.run(tmp_path, weights_dir=tmp_path)


def test_the_ratio_to_the_bare_session_is_measured(tmp_path):
    detector = OnnxDetector(networks.write_onnx(tmp_path / "net.onnx", "yolov8"), inference=Inference(provider="cpu"))
    found = detection_speed.ratios({"net": detector}, np.zeros((360, 480, 3), np.uint8), rounds=3)
    assert set(found) == {"net 1920x1080", "net 480x360"}
    for one in found.values():
        assert min(one["times_bare"], one["ms"], one["bare_ms"]) > 0
        assert one["rounds"] == 3
    assert detection_speed.tiling_gain(tmp_path, {"net": detector}) is None
