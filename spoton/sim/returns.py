"""Whether somebody who left all views and came back is the same person again, and where identities are lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spoton.association import assign
from spoton.offline.mot_text import FloorRows
from spoton.offline.scores import GATE_M

Ints = NDArray[np.int64]

AWAY_S = 2.0
"""Who is in no picture, not even in part, for this long has left all views."""
STAY_S = 1.0
"""A visit with less than this in full view does not count: there was hardly anything to tell the person by."""


@dataclass(frozen=True, slots=True)
class Returns:
    """returns: how often someone left all views and came back, each visit before and after long enough. same: how often
    with the id from before. unmatched: returns where one of the two visits had no id at all; they are not ``same``.
    switches_on_return, switches_in_view: changes of id across such an absence, and without one.
    """

    returns: int
    same: int
    unmatched: int
    switches_on_return: int
    switches_in_view: int

    @property
    def rank1(self) -> float | None:
        """Share of returns with the same id; None when there were none."""
        return self.same / self.returns if self.returns else None


def returns(glimpsed: FloorRows, truth: FloorRows, found: FloorRows, fps: float) -> Returns:
    """Count what became of everyone's identity.

    glimpsed: true people of whom any part is in a picture; truth: those to be found; found: who was found. A person's
    id during a visit is the one that they had for most of its frames.
    """
    ids = _matched(truth, found)
    count = same = unmatched = on_return = in_view = 0
    for person in np.unique(glimpsed.ids):
        frames = np.sort(glimpsed.frames[glimpsed.ids == person])
        starts = frames[np.r_[True, np.diff(frames) > AWAY_S * fps]]
        in_full = np.sort(truth.frames[truth.ids == person])
        visit = np.searchsorted(starts, in_full, "right")
        given = [(int(v), ids.get((int(person), int(frame)))) for v, frame in zip(visit, in_full, strict=True)]
        known = [(v, one) for v, one in given if one is not None]
        for (before, one), (after, other) in pairwise(known):
            on_return += one != other and before != after
            in_view += one != other and before == after
        long = [v for v, frames_of in Counter(v for v, _ in given).items() if frames_of >= STAY_S * fps]
        mostly = {v: _most(one for w, one in known if w == v) for v in long}
        for before, after in pairwise(sorted(long)):
            count += 1
            unmatched += mostly[before] is None or mostly[after] is None
            same += mostly[before] is not None and mostly[before] == mostly[after]
    return Returns(count, same, unmatched, on_return, in_view)


def _most(ids: object) -> int | None:
    counted = Counter(ids)  # type: ignore[call-overload]
    return int(counted.most_common(1)[0][0]) if counted else None


def _matched(truth: FloorRows, found: FloorRows) -> dict[tuple[int, int], int]:
    """Found id by true person and frame, least distance in all within the gate."""
    last = int(max(truth.frames.max(initial=0), found.frames.max(initial=0)))
    by_truth, by_found = _by_frame(truth.frames, last), _by_frame(found.frames, last)
    ids: dict[tuple[int, int], int] = {}
    for frame, (a, b) in enumerate(zip(by_truth, by_found, strict=True), start=1):
        apart = np.linalg.norm(truth.floor_m[a][:, None] - found.floor_m[b][None], axis=2)
        rows, columns = assign(apart, np.nextafter(GATE_M, np.inf))
        for row, column in zip(a[rows].tolist(), b[columns].tolist(), strict=True):
            ids[int(truth.ids[row]), frame] = int(found.ids[column])
    return ids


def _by_frame(frames: Ints, last: int) -> list[Ints]:
    order = np.argsort(frames, kind="stable")
    ends = np.searchsorted(frames[order], np.arange(1, last + 2))
    return [order[ends[k] : ends[k + 1]] for k in range(last)]
