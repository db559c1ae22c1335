"""Two detectors on the same pictures: whom both find, how far their boxes and scores lie apart, how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.association import assign
from spoton.vision.protocols import Detections, Detector, Picture

SCORE_MIN = 0.3
_OVERLAP_LEAST = 0.5


def compare(before: Detector, after: Detector, pictures: Sequence[Picture]) -> dict[str, Any]:
    """How ``after`` differs from ``before``, over all pictures; people surer than 0.3, paired at an overlap of 0.5.

    ``pictures``, ``score_min``, ``people_before``, ``people_after``, ``same``; of those pairs ``box_px_median`` and
    ``box_px_worst`` (the farthest side, pixels), ``score_median`` and ``score_worst``, None without a pair;
    ``ms_before`` and ``ms_after``, medians of a picture alone, turn by turn.
    """
    counts = np.zeros(2, dtype=int)
    boxes_px: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    took_s: tuple[list[float], list[float]] = ([], [])
    for picture in pictures:
        found = []
        for detector, times in zip((before, after), took_s, strict=True):
            began_s = time.perf_counter()
            found.append(_sure(detector.detect([picture])[0]))
            times.append(time.perf_counter() - began_s)
        one, other = found
        counts += len(one), len(other)
        rows, columns = assign(1.0 - overlaps(one.boxes_px, other.boxes_px), 1.0 - _OVERLAP_LEAST)
        boxes_px.append(np.abs(_corners(one.boxes_px[rows]) - _corners(other.boxes_px[columns])).max(axis=1, initial=0))
        scores.append(np.abs(one.scores[rows] - other.scores[columns]))
    apart_px, apart = np.concatenate(boxes_px), np.concatenate(scores)
    return {
        "pictures": len(pictures),
        "score_min": SCORE_MIN,
        "people_before": int(counts[0]),
        "people_after": int(counts[1]),
        "same": len(apart),
        "box_px_median": _rounded(np.median, apart_px, 3),
        "box_px_worst": _rounded(np.max, apart_px, 3),
        "score_median": _rounded(np.median, apart, 5),
        "score_worst": _rounded(np.max, apart, 5),
        "ms_before": round(1e3 * statistics.median(took_s[0]), 2),
        "ms_after": round(1e3 * statistics.median(took_s[1]), 2),
    }


def overlaps(one_px: NDArray[np.float64], other_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) intersection over union of (N, 4) and (M, 4) left, top, width, height."""
    one, other = _corners(one_px)[:, None], _corners(other_px)[None]
    sides = np.clip(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0.0, None)
    shared = sides.prod(axis=2)
    union = one_px[:, None, 2:].prod(axis=2) + other_px[None, :, 2:].prod(axis=2) - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def _sure(found: Detections) -> Detections:
    sure = found.scores >= SCORE_MIN
    return Detections(found.boxes_px[sure], found.scores[sure])


def _corners(boxes_px: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([boxes_px[:, :2], boxes_px[:, :2] + boxes_px[:, 2:]], axis=1)


def _rounded(function: Any, values: NDArray[np.float64], digits: int) -> float | None:
    return round(float(function(values)), digits) if len(values) else None
