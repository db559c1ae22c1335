"""Capture: where every camera goes on after a restart, and that one camera's trouble stays its own."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import cv2
import msgspec
import numpy as np
import pytest
import structlog

from agents.capture import Capture
from agents.topics import Topics
from spoton import events, tracks
from spoton.errors import SourceError
from spoton.site import CameraSite, Site
from spoton.vision.protocols import Frame, FrameSource
from spoton.vision.reconnect import Backoff
from spoton.vision.sources import open_source
from tables import cameras
from tables.cameras import CameraStatus
from tables.packed import PackedTable
from tables.sources import tracked

NOW_US = 1_700_000_000_000_000
STEP_US = 2_000
Frames = list[events.FrameCaptured]


class Recording:
    """A source written for one test: ``count`` frames, frame n showing grey n; ``trouble`` may break it at a frame."""

    def __init__(self, count: int, *, finite: bool = True, trouble: Mapping[int, Exception] | None = None) -> None:
        self.finite = finite
        self.opened: list[int] = []
        self._count = count
        self._trouble = dict(trouble or {})

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        self.opened.append(start_index)
        for index in range(start_index, self._count):
            if index in self._trouble:
                raise self._trouble.pop(index)
            yield Frame(index, index * STEP_US, np.full((8, 16, 3), index * 10 % 256, np.uint8))

    def close(self) -> None:
        return


class Bench:
    """Everything around capture: what it sends is tracked and folded at once, as the agents do it."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.sent: list[events.Captured] = []
        self.recorded: list[events.DetectionEvent] = []
        self.enough: Callable[[], bool] = lambda: False
        self.told = asyncio.Event()
        self._stopped = asyncio.Event()
        self._statuses = PackedTable[CameraStatus](
            cast(Any, {}), msgspec.msgpack.encode, msgspec.msgpack.Decoder(CameraStatus).decode
        )
        self._trackers = PackedTable[tracks.State](cast(Any, {}), tracks.pack, tracks.unpack)
        self._site = Site("yard", ())

    async def capture(self, captured: events.Captured) -> None:
        """Stands where ``Topics`` does."""
        self.sent.append(captured)
        self.told.set()
        key = f"{captured.site}/{captured.camera}"
        given: tracks.Input = captured if isinstance(captured, events.SourceChanged) else _seen(captured)
        facts, state = tracks.step(self._trackers.get(key, tracks.initial), given, self._site.thresholds)
        self._trackers.set(key, state)
        for fact in facts:
            self.recorded.append(fact)
            status = self._statuses.find(key) or CameraStatus(camera=captured.camera)
            self._statuses.set(key, cameras.evolve(status, fact))
        if self.enough():
            self._stopped.set()
            await asyncio.Event().wait()

    async def run(
        self, *sites: CameraSite, sources: Mapping[str, FrameSource] | None = None, frames: int = 0
    ) -> Frames:
        """Read the cameras to their end, or until they gave so many frames; returns the frames of this run."""
        before = len(self.sent)
        self.enough = lambda: frames > 0 and len(self.frames(before)) >= frames
        with ThreadPoolExecutor(1) as pool:
            capture = Capture(
                topics=cast(Topics, self),
                known=lambda key: tracked(self._statuses.find(key), self._trackers.find(key)),
                open_source=lambda _, camera: sources[camera.name] if sources else open_source(camera.source),
                clock_us=lambda: self.now_us,
                pool=pool,
                rng=random.Random(1),
                backoff=Backoff(initial_s=0.0, max_s=0.0),
            )
            running = asyncio.create_task(capture.run(Site("yard", sites)))
            stopping = asyncio.create_task(self._stopped.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            stopping.cancel()
            if frames:
                running.cancel()
                await asyncio.wait({running})
            else:
                await running
        self._stopped.clear()
        return self.frames(before)

    def frames(self, since: int = 0) -> Frames:
        return [one for one in self.sent[since:] if isinstance(one, events.FrameCaptured)]

    def offline(self) -> list[events.CameraOffline]:
        return [one for one in self.recorded if isinstance(one, events.CameraOffline)]


def _seen(frame: events.FrameCaptured) -> tracks.FrameSeen:
    names = ("site", "camera", "frame", "at", "session", "first", "epoch", "origin", "source", "size_px")
    boxes_px, scores = tracks.quantise(np.zeros((0, 4)), np.zeros(0))
    return tracks.FrameSeen(boxes_px=boxes_px, scores=scores, **{name: getattr(frame, name) for name in names})


def grey(frame: events.FrameCaptured) -> int:
    """Which frame of its source a frame is, as its picture tells."""
    return round(float(cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR).mean()) / 10)


def numbers(frames: Frames) -> list[int]:
    return [frame.frame for frame in frames]


GATE = CameraSite("gate", "gate.mp4")
YARD = CameraSite("yard", "yard.mp4")


async def test_a_recording_goes_on_where_it_stopped() -> None:
    bench = Bench()
    await bench.run(GATE, sources={"gate": Recording(10)}, frames=4)
    bench.now_us += 3_600_000_000
    source = Recording(10)
    resumed = await bench.run(GATE, sources={"gate": source})
    assert source.opened == [4]
    assert numbers(resumed) == list(range(4, 10))
    assert [frame.at for frame in resumed] == [NOW_US + n * STEP_US for n in range(4, 10)]
    assert {(frame.session, frame.first, frame.epoch, frame.origin) for frame in resumed} == {(2, 4, NOW_US, 0)}
    (offline,) = bench.offline()
    assert (offline.ended, offline.at) == (True, NOW_US + 9 * STEP_US)


async def test_a_recording_read_to_its_end_is_not_read_again() -> None:
    bench = Bench()
    await bench.run(GATE, sources={"gate": Recording(5)})
    with structlog.testing.capture_logs() as lines:
        assert await bench.run(GATE, sources={"gate": Recording(5)}) == []
    assert "read to its end before" in lines[0]["event"]


async def test_stopped_between_the_last_frame_and_the_end_it_ends_after_the_restart() -> None:
    bench = Bench()
    await bench.run(GATE, sources={"gate": Recording(5)}, frames=5)
    assert await bench.run(GATE, sources={"gate": Recording(5)}) == []
    (offline,) = bench.offline()
    assert (offline.ended, offline.at, offline.session) == (True, NOW_US + 4 * STEP_US, 2)


@pytest.mark.parametrize("read", [4, 0], ids=["stopped in the middle", "read to its end"])
async def test_another_recording_begins_with_its_first_frame(read: int) -> None:
    bench = Bench()
    await bench.run(GATE, sources={"gate": Recording(7)}, frames=read)
    numbered = read or 7
    bench.now_us += 3_600_000_000
    other = CameraSite("gate", "other.mp4")
    begun = await bench.run(other, sources={"gate": Recording(9)}, frames=3)
    assert numbers(begun) == [numbered, numbered + 1, numbered + 2]
    assert [grey(frame) for frame in begun] == [0, 1, 2]
    assert [frame.at for frame in begun] == [bench.now_us + n * STEP_US for n in range(3)]
    began_us = bench.now_us
    bench.now_us += 3_600_000_000
    resumed = await bench.run(other, sources={"gate": Recording(9)})
    assert [grey(frame) for frame in resumed] == [3, 4, 5, 6, 7, 8]
    assert numbers(resumed) == [numbered + n for n in range(3, 9)]
    assert [frame.at for frame in resumed] == [began_us + n * STEP_US for n in range(3, 9)]
    assert not any(isinstance(fact, events.FramesSkipped) for fact in bench.recorded)


async def test_a_new_recording_joins_the_time_base_of_the_others_not_that_of_live_cameras() -> None:
    bench = Bench()
    street = CameraSite("street", "rtsp://admin:hush@10.0.0.1/1")
    live = Recording(500, finite=False)
    await bench.run(street, sources={"street": live}, frames=3)
    bench.now_us += 60_000_000
    first = await bench.run(street, GATE, sources={"street": live, "gate": Recording(400)}, frames=8)
    assert {frame.epoch for frame in first if frame.camera == "gate"} == {bench.now_us}
    assert {frame.epoch for frame in first if frame.camera == "street"} <= {0}
    epoch_us = bench.now_us
    bench.now_us += 60_000_000
    both = await bench.run(GATE, YARD, sources={"gate": Recording(400), "yard": Recording(400)}, frames=30)
    assert {frame.camera for frame in both} == {"gate", "yard"}
    assert {frame.epoch for frame in both} == {epoch_us}
    assert not any(b"hush" in events.encode(fact) for fact in bench.recorded)


async def test_a_loop_begins_anew_now_and_its_numbers_go_on() -> None:
    bench = Bench()
    loop = CameraSite("gate", "gate.mp4", loop=True)
    await bench.run(loop, sources={"gate": Recording(3)}, frames=5)
    bench.now_us += 60_000_000
    again = await bench.run(loop, sources={"gate": Recording(3)}, frames=5)
    assert numbers(again) == [5, 6, 7, 8, 9]
    assert [grey(frame) for frame in again] == [0, 1, 2, 0, 1]
    assert [frame.at for frame in again] == [bench.now_us + n * STEP_US for n in range(5)]


async def test_a_recording_that_breaks_goes_offline_in_its_own_time_and_on_with_the_next_frame() -> None:
    bench = Bench()
    source = Recording(6, trouble={3: SourceError("gate.mp4: broke off")})
    bench.now_us += 3_600_000_000
    frames = await bench.run(GATE, sources={"gate": source})
    assert source.opened == [0, 3]
    assert numbers(frames) == list(range(6))
    broken, ended = bench.offline()
    assert (broken.at, broken.reason, broken.ended) == (bench.now_us + 2 * STEP_US, "gate.mp4: broke off", False)
    assert (ended.at, ended.ended) == (bench.now_us + 5 * STEP_US, True)


@pytest.mark.parametrize(
    "trouble", [ValueError("the decoder lost its mind"), MemoryError(), cv2.error("no")], ids=lambda e: type(e).__name__
)
async def test_a_mistake_with_one_camera_ends_neither_it_nor_another(trouble: Exception) -> None:
    bench = Bench()
    sources = {"gate": Recording(6, trouble={3: trouble}), "yard": Recording(40)}
    with structlog.testing.capture_logs() as lines:
        await bench.run(GATE, YARD, sources=sources)
    by_camera = {name: [frame for frame in bench.frames() if frame.camera == name] for name in ("gate", "yard")}
    assert numbers(by_camera["yard"]) == list(range(40))
    assert {frame.session for frame in by_camera["yard"]} == {1}
    assert [(frame.frame, frame.session) for frame in by_camera["gate"]] == [(n, 1 if n < 3 else 2) for n in range(6)]
    (failed,) = [line for line in lines if line["log_level"] == "error"]
    assert (failed["camera"], failed["exc_info"]) == ("gate", True)
    broken = bench.offline()[0]
    assert (broken.camera, broken.at, broken.ended) == ("gate", NOW_US + 2 * STEP_US, False)
    assert broken.reason.startswith(type(trouble).__name__)


async def test_a_picture_that_cannot_be_written_is_left_out() -> None:
    class Empty(Recording):
        def frames(self, start_index: int = 0) -> Iterator[Frame]:
            for frame in super().frames(start_index):
                yield Frame(2, frame.at_us, np.zeros((0, 0, 3), np.uint8)) if frame.index == 2 else frame

    bench = Bench()
    frames = await bench.run(GATE, sources={"gate": Empty(6)})
    assert numbers(frames) == [0, 1, 3, 4, 5]
    assert [one.ended for one in bench.offline()] == [False, True]


async def test_a_file_that_is_not_there_yet_is_read_once_it_is(tmp_path: Path) -> None:
    path = tmp_path / "late"
    camera = CameraSite("gate", str(path))
    bench = Bench()
    running = asyncio.create_task(bench.run(camera, frames=3))
    await bench.told.wait()
    ready = tmp_path / "ready"
    ready.mkdir()
    for n in range(3):
        cv2.imwrite(str(ready / f"{n}.png"), np.full((8, 16, 3), n * 10, np.uint8))
    ready.rename(path)
    frames = await running
    assert [frame.at for frame in frames] == [NOW_US, NOW_US + 100_000, NOW_US + 200_000]
    down = bench.sent[0]
    assert isinstance(down, events.SourceChanged)
    assert "no such file or folder" in down.reason
    assert not down.ended


async def test_the_log_says_size_and_source_without_its_password() -> None:
    street = CameraSite("street", "rtsp://admin:hush@10.0.0.1/1")
    with structlog.testing.capture_logs() as lines:
        await Bench().run(street, sources={"street": Recording(9, finite=False)}, frames=2)
    (online,) = [line for line in lines if line["event"] == "camera online"]
    assert (online["size"], online["source"]) == ("16x8", "rtsp://10.0.0.1/1")
