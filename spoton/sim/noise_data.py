"""``spoton sim fit-noise``: truth and detections from files, or a detector run on a recording, to a noise model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from spoton.errors import InputError
from spoton.offline.cameras_json import read_cameras
from spoton.offline.mot_text import WORLD, BoxRows, read_boxes
from spoton.offline.recordings import CAMERAS
from spoton.sim.noise import Noise
from spoton.sim.noise_fit import Watched, fit_noise
from spoton.vision.choose import make_detector
from spoton.vision.sources import open_source

Size = tuple[int, int]


def fit(
    truth: Path,
    detections: Path,
    *,
    fps: float,
    size_px: Size | None = None,
    detector: str | None = None,
    weights_dir: Path,
    truth_scale: float = 1.0,
    score_min: float = 0.1,
    progress: Callable[[int], None] = lambda done: None,
) -> Noise:
    """The noise model of a detector.

    truth: a folder of ``<camera>.txt``, or one such file. detections: the same with id -1; or, with ``detector``, a
    video or a folder of pictures to run it on. size_px: of the pictures; left out, from ``cameras.json`` beside
    ``truth``, or from the recording. truth_scale: what the truth's pixels are multiplied with. progress: called after
    each picture.

    Raises InputError for what does not fit together, SourceError and ModelError for what cannot be read.
    """
    if not 0 < fps <= 1000:
        raise InputError(f"fps = {fps}", remedy="say how fast the frames were taken, as in --fps 10")
    if not 0 < truth_scale < 100:
        raise InputError(f"truth_scale = {truth_scale}", remedy="give a number above 0")
    if not 0 < score_min < 1:
        raise InputError(f"score_min = {score_min}", remedy="choose between 0 and 1")
    if detector is not None:
        known, found, seen = _looked_at(detections, detector, weights_dir, fps, score_min, progress)
        watched = {truth.stem: Watched(_scaled(read_boxes(truth), truth_scale), found, size_px or seen)}
    else:
        known = "as text"
        watched = _read(truth, detections, size_px, truth_scale)
    boxes = sum(len(one.truth.frames) for one in watched.values())
    sizes = sorted({"x".join(map(str, one.size_px)) for one in watched.values()})
    fitted = {
        "detector": known, "truth": "/".join(truth.resolve().parts[-3:]),
        "detections": "/".join(detections.resolve().parts[-2:]), "cameras": ", ".join(watched),
        "true_boxes": str(boxes), "fps": f"{fps:g}", "size_px": ", ".join(sizes),
    }  # fmt: skip
    return fit_noise(list(watched.values()), fps, score_min, fitted)


def _read(truth: Path, detections: Path, size_px: Size | None, scale: float) -> dict[str, Watched]:
    files = sorted(truth.glob("*.txt")) if truth.is_dir() else [truth]
    pairs = {
        file.stem: (file, detections / file.name if detections.is_dir() else detections)
        for file in files
        if file.name != WORLD
    }
    pairs = {name: pair for name, pair in pairs.items() if pair[1].is_file()}
    if not pairs:
        raise InputError(
            f"{detections} has no detections for a <camera>.txt of {truth}", remedy="give the files the same names"
        )
    beside = (truth if truth.is_dir() else truth.parent).resolve().parent / CAMERAS
    sizes = {one.name: one.size_px for one in read_cameras(beside)} if size_px is None and beside.is_file() else {}
    watched = {}
    for name, (file, found) in pairs.items():
        size = size_px or sizes.get(name)
        if size is None:
            raise InputError(f"the size of camera {name!r}'s pictures is not known", remedy="add --size 1920x1080")
        watched[name] = Watched(_scaled(read_boxes(file), scale), read_boxes(found), size)
    return watched


def _scaled(rows: BoxRows, scale: float) -> BoxRows:
    return BoxRows(rows.frames, rows.ids, rows.boxes_px * scale, rows.scores)


def _looked_at(
    recording: Path, spec: str, weights_dir: Path, fps: float, score_min: float, progress: Callable[[int], None]
) -> tuple[str, BoxRows, Size]:
    """The detector's name, what it found in every picture, and the pictures' size."""
    detector = make_detector(spec, weights_dir=weights_dir, fps=fps)
    frames, boxes, scores = [np.zeros(0, np.int64)], [np.zeros((0, 4))], [np.zeros(0)]
    size: Size = (1, 1)
    with closing(open_source(str(recording), fps=fps)) as source:
        for frame in source.frames():
            size = frame.picture.shape[1], frame.picture.shape[0]
            found = detector.detect([frame.picture])[0]
            keep = found.scores >= score_min
            frames.append(np.full(int(keep.sum()), frame.index + 1))
            boxes.append(found.boxes_px[keep])
            scores.append(found.scores[keep])
            progress(frame.index + 1)
    number = np.concatenate(frames)
    return detector.name, BoxRows(number, np.full(len(number), -1), np.concatenate(boxes), np.concatenate(scores)), size
