"""What goes wrong with simulated cameras: clocks that are off, frames that never come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton.sim.chance import uniform
from spoton.sim.scenario import Scenario

Floats = NDArray[np.float64]

_SKEW, _LOST = 220, 221


def skews_s(scenario: Scenario) -> Floats:
    """(cameras,) how much later than it says each camera takes its frames, uniform within ``skew_ms`` either way."""
    share = 2.0 * uniform(scenario.seed, _SKEW, np.arange(scenario.cameras)) - 1.0
    # Whole milliseconds: what is written down is what was done.
    return np.asarray(np.round(share * scenario.skew_ms) / 1000.0)


def lost_frames(scenario: Scenario, camera: int, frames: int) -> NDArray[np.bool_]:
    """(frames,) which frames of a camera never come.

    A camera is well or out (Gilbert, 1960): it stays out for ``dropout_s`` in the mean and is out for a share
    ``dropout`` of the time in the long run. One draw a frame, so that a longer run begins like a shorter one.
    """
    draws = uniform(scenario.seed, _LOST, camera, np.arange(frames))
    share, mean = scenario.dropout, scenario.dropout_s * scenario.fps
    if share == 0.0 or mean <= 1.0:
        return np.asarray(draws < share)
    recover, fail = 1.0 / mean, min(1.0, share / (1.0 - share) / mean)
    lost = np.zeros(frames, dtype=np.bool_)
    out = bool(uniform(scenario.seed, _LOST, camera, -1)[0] < share)
    for n, draw in enumerate(draws.tolist()):
        lost[n] = out
        out = draw >= recover if out else draw < fail
    return lost
