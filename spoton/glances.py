"""How well a box shows a person, and whether a new look at them is worth its price.

A look costs as much as many detections, and one taken of half a person, or of two, harms more than none. So a look is
taken of a new track, of a known one again when the view has become much better, and every so often; and only where
the view is good enough. Everything here is told by the boxes alone, so that a replay tells the same; what pixels have
to be asked for (``spoton.vision.sharpness``) comes after.

The bounds were found on the training half of Market-1501 (Zheng et al. 2015) with OSNet x0.25, 350 people, by spoiling
the picture asked with and searching among whole ones; what rank-1 is left of 0.49 stands beside each.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_HEIGHT_PX = 32.0
"""Of a box: 0.42 at 32 px, 0.30 at 24, 0.13 at 16; from 64 on more pixels add nothing."""
MOST_COVERED = 0.4
"""Share of a box that nearer people hide: 0.45 at 0.3 from one side and 0.36 from below, 0.38 and 0.23 at 0.4, 0.19 and
0.11 at 0.5."""
SHAPE = (0.2, 0.6)
"""Width over height between which a box at the picture's border still shows most of somebody. One who stands measures
about 0.4, so 0.6 is two thirds of a height (0.35 with a third cut off, 0.18 with half), and 0.2 half of a width."""
BETTER = 1.3
"""So much better than the view that the last look was taken of, another look is worth taking at once."""
_BORDER_PX = 2.0
_NEARER = 0.05
"""Feet lower by this share of a height: nearer to the camera for certain; within it either may be."""
_FULL_HEIGHT_PX = 256.0
_ACROSS, _DOWN = 8, 12


class Verdict(IntEnum):
    """What becomes of one box of a frame. DOUBTFUL: too low a score to say anything about a person."""

    TAKEN = 0
    DOUBTFUL = 1
    KNOWN = 2
    SMALL = 3
    COVERED = 4
    CUT = 5
    BLURRED = 6


def view(boxes_px: Floats, size_px: tuple[int, int], rows: NDArray[np.intp], hides: Bools) -> Floats:
    """How much the boxes in ``rows`` (M,) show of a person, (M,): pixels of height that are open to see.

    boxes_px: (N, 4) left, top, width, height; hides: as in ``covered``. More than 256 px count as 256, beyond which
    embedders see no more.
    """
    asked = boxes_px[rows]
    return _shown(asked, covered(boxes_px, rows, hides), cut(asked, size_px))


def _shown(boxes_px: Floats, hidden: Floats, outside: Bools) -> Floats:
    height: Floats = np.minimum(boxes_px[:, 3], _FULL_HEIGHT_PX)
    return height * (1.0 - hidden) * np.where(outside, 0.5, 1.0)


def cut(boxes_px: Floats, size_px: tuple[int, int]) -> Bools:
    """Boxes (N, 4) that end at the picture's border and whose shape says that a large part of somebody is outside."""
    left, top, wide, tall = boxes_px.T
    shape = wide / np.maximum(tall, 1e-9)
    beside = (left <= _BORDER_PX) | (left + wide >= size_px[0] - _BORDER_PX)
    above = (top <= _BORDER_PX) | (top + tall >= size_px[1] - _BORDER_PX)
    outside: Bools = (beside & (shape < SHAPE[0])) | (above & (shape > SHAPE[1]))
    return outside


def covered(boxes_px: Floats, rows: NDArray[np.intp], hides: Bools) -> Floats:
    """Share in [0, 1] of the boxes in ``rows`` (M,) that boxes nearer to the camera hide together, (M,).

    Nearer is whoever stands lower in the picture. hides: (N,) which boxes are somebody: a detector that is asked for
    doubtful boxes too draws several around one person. Measured at 96 points of each box that something overlaps.
    """
    hidden = np.zeros(len(rows))
    if len(boxes_px) < 2 or not len(rows):
        return hidden
    near, far = boxes_px[:, :2], boxes_px[:, :2] + boxes_px[:, 2:]
    mine = boxes_px[rows]
    overlaps = ((near[rows, None] < far) & (far[rows, None] > near)).all(axis=2)
    overlaps &= far[:, 1] >= (far[rows, 1] - _NEARER * mine[:, 3])[:, None]
    overlaps[np.arange(len(rows)), rows] = False
    overlaps &= hides
    box, other = overlaps.nonzero()
    if not len(box):
        return hidden
    x = mine[box, 0, None] + mine[box, 2, None] * ((np.arange(_ACROSS) + 0.5) / _ACROSS)
    y = mine[box, 1, None] + mine[box, 3, None] * ((np.arange(_DOWN) + 0.5) / _DOWN)
    inside_x = (x > near[other, 0, None]) & (x < far[other, 0, None])
    inside_y = (y > near[other, 1, None]) & (y < far[other, 1, None])
    points = np.zeros((len(rows), _DOWN, _ACROSS), dtype=np.bool_)
    np.logical_or.at(points, box, inside_y[:, :, None] & inside_x[:, None, :])
    hidden[:] = points.mean(axis=(1, 2))
    return hidden


def judge(
    boxes_px: Floats,
    scores: Floats,
    size_px: tuple[int, int],
    *,
    least_score: float,
    followed: Bools,
    known: Bools,
    seen_well: Floats,
) -> NDArray[np.int8]:
    """The ``Verdict`` on each box, (N,).

    followed: (N,) boxes of somebody who is followed already; they hide others whatever their score. known: (N,) boxes
    of somebody whose last look is fresh; seen_well: (N,) ``view`` that it was taken of.
    """
    verdict = np.full(len(scores), Verdict.DOUBTFUL, dtype=np.int8)
    rows = np.flatnonzero(scores >= least_score)
    if not len(rows):
        return verdict
    boxes = boxes_px[rows]
    hidden = covered(boxes_px, rows, followed | (scores >= least_score))
    outside = cut(boxes, size_px)
    shown = _shown(boxes, hidden, outside)
    reasons = [
        (known[rows] & (shown < BETTER * seen_well[rows]), Verdict.KNOWN),
        (boxes[:, 3] < LEAST_HEIGHT_PX, Verdict.SMALL),
        (hidden >= MOST_COVERED, Verdict.COVERED),
        (outside, Verdict.CUT),
    ]
    verdict[rows] = np.select([where for where, _ in reasons], [why for _, why in reasons], Verdict.TAKEN)
    return verdict
