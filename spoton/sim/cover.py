"""How much of each box can be seen: what nearer boxes cover and what lies outside the picture is taken away.

Visibility as MOT16 counts it (Milan et al., arXiv:1603.00831): shares of boxes, not of silhouettes. Counted on an
8 by 8 grid of points in each box, whose 64 bits are one integer: thousands of boxes cost a few array operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

_SIDE = 8
_SPREAD: Words = np.array(
    [sum(1 << (_SIDE * row) for row in range(_SIDE) if mask >> row & 1) for mask in range(1 << _SIDE)], dtype=np.uint64
)
"""By a mask of rows: the first bit of each of these rows. Times a mask of columns: all bits where both are set."""
FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


def bits(boxes: Floats, over: Floats) -> Words:
    """(K,) which points of each box's grid lie in the box beside it in ``over``; both (K, 4) x0, y0, x1, y1."""
    low, size = boxes[:, :2], np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-9)
    first = np.clip(np.ceil((over[:, :2] - low) / size * _SIDE - 0.5), 0, _SIDE).astype(np.int64)
    end = np.clip(np.ceil((over[:, 2:] - low) / size * _SIDE - 0.5), 0, _SIDE).astype(np.int64)
    mask = np.where(end > first, (1 << np.maximum(end, first)) - (1 << first), 0)
    return np.asarray(_SPREAD[mask[:, 1]] * mask[:, 0].astype(np.uint64))


def visible(boxes: Floats, order: Ints, seen: Words, group: Ints) -> Floats:
    """(K,) share of each box that can be seen, 0 to 1 in steps of 1/64.

    boxes: (K, 4) x0, y0, x1, y1, whole, wherever they lie. order: (K,) ranks, the nearest first. seen: (K,) bits of the
    part that no wall and no picture's edge takes away. group: (K,) ascending; only boxes of one group (a camera, a
    frame) hide each other.
    """
    if not len(boxes):
        return np.zeros(0)
    far, near = _overlapping(boxes, order, group)
    covered = np.zeros(len(boxes), dtype=np.uint64)
    if len(far):
        starts = np.flatnonzero(np.r_[True, np.diff(far) > 0])
        covered[far[starts]] = np.bitwise_or.reduceat(bits(boxes[far], boxes[near]), starts)
    return np.asarray(np.bitwise_count(seen & ~covered) / 64.0)


def _overlapping(boxes: Floats, order: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Pairs (far, near) of overlapping boxes of one group, sorted by the farther one."""
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    far, near = [], []
    for begin, end in zip(starts, np.r_[starts[1:], len(group)], strict=True):
        x0, y0, x1, y1 = boxes[begin:end].T
        rank = order[begin:end]
        both = rank[:, None] > rank
        both &= (x0[:, None] < x1) & (x0 < x1[:, None])
        both &= (y0[:, None] < y1) & (y0 < y1[:, None])
        a, b = np.nonzero(both)
        far.append(a + begin)
        near.append(b + begin)
    return np.concatenate(far), np.concatenate(near)
