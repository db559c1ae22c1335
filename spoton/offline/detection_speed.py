"""How much longer a detector takes than its bare ONNX Runtime session, and what tiles gain on small people."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.association import assign
from spoton.offline.average_precision import average_precision
from spoton.offline.parity import overlaps
from spoton.vision.onnx_detector import OnnxDetector
from spoton.vision.protocols import Picture
from spoton.vision.tiling import TiledDetector

SIZES = ((1920, 1080), (480, 360))
STILLS = "data/mot17_mini_02"
_SMALL_PX = 120
_VISIBLE = 0.4
_PEDESTRIAN = 1


def ratios(detectors: Mapping[str, OnnxDetector], picture: Picture, *, rounds: int = 60) -> dict[str, Any]:
    """Per detector and picture size ``ms``, ``bare_ms`` and ``times_bare``, medians over rounds.

    ``detect`` of one picture, preparation and reading included, beside ``session.run`` on the tensor that is prepared
    for it, turn by turn; ``times_bare`` is the median of each turn's own ratio, which a busy machine disturbs least.
    """
    result: dict[str, Any] = {}
    for name, detector in detectors.items():
        for width, height in SIZES:
            shown = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            feed = {detector.graph.inputs[0].name: detector.preparation.batch([shown])}
            whole = partial(detector.detect, [shown])
            bare = partial(detector.graph.session.run, None, feed)
            times = np.array([_turn(whole, bare, swapped=bool(turn % 2)) for turn in range(rounds + 4)])[4:]
            result[f"{name} {width}x{height}"] = {
                "ms": round(1e3 * float(np.median(times[:, 0])), 2),
                "bare_ms": round(1e3 * float(np.median(times[:, 1])), 2),
                "times_bare": round(float(np.median(times[:, 0] / times[:, 1])), 3),
                "rounds": rounds,
            }
    return result


def _turn(whole: Callable[[], object], bare: Callable[[], object], *, swapped: bool) -> tuple[float, float]:
    """Seconds of each, one right after the other, in either order."""
    if swapped:
        second, first = _timed(bare), _timed(whole)
    else:
        first, second = _timed(whole), _timed(bare)
    return first, second


def _timed(function: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


def tiling_gain(shared: Path, detectors: Mapping[str, OnnxDetector]) -> dict[str, Any] | None:
    """AP50 and recall of people under 120 px, and ms a picture, with and without tiles; None without the pictures.

    The pictures are the four full-HD frames of MOT17-02 (Milan et al. 2016) that are there; people of whom less than
    0.4 is visible are not asked for.
    """
    files = sorted((shared / STILLS / "img1").glob("*.jpg"))
    truth_file = shared / STILLS / "gt" / "gt.txt"
    if not files or not truth_file.is_file():
        return None
    rows = np.loadtxt(truth_file, delimiter=",", ndmin=2)
    rows = rows[(rows[:, 7] == _PEDESTRIAN) & (rows[:, 8] >= _VISIBLE)]
    truth = [rows[rows[:, 0] == int(file.stem)][:, 2:6] for file in files]
    pictures = [np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8) for file in files]
    result: dict[str, Any] = {"pictures": len(files), "small": sum(int((one[:, 3] < _SMALL_PX).sum()) for one in truth)}
    for name, detector in detectors.items():
        plain, tiled = _scored(detector, pictures, truth), _scored(TiledDetector(detector), pictures, truth)
        result[name] = {"plain": plain, "tiles": tiled}
    return result


def _scored(
    detector: OnnxDetector | TiledDetector, pictures: list[Picture], truth: list[NDArray[np.float64]]
) -> dict[str, Any]:
    found, took_s, hit, small = [], [], 0, 0
    for picture, people in zip(pictures, truth, strict=True):
        began_s = time.perf_counter()
        found += detector.detect([picture])
        took_s.append(time.perf_counter() - began_s)
        few = people[people[:, 3] < _SMALL_PX]
        small += len(few)
        hit += _recalled(few, found[-1].boxes_px[found[-1].scores >= 0.3])
    return {
        "ap50": round(average_precision(truth, [one.boxes_px for one in found], [one.scores for one in found]), 4),
        "recall_small": round(hit / small, 4) if small else None,
        "ms": round(1e3 * statistics.median(took_s), 1),
    }


def _recalled(people: NDArray[np.float64], found: NDArray[np.float64]) -> int:
    """How many of the people have a box of their own that overlaps by half."""
    rows, _ = assign(1.0 - overlaps(people, found), 0.5)
    return len(rows)
