"""How long people take from where one camera saw them last to where another sees them first.

Per ordered pair of cameras the logarithm of the pace, seconds per metre of the straight way, is taken as normal with
unknown mean and spread. Its conjugate prior, normal-inverse-gamma (Murphy, "Conjugate Bayesian analysis of the Gaussian
distribution", 2007, section 3), says what is usual of walking people anywhere; confirmed handovers move it to what is
usual of this way, with its detours, doors and stairs. What to expect of the next one is a Student t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Way: TypeAlias = tuple[str, str]
"""The camera that saw somebody last, and the one that sees them now."""

USUAL_M_S, DETOUR = 1.25, 1.3
"""Walking speed (Bohannon, 1997: 1.2 to 1.4 m/s), and how much longer than the straight way people walk."""
LEAST_M = 2.0
"""A way shorter than this is as good as this long, and nobody is too fast for it: where somebody was seen last and
first is not where they turned."""
MOST = 4096
_WORTH, _SHAPE, _RATE = 2.0, 2.0, 0.5
"""The prior is worth two handovers, and expects a spread of a factor of about two."""
_LINGERS, _LONGEST_LOG = 0.3, 8.0
"""Three in ten do not go straight on: their time may be any, spread evenly over this range of its logarithm."""
_HURRIES = 0.1
"""As many are there sooner than they should, which places that are off make of short times."""


class Pace(msgspec.Struct, frozen=True, array_like=True):
    """What ``count`` handovers of one way have shown: mean of the log pace, sum of squared deviations from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0


Walks: TypeAlias = Mapping[Way, Pace]


def learned(walks: Walks, way: Way, gap_s: float, way_m: float) -> dict[Way, Pace]:
    """With one more confirmed handover (Welford 1962). gap_s > 0; way_m straight from where to where."""
    before, value = walks.get(way, Pace()), math.log(max(gap_s, 1e-3) / max(way_m, LEAST_M))
    count, off = before.count + 1, value - before.mean
    mean = before.mean + off / count
    after = {each: pace for each, pace in walks.items() if each != way}
    after[way] = Pace(count, mean, before.squares + off * (value - mean))
    return dict(list(after.items())[-MOST:])


def surprise(walks: Walks, cameras: Sequence[str], left: Ints, came: Ints, gap_s: Floats, way_m: Floats) -> Floats:
    """By how many of its scales each log pace differs from what is usual of its way: negative for fast.

    left, came: (...) index of the cameras of each way; gap_s > 0, way_m: (...).
    """
    centre, scale, _ = _expected(walks, cameras)[:, left, came]
    off: Floats = (np.log(np.maximum(gap_s, 1e-3) / np.maximum(way_m, LEAST_M)) - centre) / scale
    return np.where(way_m < LEAST_M, np.maximum(off, 0.0), off)


def doubt(walks: Walks, cameras: Sequence[str], left: Ints, came: Ints, gap_s: Floats, way_m: Floats) -> Floats:
    """How much less likely each time is than the likeliest one of its way, as a difference of logarithms, from 0 on."""
    _, scale, freedom = _expected(walks, cameras)[:, left, came]
    off = surprise(walks, cameras, left, came, gap_s, way_m)
    peak = _peak(freedom) / scale
    any_time = np.where(off > 0, _LINGERS, _HURRIES) / _LONGEST_LOG
    likely = (1 - _LINGERS) * peak * (1 + off * off / freedom) ** (-(freedom + 1) / 2) + any_time
    return np.asarray(np.log((1 - _LINGERS) * peak + any_time) - np.log(np.maximum(likely, 1e-300)))


def _expected(walks: Walks, cameras: Sequence[str]) -> Floats:
    """(3, C, C) centre, scale and degrees of freedom of what the next log pace of each way is expected to be."""
    count, mean, squares = np.zeros((3, len(cameras), len(cameras)))
    place = {name: k for k, name in enumerate(cameras)}
    for (left, came), pace in walks.items():
        if left in place and came in place:
            at = place[left], place[came]
            count[at], mean[at], squares[at] = pace.count, pace.mean, pace.squares
    usual = math.log(DETOUR / USUAL_M_S)
    worth, shape = _WORTH + count, _SHAPE + count / 2
    centre = (_WORTH * usual + count * mean) / worth
    rate = _RATE + squares / 2 + _WORTH * count * (mean - usual) ** 2 / (2 * worth)
    return np.stack([centre, np.sqrt(rate * (worth + 1) / (shape * worth)), 2 * shape])


def _peak(freedom: Floats) -> Floats:
    """Height of a Student t density of unit scale (...) at its middle."""
    values, where = np.unique(freedom, return_inverse=True)
    ratios = [math.exp(math.lgamma((one + 1) / 2) - math.lgamma(one / 2)) for one in values.tolist()]
    heights = np.array(ratios) / np.sqrt(values * math.pi)
    return np.asarray(heights[where].reshape(np.shape(freedom)))
