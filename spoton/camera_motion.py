"""How a moving camera shows in the boxes alone: what everybody's predictions missed by, together.

Trackers with pictures register one frame to the next (BoT-SORT, Aharon et al., 2022). Here the people who were followed
are the landmarks: each one's own speed is part of their prediction, so that the median of what the predictions missed
by is the camera's. Only what stands out from its own standard error counts, or a still camera would seem to tremble.
Whoever is out of sight is carried along: their place and speed change as if they had been seen to move like the others.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_PEOPLE = 4
"""Fewer say nothing about a camera."""
STANDARD_ERRORS = 2.0
"""A common motion below this is chance; above it, it is taken less the part that chance explains."""


def common_motion(missed_px: Floats) -> Floats:
    """(2,) pixels that the picture moved by, 0 where nothing stands out; missed_px: (2, K) seen less predicted places.

    The median's standard error is 1.25 deviations over the root of K, the deviation 1.48 times the median absolute one.
    """
    count = missed_px.shape[1]
    if count < LEAST_PEOPLE:
        return np.zeros(2)
    middle = _median(missed_px)
    off = missed_px - middle[:, None]
    deviation = _median(np.abs(off, out=off))
    return np.array([_standing_out(*each, count) for each in zip(middle.tolist(), deviation.tolist(), strict=True)])


def _standing_out(middle: float, deviation: float, count: int) -> float:
    error = 1.25 * 1.48 * deviation / sqrt(count)
    noise = STANDARD_ERRORS * error
    return middle * max(1.0 - noise * noise / max(middle * middle, 1e-12), 0.0)


def carried(axes: Floats, hidden: NDArray[np.intp], unseen_s: Floats, moved_px: Floats, speed_gain: Floats) -> Floats:
    """Axes (5, 4, N) with the tracks ``hidden`` (H,), unseen for ``unseen_s`` (H,), moved along with the picture.

    speed_gain: (2,) what a pixel of surprise changes a speed by, per second. The place changes so that it is the
    predicted one that moves by ``moved_px`` (2,), although the state holds where the track was seen last.
    """
    axes = axes.copy()
    faster = (speed_gain * moved_px)[:, None]
    place, speed = axes[0, :2], axes[1, :2]
    place[:, hidden] += moved_px[:, None] - faster * unseen_s
    speed[:, hidden] += faster
    return axes


def _median(values: Floats) -> Floats:
    """np.median along the last axis, which takes ten times as long for a few columns."""
    ordered = values.copy()
    ordered.sort(axis=1)
    count = ordered.shape[1]
    middle: Floats = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2.0
    return middle
