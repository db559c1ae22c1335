"""Which box goes on with which track: two stages by confidence, on overlap that widens with what is not known.

Method: ByteTrack (Zhang et al., ECCV 2022) on real time. At few frames per second a walking person's boxes do not
overlap from one frame to the next; boxes are therefore grown by the predicted uncertainty before they are compared,
after C-BIoU (Yang et al., WACV 2023), whose growth is fixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton import geometry
from spoton.association import assign
from spoton.site import Thresholds
from spoton.track_state import MEASURED, Prediction, State, centred

Floats = NDArray[np.float64]

GROWTH = 0.8
"""How many standard deviations of position a box grows by on each side, beyond a detector's own."""
FIRST_GATE = 0.8
SECOND_GATE = 0.5
CANDIDATE_GATE = 0.7
"""Highest cost, one less overlap, per stage."""
CHI_SQUARE_GATE = 30.0
"""Squared Mahalanobis distance over 4 degrees of freedom: beyond chance by far (1 in 200 000)."""
LOOKS_WEIGHT = 0.2
"""What looks alone can add to or take from a cost."""
START_MARGIN = 0.05
"""A box must score this much above the high score to begin a candidate."""
DUPLICATE = 0.7
"""A box that overlaps a box in use by this much is the same person seen twice."""


def cost_of(prediction: Prediction, boxes_px: Floats) -> Floats:
    """(N, M): one less the overlap of each track's predicted box with each box; infinite beyond the motion gate."""
    spread = np.sqrt(prediction.cov[:, :2, 0, 0])
    height = np.maximum(prediction.mean[:, 3, 0], 1.0)
    margin = GROWTH * np.maximum(spread - 1.5 * MEASURED * height[:, None], 0.0)
    overlap = _grown_overlap(prediction.boxes_px(), boxes_px, margin)
    noise = (MEASURED * np.maximum(boxes_px[:, 3], 1.0)) ** 2
    off = centred(boxes_px)[None] - prediction.mean[:, None, :, 0]
    distance = (off**2 / (prediction.cov[:, None, :, 0, 0] + noise[None, :, None])).sum(axis=2)
    return np.where((distance < CHI_SQUARE_GATE) & (overlap > 0), 1.0 - overlap, np.inf)


def looks_cost(state: State, looks: NDArray[np.float32], known: NDArray[np.bool_], thresholds: Thresholds) -> Floats:
    """(N, M): -LOOKS_WEIGHT for the same look to LOOKS_WEIGHT for twice the gate, 0 where a look is unknown.

    looks: (M, D) rows of unit length; known: (M,).
    """
    cosine = state.looks.astype(np.float64) @ looks.astype(np.float64).T
    ratio = np.clip((1.0 - cosine) / thresholds.appearance_gate, 0.0, 2.0)
    both = (state.embedded_at >= 0)[:, None] & known[None, :]
    return np.where(both, LOOKS_WEIGHT * (ratio - 1.0), 0.0)


def pair(state: State, at: int, cost: Floats, scores: Floats, thresholds: Thresholds) -> NDArray[np.int64]:
    """The row of ``state`` that each box of a frame at event time ``at`` belongs to, (M,), -1 for none.

    Whoever was last seen more than ``lost_after_s`` ago gets nothing: by then the motion gate is wide enough for any
    stranger in the picture. First confident boxes with tracks, lost ones too; then doubtful boxes with tracks seen
    until now whose mean score is still high, so that clutter is not followed for ever; then the confident boxes left
    over with candidates.
    """
    owner = np.full(len(scores), -1, dtype=np.int64)
    free = at - state.seen_at <= thresholds.lost_after_s * 1e6
    high = scores >= thresholds.high_score
    low = ~high & (scores >= thresholds.low_score)
    tracked = state.confirmed & (state.seen_at == state.at) & (state.trust >= thresholds.high_score)
    for of_state, of_boxes, gate in (
        (state.confirmed, high, FIRST_GATE),
        (tracked, low, SECOND_GATE),
        (~state.confirmed, high, CANDIDATE_GATE),
    ):
        rows = np.flatnonzero(of_state & free)
        columns = np.flatnonzero(of_boxes & (owner < 0))
        if not len(rows) or not len(columns):
            continue
        chosen, to = assign(cost[np.ix_(rows, columns)], gate)
        owner[columns[to]] = rows[chosen]
        free[rows[chosen]] = False
    return owner


def newcomers(boxes_px: Floats, scores: Floats, owner: NDArray[np.int64], thresholds: Thresholds) -> NDArray[np.intp]:
    """Boxes that begin a candidate: confident, nobody's, and no second box around somebody already found."""
    rows = np.flatnonzero((owner < 0) & (scores >= thresholds.high_score + START_MARGIN))
    taken = np.flatnonzero(owner >= 0)
    if not len(rows) or not len(taken):
        return rows
    alone: NDArray[np.bool_] = geometry.iou(boxes_px[rows], boxes_px[taken]).max(axis=1) < DUPLICATE
    return rows[alone]


def _grown_overlap(tracks_px: Floats, boxes_px: Floats, margin_px: Floats) -> Floats:
    """Intersection over union of (N, 4) with (M, 4) after both of a pair grew by the track's margin (N, 2) a side."""
    margin = margin_px[:, None]
    near_a, near_b = tracks_px[:, None, :2] - margin, boxes_px[None, :, :2] - margin
    size_a, size_b = tracks_px[:, None, 2:] + 2.0 * margin, boxes_px[None, :, 2:] + 2.0 * margin
    inner = np.minimum(near_a + size_a, near_b + size_b) - np.maximum(near_a, near_b)
    shared: Floats = np.prod(np.maximum(inner, 0.0), axis=2)
    union: Floats = np.prod(size_a, axis=2) + np.prod(size_b, axis=2) - shared
    return shared / union
