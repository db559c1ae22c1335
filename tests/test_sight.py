"""Which detector looks at which camera: batches across cameras, and what goes on when weights are bad."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from agents.detectors import Detectors
from agents.newest import Newest
from agents.sight import Sight
from api.detection_metrics import DetectionMetrics
from spoton import events
from spoton.live.sites import Sites
from spoton.site import CameraSite, Site
from spoton.vision.eyes import Eyes
from spoton.vision.histogram_embedder import HistogramEmbedder
from spoton.vision.inference import Inference

_spec = importlib.util.spec_from_file_location("small_networks", Path(__file__).with_name("small_networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)

BRIGHT, DIM = 255, 100


def frame(camera: str, value: int = DIM, number: int = 0) -> events.FrameCaptured:
    _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))
    return events.FrameCaptured(
        site="yard", camera=camera, frame=number, at=number, session=1, size_px=(64, 48), jpeg=jpeg.tobytes()
    )


def write_overflowing(path: Path) -> Path:
    """A detector that works on dim pictures and gives infinity for bright ones."""
    table = networks.onnx_tables("yolov8")[0].astype(np.float32)
    table[5] = 2.2e36  # another class than the person's; 255 times that is no float32 any more
    path.with_suffix(".toml").write_text('std = [1.0, 1.0, 1.0]\nfit = "stretch"\n')
    return networks.graphs.write_tables(path, [table], input_shape=["b", 3, 64, 64])


@pytest.fixture
def look(tmp_path):
    """A sight over a site of two cameras with small networks, and the means to change its cameras."""
    first = networks.write_onnx(tmp_path / "first.onnx", "yolov8")
    sites = Sites([Site("yard", (CameraSite("north"), CameraSite("south")), detector=str(first))])
    pool = ThreadPoolExecutor(2)
    eyes = {"yard": Eyes(None, str(first), tmp_path, HistogramEmbedder())}
    detectors = Detectors(sites, eyes, pool)
    yield Sight(detectors, {"yard": HistogramEmbedder()}, sites, pool), sites
    pool.shutdown()


def change(sites: Sites, camera: str, detector: str) -> None:
    site = sites["yard"]
    cameras = [dataclasses.replace(one, detector=detector) if one.name == camera else one for one in site.cameras]
    sites.change(dataclasses.replace(site, cameras=tuple(cameras)))


async def until(sight: Sight, camera: str, name: str) -> None:
    async with asyncio.timeout(20):
        while sight.detectors.of(frame(camera)).name != name:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def names(sight: Sight, *frames: events.FrameCaptured) -> list[str | None]:
    return [one.detector if one is not None else None for one in await sight.find(frames)]


async def test_cameras_of_one_detector_go_in_one_batch_and_a_broken_picture_stops_nobody(look):
    sight, _ = look
    broken = changed(frame("south"), jpeg=b"\xff\xd8no picture")
    assert sight.detectors.lane(frame("north")) == sight.detectors.lane(frame("south"))
    assert await names(sight, frame("north"), broken, frame("south", number=1)) == ["first", None, "first"]


def changed(captured: events.FrameCaptured, **changes: object) -> events.FrameCaptured:
    return events.FrameCaptured(**{name: getattr(captured, name) for name in captured.__struct_fields__} | changes)


async def test_a_changed_detector_takes_over_when_it_is_made(look, tmp_path):
    sight, sites = look
    change(sites, "north", str(networks.write_onnx(tmp_path / "second.onnx", "yolov5")))
    assert await names(sight, frame("north")) == ["first"]  # the second is still being read
    await until(sight, "north", "second")
    assert await names(sight, frame("north"), frame("south")) == ["second", "first"]


@pytest.mark.parametrize("kind", ["cut short", "text", "wrong shapes", "NaN", "missing"])
async def test_the_camera_goes_on_with_the_previous_detector_when_new_weights_are_bad(kind, look, tmp_path):
    sight, sites = look
    path = networks.write_onnx(tmp_path / "bad.onnx", "yolov8")
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "text":
        path.write_text("404: Not Found")
    elif kind == "missing":
        path.unlink()
    else:
        table = np.full((84, 84) if kind == "NaN" else (50, 9), np.nan if kind == "NaN" else 1.0, np.float32)
        networks.graphs.write_tables(path, [table], input_shape=[1, 3, 64, 64])
    change(sites, "north", str(path))
    with structlog.testing.capture_logs() as said:
        for number in range(20):
            assert await names(sight, frame("north", number=number)) == ["first"]
            await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            while not said:
                assert await names(sight, frame("north")) == ["first"]
                await asyncio.sleep(0.02)
        assert await names(sight, frame("north")) == ["first"]
    errors = [line for line in said if line["log_level"] == "error"]
    assert [(line["event"], line["goes_on_with"]) for line in errors] == [("no detector", "first")]
    assert "bad.onnx" in errors[0]["error"]
    assert "\n" not in errors[0]["error"]


async def test_a_detector_that_fails_in_the_middle_gives_way_to_the_previous_one(look, tmp_path):
    sight, sites = look
    for camera in ("north", "south"):
        change(sites, camera, str(write_overflowing(tmp_path / "overflowing.onnx")))
        await until(sight, camera, "overflowing")
    assert await names(sight, frame("north", DIM), frame("south", DIM)) == ["overflowing", "overflowing"]
    with structlog.testing.capture_logs() as said:
        assert await names(sight, frame("north", BRIGHT), frame("south", DIM)) == ["first", "first"]
    assert [(line["camera"], line["previous"]) for line in said] == [("north", "first"), ("south", "first")]
    assert all("NaN or infinity" in line["error"] for line in said)
    assert await names(sight, frame("north", DIM)) == ["first"]
    registry = CollectorRegistry()
    registry.register(DetectionMetrics(sight.detectors.now, 64 * 2**20))
    text = generate_latest(registry).decode()
    assert 'spoton_detector_failures_total{detector="overflowing"} 2.0' in text
    assert 'spoton_detector_cameras{detector="first"} 2.0' in text
    assert 'spoton_detector_batch_most{detector="first"} 16.0' in text
    assert 'spoton_detector_out_of_memory_total{detector="first"} 0.0' in text
    assert "spoton_detector_memory_budget_bytes 6.7108864e+07" in text
    peak = next(line for line in text.splitlines() if line.startswith("spoton_memory_peak_bytes"))
    assert float(peak.split()[1]) > 50e6


async def test_without_a_previous_detector_the_frame_is_left_out_and_the_next_one_is_looked_at(tmp_path):
    path = write_overflowing(tmp_path / "only.onnx")
    sites = Sites([Site("yard", (CameraSite("north"),), detector=str(path))])
    with ThreadPoolExecutor(2) as pool:
        eyes = {"yard": Eyes(None, str(path), tmp_path, HistogramEmbedder())}
        sight = Sight(Detectors(sites, eyes, pool), {"yard": HistogramEmbedder()}, sites, pool)
        with structlog.testing.capture_logs() as said:
            assert await names(sight, frame("north", BRIGHT)) == [None]
        assert [line["event"] for line in said] == ["detector failed, frames are recorded as skipped"]
        assert await names(sight, frame("north", DIM)) == ["only"]


def test_the_time_that_a_batch_waits_is_what_the_operator_says(tmp_path):
    path = networks.write_onnx(tmp_path / "net.onnx", "yolov8")
    sites = Sites([Site("yard", (CameraSite("north"), CameraSite("east", detector="built-in")), detector=str(path))])
    for wished_ms, wait_s in ((None, 0.0), (20, 0.02)):
        inference = Inference(provider="cpu", device="cpu", batch_wait_ms=wished_ms)
        eyes = {"yard": Eyes(None, str(path), tmp_path, HistogramEmbedder(), inference=inference)}
        with ThreadPoolExecutor(1) as pool:
            detectors = Detectors(sites, eyes, pool)
            assert detectors.wait_s(frame("north")) == wait_s
            assert detectors.wait_s(frame("east")) == 0.0


async def test_pictures_wait_for_the_usual_cameras_but_no_longer_than_they_may():
    newest = Newest(wait_s=0.2)
    loop = asyncio.get_running_loop()
    newest.put((frame("north"), None))
    assert list(await newest.take()) == ["yard/north"]
    newest.put((frame("north"), None))
    loop.call_later(0.02, newest.put, (frame("south"), None))
    began_s = loop.time()
    assert list(await newest.take()) == ["yard/north"]  # nobody else came last time
    assert loop.time() - began_s < 0.02
    await asyncio.sleep(0.03)
    newest.put((frame("north"), None))
    assert sorted(await newest.take()) == ["yard/north", "yard/south"]
    newest.put((frame("north"), None))
    loop.call_later(0.02, newest.put, (frame("south"), None))
    assert sorted(await newest.take()) == ["yard/north", "yard/south"]  # waited for
    newest.put((frame("north"), None))
    assert list(await newest.take()) == ["yard/north"]  # not for ever
