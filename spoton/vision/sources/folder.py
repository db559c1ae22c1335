"""A folder of pictures as a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Event

import av

from spoton.errors import SourceError
from spoton.vision.protocols import Frame, Picture
from spoton.vision.sources.timeline import microseconds
from spoton.vision.sources.video import Painter

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))


class PictureFolder:
    """The pictures of one folder in natural order of their names (9 before 10), ``fps`` of them a second.

    A picture that cannot be decoded is left out and keeps its number, so that later ones stay where they are.
    """

    finite = True

    def __init__(self, path: Path, *, fps: float = 10.0, size_px: tuple[int, int] | None = None) -> None:
        self._path = path
        self._period_s = 1 / Fraction(fps).limit_denominator(1_000_000)
        self._size_px = size_px
        self._closed = Event()
        self._pictures = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES), key=_natural
        )
        if not self._pictures:
            raise SourceError(
                f"folder {path}: no pictures in it", remedy=f"accepted are {' '.join(sorted(PICTURE_SUFFIXES))}"
            )

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """All pictures from number ``start_index`` on.

        Raises:
            SourceError: not one picture of the folder can be decoded.
        """
        painter = Painter(self._size_px)
        damaged = None
        sound = 0
        for index, file in enumerate(self._pictures[start_index:], start_index):
            if self._closed.is_set():
                return
            picture = _read(file, painter)
            if picture is None:
                damaged = file
                continue
            sound += 1
            yield Frame(index, microseconds(index, self._period_s), picture)
        if damaged is not None and not sound and start_index == 0:
            raise SourceError(f"folder {self._path}: no picture can be read, not even {damaged.name}")

    def close(self) -> None:
        """Makes ``frames`` end after the picture at hand."""
        self._closed.set()


def _read(file: Path, painter: Painter) -> Picture | None:
    try:
        # The pipe-like name keeps the image2 demuxer from taking a "%d" in a file name as a pattern.
        with file.open("rb") as opened, av.open(opened, "r") as container:
            for frame in container.decode(video=0):
                return painter.paint(frame)
    except (av.FFmpegError, OSError, IndexError):
        return None
    return None


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]
