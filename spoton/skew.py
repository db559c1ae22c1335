"""How far each camera's clock is off, from where the cameras see people who walk; taken out up to a second.

A clock that is late puts a walking person behind where the other cameras see them, one that is early in front: by
velocity times error. A calibration that is off shifts everyone, whichever way they walk, so both are told apart by one
least squares: of a person at x with velocity v, camera c says x + d_c - v s_c, with an error of calibration d_c (m),
linear in x, and a skew s_c (s). The place x of each person is eliminated, so cameras are only held against each other:
the time that all share is the median of their clocks.

Times of a camera's events are shifted before anything is made of them; the shift follows the estimate slowly enough
that a camera's time never runs backwards. Skews too large for anybody to be recognised across cameras are found first
by ``spoton.skew_search``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.crowd import Crowd
from spoton.events import DetectionEvent
from spoton.sightings import Sightings
from spoton.skew_search import Trials, found, none_tried, tried
from spoton.skew_search import of_cameras as trials_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_S = 1.0
"""The largest skew that is taken out; a larger one is reported, and taken out so far."""
SKEW_SIGMA_S = 0.5
SHIFT_SIGMA_M = 0.2
"""How far clocks and places are off before anything is known."""
MEMORY_S = 300.0
"""What was learnt counts for 1/e after this time."""
EVERY_S = 0.5
"""How often it is learnt from a tick."""
FRESH_S = 1.0
"""Errors of one person in one camera are much the same for this long: ticks in between tell little more."""
KNOWN_S = 0.06
"""Nothing is done by an estimate whose standard deviation is larger."""
SURE = 8.0
"""A skew is taken out once it is this many standard deviations, and ``LEAST_S``, from zero."""
LEAST_S = 0.06
SLEW = 0.5
"""How fast the shift of a camera's time follows, seconds a second."""
TOLD_S = 0.05
"""A skew is told again when it differs this much from what was told."""
SETTLE_S = 5.0
"""After a large skew was found nothing is learnt for as long: people must find together first."""
RENEW_S = 0.08
"""How far from the first guess an estimate may go before it is learnt anew from there."""
STEADY_S = 1.0
"""Velocities are taken over about this time. Those of a single tick have errors that also move whoever is compared."""
SPAN_M = 10.0
"""Places turn and stretch by ``SHIFT_SIGMA_M`` over this distance."""

_HUBER = 1.5
_PARAMETERS = 7


class Skews(msgspec.Struct, frozen=True):
    """What is known of C clocks: information (7 C, 7 C) and its pull (7 C,) on the skew and the six of each camera.

    guess_s: (C,) the skews that the information is on top of. applied_us: (C,) what is taken off each camera's times
    now. told_us: (C,) the skews that were last told. solved: (7 C,) the estimate, sigma_s: (C,) how sure its skews are,
    from when it was last learnt. walkers: (N,) uids of people; steady: (N, 3) their velocities over
    ``STEADY_S``, m/s, and for how long they are known, s. settling_s: how long nothing is learnt yet; due_s: until it
    is learnt again.
    """

    total: Floats
    pull: Floats
    guess_s: Floats
    applied_us: Ints
    told_us: Ints
    solved: Floats
    sigma_s: Floats
    trials: Trials
    walkers: Ints
    steady: Floats
    settling_s: float = 0.0
    due_s: float = 0.0


class Estimate(NamedTuple):
    """Skews (C,) and their standard deviations (C,), s, against the median clock; 0 where nothing is known."""

    skew_s: Floats
    sigma_s: Floats


def none_known(cameras: int) -> Skews:
    """Nothing known yet of that many cameras."""
    size = _PARAMETERS * cameras
    none = np.zeros(cameras, dtype=np.int64)
    return Skews(
        np.zeros((size, size)), np.zeros(size), np.zeros(cameras), none, none, np.zeros(size),
        np.full(cameras, SKEW_SIGMA_S), none_tried(cameras), none[:0], np.zeros((0, 3)),
    )  # fmt: skip


def on_time(skews: Skews, cameras: Sequence[str], event: DetectionEvent) -> DetectionEvent:
    """The event with what its camera's clock is off by taken out of its time."""
    if event.camera not in cameras:
        return event
    off_us = int(skews.applied_us[cameras.index(event.camera)])
    return msgspec.structs.replace(event, at=event.at - off_us) if off_us else event


def learned(
    skews: Skews, raw: Sightings, sightings: Sightings, crowd: Crowd, owner: Ints, dt_s: float
) -> Skews:
    """The skews after a tick, and the shift of every camera's time moved towards them.

    raw, sightings: before and after what cameras are off by was taken out; owner: (M,) the row in ``crowd`` of each
    one's person, -1 for none.
    """
    skews = _walked(skews, crowd, dt_s)
    if skews.settling_s > 0:
        return _followed(msgspec.structs.replace(skews, settling_s=skews.settling_s - dt_s), dt_s)
    due_s = skews.due_s - dt_s
    if due_s > 0:
        return _followed(msgspec.structs.replace(skews, due_s=due_s), dt_s)
    skews = _solved(_regressed(skews, raw, owner, max(EVERY_S, dt_s)))
    trials = tried(skews.trials, sightings, crowd, owner, max(EVERY_S, dt_s))
    large = found(trials) if trials.due_s > skews.trials.due_s else None
    skews = msgspec.structs.replace(skews, trials=trials, due_s=EVERY_S)
    if large is not None:
        skews = _guessed(skews, *large)
    return _followed(_renewed(skews), dt_s)


def _renewed(skews: Skews) -> Skews:
    """Forget what was learnt at skews far from those that are taken out by now: large ones are underestimated."""
    skew_s, sigma_s = estimate(skews)
    far = np.abs(skew_s - skews.guess_s)
    sure = (far > SURE * sigma_s) & (sigma_s < KNOWN_S)
    if not ((far > RENEW_S) & sure).any():
        return skews
    return msgspec.structs.replace(
        skews, total=np.zeros_like(skews.total), pull=np.zeros_like(skews.pull),
        guess_s=np.where(sure, skew_s, skews.guess_s),
    )  # fmt: skip


def _walked(skews: Skews, crowd: Crowd, dt_s: float) -> Skews:
    """The velocities that people keep."""
    steady = np.column_stack([crowd.mean[:, 2:4], np.zeros(len(crowd))])
    _, here, there = np.intersect1d(crowd.uid, skews.walkers, return_indices=True)
    known = skews.steady[there]
    # Of somebody new it is the mean so far.
    share = 1.0 - np.exp(-dt_s / np.minimum(STEADY_S, known[:, 2] + dt_s))
    steady[here, :2] = known[:, :2] + share[:, None] * (crowd.mean[here, 2:4] - known[:, :2])
    steady[here, 2] = known[:, 2] + dt_s
    return msgspec.structs.replace(skews, walkers=crowd.uid, steady=steady)


def _guessed(skews: Skews, camera: int, more_s: float) -> Skews:
    """Start again, with one camera's skew taken for larger by ``more_s``: those recognised so far were few."""
    guess_s = skews.applied_us / 1e6
    guess_s[camera] = np.clip(guess_s[camera] + more_s, -MOST_S, MOST_S)
    fresh = none_known(len(guess_s))
    solved = fresh.solved
    solved[::_PARAMETERS] = guess_s
    return msgspec.structs.replace(
        fresh, guess_s=guess_s, solved=solved, applied_us=skews.applied_us, told_us=skews.told_us,
        walkers=skews.walkers, steady=skews.steady, settling_s=SETTLE_S,
    )  # fmt: skip


def _regressed(skews: Skews, raw: Sightings, owner: Ints, dt_s: float) -> Skews:
    kept = np.exp(-dt_s / MEMORY_S)
    total, pull = kept * skews.total, kept * skews.pull
    taken = np.flatnonzero(owner >= 0)
    taken = taken[skews.steady[owner[taken], 2] >= STEADY_S]
    counts = np.bincount(owner[taken], minlength=1)
    taken = taken[counts[owner[taken]] > 1]
    if len(taken):
        estimate = skews.solved.reshape(-1, _PARAMETERS)
        _gather(total, pull, skews, raw, taken, skews.steady[owner[taken], :2], owner[taken], estimate, dt_s)
    return msgspec.structs.replace(skews, total=total, pull=pull)


def _gather(
    total: Floats, pull: Floats, skews: Skews, raw: Sightings, taken: Ints, speed: Floats, who: Ints,
    estimate: Floats, dt_s: float,
) -> None:  # fmt: skip
    """Add what the sightings ``taken`` (K,) of people ``who`` with velocities ``speed`` (K, 2) say."""
    camera = raw.camera[taken]
    # Where each would be at the tick's time if its clock, with nothing taken out, were right.
    late_s = raw.dt_s[taken] + skews.applied_us[camera] / 1e6
    place = raw.place_m[taken, :2] - speed * late_s[:, None]
    slope = np.zeros((len(taken), 2, _PARAMETERS))
    slope[:, :, 0] = -speed
    part = np.column_stack([np.ones(len(taken)), (raw.place_m[taken, :2] - raw.anchor_m[taken]) / SPAN_M])
    slope[:, 0, 1:4] = slope[:, 1, 4:7] = part
    people, group = np.unique(who, return_inverse=True)
    informed = np.linalg.inv(raw.cov_m2[taken, :2, :2])
    straight = place - np.einsum("kij,kj->ki", slope, estimate[camera])
    off = straight - _centres(informed, straight, group, len(people))[group]
    far = np.sqrt(np.einsum("ki,kij,kj->k", off, informed, off))
    weight = np.minimum(1.0, _HUBER / np.maximum(far, 1e-9)) * (1.0 - np.exp(-dt_s / FRESH_S))
    informed = informed * weight[:, None, None]
    drawn = informed @ slope
    off = place - _centres(informed, place, group, len(people))[group]
    count = len(skews.applied_us)
    blocks = total.reshape(count, _PARAMETERS, count, _PARAMETERS)
    at_own = np.zeros((count, _PARAMETERS, _PARAMETERS))
    np.add.at(at_own, camera, slope.transpose(0, 2, 1) @ drawn)
    every = np.arange(count)
    blocks[every, :, every, :] += at_own
    np.add.at(pull.reshape(count, _PARAMETERS), camera, np.einsum("kij,ki->kj", drawn, off))
    # Each person's own place is open (Schur's complement).
    together = np.zeros((len(people), count, 2, _PARAMETERS))
    np.add.at(together, (group, camera), drawn)
    every_one = np.zeros((len(people), 2, 2))
    np.add.at(every_one, group, informed)
    half = np.linalg.cholesky(np.linalg.inv(every_one))
    rows = np.einsum("gij,gcik->gjck", half, together).reshape(2 * len(people), count * _PARAMETERS)
    total -= rows.T @ rows


def _centres(informed: NDArray[np.floating], place: Floats, group: Ints, count: int) -> Floats:
    every, drawn = np.zeros((count, 2, 2)), np.zeros((count, 2))
    np.add.at(every, group, informed)
    np.add.at(drawn, group, np.einsum("kij,kj->ki", informed, place))
    return np.asarray(np.linalg.solve(every, drawn[:, :, None])[:, :, 0], dtype=np.float64)


def _solved(skews: Skews) -> Skews:
    """The skews with the estimate of what is known by now, against the median of all clocks."""
    count = len(skews.applied_us)
    prior = np.tile([SKEW_SIGMA_S**-2] + [SHIFT_SIGMA_M**-2] * 6, len(skews.applied_us))
    spread = np.linalg.inv(skews.total + np.diag(prior))
    drawn = skews.pull.copy()
    drawn[::_PARAMETERS] += skews.guess_s * SKEW_SIGMA_S**-2
    own = np.arange(count) * _PARAMETERS
    against = np.eye(count) - 1.0 / count
    cov = against @ spread[np.ix_(own, own)] @ against.T
    return msgspec.structs.replace(
        skews, solved=spread @ drawn, sigma_s=np.sqrt(np.maximum(np.diag(cov), 0.0))
    )


def estimate(skews: Skews) -> Estimate:
    """What each clock is off by against the median of all."""
    skew_s = skews.solved[::_PARAMETERS]
    if not len(skew_s):
        return Estimate(skew_s, skews.sigma_s)
    known = (np.diag(skews.total)[::_PARAMETERS] > SKEW_SIGMA_S**-2) | (skews.guess_s != 0)
    return Estimate(np.where(known, skew_s - np.median(skew_s), 0.0), skews.sigma_s)


def _followed(skews: Skews, dt_s: float) -> Skews:
    """The skews with the shift of every camera's time moved towards what is known, by at most ``SLEW`` of ``dt_s``."""
    skew_s, sigma_s = estimate(skews)
    known = sigma_s < KNOWN_S
    taken_out = (skews.applied_us != 0) | (skews.guess_s != 0)
    sure = known & ((np.abs(skew_s) > SURE * sigma_s) & (np.abs(skew_s) > LEAST_S) | taken_out)
    wanted = np.clip(np.where(sure, skew_s, skews.guess_s), -MOST_S, MOST_S) * 1e6
    most = SLEW * dt_s * 1e6
    step = np.clip(wanted - skews.applied_us, -most, most)
    moved = skews.applied_us + np.trunc(step).astype(np.int64)
    return msgspec.structs.replace(skews, applied_us=moved)


def of_cameras(skews: Skews, before: Sequence[str], after: Sequence[str]) -> Skews:
    """The skews for another set of cameras."""
    if tuple(before) == tuple(after):
        return skews
    fresh = none_known(len(after))
    pairs = [(column, before.index(name)) for column, name in enumerate(after) if name in before]
    if not pairs:
        return fresh
    new, old = (np.array(side) for side in zip(*pairs, strict=True))
    at, was = (np.concatenate([_PARAMETERS * side[:, None] + np.arange(_PARAMETERS)]).ravel() for side in (new, old))
    fresh.total[np.ix_(at, at)] = skews.total[np.ix_(was, was)]
    fresh.pull[at] = skews.pull[was]
    solved, sigma_s = fresh.solved, fresh.sigma_s
    solved[at], sigma_s[new] = skews.solved[was], skews.sigma_s[old]
    guess, applied, told = fresh.guess_s, fresh.applied_us.copy(), fresh.told_us.copy()
    guess[new], applied[new], told[new] = skews.guess_s[old], skews.applied_us[old], skews.told_us[old]
    trials = trials_of(skews.trials, before, after)
    return Skews(
        fresh.total, fresh.pull, guess, applied, told, solved, sigma_s, trials, skews.walkers, skews.steady,
        skews.settling_s, skews.due_s,
    )  # fmt: skip
