"""Which box goes on with which track: by confidence in stages, on overlap that widens with what is not known.

Method: ByteTrack (Zhang et al., ECCV 2022) on real time. At few frames per second a walking person's boxes do not
overlap from one frame to the next; boxes are therefore grown by the predicted uncertainty before they are compared,
after C-BIoU (Yang et al., WACV 2023), whose growth is fixed. Unequal heights cost extra, after the shape similarity of
BoostTrack (Stanojevic and Todorovic, 2024), and squared Mahalanobis distance is the gate, as in DeepSORT (Wojke et al.,
ICIP 2017). Only pairs whose grown boxes touch are looked at.
"""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from spoton import geometry
from spoton.association import assign_pairs
from spoton.likeness import usual_gate
from spoton.site import Thresholds
from spoton.track_state import LEAST_PX, MEASURED, State, measured_variance

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

GROWTH = 0.8
"""How many standard deviations of position a box grows by on each side, beyond a detector's own."""
HEIGHT_WEIGHT = 0.2
"""What unequal heights can add to a cost."""
FIRST_GATE = 0.85
SECOND_GATE = 0.5
CANDIDATE_GATE = 0.7
"""Highest cost, one less overlap, per stage."""
CHI_SQUARE_GATE = 24.0
"""Squared Mahalanobis distance over 4 degrees of freedom: 1 in 12 000 by chance, but detectors have heavier tails."""
LOOKS_WEIGHT = 0.2
"""What looks alone can add to or take from a cost."""
START_MARGIN = 0.05
"""A box must score this much above the high score to begin a candidate."""
DENSE = 1000
"""Up to so many pairs it is faster to look at all of them than to find those whose boxes touch."""
DUPLICATE = 0.7
"""A box that overlaps a box in use by this much is the same person seen twice."""
_NONE = np.array(0.0)


class Pairs(msgspec.Struct, frozen=True, eq=False):
    """What is possible between N tracks and M boxes. track, box: (E,) ordered by track; cost: (E,)."""

    track: Indices
    box: Indices
    cost: Floats


def possible(axes: Floats, boxes: Floats) -> Pairs:
    """Pairs of predicted tracks, axes (5, 4, N), and boxes as ``centred`` gives them, (4, M), whose grown boxes overlap
    within the motion gate.

    The cost is one less their overlap, and more where the heights differ.
    """
    place, variance = axes[0], axes[2]
    size = np.maximum(place[2:], LEAST_PX)
    margin = np.sqrt(variance[:2])
    margin -= (1.5 * MEASURED) * size[1]
    np.maximum(margin, _NONE, out=margin)
    margin *= GROWTH
    mine = (place, variance, _edges(place[:2], size / 2.0 + margin), margin)
    theirs = (boxes, _edges(boxes[:2], boxes[2:] / 2.0), measured_variance(boxes))
    if place.shape[1] * boxes.shape[1] <= DENSE:
        cost, fits = _cost(*(each[..., None] for each in mine), *(each[..., None, :] for each in theirs))
        track, box = fits.nonzero()
        return Pairs(track, box, cost[track, box])
    track, box = _touching(mine[2] + margin, theirs[1])
    cost, fits = _cost(*(each.take(track, axis=-1) for each in mine), *(each.take(box, axis=-1) for each in theirs))
    inside = fits.nonzero()[0]
    return Pairs(track[inside], box[inside], cost[inside])


def _edges(centre: Floats, reach: Floats) -> Floats:
    """(2, 2, N) right and bottom, then left and top negated: so the lesser of two of each bounds what two boxes share.

    centre, reach: (2, N) x and y.
    """
    edges = np.empty((2, *centre.shape))
    np.add(centre, reach, out=edges[0])
    np.subtract(reach, centre, out=edges[1])
    return edges


def _cost(
    place: Floats, variance: Floats, edges: Floats, margin: Floats, boxes: Floats, their_edges: Floats, noise: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Cost of tracks with boxes, and where they are possible; any shapes that broadcast but for the first axes.

    place, variance: of each track, (4, ...); edges: as ``_edges`` gives them, (2, 2, ...), after it grew by margin,
    (2, ...). boxes: centred, (4, ...); their_edges: before they grow, (2, 2, ...); noise: (...).
    """
    off = boxes - place
    off *= off
    off /= variance + noise
    their_edges = their_edges + margin
    inner = np.minimum(edges, their_edges)
    sides, their_sides, common = edges[0] + edges[1], their_edges[0] + their_edges[1], inner[0] + inner[1]
    np.maximum(common, _NONE, out=common)
    shared = common[0] * common[1]
    union = sides[0] * sides[1] + their_sides[0] * their_sides[1]
    union -= shared
    ratio = np.maximum(place[3], LEAST_PX) / boxes[3]
    alike = np.minimum(ratio, 1.0 / ratio)
    alike *= HEIGHT_WEIGHT
    cost = (1.0 + HEIGHT_WEIGHT) - shared / union
    cost -= alike
    return cost, (off.sum(axis=0) < CHI_SQUARE_GATE) & (shared > 0.0)


def with_looks(
    pairs: Pairs, state: State, looks: NDArray[np.float32], known: NDArray[np.bool_], thresholds: Thresholds
) -> Pairs:
    """The pairs with -LOOKS_WEIGHT for the same look to LOOKS_WEIGHT for twice the gate, 0 where a look is unknown.

    looks: (M, D) rows of unit length; known: (M,).
    """
    both = np.flatnonzero((state.embedded_at >= 0)[pairs.track] & known[pairs.box])
    mine, theirs = state.looks[pairs.track[both]], looks[pairs.box[both]]
    cosine = np.einsum("ed,ed->e", mine.astype(np.float64), theirs.astype(np.float64))
    cost = pairs.cost.copy()
    gate = usual_gate(state.model, thresholds.appearance_gate)
    cost[both] += LOOKS_WEIGHT * (np.clip((1.0 - cosine) / gate, 0.0, 2.0) - 1.0)
    return replace(pairs, cost=cost)


def pair(state: State, at: int, pairs: Pairs, scores: Floats, thresholds: Thresholds) -> NDArray[np.int64]:
    """The row of ``state`` that each box of a frame at event time ``at`` belongs to, (M,), -1 for none.

    Whoever was last seen more than ``lost_after_s`` ago gets nothing: by then the motion gate is wide enough for any
    stranger in the picture. First confident boxes with tracks, lost ones too; then doubtful boxes with tracks seen
    until now whose mean score is still high, so that clutter is not followed for ever; then the confident boxes left
    over with candidates.
    """
    owner = np.full(len(scores), -1, dtype=np.int64)
    free = at - state.seen_at <= thresholds.lost_after_s * 1e6
    high = scores >= thresholds.high_score
    track = state.confirmed & free
    _stage(pairs, track, high, FIRST_GATE, owner)
    if np.count_nonzero(high) < len(high):
        current = track & (state.seen_at == state.at) & (state.trust >= thresholds.high_score)
        current[owner[owner >= 0]] = False
        _stage(pairs, current, ~high & (scores >= thresholds.low_score), SECOND_GATE, owner)
    if np.count_nonzero(state.confirmed) < len(state.confirmed):
        _stage(pairs, free & ~state.confirmed, high & (owner < 0), CANDIDATE_GATE, owner)
    return owner


def newcomers(boxes_px: Floats, scores: Floats, owner: NDArray[np.int64], thresholds: Thresholds) -> Indices:
    """Boxes that begin a candidate: confident, nobody's, and no second box around somebody already found."""
    rows = ((owner < 0) & (scores >= thresholds.high_score + START_MARGIN)).nonzero()[0]
    if not len(rows):
        return rows
    taken = (owner >= 0).nonzero()[0]
    if not len(taken):
        return rows
    alone: NDArray[np.bool_] = geometry.iou(boxes_px[rows], boxes_px[taken]).max(axis=1) < DUPLICATE
    return rows[alone]


def _stage(
    pairs: Pairs, tracks: NDArray[np.bool_], boxes: NDArray[np.bool_], gate: float, owner: NDArray[np.int64]
) -> None:
    """Pair some of the tracks with some of the boxes and write into ``owner`` who got which."""
    here = (tracks[pairs.track] & boxes[pairs.box] & (pairs.cost < gate)).nonzero()[0]
    if len(here):
        row, column = assign_pairs(pairs.track[here], pairs.box[here], pairs.cost[here], gate)
        owner[column] = row


def _touching(edges: Floats, their_edges: Floats) -> tuple[Indices, Indices]:
    """Which of N tracks and M boxes overlap, ordered by track, then box; edges as ``_edges`` gives them.

    Boxes are sorted by their left edge, so that each track is held only against those that begin within its reach.
    """
    lefts = -their_edges[1, 0]
    order = np.argsort(lefts, kind="stable")
    left = lefts[order]
    widest = (their_edges[0, 0] + their_edges[1, 0]).max()
    first, last = left.searchsorted(-edges[1, 0] - widest), left.searchsorted(edges[0, 0])
    count = np.maximum(last - first, 0)
    track = np.repeat(np.arange(len(count)), count)
    start = np.repeat(first + count - np.cumsum(count), count)
    box = order[start + np.arange(len(track))]
    inner = np.minimum(edges.take(track, axis=-1), their_edges.take(box, axis=-1))
    touch = ((inner[0] + inner[1]) > 0.0).all(axis=0)
    number = track[touch] * len(order) + box[touch]
    number.sort()
    row, column = np.divmod(number, len(order))
    return row, column
