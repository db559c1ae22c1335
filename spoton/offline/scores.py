"""How good tracks are: HOTA, CLEAR and Identity of one sequence, on boxes or on the floor.

HOTA and Identity are motrics', CLEAR is in ``clear``; all three equal TrackEval. Who can be whom in a frame is decided
here, by a similarity matrix: intersection over union for boxes, and for the floor one less half the distance over the
gate, so that a pair at the gate is worth 0.5, the threshold of CLEAR and Identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import motrics
import numpy as np
from numpy.typing import NDArray

from spoton import geometry
from spoton.association import assign
from spoton.offline.clear import clear
from spoton.offline.mot_text import BoxRows, FloorRows

Floats = NDArray[np.float64]
Similarity = Callable[[Floats, Floats], Floats]

GATE_M = 1.0
"""Farthest a person on the floor may be found from where they are."""
OVERLAP = 0.5
"""Least similarity of a pair."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One sequence's scores as TrackEval defines them; rates in percent."""

    hota: float
    idf1: float
    mota: float
    id_switches: int
    det_a: float
    ass_a: float
    false_positives: int
    misses: int
    truth: int
    frames: int


def score_boxes(truth: BoxRows, found: BoxRows) -> Scores:
    """Scores of boxes at an overlap of 0.5; truth with a score of 0 is not counted, as MOTChallenge has it."""
    truth = truth.only(truth.scores > 0)
    last = _last(truth.frames, found.frames)
    sides = [_by_frame(rows.frames, rows.ids, rows.boxes_px, last) for rows in (truth, found)]
    return _score(*sides, similarity=geometry.iou)


def score_floor(truth: FloorRows, found: FloorRows, gate_m: float = GATE_M) -> Scores:
    """Scores of places on the floor, paired within ``gate_m``."""
    last = _last(truth.frames, found.frames)
    sides = [_by_frame(rows.frames, rows.ids, rows.floor_m, last) for rows in (truth, found)]
    return _score(*sides, similarity=lambda a_m, b_m: closeness(a_m, b_m, gate_m))


def closeness(a_m: Floats, b_m: Floats, gate_m: float) -> Floats:
    """(N, M) similarity of points (N, 2) and (M, 2): 1 in the same place, 0.5 at the gate, 0 at twice the gate."""
    return np.maximum(0.0, 1.0 - _distances(a_m, b_m) / (2.0 * gate_m))


def floor_errors_m(truth: FloorRows, found: FloorRows, gate_m: float = GATE_M) -> Floats:
    """How far each found person is from their truth, (K,) metres, over the least-distance pairs within the gate."""
    errors = [np.zeros(0)]
    for frame in np.intersect1d(truth.frames, found.frames):
        apart = _distances(truth.floor_m[truth.frames == frame], found.floor_m[found.frames == frame])
        rows, columns = assign(apart, np.nextafter(gate_m, np.inf))
        errors.append(apart[rows, columns])
    return np.concatenate(errors)


def _distances(a_m: Floats, b_m: Floats) -> Floats:
    apart: Floats = np.linalg.norm(a_m[:, None] - b_m[None], axis=2)
    return apart


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Truth or output by frame: ids[t] and places[t] are those of frame t + 1."""

    ids: list[list[int]]
    places: list[Floats]


def _last(*frames: NDArray[np.int64]) -> int:
    return max(int(numbers.max(initial=0)) for numbers in frames)


def _by_frame(frames: NDArray[np.int64], ids: NDArray[np.int64], places: Floats, last: int) -> _Side:
    order = np.argsort(frames, kind="stable")
    ends = np.searchsorted(frames[order], np.arange(1, last + 2))
    rows = [order[ends[t] : ends[t + 1]] for t in range(last)]
    return _Side([ids[k].tolist() for k in rows], [places[k] for k in rows])


def _score(truth: _Side, found: _Side, *, similarity: Similarity) -> Scores:
    matrices = [similarity(a, b) for a, b in zip(truth.places, found.places, strict=True)]
    given = (truth.ids, found.ids, [matrix.tolist() for matrix in matrices])
    counts = clear(truth.ids, found.ids, matrices, OVERLAP)
    identity = motrics.compute_identity_from_similarity(*given, OVERLAP)
    hota = motrics.compute_hota_from_similarity(*given)
    return Scores(
        hota=100 * hota.hota,
        idf1=100 * identity.idf1,
        mota=100 * counts.mota,
        id_switches=counts.id_switches,
        det_a=100 * hota.deta,
        ass_a=100 * hota.assa,
        false_positives=counts.false_positives,
        misses=counts.misses,
        truth=counts.matches + counts.misses,
        frames=len(matrices),
    )
