"""Recorded input of one camera, frame by frame: a video with a detector, or detections that lie there as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton import tracks
from spoton.offline.mot_text import BoxRows, read_boxes
from spoton.site import CameraSite, Site
from spoton.vision.eyes import Eyes
from spoton.vision.protocols import Detector, Embedder, FrameSource, Picture

OneFrame = tuple[tracks.FrameSeen, Picture | None]


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """One camera's recording.

    frames: what was found in each frame, with its picture where there is one, read as it is asked for. total: how many
    frames there are, where known. embedder: describes people in pictures; None without pictures.
    """

    camera: CameraSite
    frames: Iterator[OneFrame]
    total: int | None = None
    embedder: Embedder | None = None


def from_text(site: str, camera: CameraSite, file: Path, fps: float) -> Footage:
    """Detections of ``<camera>.txt``; frame n is at (n - 1) / fps seconds, frames without a line are empty."""
    rows = read_boxes(file)
    size_px = camera.size_px or _extent(rows)
    last = int(rows.frames.max(initial=0))
    order = np.argsort(rows.frames, kind="stable")
    ends = np.searchsorted(rows.frames[order], np.arange(1, last + 2))

    def frames() -> Iterator[OneFrame]:
        for index in range(last):
            which = order[ends[index] : ends[index + 1]]
            boxes_px, scores = tracks.quantise(rows.boxes_px[which], rows.scores[which])
            at = round(index * 1e6 / fps)
            yield _seen(site, camera.name, index, at, size_px, boxes_px, scores, "text"), None

    return Footage(camera, frames(), last)


def from_video(site: Site, camera: CameraSite, source: FrameSource, eyes: Eyes) -> Footage:
    """A video or a folder of pictures, looked at frame by frame."""
    least_score = site.thresholds.low_score

    def frames() -> Iterator[OneFrame]:
        detector: Detector | None = None
        for frame in source.frames():
            size_px = (frame.picture.shape[1], frame.picture.shape[0])
            detector = detector or eyes.detector(camera, size_px)
            found = detector.detect([frame.picture])[0]
            boxes_px, scores = tracks.quantise(found.boxes_px, found.scores, least_score)
            seen = _seen(site.name, camera.name, frame.index, frame.at_us, size_px, boxes_px, scores, detector.name)
            yield seen, frame.picture

    return Footage(camera, frames(), embedder=eyes.embedder)


def _seen(
    site: str, camera: str, index: int, at: int, size_px: tuple[int, int],
    boxes_px: NDArray[np.float64], scores: NDArray[np.float64], detector: str,
) -> tracks.FrameSeen:  # fmt: skip
    return tracks.FrameSeen(
        site=site, camera=camera, frame=index, at=at, session=1, size_px=size_px,
        boxes_px=boxes_px, scores=scores, detector=detector,
    )  # fmt: skip


def _extent(rows: BoxRows) -> tuple[int, int]:
    """A picture size that holds all boxes, for recordings that do not say theirs."""
    far = (rows.boxes_px[:, :2] + rows.boxes_px[:, 2:]).max(axis=0, initial=1.0)
    return int(np.ceil(far[0])), int(np.ceil(far[1]))
