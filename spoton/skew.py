"""How far each camera's clock is off, from where the cameras see people who walk; taken out up to a second.

A clock that is late puts a walking person behind where the other cameras see them, one that is early in front: by
velocity times error. A calibration that is off shifts everyone, whichever way they walk, so both are told apart by one
least squares for each pair of cameras that see the same people: of a person at x with velocity v, the places by cameras
a and b are apart by d - v (s_a - s_b), with a disagreement of the calibrations d (m), linear in x, and the skews s (s).
The skews of all cameras are those that fit the pairs best. Where they do not fit them, as where calibrations disagree
in other ways, they are known less surely by as much.

Cameras are only held against each other: the time that all share is the median of their clocks, of those that hang
together by people whom they see together. What is known of a pair fades while more is learnt of it, and stays where
nobody is seen. A clock that wanders, as of a recorder that drops frames, is thus followed.

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

from spoton import camera_pairs, skew_search
from spoton.camera_pairs import Pairs
from spoton.crowd import Crowd
from spoton.events import DetectionEvent
from spoton.sightings import Sightings
from spoton.skew_search import Trials

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_S = 1.0
"""The largest skew that is taken out; a larger one is reported, and taken out so far."""
SKEW_SIGMA_S = 0.5
SHIFT_SIGMA_M = 0.3
"""How far off clocks and places are before anything is known."""
PAIR_SIGMA_S = 0.02
"""What is left open between two clocks in any case: boxes lean the way people walk, differently in each view."""
MEMORY_S = 40.0
"""What was learnt of two cameras counts for 1/e after this time in which they see people together."""
EVERY_S = 0.5
"""How often it is learnt from a tick."""
FRESH_S = 1.0
"""Errors of one person in one camera are much the same for this long: ticks in between tell little more."""
KNOWN_S = 0.06
"""Nothing is done by an estimate whose standard deviation is larger."""
SURE = 4.0
"""A skew is taken out once it is this many standard deviations, and ``LEAST_S``, from zero."""
LEAST_S = 0.06
SLEW = 0.5
"""How fast the shift of a camera's time follows, seconds a second."""
TOLD_S = 0.05
"""A skew is told again when it differs this much from what was told."""
SETTLE_S = 5.0
"""After a large skew was found nothing is learnt for as long: people must find together first."""
STEADY_S = 1.0
"""Velocities are taken over about this time. Those of a single tick have errors that also move whoever is compared."""
SPAN_M = 10.0
"""Places turn and stretch by ``SHIFT_SIGMA_M`` over this distance."""

_HUBER = 1.5
_ROUNDS = 3
_PARAMETERS = 7
_NONE = _PARAMETERS * (_PARAMETERS + 1)


class Skews(msgspec.Struct, frozen=True):
    """What is known of C clocks.

    pairs: of two cameras, the information (49 numbers) and its pull (7) on the skew of the first against the second and
    the six of how their places disagree. skew_s, sigma_s: (C,) what followed from it when it was last learnt.
    wanted_us: (C,) what is to be taken off each camera's times; applied_us: (C,) what is taken off now, on its way
    there; told_us: (C,) the skews that were last told. walkers: (N,) uids of people; steady: (N, 3) their velocities
    over ``STEADY_S``, m/s, and for how long they are known, s. settling_s: how long nothing is learnt yet; due_s: until
    it is learnt again.
    """

    pairs: Pairs
    skew_s: Floats
    sigma_s: Floats
    wanted_us: Ints
    applied_us: Ints
    told_us: Ints
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
    none = np.zeros(cameras, dtype=np.int64)
    return Skews(
        camera_pairs.none(_NONE), np.zeros(cameras), np.full(cameras, SKEW_SIGMA_S), none, none, none,
        skew_search.none_tried(), none[:0], np.zeros((0, 3)),
    )  # fmt: skip


def on_time(skews: Skews, cameras: Sequence[str], event: DetectionEvent) -> DetectionEvent:
    """The event with what its camera's clock is off by taken out of its time."""
    if event.camera not in cameras:
        return event
    off_us = int(skews.applied_us[cameras.index(event.camera)])
    return msgspec.structs.replace(event, at=event.at - off_us) if off_us else event


def patience_us(skews: Skews) -> int:
    """How much longer than usual cameras may need: where a recording is sorted by its cameras' own clocks, one comes
    later than the others by what is taken out."""
    return int(skews.applied_us.max(initial=0) - skews.applied_us.min(initial=0))


def missed(skews: Skews, sightings: Sightings, at_us: int) -> Skews:
    """The skews after a frame of ``at_us`` that came too late for its tick. sightings: what it shows."""
    if skews.settling_s > 0:
        return skews
    return msgspec.structs.replace(skews, trials=skew_search.missed(skews.trials, sightings, at_us))


def learned(
    skews: Skews, raw: Sightings, sightings: Sightings, crowd: Crowd, owner: Ints, at_us: int, dt_s: float
) -> Skews:
    """The skews after a tick, and the shift of every camera's time moved towards them.

    raw, sightings: before and after what cameras are off by was taken out; owner: (M,) the row in ``crowd`` of each
    one's person, -1 for none.
    """
    skews = _walked(skews, crowd, dt_s)
    if skews.settling_s > 0:
        return _followed(msgspec.structs.replace(skews, settling_s=skews.settling_s - dt_s), dt_s)
    trials = skew_search.tried(skews.trials, sightings, crowd, owner, at_us, dt_s)
    news = trials.pairs is not skews.trials.pairs
    skews = msgspec.structs.replace(skews, trials=trials, due_s=skews.due_s - dt_s)
    if skews.due_s <= 0:
        skews = msgspec.structs.replace(skews, due_s=EVERY_S)
        skews = _chosen(_solved(_regressed(skews, raw, owner, max(EVERY_S, dt_s))))
    large = skew_search.found(trials, len(skews.applied_us)) if news else None
    if large is not None:
        skews = _guessed(skews, *large)
    return _followed(skews, dt_s)


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
    """One camera's skew taken for larger by ``more_s``, and learnt anew: those recognised so far were few."""
    wanted_us = skews.wanted_us.copy()
    wanted_us[camera] = round(1e6 * np.clip(wanted_us[camera] / 1e6 + more_s, -MOST_S, MOST_S))
    changed = msgspec.structs.replace(
        skews, wanted_us=wanted_us, pairs=camera_pairs.without(skews.pairs, camera), settling_s=SETTLE_S,
        trials=skew_search.without(skews.trials, camera),
    )  # fmt: skip
    return _solved(changed)


def _regressed(skews: Skews, raw: Sightings, owner: Ints, dt_s: float) -> Skews:
    """What the sightings of people whom two cameras see say of the skew of these."""
    taken = np.flatnonzero(owner >= 0)
    taken = taken[skews.steady[owner[taken], 2] >= STEADY_S]
    taken = taken[np.lexsort((raw.camera[taken], owner[taken]))]
    who = owner[taken]
    counts = np.bincount(who, minlength=1)
    one, other = [], []
    for apart in range(1, int(counts.max())):
        at = np.flatnonzero(who[apart:] == who[:-apart])
        one.append(at)
        other.append(at + apart)
    if not one:
        return skews
    left, right = taken[np.concatenate(one)], taken[np.concatenate(other)]
    first, second = raw.camera[left], raw.camera[right]
    speed = skews.steady[owner[left], :2]
    # Where each would be at the tick's time if its clock, with nothing taken out, were right.
    late_s = raw.dt_s + skews.applied_us[raw.camera] / 1e6
    apart_m = raw.place_m[left, :2] - raw.place_m[right, :2] - speed * (late_s[left] - late_s[right])[:, None]
    slope = np.zeros((len(left), 2, _PARAMETERS))
    slope[:, :, 0] = -speed
    middle = 0.5 * (raw.place_m[left, :2] + raw.place_m[right, :2])
    slope[:, 0, 1:4] = slope[:, 1, 4:7] = np.column_stack([np.ones(len(left)), (middle - raw.anchor_m[left]) / SPAN_M])
    informed = np.linalg.inv(raw.cov_m2[left, :2, :2] + raw.cov_m2[right, :2, :2])
    off = apart_m - np.einsum("kij,kj->ki", slope, _fit_of(skews, first, second))
    far = np.sqrt(np.einsum("ki,kij,kj->k", off, informed, off))
    # All pairs of n cameras tell as much as n - 1 that are independent.
    weight = np.minimum(1.0, _HUBER / np.maximum(far, 1e-9)) * 2.0 / counts[owner[left]]
    weight *= 1.0 - np.exp(-dt_s / FRESH_S)
    drawn = slope.transpose(0, 2, 1) @ (informed * weight[:, None, None])
    rows = np.column_stack(
        [(drawn @ slope).reshape(-1, _PARAMETERS**2), np.einsum("kij,kj->ki", drawn, apart_m)]
    )
    pairs = camera_pairs.with_sums(skews.pairs, first, second, rows, float(np.exp(-dt_s / MEMORY_S)))
    return msgspec.structs.replace(skews, pairs=pairs)


def _fits(skews: Skews) -> tuple[Floats, Floats]:
    """Of each pair skew and disagreement (P, 7), and the variance of the skew (P,)."""
    pairs = skews.pairs
    prior = np.array([SKEW_SIGMA_S**-2 / 2.0] + [SHIFT_SIGMA_M**-2] * (_PARAMETERS - 1))
    wanted_s = skews.wanted_us / 1e6
    drawn = pairs.rows[:, _PARAMETERS**2 :].copy()
    drawn[:, 0] += prior[0] * (wanted_s[pairs.first] - wanted_s[pairs.second])
    total = pairs.rows[:, : _PARAMETERS**2].reshape(-1, _PARAMETERS, _PARAMETERS)
    spread = np.asarray(np.linalg.inv(total + np.diag(prior)), dtype=np.float64)
    fit: Floats = np.einsum("pij,pj->pi", spread, drawn)
    return fit, spread[:, 0, 0]


def _fit_of(skews: Skews, first: Ints, second: Ints) -> Floats:
    """What is known of each of the pairs (K,), (K, 7): nothing of one that is new."""
    count = len(skews.applied_us)
    table = np.zeros((len(skews.pairs) + 1, _PARAMETERS))
    table[:-1], _ = _fits(skews)
    had, wanted = skews.pairs.first * count + skews.pairs.second, first * count + second
    at = np.searchsorted(had, wanted)
    known = at < len(had)
    known[known] = had[at[known]] == wanted[known]
    fit: Floats = table[np.where(known, at, -1)]
    fit[~known, 0] = (skews.wanted_us[first] - skews.wanted_us[second])[~known] / 1e6
    return fit


def _solved(skews: Skews) -> Skews:
    """The skews that fit all pairs best, robustly, against the median clock of those that hang together."""
    pairs, count = skews.pairs, len(skews.applied_us)
    fit, variance = _fits(skews)
    between, weight = fit[:, 0], 1.0 / (variance + PAIR_SIGMA_S**2)
    every = np.arange(len(pairs))
    across = np.zeros((len(pairs), count))
    across[every, pairs.first], across[every, pairs.second] = 1.0, -1.0
    prior = np.full(count, SKEW_SIGMA_S**-2)
    share = np.ones(len(pairs))
    for _ in range(_ROUNDS):
        spread = np.linalg.inv((across.T * (weight * share)) @ across + np.diag(prior))
        skew_s = spread @ (across.T @ (weight * share * between) + prior * skews.wanted_us / 1e6)
        off = np.abs(between - across @ skew_s) * np.sqrt(weight)
        share = np.minimum(1.0, _HUBER / np.maximum(off, 1e-9))
    part = camera_pairs.parts(pairs, count)
    together = part[:, None] == part[None, :]
    against = np.eye(count) - together / together.sum(axis=1, keepdims=True)
    sigma_s = np.sqrt(np.maximum(np.diag(against @ spread @ against.T), 0.0))
    # What the pairs of a camera disagree by beyond what is left open of them.
    misfit, of = np.zeros(count), np.zeros(count)
    for side in (pairs.first, pairs.second):
        np.add.at(misfit, side, share * off**2)
        np.add.at(of, side, 1.0)
    sigma_s *= np.sqrt(np.maximum(1.0, misfit / np.maximum(of - 1.0, 1.0)))
    for root in np.unique(part).tolist():
        skew_s[part == root] -= np.median(skew_s[part == root])
    skew_s = np.where(of > 0, skew_s, skews.wanted_us / 1e6)
    sigma_s = np.where(of > 0, np.minimum(sigma_s, SKEW_SIGMA_S), SKEW_SIGMA_S)
    return msgspec.structs.replace(skews, skew_s=skew_s, sigma_s=sigma_s)


def _chosen(skews: Skews) -> Skews:
    """What is to be taken out by what is known; once that was something it follows, or stays where nothing is known."""
    far = np.abs(skews.skew_s) > np.maximum(LEAST_S, SURE * skews.sigma_s)
    sure = (skews.sigma_s < KNOWN_S) & (far | (skews.wanted_us != 0))
    skew_us = np.round(1e6 * np.clip(skews.skew_s, -MOST_S, MOST_S)).astype(np.int64)
    return msgspec.structs.replace(skews, wanted_us=np.where(sure, skew_us, skews.wanted_us))


def estimate(skews: Skews) -> Estimate:
    """What each clock is off by against the median of all."""
    return Estimate(skews.skew_s, skews.sigma_s)


def _followed(skews: Skews, dt_s: float) -> Skews:
    """The shift of every camera's time moved towards what is wanted, by at most ``SLEW`` of ``dt_s``."""
    most = round(SLEW * dt_s * 1e6)
    step = np.clip(skews.wanted_us - skews.applied_us, -most, most)
    return msgspec.structs.replace(skews, applied_us=skews.applied_us + step)


def of_cameras(skews: Skews, before: Sequence[str], after: Sequence[str]) -> Skews:
    """The skews for another set of cameras, both in the order of names."""
    if tuple(before) == tuple(after):
        return skews
    fresh = none_known(len(after))
    columns = [(column, before.index(name)) for column, name in enumerate(after) if name in before]
    new, old = (np.array(side, dtype=np.int64) for side in (list(zip(*columns, strict=True)) or [(), ()]))
    kept = {}
    for name in ("skew_s", "sigma_s", "wanted_us", "applied_us", "told_us"):
        kept[name] = getattr(fresh, name).copy()
        kept[name][new] = getattr(skews, name)[old]
    return msgspec.structs.replace(
        skews, pairs=camera_pairs.of_cameras(skews.pairs, before, after),
        trials=skew_search.of_cameras(skews.trials, before, after), **kept,
    )  # fmt: skip
