"""Clocks that are off by so much that nobody is recognised across cameras: found by trying.

A camera whose clock is a second late shows people where they were, farther off than two views of one person may be, so
that what ``spoton.skew`` learns from, people seen by several cameras, is not there. Where each camera saw somebody walk
in the last seconds is therefore kept for a while, and of each pair of cameras, for each of a few skews, how far the
sightings of the one fall from the nearest of the other so much earlier or later, up to a bound: nobody needs to be
recognised for that, and nobody needs to walk straight on. Frames that are too late for their tick count too: a clock
that is behind makes them seem so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import camera_pairs
from spoton.association import near_pairs
from spoton.camera_pairs import Pairs
from spoton.crowd import Crowd
from spoton.fusion import open_m
from spoton.sightings import Sightings
from spoton.ticks import NEVER_US

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Shorts = NDArray[np.int16]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TRIED_S = np.round(np.linspace(-1.2, 1.2, 13), 3)
SAMPLE_S = 0.19
"""How often it is kept where everybody is, at most."""
EVERY_S = 1.0
"""How often it is tried: errors of one person in one camera are much the same for as long."""
MEMORY_S = 60.0
"""What a pair of cameras showed counts for 1/e after this time in which it sees people."""

_BOUND_M = 1.0
_MOST_SIGHTINGS = 256
_LEAST_SPEED = 0.3
_VAGUE_M = 0.7
_FAR_S = 0.3
_LATE_S = 0.5
_LEAST_COUNT = 40.0
_LEAST_S = 0.3
_BETTER = 0.15
"""Part of the cost that a skew must take away to be believed."""
_SURE = 5.0
"""And how many standard deviations of it that must be."""
_COUNT = len(TRIED_S)
_ZERO = _COUNT // 2


class Trials(msgspec.Struct, frozen=True):
    """What was seen in the last seconds, K sightings, and how well each skew fits.

    begun_us: (K,) time of each one's sample; camera: (K,); moving: (K, 4) x, y m, vx, vy m/s then. pairs: of two
    cameras, for each skew of the first against the second, the sum of squared distances, m^2 (13 numbers), that of
    squares of how much they differ from those of no skew (13), and how many. due_s: until the next trial.
    """

    begun_us: Ints
    camera: Shorts
    moving: Singles
    pairs: Pairs
    due_s: float = 0.0


def none_tried() -> Trials:
    """Nothing seen or tried yet."""
    none = np.zeros(0, dtype=np.int64)
    return Trials(none, none.astype(np.int16), np.zeros((0, 4), dtype=np.float32), camera_pairs.none(2 * _COUNT + 1))


def tried(trials: Trials, sightings: Sightings, crowd: Crowd, owner: Ints, at_us: int, dt_s: float) -> Trials:
    """The trials after a tick; owner: (M,) the row in ``crowd`` of each sighting's person, -1 for none."""
    due_s = trials.due_s - dt_s
    if at_us - trials.begun_us.max(initial=NEVER_US) >= SAMPLE_S * 1e6:
        rows = np.flatnonzero(_usable(sightings) & (owner >= 0))
        speed = crowd.mean[owner[rows], 2:4]
        walking = np.hypot(speed[:, 0], speed[:, 1]) > _LEAST_SPEED
        trials = _with(trials, sightings, rows[walking], speed[walking], at_us)
    if due_s > 0:
        return msgspec.structs.replace(trials, due_s=due_s)
    old = trials.begun_us < at_us - round(1e6 * (2.0 * TRIED_S[-1] + _LATE_S + _FAR_S))
    trials = msgspec.structs.replace(
        trials, begun_us=trials.begun_us[~old], camera=trials.camera[~old], moving=trials.moving[~old], due_s=EVERY_S
    )
    return _looked(trials, at_us)


def missed(trials: Trials, sightings: Sightings, at_us: int) -> Trials:
    """The trials after a frame of ``at_us`` that came too late for its tick. sightings: what it shows."""
    rows = np.flatnonzero(_usable(sightings))
    if not len(rows) or not len(trials.begun_us):
        return trials
    nearest_us = int(trials.begun_us[np.abs(trials.begun_us - at_us).argmin()])
    there = trials.begun_us == nearest_us
    again = (trials.camera[there] == sightings.camera[rows[0]]).any()
    if again or there.sum() > 2 * _MOST_SIGHTINGS or abs(nearest_us - at_us) > SAMPLE_S * 1e6 / 2:
        return trials
    return _with(trials, sightings, rows, np.zeros((len(rows), 2)), nearest_us)


def _usable(sightings: Sightings) -> Bools:
    usable: Bools = sightings.firm & (open_m(sightings.cov_m2) < _VAGUE_M)
    return usable


def _with(trials: Trials, sightings: Sightings, rows: Ints, speed: Floats, at_us: int) -> Trials:
    """The trials with the sightings ``rows`` (K,) of people who move by ``speed`` (K, 2) in the sample ``at_us``."""
    place = sightings.place_m[rows, :2] - speed * sightings.dt_s[rows, None]
    if len(rows) > _MOST_SIGHTINGS:
        away = ((place - _midst(at_us, place)) ** 2).sum(axis=1)
        near = np.sort(np.argsort(away, kind="stable")[:_MOST_SIGHTINGS])
        rows, speed, place = rows[near], speed[near], place[near]
    return msgspec.structs.replace(
        trials,
        begun_us=np.concatenate([trials.begun_us, np.full(len(rows), at_us)]),
        camera=np.concatenate([trials.camera, sightings.camera[rows].astype(np.int16)]),
        moving=np.concatenate([trials.moving, np.column_stack([place, speed]).astype(np.float32)]),
    )


def _midst(at_us: int, place: Floats) -> Floats:
    """The place around which people are looked at where there are too many: another one every few seconds."""
    turn = at_us // round(3e6 * TRIED_S[-1]) * 0.6180339887498949 % 1.0
    low, high = place.min(axis=0), place.max(axis=0)
    return np.asarray(low + (high - low) * [turn, turn * 7.0 % 1.0])


def _looked(trials: Trials, now_us: int) -> Trials:
    """The trials after everyone of some time ago was held against everyone before and after."""
    samples = np.unique(trials.begun_us)
    reach_us = np.round(1e6 * TRIED_S).astype(np.int64)
    if not len(samples) or samples[0] > now_us - 2 * reach_us[-1] - round(1e6 * _LATE_S):
        return trials
    at_us = samples[np.abs(samples - (now_us - reach_us[-1] - round(1e6 * _LATE_S))).argmin()]
    when_us = at_us - reach_us
    chosen = samples[np.abs(samples[None, :] - when_us[:, None]).argmin(axis=1)]
    if (np.abs(chosen - when_us) > _FAR_S * 1e6).any():
        return trials
    mine = np.flatnonzero(trials.begun_us == at_us)
    cameras = int(trials.camera.max()) + 1
    nearest = np.full((len(mine), cameras, _COUNT), _BOUND_M**2)
    here = trials.moving[mine, :2].astype(np.float64)
    for k in range(_COUNT):
        theirs = np.flatnonzero(trials.begun_us == chosen[k])
        moving = trials.moving[theirs].astype(np.float64)
        there = moving[:, :2] + moving[:, 2:] * (1e-6 * (when_us[k] - chosen[k]))
        one, other = near_pairs(
            here, there, np.full(len(mine), _BOUND_M / 2), np.full(len(theirs), _BOUND_M / 2)
        )
        square = ((here[one] - there[other]) ** 2).sum(axis=1)
        np.minimum.at(nearest[:, :, k], (one, trials.camera[theirs[other]]), square)
    nearest[np.arange(len(mine)), trials.camera[mine]] = _BOUND_M**2
    # Who is near nobody at any skew is somebody whom the other does not see.
    one, second = np.nonzero(nearest.min(axis=2) < _BOUND_M**2)
    first, curve = trials.camera[mine[one]].astype(np.int64), nearest[one, second]
    turned = first > second
    curve[turned] = curve[turned, ::-1]
    rows = np.column_stack([curve, (curve - curve[:, [_ZERO]]) ** 2, np.ones(len(one))])
    pairs = camera_pairs.with_sums(
        trials.pairs, np.minimum(first, second), np.maximum(first, second), rows, float(np.exp(-EVERY_S / MEMORY_S))
    )
    return msgspec.structs.replace(trials, pairs=pairs)


def found(trials: Trials, cameras: int) -> tuple[int, float] | None:
    """The camera that surely has another skew than is assumed, and that skew (s) on top; the surest when several do."""
    sums = np.zeros((cameras, 2 * _COUNT + 1))
    np.add.at(sums, trials.pairs.first, trials.pairs.rows)
    turned = trials.pairs.rows.copy()
    turned[:, :_COUNT] = turned[:, :_COUNT][:, ::-1]
    turned[:, _COUNT:-1] = turned[:, _COUNT:-1][:, ::-1]
    np.add.at(sums, trials.pairs.second, turned)
    cost, square, count = sums[:, :_COUNT], sums[:, _COUNT:-1], sums[:, -1]
    best = cost.argmin(axis=1)
    every = np.arange(cameras)
    less = cost[:, _ZERO] - cost[every, best]
    sure = less > _SURE * np.sqrt(square[every, best])
    better = less > _BETTER * cost[:, _ZERO]
    off = sure & better & (count >= _LEAST_COUNT) & (np.abs(TRIED_S[best]) > _LEAST_S)
    if not off.any():
        return None
    camera = int(np.where(off, less, -1.0).argmax())
    return camera, float(TRIED_S[best[camera]])


def without(trials: Trials, camera: int) -> Trials:
    """The trials after one camera's times were changed: nothing of it is known, and everyone is looked at anew."""
    return msgspec.structs.replace(none_tried(), pairs=camera_pairs.without(trials.pairs, camera))


def of_cameras(trials: Trials, before: Sequence[str], after: Sequence[str]) -> Trials:
    """The trials for another set of cameras."""
    return msgspec.structs.replace(none_tried(), pairs=camera_pairs.of_cameras(trials.pairs, before, after))
