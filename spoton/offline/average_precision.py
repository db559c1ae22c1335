"""Average precision of a people detector at one overlap, all points interpolated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError

Boxes = NDArray[np.float64]


def average_precision(
    truth_px: Sequence[Boxes],
    found_px: Sequence[Boxes],
    scores: Sequence[NDArray[np.float64]],
    *,
    overlap: float = 0.5,
) -> float:
    """Area under the precision-recall curve of one class, in [0, 1].

    truth_px, found_px: per picture (N, 4) boxes as left, top, width, height in the same pixels.
    scores: per picture (N,), higher is surer.
    overlap: least intersection over union of a hit, in (0, 1].

    Every found box, surest first over all pictures, is compared with the truth of its picture that it overlaps most; it
    is a hit when that truth overlaps enough and is not taken yet, else it is false (the rule of PASCAL VOC).
    Precision is made non-increasing in recall and integrated over every recall step (all-point interpolation,
    VOC 2010 and later). Equal scores keep the order of the pictures. Without any truth the result is 0.

    Raises InputError when the lists differ in length.
    """
    if not len(truth_px) == len(found_px) == len(scores):
        raise InputError(
            f"average precision needs one entry per picture: {len(truth_px)} truths, {len(found_px)} boxes, "
            f"{len(scores)} scores",
            remedy="give empty arrays for pictures without people",
        )
    total = sum(len(boxes) for boxes in truth_px)
    if total == 0:
        return 0.0
    hits = [_hits(*picture, overlap) for picture in zip(truth_px, found_px, scores, strict=True)]
    ranked_scores = np.concatenate([np.sort(row)[::-1] for row in scores])
    ranked = np.concatenate(hits)[np.argsort(-ranked_scores, kind="stable")]
    if len(ranked) == 0:
        return 0.0
    hit_count = np.cumsum(ranked)
    precision = hit_count / np.arange(1, len(ranked) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope[ranked]) / total)


def intersection_over_union(one_px: Boxes, other_px: Boxes) -> NDArray[np.float64]:
    """(N, M) overlaps in [0, 1] of (N, 4) with (M, 4) boxes as left, top, width, height; empty ones give 0."""
    low = np.maximum(one_px[:, None, :2], other_px[None, :, :2])
    high = np.minimum(one_px[:, None, :2] + one_px[:, None, 2:4], other_px[None, :, :2] + other_px[None, :, 2:4])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    union = np.prod(one_px[:, None, 2:4], axis=2) + np.prod(other_px[None, :, 2:4], axis=2) - shared
    return np.where(union > 0.0, shared / np.where(union > 0.0, union, 1.0), 0.0)


def _hits(truth_px: Boxes, found_px: Boxes, scores: NDArray[np.float64], overlap: float) -> NDArray[np.bool_]:
    """(N,) whether each found box, surest first, is a hit."""
    hits = np.zeros(len(found_px), dtype=bool)
    if len(truth_px) == 0 or len(found_px) == 0:
        return hits
    shared = intersection_over_union(found_px[np.argsort(-scores, kind="stable")], truth_px)
    taken = np.zeros(len(truth_px), dtype=bool)
    for row, best in enumerate(np.argmax(shared, axis=1)):
        if shared[row, best] >= overlap and not taken[best]:
            taken[best] = hits[row] = True
    return hits
