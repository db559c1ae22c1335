"""What a source address means: which kind of source, where, and how it is shown without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spoton.errors import SourceError

_RECORDED = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
_STREAMS = frozenset(("rtsp", "rtsps", "rtmp", "tcp", "udp", "http", "https"))
_ACCEPTED = (
    "give a video file, a folder of pictures, rtsp:// rtsps:// rtmp:// tcp:// udp:// http:// https://, "
    "/dev/videoN, usb:N or sim://"
)


class Kind(Enum):
    """The kinds of source."""

    FILE = "file"
    FOLDER = "folder"
    STREAM = "stream"
    USB = "usb"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source is. ``target`` is what gets opened, ``shown`` what people may read."""

    kind: Kind
    target: str
    shown: str
    finite: bool


def parse_address(text: str) -> Address:
    """Tell the kind of source from its scheme, or for a path from what lies there.

    Raises:
        SourceError: nothing lies at the path, or the scheme is none that is known.
    """
    if device := re.fullmatch(r"usb:(\d+)|/dev/video(\d+)", text):
        path = f"/dev/video{device[1] or device[2]}"
        return Address(Kind.USB, path, path, finite=False)
    scheme, mark, _ = text.partition("://")
    if mark:
        return _from_url(text, scheme.lower())
    return _from_path(Path(text).expanduser(), text)


def without_password(url: str) -> str:
    """``url`` with its user and password left out."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def _from_url(text: str, scheme: str) -> Address:
    if scheme == "sim":
        return Address(Kind.SIMULATED, text, text, finite=False)
    if scheme == "file":
        return _from_path(Path(unquote(urlsplit(text).path)), text)
    shown = without_password(text)
    if scheme not in _STREAMS:
        raise SourceError(f"source {shown!r}: unknown scheme {scheme!r}", remedy=_ACCEPTED)
    recorded = scheme in ("http", "https") and Path(urlsplit(text).path).suffix.lower() in _RECORDED
    return Address(Kind.STREAM, text, shown, finite=recorded)


def _from_path(path: Path, text: str) -> Address:
    if text and path.is_dir():
        return Address(Kind.FOLDER, str(path), str(path), finite=True)
    if path.is_file():
        return Address(Kind.FILE, str(path), str(path), finite=True)
    raise SourceError(f"source {text!r}: no such file or folder", remedy=_ACCEPTED)
