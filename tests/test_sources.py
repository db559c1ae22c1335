import http.server
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, closing, contextmanager
from fractions import Fraction
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from spoton.errors import SourceError
from spoton.vision.reconnect import Backoff, FrameArrived, SourceDown, SourceEnded, SourceUp, watch
from spoton.vision.sources import open_source
from spoton.vision.sources.address import parse_address, without_password
from spoton.vision.sources.numbering import Numbering
from spoton.vision.sources.timeline import FileTime, LiveTime, PlayoutTime, Thinning, microseconds

BITS = 10
WIDTH, HEIGHT = 160, 96
X264 = {"preset": "ultrafast", "crf": "18"}


def barcode(number: int) -> np.ndarray:
    """A picture that carries ``number``: ten columns, white for 1 and black for 0."""
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        picture[16:80, bit * 16 : (bit + 1) * 16] = 255 if number >> bit & 1 else 0
    return picture


def read_barcode(picture: np.ndarray) -> int:
    height, width = picture.shape[:2]
    columns = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(picture[height // 2, column].mean() > 128) << bit for bit, column in enumerate(columns))


def write_video(
    target: object,
    count: int,
    *,
    fps: int = 10,
    codec: str = "libx264",
    format_name: str | None = None,
    options: dict[str, str] | None = None,
    pace_s: float = 0.0,
) -> None:
    """A video of barcodes 0 to ``count`` - 1, in H.264 with B-frames unless told otherwise."""
    with av.open(target, "w", format=format_name, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.codec_context.max_b_frames = 3
            stream.codec_context.gop_size = 12
            stream.options = {**X264, "bf": "3", "g": "12"}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(barcode(number), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
            time.sleep(pace_s)
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty numbered frames, ten a second, H.264 with B-frames."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(str(path), 60)
    return path


@contextmanager
def web_server(answers: Path | type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves a folder, or answers as it is told."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    answering = partial(Quiet, directory=str(answers)) if isinstance(answers, Path) else answers
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Hands the first connection to ``serve`` in a thread; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


class TestFiles:
    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "264", "mov"])
    def test_frame_n_of_the_file_is_frame_n(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"film.{suffix}"
        write_video(str(path), 50)
        frames = list(open_source(str(path)).frames())
        assert [frame.index for frame in frames] == list(range(50))
        assert [read_barcode(frame.picture) for frame in frames] == list(range(50))

    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
    def test_times_count_from_the_first_frame(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"film.{suffix}"
        write_video(str(path), 20)
        assert [frame.at_us for frame in open_source(str(path)).frames()] == [n * 100_000 for n in range(20)]

    def test_the_film_really_holds_b_frames(self, film: Path) -> None:
        with av.open(str(film)) as container:
            kinds = {frame.pict_type for frame in container.decode(video=0)}
        assert av.video.frame.PictureType.B in kinds

    @pytest.mark.parametrize("start", [0, 1, 11, 12, 13, 37, 59, 60, 1000])
    def test_starting_at_n_gives_frame_n_and_its_time(self, film: Path, start: int) -> None:
        frames = list(open_source(str(film)).frames(start))
        expected = list(range(start, 60))
        assert [frame.index for frame in frames] == expected
        assert [read_barcode(frame.picture) for frame in frames] == expected
        assert [frame.at_us for frame in frames] == [n * 100_000 for n in expected]

    def test_pictures_are_rgb_and_writable(self, tmp_path: Path) -> None:
        path = tmp_path / "red.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            red = np.zeros((48, 64, 3), np.uint8)
            red[..., 0] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(red, "rgb24")))
            container.mux(stream.encode())
        (frame,) = open_source(str(path)).frames()
        assert frame.picture.dtype == np.uint8
        assert frame.picture.flags.writeable
        assert np.abs(frame.picture.reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 8

    def test_size_is_width_by_height(self, film: Path) -> None:
        frames = list(open_source(str(film), size_px=(80, 40)).frames(55))
        assert {frame.picture.shape for frame in frames} == {(40, 80, 3)}
        assert [read_barcode(frame.picture) for frame in frames] == [55, 56, 57, 58, 59]

    def test_a_phone_recording_is_turned_as_it_asks(self, film: Path, tmp_path: Path) -> None:
        path = tmp_path / "phone.mp4"
        data = bytearray(film.read_bytes())
        matrix = data.index(b"tkhd") + 4 + 40
        assert data[matrix : matrix + 4] == b"\x00\x01\x00\x00"
        data[matrix : matrix + 20] = struct.pack(">5i", 0, 1 << 16, 0, -(1 << 16), 0)
        path.write_bytes(data)
        upright = list(open_source(str(film)).frames(40))
        turned = list(open_source(str(path)).frames(40))
        for straight, clockwise in zip(upright, turned, strict=True):
            assert (clockwise.picture == np.rot90(straight.picture, -1)).all()
        (sized, *_) = open_source(str(path), size_px=(48, 80)).frames(40)
        assert sized.picture.shape == (80, 48, 3)

    def test_fps_never_thins_a_file(self, film: Path) -> None:
        assert len(list(open_source(str(film), fps=1).frames())) == 60

    def test_a_name_with_a_colon_is_a_file(self, film: Path, tmp_path: Path) -> None:
        path = tmp_path / "gate 12:30 %d.mp4"
        shutil.copy(film, path)
        assert len(list(open_source(str(path)).frames())) == 60

    def test_variable_frame_rate_keeps_exact_times(self, tmp_path: Path) -> None:
        path = tmp_path / "odd.mkv"
        ticks = [0, 33, 67, 100, 500, 501, 1200]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=1000)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for tick in ticks:
                frame = av.VideoFrame.from_ndarray(barcode(tick % 1024), "rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        assert [frame.at_us for frame in open_source(str(path)).frames()] == [tick * 1000 for tick in ticks]

    def test_damage_in_the_middle_costs_only_the_frames_it_hit(self, film: Path, tmp_path: Path) -> None:
        path = tmp_path / "damaged.mp4"
        data = bytearray(film.read_bytes())
        with av.open(str(film)) as container:
            packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        for position, size in packets[20:23]:
            data[position : position + size] = b"\xff" * size
        path.write_bytes(data)
        frames = list(open_source(str(path)).frames())
        numbers = [frame.index for frame in frames]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 60
        assert set(range(16)) | set(range(36, 60)) <= set(numbers)
        whole = [frame for frame in frames if frame.index < 16 or frame.index >= 36]
        assert [read_barcode(frame.picture) for frame in whole] == [frame.index for frame in whole]
        assert [frame.at_us for frame in frames] == [n * 100_000 for n in numbers]

    def test_a_file_that_is_no_video_says_so(self, tmp_path: Path) -> None:
        path = tmp_path / "note.mp4"
        path.write_text("this is not a video")
        with pytest.raises(SourceError, match=r"note\.mp4: cannot be opened: invalid data"):
            list(open_source(str(path)).frames())

    def test_a_truncated_recording_gives_what_it_holds(self, tmp_path: Path) -> None:
        whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
        write_video(str(whole), 60)
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        frames = list(open_source(str(cut)).frames())
        assert 20 <= len(frames) < 60
        assert [read_barcode(frame.picture) for frame in frames[:-1]] == list(range(len(frames) - 1))

    def test_close_ends_the_iteration(self, film: Path) -> None:
        source = open_source(str(film))
        frames = source.frames()
        assert next(frames).index == 0
        closing_thread = threading.Thread(target=source.close)
        closing_thread.start()
        closing_thread.join()
        assert list(frames) == []

    def test_real_surveillance_video(self) -> None:
        shared = Path(os.environ.get("SPOTON_SHARED", Path(__file__).parents[2] / "shared"))
        path = shared / "data/pets09_s2l1/view001_480x360_10fps_795f.mp4"
        if not path.exists():
            pytest.skip(f"{path.name} is not at hand; SPOTON_SHARED names the folder of shared data")
        checks = {}
        count = 0
        for frame in open_source(str(path)).frames():
            assert (frame.index, frame.at_us) == (count, count * 100_000)
            checks[frame.index] = int(frame.picture.sum())
            count += 1
        assert count == 795
        (resumed,) = islice(open_source(str(path)).frames(500), 1)
        assert (resumed.index, int(resumed.picture.sum())) == (500, checks[500])


def test_a_simulated_camera_is_opened_by_its_url() -> None:
    before_us = now_us()
    with closing(open_source("sim://plaza?width=160&height=120&people=1&fps=50")) as source:
        (frame,) = islice(source.frames(), 1)
    assert not source.finite
    assert before_us <= frame.at_us <= now_us()
    assert frame.picture.shape == (120, 160, 3)


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for number in range(12):
            with av.open(str(tmp_path / f"view{number}.png"), "w", format="image2") as container:
                stream = container.add_stream("png", rate=1)
                stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(barcode(number), "rgb24")))
                container.mux(stream.encode())
        (tmp_path / "notes.txt").write_text("not a picture")
        return tmp_path

    def test_natural_order_and_exact_times(self, folder: Path) -> None:
        frames = list(open_source(str(folder), fps=3).frames())
        assert [read_barcode(frame.picture) for frame in frames] == list(range(12))
        assert [frame.at_us for frame in frames][:4] == [0, 333_333, 666_667, 1_000_000]
        assert (frames[3].picture == barcode(3)).all()

    def test_ten_a_second_unless_told(self, folder: Path) -> None:
        frames = list(open_source(str(folder)).frames(10))
        assert [(frame.index, frame.at_us) for frame in frames] == [(10, 1_000_000), (11, 1_100_000)]

    def test_a_damaged_picture_keeps_its_number(self, folder: Path) -> None:
        (folder / "view5.png").write_bytes(b"broken")
        assert [frame.index for frame in open_source(str(folder)).frames()] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]

    @pytest.mark.parametrize("suffix", ["jpg", "bmp", "tiff", "ppm"])
    def test_picture_formats(self, tmp_path: Path, suffix: str) -> None:
        cv2 = pytest.importorskip("cv2")
        cv2.imwrite(str(tmp_path / f"one.{suffix}"), barcode(77)[..., ::-1])
        (frame,) = open_source(str(tmp_path), size_px=(80, 48)).frames()
        assert read_barcode(frame.picture) == 77
        assert frame.picture.shape == (48, 80, 3)

    def test_no_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"no pictures in it; accepted are .*\.jpg"):
            open_source(str(tmp_path))

    def test_nothing_readable(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"broken")
        with pytest.raises(SourceError, match=r"no picture can be read, not even a\.jpg"):
            list(open_source(str(tmp_path)).frames())

    def test_a_damaged_rest_is_no_failure(self, folder: Path) -> None:
        (folder / "view11.png").write_bytes(b"broken")
        assert list(open_source(str(folder)).frames(11)) == []


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "kind", "finite"),
        [
            ("rtsp://u:p@cam/1", "stream", False),
            ("RTSPS://cam/1", "stream", False),
            ("http://cam/live.m3u8", "stream", False),
            ("http://cam/video.mjpg?x=1", "stream", False),
            ("https://store/a/film.MP4?token=1", "stream", True),
            ("tcp://cam:99", "stream", False),
            ("usb:3", "usb", False),
            ("/dev/video0", "usb", False),
            ("sim://plaza/0", "simulated", False),
        ],
    )
    def test_kinds(self, text: str, kind: str, finite: bool) -> None:
        address = parse_address(text)
        assert (address.kind.value, address.finite) == (kind, finite)

    def test_usb_number_is_the_device(self) -> None:
        assert parse_address("usb:12").target == "/dev/video12"

    def test_file_url(self, film: Path) -> None:
        assert len(list(open_source(film.as_uri()).frames())) == 60

    @pytest.mark.parametrize("text", ["gopher://cam/1", "/no/such/place.mp4", "film.mp4", "usb:x", ""])
    def test_an_unknown_address_is_named_with_what_is_accepted(
        self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SourceError) as caught:
            open_source(text)
        assert repr(text) in str(caught.value)
        assert "rtsp://" in str(caught.value)
        assert "usb:N" in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("rtsp://admin:s3@cret@10.0.0.1:554/h?x=a@b", "rtsp://10.0.0.1:554/h?x=a@b"),
            ("http://10.0.0.1/a@b", "http://10.0.0.1/a@b"),
        ],
    )
    def test_passwords_are_left_out(self, url: str, shown: str) -> None:
        assert without_password(url) == shown

    def test_no_password_in_errors(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(SourceError, match="cannot be opened: connection refused") as caught:
            list(open_source(f"rtsp://admin:hush@127.0.0.1:{port}/1").frames())
        assert "hush" not in str(caught.value)
        assert f"127.0.0.1:{port}" in str(caught.value)

    def test_a_missing_usb_camera_is_named(self) -> None:
        with pytest.raises(SourceError, match="/dev/video97: cannot be opened: no such file"):
            list(open_source("usb:97", fps=15, size_px=(640, 480)).frames())

    @pytest.mark.parametrize("limits", [{"fps": 0}, {"fps": -1.0}, {"size_px": (0, 10)}])
    def test_limits_above_zero(self, limits: dict[str, object], film: Path) -> None:
        with pytest.raises(SourceError, match="is not above zero"):
            open_source(str(film), **limits)


def now_us() -> int:
    return time.time_ns() // 1000


class TestStreams:
    def test_mpegts_over_tcp(self) -> None:
        def serve(connection: socket.socket) -> None:
            with connection.makefile("wb") as wire:
                write_video(wire, 60, format_name="mpegts", pace_s=0.005)

        before_us = now_us()
        with tcp_server(serve) as port:
            source = open_source(f"tcp://127.0.0.1:{port}")
            assert not source.finite
            frames = list(source.frames(start_index=700))
        assert [frame.index for frame in frames] == list(range(700, 760))
        assert [read_barcode(frame.picture) for frame in frames] == list(range(60))
        assert all(earlier.at_us < later.at_us for earlier, later in pairwise(frames))
        assert before_us <= frames[0].at_us <= frames[-1].at_us <= now_us() + 60

    def test_recording_over_http(self, film: Path) -> None:
        with web_server(film.parent) as url:
            source = open_source(f"{url}/film.mp4")
            assert source.finite
            assert [read_barcode(frame.picture) for frame in source.frames(40)] == list(range(40, 60))

    async def test_a_recording_over_http_that_breaks_off_goes_on_with_the_next_frame(self, tmp_path: Path) -> None:
        path = tmp_path / "film.mkv"
        write_video(str(path), 60)

        class Breaking(http.server.BaseHTTPRequestHandler):
            """Hangs up in the middle of the first two answers."""

            def do_GET(self) -> None:
                asked.append(self.path)
                data = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if len(asked) < 3 else data)

            def log_message(self, *_: object) -> None:
                return

        asked: list[str] = []
        downs, frames = [], []
        with web_server(Breaking) as url:
            watched = watch(
                "gate",
                open_=lambda: open_source(f"{url}/film.mkv"),
                clock_us=now_us,
                rng=random.Random(1),
                backoff=Backoff(initial_s=0.0, max_s=0.0),
            )
            async for item in watched:
                if isinstance(item, SourceDown):
                    downs.append(item.reason)
                elif isinstance(item, FrameArrived):
                    frames.append(item.frame)
        assert len(downs) == 2
        assert all("broke off" in reason for reason in downs)
        assert isinstance(item, SourceEnded)
        assert [frame.index for frame in frames] == list(range(60))
        assert [read_barcode(frame.picture) for frame in frames] == list(range(60))

    def test_hls(self, tmp_path: Path) -> None:
        write_video(
            str(tmp_path / "live.m3u8"), 60, fps=60, format_name="hls",
            options={"hls_time": "0.2", "hls_list_size": "0"},
        )  # fmt: skip
        assert len(list(tmp_path.glob("*.ts"))) > 1
        with web_server(tmp_path) as url, closing(open_source(f"{url}/live.m3u8")) as source:
            frames = list(source.frames())
        assert [read_barcode(frame.picture) for frame in frames] == list(range(60))
        steps_us = np.diff([frame.at_us for frame in frames])
        assert (steps_us > 0).all()
        assert abs(np.median(steps_us) - 16_667) <= 1

    def test_mjpeg_over_http(self) -> None:
        def serve(connection: socket.socket) -> None:
            connection.recv(4096)
            head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=ffmpeg\r\n\r\n"
            connection.sendall(head)
            with connection.makefile("wb") as wire:
                write_video(wire, 20, codec="mjpeg", format_name="mpjpeg", pace_s=0.01)

        with tcp_server(serve) as port:
            frames = []
            with pytest.raises(SourceError, match="broke off"):
                frames.extend(open_source(f"http://127.0.0.1:{port}/video.mjpg").frames())
        assert [read_barcode(frame.picture) for frame in frames] == list(range(20))

    def test_a_silent_camera_is_given_up(self) -> None:
        released = threading.Event()
        with tcp_server(lambda _: released.wait(20)) as port:
            source = open_source(f"tcp://127.0.0.1:{port}", open_timeout_s=0.3)
            with pytest.raises(SourceError, match=r"no answer within 0\.3 s; check address and network"):
                list(source.frames())
            released.set()

    def test_a_camera_that_falls_silent_is_given_up(self) -> None:
        released = threading.Event()

        def serve(connection: socket.socket) -> None:
            with connection.makefile("wb") as wire:
                write_video(wire, 40, format_name="mpegts")
                wire.flush()
                released.wait(20)

        with tcp_server(serve) as port:
            frames = open_source(f"tcp://127.0.0.1:{port}", read_timeout_s=0.3).frames()
            seen = []
            with pytest.raises(SourceError, match=r"no data for 0\.3 s"):
                seen.extend(frame.index for frame in frames)
            released.set()
        assert seen

    def test_rtsp_server(self, film: Path, tmp_path: Path) -> None:
        with rtsp_server(film, tmp_path) as url, closing(open_source(url)) as source:
            frames = list(islice(source.frames(start_index=5), 25))
        assert [frame.index for frame in frames] == list(range(5, 30))
        assert [read_barcode(frame.picture) for frame in frames] == list(range(25))
        span_us = frames[-1].at_us - frames[0].at_us
        assert 1_000_000 < span_us < 10_000_000

    def test_rtsp_thinned_by_time(self, film: Path, tmp_path: Path) -> None:
        with rtsp_server(film, tmp_path) as url, closing(open_source(url, fps=2)) as source:
            frames = list(islice(source.frames(), 4))
        assert [frame.index for frame in frames] == [0, 1, 2, 3]
        numbers = [read_barcode(frame.picture) for frame in frames]
        assert numbers[-1] >= 9

    async def test_an_rtsp_server_that_dies_is_found_again(self, film: Path, tmp_path: Path) -> None:
        first_server = ExitStack()
        url = first_server.enter_context(rtsp_server(film, tmp_path))
        port = url.split(":")[2].split("/")[0]
        backoff = Backoff(initial_s=0.2, max_s=0.2)
        watching = watch("gate", open_=lambda: open_source(url), clock_us=now_us, rng=random.Random(4), backoff=backoff)
        frames = []
        async with aclosing(watching) as items:
            with first_server:
                while len(frames) < 5:
                    frames += [item.frame for item in [await anext(items)] if isinstance(item, FrameArrived)]
            while not isinstance(down := await anext(items), SourceDown):
                frames += [item.frame for item in [down] if isinstance(item, FrameArrived)]
            with rtsp_server(film, tmp_path, port):
                while not isinstance(up := await anext(items), SourceUp):
                    assert isinstance(up, SourceDown)
                frames += [item.frame for item in [await anext(items)] if isinstance(item, FrameArrived)]
        assert (down.session, up.session, up.size) == (1, 2, "160x96")
        assert all(one.index < two.index and one.at_us < two.at_us for one, two in pairwise(frames))
        assert read_barcode(frames[-1].picture) < 40


RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
for element in ("qtdemux", "rtph264pay"):
    if Gst.ElementFactory.find(element) is None:
        sys.exit("no " + element)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[2])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch('( filesrc location="%s" ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=1 )' % sys.argv[1])
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@contextmanager
def rtsp_server(film: Path, folder: Path, port: str = "0") -> Iterator[str]:
    """GStreamer's RTSP server, which plays ``film`` from its beginning to each client, at its own speed."""
    system_python = Path("/usr/bin/python3")
    if not system_python.exists():
        pytest.skip("no RTSP server here; it needs the system's own Python")
    script = folder / "server.py"
    script.write_text(RTSP_SERVER)
    with subprocess.Popen(
        [system_python, str(script), str(film), port], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        bound = server.stdout.readline().strip()
        try:
            if not bound:
                pytest.skip(
                    "no RTSP server here; it comes with the Debian packages "
                    "python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good"
                )
            yield f"rtsp://127.0.0.1:{bound}/camera"
        finally:
            server.kill()


class TestTimeline:
    def test_exact_rounding(self) -> None:
        assert microseconds(1, Fraction(1, 3)) == 333_333
        assert microseconds(2, Fraction(1, 3)) == 666_667
        assert microseconds(10**15 + 1, Fraction(1, 90_000)) == 11_111_111_111_111_122
        assert microseconds(-1, Fraction(1, 2_000_000)) == 0

    @pytest.mark.parametrize(
        ("stamps", "expected"),
        [
            ([5, 6, 7], [0, 100_000, 200_000]),
            ([None, None, None], [0, 100_000, 200_000]),
            ([5, None, 7], [0, 100_000, 200_000]),
            ([5, 5, 7], [0, 100_000, 200_000]),
            ([1, 4, 3, 5], [0, 300_000, 400_000, 500_000]),
            ([None, 6, 9], [0, 100_000, 400_000]),
        ],
        ids=["good", "missing", "one missing", "repeated", "backward", "first missing"],
    )
    def test_file_time(self, stamps: list[int | None], expected: list[int]) -> None:
        times = FileTime(Fraction(1, 10), Fraction(10))
        assert [times.at_us(number, pts) for number, pts in enumerate(stamps)] == expected

    def test_live_time_takes_the_jitter_out(self) -> None:
        arrivals = iter([1_000_000, 1_130_000, 1_200_000, 1_390_000, 1_400_000])
        times = LiveTime(Fraction(1, 10), lambda: next(arrivals))
        assert [times.at_us(pts) for pts in range(5)] == [1_000_000 + n * 100_000 for n in range(5)]

    def test_live_time_is_never_ahead_of_arrival_and_always_increases(self) -> None:
        rng = np.random.default_rng(3)
        clock = [0]
        times = LiveTime(Fraction(1, 10), lambda: clock[0])
        last = 0
        for pts in range(3000):
            clock[0] = 10**15 + pts * 101_000 + int(rng.exponential(40_000))
            at_us = times.at_us(pts)
            assert last < at_us <= clock[0]
            assert clock[0] - at_us < 700_000
            last = at_us

    def test_live_time_anchors_anew_when_the_camera_restarts_its_clock(self) -> None:
        clock = [10**15]
        times = LiveTime(Fraction(1, 10), lambda: clock[0])
        times.at_us(10_000)
        clock[0] += 100_000
        assert times.at_us(3) == clock[0]
        clock[0] += 100_000
        assert times.at_us(None) == clock[0]
        clock[0] += 100_000
        assert times.at_us(900_000) == clock[0]

    def test_live_time_follows_a_wall_clock_set_back_without_going_back(self) -> None:
        clock = [10**15]
        times = LiveTime(Fraction(1, 10), lambda: clock[0])
        first = times.at_us(0)
        clock[0] -= 5_000_000
        assert times.at_us(1) == first + 1

    def test_playout_spreads_a_segment_that_came_at_once(self) -> None:
        clock = [10**15]
        times = PlayoutTime(Fraction(1, 10), lambda: clock[0])
        assert [times.at_us(pts) - 10**15 for pts in range(4)] == [0, 100_000, 200_000, 300_000]
        assert times.wait_s == 0.3
        clock[0] += 5_000_000
        assert times.at_us(4) == clock[0]
        assert times.wait_s == 0.0

    def test_playout_does_not_wait_for_a_wall_clock_set_back(self) -> None:
        clock = [10**15]
        times = PlayoutTime(Fraction(1, 10), lambda: clock[0])
        last_us = times.at_us(0)
        clock[0] -= 3_600_000_000
        assert times.at_us(1) == last_us + 1
        assert times.wait_s == 0.0

    @pytest.mark.parametrize(
        ("camera_fps", "wanted", "kept"), [(25, 10, 100), (10, 10, 100), (12, 10, 100), (5, 10, 50), (30, None, 300)]
    )
    def test_thinning(self, camera_fps: int, wanted: float | None, kept: int) -> None:
        thinning = Thinning(wanted)
        times = [10**15 + n * 1_000_000 // camera_fps + (n % 3) * 5_000 for n in range(10 * camera_fps)]
        assert abs(sum(map(thinning.keeps, times)) - kept) <= 1


class TestNumbering:
    def test_reordered_frames_count_one_each(self) -> None:
        numbering = Numbering()
        for pts in (0, 4, 2, 1, 3):
            numbering.packet(pts)
        assert [numbering.frame(pts) for pts in range(5)] == [0, 1, 2, 3, 4]

    def test_lost_frames_are_counted_after_damage(self) -> None:
        numbering = Numbering()
        for pts in range(6):
            numbering.packet(pts * 10)
        assert [numbering.frame(0), numbering.frame(10)] == [0, 1]
        numbering.damage()
        assert [numbering.frame(40), numbering.frame(50)] == [4, 5]

    def test_two_packets_a_frame_count_one_even_after_damage(self) -> None:
        numbering = Numbering()
        for pts in range(8):
            numbering.packet(pts)
        assert [numbering.frame(1), numbering.frame(3)] == [0, 1]
        numbering.damage()
        assert [numbering.frame(5), numbering.frame(None)] == [2, 3]

    def test_numbering_begins_with_the_first_picture_that_decodes(self) -> None:
        numbering = Numbering()
        for pts in range(4):
            numbering.packet(pts)
        numbering.damage()
        assert [numbering.frame(2), numbering.frame(3)] == [0, 1]
