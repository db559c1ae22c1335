import asyncio
import gc
import io
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from spoton.errors import SourceError
from spoton.vision.metronome import Metronome
from spoton.vision.protocols import Frame, FrameSource
from spoton.vision.reconnect import Backoff, FrameArrived, Item, SourceDown, SourceEnded, SourceUp, watch
from spoton.vision.sources import open_source

HTTP_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=ffmpeg\r\n\r\n"
AT_ONCE = Backoff(initial_s=0.0, max_s=0.0)


def video_bytes(frames: int, *, format_name: str = "mpegts", codec: str = "mpeg2video", fps: int = 25) -> bytes:
    """A small video."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format_name) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 1
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 9 % 256, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@contextmanager
def mortal_camera(stream: bytes, *, hold: bool = False, port: int = 0) -> Iterator[str]:
    """A TCP server that sends ``stream`` to each client and hangs up; with ``hold`` it falls silent instead."""
    held: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            if stopping.is_set():
                connection.close()
                return
            if stream.startswith(b"HTTP"):
                connection.recv(4096)
            connection.sendall(stream)
            if hold:
                held.append(connection)
            else:
                connection.close()

    stopping = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopping.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join()
        listening.close()
        for connection in held:
            connection.close()


def film(tmp_path: Path, frames: int, fps: int = 25) -> str:
    path = tmp_path / "film.ts"
    path.write_bytes(video_bytes(frames, fps=fps))
    return str(path)


def now_us() -> int:
    return time.time_ns() // 1000


def watching(url: str, **options: object) -> AsyncIterator[Item]:
    settings = {"open_": lambda: open_source(url), "clock_us": now_us, "rng": random.Random(1), "backoff": AT_ONCE}
    return watch("gate", **(settings | options))


async def collect(items: AsyncIterator[Item]) -> list[Item]:
    return [item async for item in items]


def camera_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("camera-")]


class Scripted:
    """A live source written for one test: it delivers what it is given as fast as it can, then fails.

    With ``pauses`` it waits after its first frame until ``go_on`` is set.
    """

    finite = False

    def __init__(
        self, count: int, error: Exception | None = None, *, stays: bool = False, pauses: bool = False
    ) -> None:
        self.delivered_all = threading.Event()
        self.go_on = threading.Event()
        if not pauses:
            self.go_on.set()
        self._count = count
        self._error = error
        self._stays = stays
        self._closed = threading.Event()

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        for index in range(start_index, start_index + self._count):
            if self._closed.is_set():
                return
            yield Frame(index, (index + 1) * 1000, np.zeros((2, 4, 3), np.uint8))
            self.go_on.wait()
        self.delivered_all.set()
        if self._stays:
            self._closed.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._closed.set()
        self.go_on.set()


class TestFinite:
    async def test_a_file_is_read_once_and_said_to_have_ended(self, tmp_path: Path) -> None:
        up, *arrived, ended = await collect(watching(film(tmp_path, 30)))
        assert isinstance(up, SourceUp)
        assert (up.session, up.size) == (1, "64x48")
        assert isinstance(ended, SourceEnded)
        assert [(item.frame.index, item.dropped, item.session) for item in arrived] == [(n, 0, 1) for n in range(30)]

    async def test_nothing_is_dropped_for_a_slow_consumer(self, tmp_path: Path) -> None:
        indices = []
        async for item in watching(film(tmp_path, 30)):
            await asyncio.sleep(0.005)
            if isinstance(item, FrameArrived):
                indices.append(item.frame.index)
        assert indices == list(range(30))

    async def test_start_index(self, tmp_path: Path) -> None:
        items = await collect(watching(film(tmp_path, 30), start_index=27))
        assert [item.frame.index for item in items if isinstance(item, FrameArrived)] == [27, 28, 29]

    async def test_realtime_hands_frames_over_when_they_are_due(self, tmp_path: Path) -> None:
        loop = asyncio.get_running_loop()
        arrivals_s = [
            (loop.time(), item.frame.at_us / 1e6)
            async for item in watching(film(tmp_path, 11, fps=50), metronome=Metronome(["gate"]), start_index=1)
            if isinstance(item, FrameArrived)
        ]
        (began_s, first_s), *others = arrivals_s
        assert len(others) == 9
        assert all(arrived_s - began_s >= at_s - first_s - 0.005 for arrived_s, at_s in others)

    async def test_loop_goes_on_with_numbers_and_times(self, tmp_path: Path) -> None:
        frames = []
        async with aclosing(watching(film(tmp_path, 10), loop=True, start_index=100, read_from=0)) as items:
            async for item in items:
                if isinstance(item, FrameArrived):
                    frames.append(item.frame)
                if len(frames) == 35:
                    break
        assert [frame.index for frame in frames] == list(range(100, 135))
        assert [frame.at_us for frame in frames] == [n * 40_000 for n in range(35)]
        assert camera_threads() == []

    async def test_another_number_than_the_frame_read_from(self, tmp_path: Path) -> None:
        up, *arrived, ended = await collect(watching(film(tmp_path, 30), start_index=100, read_from=27))
        assert isinstance(up, SourceUp)
        assert isinstance(ended, SourceEnded)
        assert [item.frame.index for item in arrived if isinstance(item, FrameArrived)] == [100, 101, 102]
        assert [item.frame.at_us for item in arrived if isinstance(item, FrameArrived)] == [1080000, 1120000, 1160000]

    async def test_a_file_that_cannot_be_opened_is_down_until_it_can(self, tmp_path: Path) -> None:
        path = tmp_path / "film.ts"
        path.write_text("no video")
        items: list[Item] = []
        async with aclosing(watching(str(path))) as watched:
            async for item in watched:
                items.append(item)
                if len(items) == 3:
                    path.unlink()
                elif len(items) == 5:
                    path.write_bytes(video_bytes(6))
        downs, (up, *arrived, ended) = items[:5], items[5:]
        assert [(item.session, item.failures) for item in downs if isinstance(item, SourceDown)] == [
            (0, n) for n in range(1, 6)
        ]
        assert isinstance(downs[0], SourceDown)
        assert isinstance(downs[4], SourceDown)
        assert "film.ts: cannot be opened" in downs[0].reason
        assert "no such file" in downs[4].reason
        assert isinstance(up, SourceUp)
        assert len(arrived) == 6
        assert isinstance(ended, SourceEnded)
        assert ended.session == 1

    async def test_a_file_that_breaks_goes_on_with_the_frame_after_its_last(self) -> None:
        class Recording(Scripted):
            """Ten frames; breaks after the fourth of each session, and before the first of the third."""

            finite = True

            def frames(self, start_index: int = 0) -> Iterator[Frame]:
                opened.append(start_index)
                for index in range(start_index, 10):
                    if len(opened) == 3 or index == start_index + 4:
                        raise SourceError("broke off")
                    yield Frame(index, index * 1000, np.zeros((2, 4, 3), np.uint8))

        opened: list[int] = []
        items = await collect(watching("", open_=lambda: Recording(0)))
        assert opened == [0, 4, 8, 8]
        assert [item.frame.index for item in items if isinstance(item, FrameArrived)] == list(range(10))
        assert [item.session for item in items if isinstance(item, SourceDown)] == [1, 2, 2]
        assert [item.session for item in items if isinstance(item, SourceUp)] == [1, 2, 3]
        assert isinstance(items[-1], SourceEnded)
        assert items[-1].session == 3

    async def test_an_end_without_a_frame_is_a_session_of_its_own(self, tmp_path: Path) -> None:
        (ended,) = await collect(watching(film(tmp_path, 12), start_index=12))
        assert isinstance(ended, SourceEnded)
        assert ended.session == 1

    async def test_an_empty_loop_ends(self, tmp_path: Path) -> None:
        class Empty(Scripted):
            finite = True

        (ended,) = await collect(watching("", open_=lambda: Empty(0), loop=True))
        assert isinstance(ended, SourceEnded)


class TestLive:
    async def test_up_and_down_are_told_and_numbers_go_on(self) -> None:
        with mortal_camera(video_bytes(12)) as url:
            seen: list[Item] = []
            async with aclosing(watching(url, start_index=40)) as items:
                async for item in items:
                    seen.append(item)
                    if sum(isinstance(item, SourceDown) for item in seen) == 3:
                        break
        kinds = [type(item).__name__ for item in seen if not isinstance(item, FrameArrived)]
        assert kinds == ["SourceUp", "SourceDown"] * 3
        assert [item.session for item in seen if isinstance(item, SourceDown)] == [1, 2, 3]
        assert [item.failures for item in seen if isinstance(item, SourceDown)] == [1, 2, 3]
        assert {item.reason for item in seen if isinstance(item, SourceDown)} == {"the stream ended"}
        index = 40
        for item in seen:
            if isinstance(item, FrameArrived):
                index += item.dropped
                assert item.frame.index == index
                index += 1
        assert index == 40 + 3 * 12

    async def test_a_slow_consumer_gets_the_latest_and_a_count_of_the_lost(self) -> None:
        source = Scripted(100, stays=True, pauses=True)
        async with aclosing(watching("", open_=lambda: source)) as items:
            up, first = await anext(items), await anext(items)
            source.go_on.set()
            await asyncio.to_thread(source.delivered_all.wait)
            last = [await anext(items), await anext(items)]
        assert isinstance(up, SourceUp)
        frames = [item for item in (first, *last) if isinstance(item, FrameArrived)]
        assert [(item.frame.index, item.dropped) for item in frames] == [(0, 0), (98, 97), (99, 0)]

    async def test_one_camera_failing_does_not_touch_another(self, tmp_path: Path) -> None:
        async def failures() -> int:
            count = 0
            async with aclosing(watching("", open_=lambda: Scripted(3, SourceError("dead")))) as items:
                async for item in items:
                    count += isinstance(item, SourceDown)
                    if count == 50:
                        break
            return count

        count, items = await asyncio.gather(failures(), collect(watching(film(tmp_path, 60))))
        assert count == 50
        assert [item.frame.index for item in items if isinstance(item, FrameArrived)] == list(range(60))

    async def test_an_unreachable_camera_is_retried_with_growing_waits(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        downs: list[SourceDown] = []
        backoff = Backoff(initial_s=0.01, max_s=0.05)
        async with aclosing(watching(f"tcp://127.0.0.1:{port}", backoff=backoff)) as items:
            async for item in items:
                assert isinstance(item, SourceDown)
                downs.append(item)
                if len(downs) == 6:
                    break
        rng = random.Random(1)
        assert [down.retry_in_s for down in downs] == [backoff.wait_s(n, rng) for n in range(1, 7)]
        assert [down.session for down in downs] == [0] * 6
        assert all("connection refused" in down.reason for down in downs)

    async def test_a_camera_that_comes_back_is_found(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        backoff = Backoff(initial_s=0.02, max_s=0.02)
        async with aclosing(watching(f"tcp://127.0.0.1:{port}", backoff=backoff)) as items:
            assert isinstance(await anext(items), SourceDown)
            with mortal_camera(video_bytes(12), port=port):
                while isinstance(item := await anext(items), SourceDown):
                    assert item.session == 0
        assert isinstance(item, SourceUp)
        assert item.session == 1

    async def test_a_steady_session_starts_the_row_of_failures_anew(self) -> None:
        downs = []
        steady = Backoff(initial_s=0.0, max_s=0.0, steady_s=0.0)
        async with aclosing(
            watching("", open_=lambda: Scripted(2, SourceError("dead")), backoff=steady)
        ) as items:  # fmt: skip
            async for item in items:
                if isinstance(item, SourceDown):
                    downs.append(item.failures)
                if len(downs) == 3:
                    break
        assert downs == [1, 1, 1]

    async def test_a_mistake_in_the_program_is_passed_on(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await collect(watching("", open_=lambda: Scripted(1, ZeroDivisionError())))
        assert camera_threads() == []

    async def test_cancelling_while_frames_flow_leaves_nothing(self) -> None:
        with mortal_camera(video_bytes(12)) as url:
            arrived = asyncio.Event()

            async def consume() -> None:
                async with aclosing(watching(url)) as items:
                    async for item in items:
                        if isinstance(item, FrameArrived):
                            arrived.set()

            task = asyncio.create_task(consume())
            await arrived.wait()
            assert len(camera_threads()) <= 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert camera_threads() == []

    async def test_cancelling_while_a_camera_is_silent_leaves_nothing(self) -> None:
        with mortal_camera(video_bytes(12), hold=True) as url:
            arrived = asyncio.Event()

            async def consume() -> None:
                opening = lambda: open_source(url, open_timeout_s=0.4, read_timeout_s=0.4)  # noqa: E731
                async with aclosing(watching(url, open_=opening)) as items:
                    async for _ in items:
                        arrived.set()

            task = asyncio.create_task(consume())
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert camera_threads() == []

    @pytest.mark.parametrize(
        ("stream", "scheme"),
        [
            (video_bytes(8), "tcp"),
            (HTTP_HEAD + video_bytes(8, format_name="mpjpeg", codec="mjpeg"), "http"),
            (b"not a video", "tcp"),
        ],
        ids=["ends", "breaks off", "never starts"],
    )
    async def test_two_hundred_reconnects_leak_nothing(self, stream: bytes, scheme: str) -> None:
        process = psutil.Process()
        settled: dict[str, int] = {}
        sessions = 0
        with mortal_camera(stream) as url:
            async with aclosing(watching(url.replace("tcp", scheme))) as items:
                async for item in items:
                    if not isinstance(item, SourceDown):
                        continue
                    sessions += 1
                    if sessions in (50, 200):
                        gc.collect()
                        settled[f"rss {sessions}"] = process.memory_info().rss
                        settled[f"files {sessions}"] = process.num_fds()
                        settled[f"threads {sessions}"] = process.num_threads()
                    if sessions == 200:
                        assert item.session == (0 if stream == b"not a video" else 200)
                        break
        assert settled["files 200"] <= settled["files 50"] + 1
        assert settled["threads 200"] <= settled["threads 50"]
        assert settled["rss 200"] - settled["rss 50"] < 15_000_000


class TestBackoff:
    def test_waits_grow_and_stay_below_the_limit(self) -> None:
        rng = random.Random(7)
        backoff = Backoff(initial_s=0.5, max_s=30.0)
        means = [np.mean([backoff.wait_s(failures, rng) for _ in range(2000)]) for failures in (1, 2, 4, 10)]
        assert means == pytest.approx([0.25, 0.5, 2.0, 15.0], rel=0.1)
        assert max(backoff.wait_s(10**6, rng) for _ in range(2000)) <= 30.0

    def test_the_same_seed_gives_the_same_waits(self) -> None:
        one, two = random.Random(3), random.Random(3)
        assert [Backoff().wait_s(n, one) for n in range(1, 20)] == [Backoff().wait_s(n, two) for n in range(1, 20)]


class TestMetronome:
    async def test_recordings_that_start_elsewhere_and_later_keep_one_pace(self, tmp_path: Path) -> None:
        path = film(tmp_path, 50)
        loop = asyncio.get_running_loop()
        metronome = Metronome(["gate", "yard"])
        arrived_s: dict[str, dict[int, float]] = {"gate": {}, "yard": {}}

        def slowly() -> FrameSource:
            time.sleep(0.5)
            return open_source(path)

        async def read(camera: str, open_: Callable[[], FrameSource], start_index: int) -> None:
            watched = watch(
                camera, open_=open_, clock_us=now_us, rng=random.Random(1), start_index=start_index, metronome=metronome
            )
            async for item in watched:
                if isinstance(item, FrameArrived):
                    arrived_s[camera][item.frame.at_us] = loop.time()

        await asyncio.gather(read("gate", slowly, 5), read("yard", lambda: open_source(path), 20))
        apart_s = [arrived_s["gate"][at_us] - arrived_s["yard"][at_us] for at_us in arrived_s["yard"]]
        assert len(apart_s) == 30
        # One that starts with its own first frame would lag by 0.6 s for good.
        assert abs(np.median(apart_s)) < 0.1
        assert min(arrived_s["yard"].values()) - arrived_s["gate"][200_000] > 0.5

    async def test_who_fails_is_not_waited_for_and_catches_up(self) -> None:
        metronome = Metronome(["gate", "yard"])
        waiting = asyncio.create_task(metronome.due("gate", 50_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        metronome.failed("yard")
        began_s = asyncio.get_running_loop().time()
        await waiting
        for at_us in range(0, 50_000, 1000):
            await metronome.due("yard", at_us)
        await metronome.due("yard", 250_000)
        assert asyncio.get_running_loop().time() - began_s >= 0.195

    async def test_all_failing_leaves_it_to_the_first_who_comes(self) -> None:
        metronome = Metronome(["gate", "yard"])
        metronome.failed("gate")
        metronome.failed("yard")
        await metronome.due("yard", 3_600_000_000)
        began_s = asyncio.get_running_loop().time()
        await metronome.due("gate", 3_600_050_000)
        assert asyncio.get_running_loop().time() - began_s >= 0.04
