"""Video files, network streams and USB cameras, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from fractions import Fraction
from threading import Event
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from spoton.errors import SourceError
from spoton.vision.protocols import Frame, Picture
from spoton.vision.sources.numbering import Numbering
from spoton.vision.sources.timeline import FileTime, LiveTime, PlayoutTime, Thinning

_TOLERATED_BREAKS = 50
_UNTIMED_FORMATS = frozenset(("mjpeg", "mpjpeg"))


def wall_clock_us() -> int:
    """UTC now, in microseconds."""
    return time.time_ns() // 1000


class Painter:
    """Turns decoded frames into RGB pictures as a player shows them, all ``size_px`` (width, height) when given.

    A recording that asks to be shown turned by quarters, as phones write it, is turned.
    It keeps one converter for all frames of a source: setting one up costs as much as converting a small picture.
    """

    def __init__(self, size_px: tuple[int, int] | None) -> None:
        self._size_px = size_px
        self._reformatter = VideoReformatter()

    def paint(self, frame: Any) -> Picture:
        """One RGB picture, (H, W, 3) uint8."""
        quarters = round(frame.rotation / 90) % 4
        width, height = self._size_px or (None, None)
        if quarters % 2:
            width, height = height, width
        way = "AREA" if self._size_px else None
        rgb: Any = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation=way)
        picture: Picture = rgb.to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


class Opening:
    """How to open one address: FFmpeg's format and options, and how long to wait."""

    def __init__(
        self,
        target: str,
        shown: str,
        *,
        format_name: str | None = None,
        options: Mapping[str, str] | None = None,
        open_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
    ) -> None:
        self.target = target
        self.shown = shown
        self.read_timeout_s = read_timeout_s
        self._format_name = format_name
        self._options = dict(options or {})
        self._open_timeout_s = open_timeout_s

    def container(self) -> Any:
        """The opened container, with at least one video stream.

        Raises:
            SourceError: it cannot be opened or holds no video.
        """
        try:
            container = av.open(
                self.target,
                format=self._format_name,
                options=self._options,
                timeout=(self._open_timeout_s, self.read_timeout_s),
                metadata_errors="replace",
            )
        except av.ExitError:
            raise SourceError(
                f"{self.shown}: no answer within {self._open_timeout_s:g} s", remedy="check address and network"
            ) from None
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.shown}: cannot be opened: {reason(error)}") from error
        if not container.streams.video or container.streams.video[0].codec_context is None:
            container.close()
            raise SourceError(f"{self.shown}: holds no video that can be decoded")
        return container


def reason(error: Exception) -> str:
    """What FFmpeg says went wrong, without the address, which may hold a password."""
    text: str = getattr(error, "strerror", None) or type(error).__name__
    return text[:1].lower() + text[1:]


class VideoFile:
    """A recorded video: frame n of the file is frame n here, in presentation order, none skipped or repeated.

    Starting at frame n decodes what lies before it without turning it into pictures, for container indexes are
    too often wrong to seek by number. A damaged stretch costs the frames that it held and no others; those after it
    keep their numbers (see ``Numbering``).
    """

    finite = True

    def __init__(self, opening: Opening, *, size_px: tuple[int, int] | None = None) -> None:
        self._opening = opening
        self._size_px = size_px
        self._closed = Event()

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """All frames from number ``start_index`` on.

        Raises:
            SourceError: the file cannot be opened, or its rest cannot be read.
        """
        painter = Painter(self._size_px)
        container = self._opening.container()
        try:
            stream = container.streams.video[0]
            times = FileTime(
                stream.time_base,
                Fraction(stream.average_rate or stream.guessed_rate or 25),
                constant_rate=container.format.name == "avi",
            )
            with closing(_decoded(container, stream, self._closed, self._opening)) as decoded:
                for number, frame in decoded:
                    at_us = times.at_us(number, frame.pts)
                    if number >= start_index:
                        yield Frame(number, at_us, painter.paint(frame))
        finally:
            container.close()

    def close(self) -> None:
        """Makes ``frames`` end before its next frame."""
        self._closed.set()


class LiveStream:
    """A camera: a network stream or a USB device, stamped with UTC (see ``LiveTime``).

    ``fps`` thins a camera that delivers more, by time; thinned frames take no number. Ends when the camera ends the
    stream. ``close`` takes effect with the next packet, or after the read timeout if the camera is silent.
    """

    finite = False

    def __init__(
        self,
        opening: Opening,
        *,
        clock_us: Callable[[], int],
        fps: float | None = None,
        size_px: tuple[int, int] | None = None,
    ) -> None:
        self._opening = opening
        self._clock_us = clock_us
        self._fps = fps
        self._size_px = size_px
        self._closed = Event()

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """Frames from now on, numbered from ``start_index``.

        Raises:
            SourceError: the camera cannot be reached, falls silent or breaks off.
        """
        painter, thinning = Painter(self._size_px), Thinning(self._fps)
        container = self._opening.container()
        try:
            stream = container.streams.video[0]
            times = self._times(container.format.name, stream.time_base)
            index = start_index
            with closing(_decoded(container, stream, self._closed, self._opening)) as decoded:
                for _, frame in decoded:
                    at_us = times.at_us(frame.pts)
                    if times.wait_s and self._closed.wait(times.wait_s):
                        return
                    if thinning.keeps(at_us):
                        yield Frame(index, at_us, painter.paint(frame))
                        index += 1
        finally:
            container.close()

    def _times(self, format_name: str, tick_s: Fraction) -> LiveTime | PlayoutTime:
        if format_name == "hls":
            return PlayoutTime(tick_s, self._clock_us)
        return LiveTime(tick_s, self._clock_us, trust_pts=format_name not in _UNTIMED_FORMATS)

    def close(self) -> None:
        """Makes ``frames`` end."""
        self._closed.set()


def _decoded(container: Any, stream: Any, closed: Event, opening: Opening) -> Generator[tuple[int, Any], None, None]:
    # Slice threads hand a damaged packet's error over with that packet; frame threads would do so packets later.
    stream.thread_type = "SLICE"
    numbering = Numbering()
    with closing(_packets(container, stream, opening)) as packets:
        for packet in packets:
            if closed.is_set():
                return
            if packet.size and not packet.is_discard:
                numbering.packet(packet.pts)
            for frame in _pictures(packet, numbering):
                yield numbering.frame(frame.pts), frame
                if closed.is_set():
                    return


def _pictures(packet: Any, numbering: Numbering) -> list[Any]:
    if packet.is_corrupt:
        numbering.damage()
    try:
        frames: list[Any] = packet.decode()
    except av.InvalidDataError:
        numbering.damage()
        return []
    if any(frame.is_corrupt for frame in frames):
        numbering.damage()
    return frames


def _packets(container: Any, stream: Any, opening: Opening) -> Generator[Any, None, None]:
    breaks = 0
    while True:
        try:
            for packet in container.demux(stream):
                breaks = 0
                yield packet
            return
        except av.ExitError:
            raise SourceError(f"{opening.shown}: no data for {opening.read_timeout_s:g} s") from None
        except av.InvalidDataError as error:
            breaks += 1
            if breaks > _TOLERATED_BREAKS:
                raise SourceError(f"{opening.shown}: cannot be read any further: {reason(error)}") from error
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{opening.shown}: broke off: {reason(error)}") from error
