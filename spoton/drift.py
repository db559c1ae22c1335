"""Has a camera been moved? How it disagrees with the other cameras now, beside how it did when it was calibrated.

For each camera its sightings are held against the nearest person as all others see them, among those within
``REACH_M``: nobody needs to be recognised for that, and whoever is near by chance is so on all sides. A camera that is
turned puts everyone aside in proportion to their distance, or nearer and farther in proportion to its square; so its
turn to the side and down is estimated from them all (a camera whose place is not known: a shift), each weighted by how
surely it tells, with Huber's weights. What is usual is learnt in the first minutes after a calibration; a camera whose
estimate has moved from there, by ``LEAST_M`` where people are and surely, has drifted, and counts no longer as one of
the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.crowd import Crowd
from spoton.sightings import Sightings, SiteView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REACH_M = 2.0
EVERY_S = 1.0
"""How often it is looked: errors of one person in one camera are much the same for as long."""
MEMORY_S = 30.0
"""What was seen counts for 1/e after this time as what is now."""
LEARN_S = 120.0
"""How long a camera is watched beside others, at least, to learn what is usual for it."""
LEAST_COUNT = 150.0
"""How many sightings that takes, at least."""
LEAST_M = 0.08
"""How far people's places must have moved, root mean square."""
SURE = 3.0
"""A camera has drifted whose estimate moved by ``LEAST_M`` and this many standard errors."""

_ENOUGH_NOW = 30.0
_ALIKE = 3.0
"""So many sightings tell as much as one: of one person after the other, and of several at once."""
_LESS = 0.5
"""Part of ``LEAST_M`` below which it is over."""
_HUBER = 1.5
_WIDE = 1e-6
_COUNT, _SUMS = 7, 11


class Drift(msgspec.Struct, frozen=True):
    """What is usual and what is now, of C cameras.

    usual, now: (C, 11) sums over sightings: of the information on the turn to the side and down (4), its pull (2), of
    squared distances by their covariance, of how many, and of how a turn moves people's places (3); ``now`` of the last
    half minute. watched_s: (C,) for how long what is usual has been learnt. drifted: (C,). due_s: until the next look.
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
    none = np.zeros((count, _SUMS))
    return Drift(none, none, np.zeros(count), np.zeros(count, dtype=np.bool_), tuple(calibrated))


def watched(
    drift: Drift, raw: Sightings, sightings: Sightings, crowd: Crowd, owner: Ints, dt_s: float, view: SiteView
) -> Drift:
    """The drift after a tick.

    raw, sightings: before and after what cameras are off by was taken out; owner: (M,) the row in ``crowd`` of each
    one's person, -1 for none.
    """
    due_s = drift.due_s - dt_s
    if due_s > 0:
        return msgspec.structs.replace(drift, due_s=due_s)
    seen = _seen(drift, raw, sightings, crowd, owner, view)
    learning = ~_learnt(drift)
    usual = drift.usual + seen * learning[:, None]
    watched_s = drift.watched_s + np.where(learning & (seen[:, _COUNT] > 0), EVERY_S, 0.0)
    # Where nobody is seen, what is now stays what it was.
    kept = np.where(seen[:, _COUNT] > 0, np.exp(-EVERY_S / MEMORY_S), 1.0)
    now = kept[:, None] * drift.now + seen
    after = msgspec.structs.replace(drift, usual=usual, now=now, watched_s=watched_s, due_s=EVERY_S)
    drifted = _judged(after)
    if (drifted & ~drift.drifted).any():
        # The others were held against it so far.
        after = msgspec.structs.replace(after, now=np.where(drifted[:, None], now, 0.0))
    return msgspec.structs.replace(after, drifted=drifted)


def moved_m(drift: Drift) -> tuple[Floats, Floats]:
    """How far each camera's places moved since it was calibrated, (C,) m, and the standard error; nan: not known."""
    usual, usual_cov = _turns(drift.usual)
    now, now_cov = _turns(drift.now)
    known = _learnt(drift) & (drift.now[:, _COUNT] >= _ENOUGH_NOW)
    turn = now - usual
    count = np.maximum(drift.now[:, _COUNT], 1.0)
    moves = drift.now[:, [8, 9, 9, 10]].reshape(-1, 2, 2) / count[:, None, None]
    moved = np.sqrt(np.maximum(np.einsum("ci,cij,cj->c", turn, moves, turn), 0.0))
    sure = np.linalg.inv(usual_cov + now_cov)
    errors = np.sqrt(np.maximum(np.einsum("ci,cij,cj->c", turn, sure, turn), 1e-12))
    return np.where(known, moved, np.nan), np.where(known, moved / errors, np.nan)


def _turns(sums: Floats) -> tuple[Floats, Floats]:
    """The estimate (C, 2) and its covariance (C, 2, 2), as wide as the sightings are spread."""
    informed = sums[:, :4].reshape(-1, 2, 2) + np.eye(2) * _WIDE
    spread = np.linalg.inv(informed)
    turn = np.einsum("cij,cj->ci", spread, sums[:, 4:6])
    rest = sums[:, 6] - np.einsum("ci,ci->c", turn, sums[:, 4:6])
    scale = np.maximum(rest / np.maximum(2.0 * sums[:, _COUNT], 1.0), 1.0)
    return turn, spread * (_ALIKE * scale)[:, None, None]


def _learnt(drift: Drift) -> Bools:
    return (drift.watched_s >= LEARN_S) & (drift.usual[:, _COUNT] >= LEAST_COUNT)


def _seen(
    drift: Drift, raw: Sightings, sightings: Sightings, crowd: Crowd, owner: Ints, view: SiteView
) -> Floats:
    """The sums of this tick alone, (C, 11)."""
    sums = np.zeros_like(drift.now)
    taken = np.flatnonzero((owner >= 0) & ~drift.drifted[raw.camera])
    who, where = owner[taken], raw.camera[taken]
    here = sightings.place_m[taken, :2] - crowd.mean[who, 2:4] * sightings.dt_s[taken, None]
    informed = np.zeros((len(crowd), len(sums), 2, 2))
    informed[who, where] = np.linalg.inv(sightings.cov_m2[taken, :2, :2])
    drawn = np.zeros((len(crowd), len(sums), 2))
    drawn[who, where] = np.einsum("kij,kj->ki", informed[who, where], here)
    every, every_drawn = informed.sum(axis=1), drawn.sum(axis=1)
    for camera in np.unique(raw.camera[raw.firm]).tolist():
        rest = every - informed[:, camera]
        others = np.flatnonzero(np.linalg.det(rest) > 0.0)
        mine = np.flatnonzero(raw.firm & (raw.camera == camera))
        if not len(others):
            continue
        cov = np.linalg.inv(rest[others])
        there = np.einsum("nij,nj->ni", cov, every_drawn[others] - drawn[others, camera])
        there = there + crowd.mean[others, 2:4] * float(np.median(raw.dt_s[mine]))
        apart = raw.place_m[mine, None, :2] - there
        square = (apart**2).sum(axis=2)
        nearest = square.argmin(axis=1)
        rows = np.flatnonzero(square[np.arange(len(mine)), nearest] < REACH_M**2)
        if not len(rows):
            continue
        off, to = apart[rows, nearest[rows]], nearest[rows]
        sure = np.linalg.inv(raw.cov_m2[mine[rows], :2, :2] + cov[to])
        slope = _slope(there[to], view.floors[view.cameras[camera]].position_m)
        far = np.sqrt(np.einsum("ki,kij,kj->k", off, sure, off))
        sure *= np.minimum(1.0, _HUBER / np.maximum(far, 1e-9))[:, None, None]
        pulled = slope.transpose(0, 2, 1) @ sure
        moves = np.einsum("kip,kiq->pq", slope, slope)
        sums[camera] = (
            *(pulled @ slope).sum(axis=0).ravel(), *np.einsum("kpi,ki->p", pulled, off),
            float(np.einsum("ki,kij,kj->", off, sure, off)), len(rows), moves[0, 0], moves[0, 1], moves[1, 1],
        )  # fmt: skip
    return sums


def _slope(place_m: Floats, eye_m: tuple[float, float, float] | None) -> Floats:
    """How places (K, 2) move with a turn of their camera at ``eye_m`` to the side and down, m/rad; without: a shift."""
    if eye_m is None:
        return np.broadcast_to(np.eye(2), (len(place_m), 2, 2))
    along = place_m - np.array(eye_m[:2])
    far = np.maximum(np.linalg.norm(along, axis=1), 1e-3)
    away = along * ((far**2 + eye_m[2] ** 2) / (eye_m[2] * far))[:, None]
    return np.stack([np.column_stack([-along[:, 1], along[:, 0]]), away], axis=2)


def _judged(drift: Drift) -> Bools:
    """Which cameras have drifted. Of those newly off only the farthest: others may seem off because of it."""
    moved, error = moved_m(drift)
    over = np.where(np.isnan(moved), -np.inf, np.minimum(moved / LEAST_M, moved / error / SURE) - 1.0)
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
