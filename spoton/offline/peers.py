"""Trackers that ours is measured beside, at their defaults: those of the `trackers` package (Apache-2.0).

The package is for this measurement alone and is no part of any installation, not even as an extra: it asks for
``opencv-python``, which writes the same files as ``opencv-python-headless``, which SpotOn uses.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spoton import tracks
from spoton.errors import InputError
from spoton.events import PeopleDetected
from spoton.site import Thresholds

Floats = NDArray[np.float64]

OURS = "spoton"
PEERS = {"sort": "SORTTracker", "bytetrack": "ByteTrackTracker", "ocsort": "OCSORTTracker", "botsort": "BoTSORTTracker"}
INSTALL = (
    "pip install scipy requests pyyaml defusedxml tqdm pillow matplotlib 'pydeprecate<0.14', "
    "then pip install --no-deps trackers==2.6.0 supervision"
)


class Follower(Protocol):
    """A tracker at work on one sequence."""

    def feed(self, index: int, at_us: int, boxes_px: Floats, scores: Floats) -> Any:
        """Take in the next frame: boxes (N, 4) left, top, width, height with scores (N,). This is what is timed."""

    def rows(self, result: Any) -> Floats:
        """(K, 6) id from 1, left, top, width, height, score: what ``feed`` says of its frame."""


class Spoton:
    """Our tracker, from arrays to the recorded event and the state after it."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds or Thresholds()
        self._state = tracks.initial()

    def feed(self, index: int, at_us: int, boxes_px: Floats, scores: Floats) -> PeopleDetected:
        """Quantise, decide and evolve, as the detection agent does."""
        boxes_px, scores = tracks.quantise(boxes_px, scores, self._thresholds.low_score)
        frame = tracks.FrameSeen(
            site="bench", camera="bench", frame=index, at=at_us, session=1, size_px=(1920, 1080),
            boxes_px=boxes_px, scores=scores,
        )  # fmt: skip
        decided, self._state = tracks.step(self._state, frame, self._thresholds)
        event = decided[-1]
        assert isinstance(event, PeopleDetected)
        return event

    def rows(self, result: PeopleDetected) -> Floats:
        """Boxes that were a track's when the frame was decided; candidates are not output."""
        ids = np.array(result.tracks, dtype=np.float64)
        boxes = np.array(result.boxes_px, dtype=np.float64).reshape(-1, 4)
        return np.column_stack([ids, boxes, result.scores])[ids > 0].reshape(-1, 6)


class Peer:
    """One of ``PEERS``. timed: tell it every frame's time, else it goes by its frame rate alone."""

    def __init__(self, name: str, fps: float, *, timed: bool = False) -> None:
        package, self._detections = _package()
        self._tracker = getattr(package, PEERS[name])(frame_rate=fps)
        self._timed = timed

    def feed(self, index: int, at_us: int, boxes_px: Floats, scores: Floats) -> Any:
        """The peer's ``update``."""
        corners = np.concatenate([boxes_px[:, :2], boxes_px[:, :2] + boxes_px[:, 2:]], axis=1)
        found = self._detections(xyxy=corners, confidence=scores)
        return self._tracker.update(found, timestamp=at_us / 1e6) if self._timed else self._tracker.update(found)

    def rows(self, result: Any) -> Floats:
        """Boxes with an id; the peer numbers from 0 and calls what is none of its tracks -1."""
        if len(result) == 0:
            return np.zeros((0, 6))
        ids = np.asarray(result.tracker_id, dtype=np.float64)
        size = result.xyxy[:, 2:] - result.xyxy[:, :2]
        return np.column_stack([ids + 1, result.xyxy[:, :2], size, result.confidence])[ids >= 0]


def followers(fps: float, *, timed: bool = False) -> dict[str, Follower]:
    """Ours and every peer, fresh, by name; ours first. Raises InputError when the package is not there."""
    return {OURS: Spoton(), **{name: Peer(name, fps, timed=timed) for name in PEERS}}


def peers_version() -> str:
    """Which release of the package is there."""
    try:
        return version("trackers")
    except PackageNotFoundError:
        return "unknown"


def _package() -> tuple[Any, Any]:
    try:
        return importlib.import_module("trackers"), importlib.import_module("supervision").Detections
    except ImportError as error:
        raise InputError(f"the peers cannot be loaded ({error})", remedy=INSTALL) from error
