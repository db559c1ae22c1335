"""Where pictures come from: files, folders, network and USB cameras, the simulated site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from spoton.errors import SourceError
from spoton.vision.protocols import FrameSource
from spoton.vision.sources.address import Address, Kind, parse_address, without_password
from spoton.vision.sources.folder import PictureFolder
from spoton.vision.sources.video import LiveStream, Opening, VideoFile, wall_clock_us

__all__ = ["open_source", "wall_clock_us"]

# Without these FFmpeg watches a camera for five seconds before it hands over the first frame.
_QUICK_START = {"analyzeduration": "1000000", "fpsprobesize": "0"}


def open_source(
    url_or_path: str,
    *,
    fps: float | None = None,
    size_px: tuple[int, int] | None = None,
    clock_us: Callable[[], int] = wall_clock_us,
    open_timeout_s: float = 5.0,
    read_timeout_s: float | None = None,
    options: Mapping[str, str] | None = None,
) -> FrameSource:
    """The source that an address names. Network and device are touched only when its frames are asked for.

    Args:
        url_or_path: a video file, a folder of pictures, ``rtsp://``, ``rtsps://``, ``rtmp://``, ``tcp://``,
            ``udp://``, ``http://`` or ``https://`` (HLS playlist, MJPEG, MPEG-TS, or a video file by its suffix),
            ``/dev/videoN`` or ``usb:N``, or a simulated camera, ``sim://``, whose URL says all about it.
        fps: how fast a folder plays (default 10), and the most frames a second taken from a camera, chosen by
            time. A video file is never thinned.
        size_px: (width, height) of every picture; left out, as the source delivers.
        clock_us: the wall clock that live frames are laid over, UTC microseconds.
        open_timeout_s: how long a camera may take to answer.
        read_timeout_s: how long a camera may be silent; left out, 5 s, and 15 s for HLS, which comes in segments.
        options: FFmpeg options that go before our own (RTSP over TCP, a quick start).

    Raises:
        SourceError: the address is of no known kind, the file or folder is not there, or ``fps`` or ``size_px``
            is not above zero.
    """
    _check_limits(without_password(url_or_path), fps, size_px)
    address = parse_address(url_or_path)
    match address.kind:
        case Kind.SIMULATED:
            from spoton.sim.painter import PaintedCamera

            return PaintedCamera(address.target)
        case Kind.FOLDER:
            return PictureFolder(Path(address.target), fps=fps or 10.0, size_px=size_px)
    chosen = _options(address, fps, size_px) | dict(options or {})
    if address.kind is Kind.FILE:
        # The protocol is named, or FFmpeg takes a colon in a file name for one.
        return VideoFile(Opening(f"file:{address.target}", address.shown, options=chosen), size_px=size_px)
    opening = Opening(
        address.target,
        address.shown,
        format_name="v4l2" if address.kind is Kind.USB else None,
        options=chosen,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s or (15.0 if ".m3u8" in address.target else 5.0),
    )
    if address.finite:
        return VideoFile(opening, size_px=size_px)
    return LiveStream(opening, clock_us=clock_us, fps=fps, size_px=size_px)


def _options(address: Address, fps: float | None, size_px: tuple[int, int] | None) -> dict[str, str]:
    if address.kind is Kind.USB:
        wanted = {} if fps is None else {"framerate": f"{fps:g}"}
        return wanted if size_px is None else wanted | {"video_size": f"{size_px[0]}x{size_px[1]}"}
    if address.finite:
        return {}
    over_tcp = {"rtsp_transport": "tcp"} if address.target.lower().startswith("rtsp") else {}
    return _QUICK_START | over_tcp


def _check_limits(source: str, fps: float | None, size_px: tuple[int, int] | None) -> None:
    if fps is not None and not fps > 0:
        raise SourceError(f"source {source!r}: fps {fps!r} is not above zero", remedy="give a rate such as 10")
    if size_px is not None and not min(size_px) > 0:
        raise SourceError(
            f"source {source!r}: size {size_px!r} is not above zero", remedy="give width and height in pixels"
        )
