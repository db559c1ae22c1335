"""What each camera's places are off by, learnt slowly from where all other cameras see the same people.

No calibration is exact, and no detector puts the feet where they are: places of one camera are off by decimetres, in
much the same way in the same part of the floor. Each camera therefore has a correction that is linear in the place (a
shift, a turn, a stretch) and one of height: seven numbers, estimated by recursive least squares with a prior around
zero, which bounds them and leaves the common shift of all cameras, which nobody can see, where it is. What the
estimate leaves open is part of each sighting's covariance: a site that has just started trusts its cameras less.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.fusion import inverse3
from spoton.sightings import Sightings, with_places

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHIFT_SIGMA_M = 0.15
"""How far off a camera's places are before anything is known, metres; the same over ``SPAN_M`` for turn and stretch."""
HEIGHT_SIGMA_M = 0.05
SPAN_M = 10.0
MEMORY_S = 120.0
"""What was learnt counts for 1/e after this time."""
FRESH_S = 1.0
"""Errors of one person in one camera are much the same for this long: frames in between tell little more."""

_HUBER = 1.5
_PARAMETERS = 7


class Offsets(msgspec.Struct, frozen=True):
    """What is known of C cameras beyond the prior, as information (C, 7, 7) and its pull (C, 7)."""

    total: Floats
    pull: Floats


def none_known(cameras: int) -> Offsets:
    """Nothing known yet of that many cameras."""
    return Offsets(np.zeros((cameras, _PARAMETERS, _PARAMETERS)), np.zeros((cameras, _PARAMETERS)))


def corrected(offsets: Offsets, sightings: Sightings) -> Sightings:
    """The sightings with what their cameras are off by taken out, and what that leaves open added."""
    if not len(sightings):
        return sightings
    spread = np.linalg.inv(offsets.total + _prior())
    estimate = np.einsum("cij,cj->ci", spread, offsets.pull)
    slope = _slope(sightings)
    camera = sightings.camera
    places = sightings.place_m - np.einsum("mij,mj->mi", slope, estimate[camera])
    opened = slope @ spread[camera] @ slope.transpose(0, 2, 1)
    return with_places(sightings, places, sightings.cov_m2 + opened)


def learned(offsets: Offsets, raw: Sightings, sightings: Sightings, owner: Ints, dt_s: float) -> Offsets:
    """The offsets after a tick. raw, sightings: before and after correction; owner: (M,) the row of each one's person.

    A sighting is held against all other cameras' sightings of its person in the same tick.
    """
    kept = np.exp(-dt_s / MEMORY_S)
    total, pull = kept * offsets.total, kept * offsets.pull
    taken = np.flatnonzero(owner >= 0)
    who = owner[taken]
    counts = np.bincount(who, minlength=1)
    taken = taken[counts[who] > 1]
    if len(taken):
        who, group = np.unique(owner[taken], return_inverse=True)
        informed, _ = inverse3(sightings.cov_m2[taken])
        drawn = np.einsum("mij,mj->mi", informed, sightings.place_m[taken])
        every, drawn_to = np.zeros((len(who), 3, 3)), np.zeros((len(who), 3))
        np.add.at(every, group, informed)
        np.add.at(drawn_to, group, drawn)
        cov, _ = inverse3(every[group] - informed)
        others = np.einsum("mij,mj->mi", cov, drawn_to[group] - drawn)
        certain, _ = inverse3(cov + sightings.cov_m2[taken])
        off = sightings.place_m[taken] - others
        far = np.sqrt(np.einsum("mi,mij,mj->m", off, certain, off))
        weight = np.minimum(1.0, _HUBER / np.maximum(far, 1e-9)) * (1.0 - np.exp(-dt_s / FRESH_S))
        slope = _slope(raw)[taken]
        drawn_slope = slope.transpose(0, 2, 1) @ (certain * weight[:, None, None])
        np.add.at(total, raw.camera[taken], drawn_slope @ slope)
        np.add.at(pull, raw.camera[taken], np.einsum("mij,mj->mi", drawn_slope, raw.place_m[taken] - others))
    return Offsets(total, pull)


def of_cameras(offsets: Offsets, before: Sequence[str], after: Sequence[str]) -> Offsets:
    """The offsets for another set of cameras."""
    if tuple(before) == tuple(after):
        return offsets
    fresh = none_known(len(after))
    for column, name in enumerate(after):
        if name in before:
            fresh.total[column] = offsets.total[before.index(name)]
            fresh.pull[column] = offsets.pull[before.index(name)]
    return fresh


def _prior() -> Floats:
    variance = np.array([SHIFT_SIGMA_M] * 6 + [HEIGHT_SIGMA_M]) ** 2
    return np.diag(1.0 / variance)


def _slope(sightings: Sightings) -> Floats:
    """How places and heights (M, 3) change with their camera's seven parameters: (M, 3, 7)."""
    part = np.column_stack([np.ones(len(sightings)), (sightings.place_m[:, :2] - sightings.anchor_m) / SPAN_M])
    slope = np.zeros((len(sightings), 3, _PARAMETERS))
    slope[:, 0, :3], slope[:, 1, 3:6], slope[:, 2, 6] = part, part, 1.0
    return slope
