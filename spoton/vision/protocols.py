"""What a frame source, a detector and an embedder promise. Pictures are RGB everywhere inside SpotOn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""One picture, shape (H, W, 3), RGB, 0 to 255."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """People found in one picture.

    boxes_px: (N, 4) float64, left, top, width, height in pixels of the picture that came in.
    scores: (N,) float64 in [0, 1].
    """

    boxes_px: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def none(cls) -> Detections:
        """Nobody."""
        return cls(np.zeros((0, 4)), np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """Finds people. A detector that keeps a background per camera is made once per camera (``shared`` False)."""

    name: str
    """What runs, as shown to people, for example ``picodet-s`` or ``built-in``."""
    shared: bool
    """True: one instance serves all cameras in one batch."""

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order; an empty batch gives an empty list."""
        ...


class Embedder(Protocol):
    """Describes what a person looks like."""

    name: str
    dim: int

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, dim) float32 rows of unit length, one per RGB crop; an empty batch gives shape (0, dim)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from a source.

    index: 0-based number of the frame in its source; for a file the n-th frame of the file.
    at_us: presentation time in microseconds: UTC for live sources, since the start of the file for files.
    """

    index: int
    at_us: int
    picture: Picture


class FrameSource(Protocol):
    """A camera, a video or a folder, read in order. Iterating blocks: run it in a thread of its own."""

    finite: bool
    """True for files and folders: reading ends, and ``Frame.at_us`` counts from the start."""

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """All frames from ``start_index`` on; raises SourceError when the source fails."""
        ...

    def close(self) -> None:
        """Release the source; safe to call from another thread, makes ``frames`` end."""
        ...
