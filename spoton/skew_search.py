"""Clocks that are off by so much that nobody is recognised across cameras: found by trying.

A camera whose clock is a second late shows people where they were, farther off than two views of one person may be, so
that what ``spoton.skew`` learns from, people seen by several cameras, is not there. For each camera and each of a few
skews it is therefore kept how far its sightings fall from the nearest person of the other cameras, moved along that
person's velocity by the skew, up to a bound: nobody needs to be recognised for that.
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

TRIED_S = np.linspace(-1.0, 1.0, 11)
EVERY_S = 1.0
"""How often it is tried: errors of one person in one camera are much the same for as long."""
MEMORY_S = 60.0

_BOUND_M = 1.0
_MOST_SIGHTINGS = 256
_LEAST_SPEED = 0.3
_LEAST_COUNT = 100.0
_BETTER = 0.2
"""Part of the cost that a skew must take away to be believed."""
_ZERO = len(TRIED_S) // 2


class Trials(msgspec.Struct, frozen=True):
    """cost: (C, 11) mean squared distances so far, m^2 times count; count: (C,) sightings; due_s: to the next trial."""

    cost: Floats
    count: Floats
    due_s: float = 0.0


def none_tried(cameras: int) -> Trials:
    """Nothing tried yet of that many cameras."""
    return Trials(np.zeros((cameras, len(TRIED_S))), np.zeros(cameras))


def tried(trials: Trials, sightings: Sightings, crowd: Crowd, owner: Ints, dt_s: float) -> Trials:
    """The trials after a tick; owner: (M,) the row in ``crowd`` of each sighting's person, -1 for none."""
    due_s = trials.due_s - dt_s
    if due_s > 0:
        return msgspec.structs.replace(trials, due_s=due_s)
    kept = np.exp(-EVERY_S / MEMORY_S)
    cost, count = kept * trials.cost, kept * trials.count
    cameras = len(count)
    rows = np.flatnonzero(sightings.firm)
    rows = rows[:: max(1, -(-len(rows) // _MOST_SIGHTINGS))]
    taken = owner >= 0
    seen = np.zeros((len(crowd), cameras), dtype=np.bool_)
    seen[owner[taken], sightings.camera[taken]] = True
    walking = np.hypot(crowd.mean[:, 2], crowd.mean[:, 3]) > _LEAST_SPEED
    others = seen.any(axis=1) & walking
    for camera in np.unique(sightings.camera[rows]).tolist():
        # Whom this camera alone sees may be the ghost of somebody.
        people = np.flatnonzero(others & (seen.sum(axis=1) > seen[:, camera]))
        mine = rows[sightings.camera[rows] == camera]
        if not len(people):
            continue
        speed = crowd.mean[people, 2:4]
        late = crowd.mean[people, :2] + speed * float(np.median(sightings.dt_s[mine]))
        moved = late[:, None, :] - speed[:, None, :] * TRIED_S[None, :, None]
        away = sightings.place_m[mine, None, None, :2] - moved[None]
        nearest = np.minimum((away**2).sum(axis=3).min(axis=1), _BOUND_M**2)
        # Who is near nobody at any skew is somebody whom the others do not see.
        near = nearest.min(axis=1) < _BOUND_M**2
        cost[camera] += nearest[near].sum(axis=0)
        count[camera] += near.sum()
    return Trials(cost, count, EVERY_S)


def found(trials: Trials) -> tuple[int, float] | None:
    """The camera that surely has another skew than is assumed, and that skew (s) on top; the surest when several do."""
    enough = trials.count >= _LEAST_COUNT
    mean = trials.cost / np.maximum(trials.count, 1.0)[:, None]
    best = mean.argmin(axis=1)
    gain = 1.0 - mean.min(axis=1) / np.maximum(mean[:, _ZERO], 1e-9)
    gain = np.where(enough & (np.abs(TRIED_S[best]) > 0.25), gain, 0.0)
    if not len(gain) or gain.max() < _BETTER:
        return None
    camera = int(gain.argmax())
    if (np.delete(gain, camera) > 0.5 * gain[camera]).any():
        return None  # who is off is not clear
    return camera, float(TRIED_S[best[camera]])


def of_cameras(trials: Trials, before: Sequence[str], after: Sequence[str]) -> Trials:
    """The trials for another set of cameras."""
    fresh = none_tried(len(after))
    for column, name in enumerate(after):
        if name in before:
            fresh.cost[column] = trials.cost[before.index(name)]
            fresh.count[column] = trials.count[before.index(name)]
    return fresh
