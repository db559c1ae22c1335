"""Has a camera been moved? How it disagrees with the other cameras now, beside how it did when it was calibrated.

For each camera it is kept by how much, and in which direction, its sightings fall from the nearest person whom other
cameras see, among those within ``REACH_M``: nobody needs to be recognised for that, and whoever is near by chance is
so on all sides. A camera that is turned, knocked or zoomed puts everyone to one side of where it put them before. What
is usual is learnt in the first minutes after a calibration; a camera whose mean has moved from there by ``LEAST_M``,
and surely, has drifted, and counts no longer as one of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.crowd import Crowd
from spoton.sightings import Sightings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REACH_M = 2.0
EVERY_S = 1.0
"""How often it is looked: errors of one person in one camera are much the same for as long."""
MEMORY_S = 60.0
"""What was seen counts for 1/e after this time as what is now."""
LEARN_S = 120.0
"""How long a camera is watched beside others, at least, to learn what is usual for it."""
LEAST_COUNT = 150.0
"""How many sightings that takes, at least."""
LEAST_M = 0.2
SURE = 4.0
"""A camera has drifted whose mean moved by ``LEAST_M`` beyond this many standard errors."""

_ENOUGH_NOW = 30.0
_ALIKE = 3.0
"""So many sightings tell as much as one: of one person after the other, and of several at once."""
_LESS = 0.5
"""Part of ``LEAST_M`` below which it is over."""


class Drift(msgspec.Struct, frozen=True):
    """What is usual and what is now, of C cameras.

    usual, now: (C, 4) sums of the distances in x and y (m), of their squares (m^2), and how many; ``now`` of the last
    minute. watched_s: (C,) for how long what is usual has been learnt. drifted: (C,). due_s: until the next look.
    calibrated: of each camera, what its calibration was then.
    """

    usual: Floats
    now: Floats
    watched_s: Floats
    drifted: Bools
    calibrated: tuple[str, ...]
    due_s: float = 0.0


def none_known(calibrated: Sequence[str]) -> Drift:
    """Nothing seen yet of so many cameras. calibrated: a text for each that changes with its calibration."""
    count = len(calibrated)
    none = np.zeros((count, 4))
    return Drift(none, none, np.zeros(count), np.zeros(count, dtype=np.bool_), tuple(calibrated))


def watched(drift: Drift, raw: Sightings, crowd: Crowd, owner: Ints, dt_s: float) -> Drift:
    """The drift after a tick. raw: sightings as they are; owner: (M,) the row in ``crowd`` of each one's person."""
    due_s = drift.due_s - dt_s
    if due_s > 0:
        return msgspec.structs.replace(drift, due_s=due_s)
    seen = _seen(drift, raw, crowd, owner)
    learning = ~_learnt(drift)
    usual = drift.usual + seen * learning[:, None]
    watched_s = drift.watched_s + np.where(learning & (seen[:, 3] > 0), EVERY_S, 0.0)
    now = np.exp(-EVERY_S / MEMORY_S) * drift.now + seen
    after = msgspec.structs.replace(drift, usual=usual, now=now, watched_s=watched_s, due_s=EVERY_S)
    return msgspec.structs.replace(after, drifted=_judged(after))


def moved_m(drift: Drift) -> tuple[Floats, Floats]:
    """How far each camera's places moved since it was calibrated, (C,) m, and the standard error; nan: not known."""
    usual, usual_error = _means(drift.usual)
    now, now_error = _means(drift.now)
    known = _learnt(drift) & (drift.now[:, 3] >= _ENOUGH_NOW)
    moved = np.linalg.norm(now - usual, axis=1)
    return np.where(known, moved, np.nan), np.where(known, np.hypot(usual_error, now_error), np.nan)


def _means(sums: Floats) -> tuple[Floats, Floats]:
    count = np.maximum(sums[:, 3], 1.0)
    mean = sums[:, :2] / count[:, None]
    variance = np.maximum(sums[:, 2] / count - (mean**2).sum(axis=1), 0.0) / 2.0
    return mean, np.sqrt(variance * _ALIKE / count)


def _learnt(drift: Drift) -> Bools:
    return (drift.watched_s >= LEARN_S) & (drift.usual[:, 3] >= LEAST_COUNT)


def _seen(drift: Drift, raw: Sightings, crowd: Crowd, owner: Ints) -> Floats:
    """The sums of this tick alone, (C, 4)."""
    sums = np.zeros_like(drift.now)
    taken = owner >= 0
    seen = np.zeros((len(crowd), len(sums)), dtype=np.bool_)
    seen[owner[taken], raw.camera[taken]] = True
    seen[:, drift.drifted] = False
    by = seen.sum(axis=1)
    for camera in np.unique(raw.camera[raw.firm]).tolist():
        others = np.flatnonzero(by > seen[:, camera])
        mine = np.flatnonzero(raw.firm & (raw.camera == camera))
        if not len(others):
            continue
        there = crowd.mean[others, :2] + crowd.mean[others, 2:4] * float(np.median(raw.dt_s[mine]))
        apart = raw.place_m[mine, None, :2] - there
        square = (apart**2).sum(axis=2)
        nearest = square.argmin(axis=1)
        rows = np.flatnonzero(square[np.arange(len(mine)), nearest] < REACH_M**2)
        off = apart[rows, nearest[rows]]
        sums[camera] = (*off.sum(axis=0), (off**2).sum(), len(rows))
    return sums


def _judged(drift: Drift) -> Bools:
    """Which cameras have drifted. Of those newly off only the farthest: others may seem off because of it."""
    moved, error = moved_m(drift)
    over = np.where(np.isnan(moved), -np.inf, moved - LEAST_M - SURE * error)
    drifted = drift.drifted & ~(moved < _LESS * LEAST_M + error)
    fresh = np.where(drift.drifted, -np.inf, over)
    if fresh.size and fresh.max() > 0:
        drifted[int(fresh.argmax())] = True
    return drifted


def of_cameras(drift: Drift, before: Sequence[str], after: Sequence[str], calibrated: Sequence[str]) -> Drift:
    """The drift for another set of cameras; one that was calibrated anew is new."""
    fresh = none_known(calibrated)
    for column, name in enumerate(after):
        if name in before and drift.calibrated[before.index(name)] == calibrated[column]:
            for field in ("usual", "now", "watched_s", "drifted"):
                getattr(fresh, field)[column] = getattr(drift, field)[before.index(name)]
    return fresh
