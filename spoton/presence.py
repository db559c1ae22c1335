"""Is anyone really there? What cameras see, and what they ought to see and do not, weighed tick by tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton.crowd import Crowd, with_values
from spoton.geometry import ioa
from spoton.sightings import Sightings, SiteView
from spoton.stance import expected_boxes
from spoton.ticks import Tick

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIRMED = 2.4
"""Belief from which someone is taken for a person."""
DOUBTED = 0.0
"""Belief below which a person is no longer shown."""
DISBELIEVED = -1.5
"""Belief below which someone who was never confirmed is dropped."""

_TRACKED = 3.5
_UNTRACKED = 2.1
_MISSED = 3.5
_CROWDED = 2.1
_SAME_PLACE = 0.7
_FRESH_S = 0.3
_COVERED = 0.4
_LEAST, _MOST = -4.0, 5


def believed(crowd: Crowd, sightings: Sightings, owner: Ints, tick: Tick, view: SiteView, dt_s: float) -> Crowd:
    """The crowd with its beliefs after a tick.

    Each camera that shows a person speaks for them. One whose picture they should stand in, with no box at all where
    they would be (a box there may be someone in front of them), speaks against. Whoever stands where someone older does
    is one with them unless a camera shows both at once.
    """
    shown = np.zeros((len(crowd), len(view.cameras)))
    taken = owner >= 0
    weight = np.where(sightings.firm[taken], _TRACKED, _UNTRACKED)
    shown[owner[taken], sightings.camera[taken]] = weight
    rival = _rivals(crowd, view.site.thresholds.gate_m)
    crowded = rival >= 0
    gain = np.where(crowded[:, None] & (shown[rival] == 0), 0.0, shown).sum(axis=1)
    news = 1.0 - np.exp(-dt_s / _FRESH_S)
    change = gain - np.where(crowded & (gain == 0), _CROWDED, 0.0)
    for frame in tick.frames:
        here = shown[:, view.cameras.index(frame.camera)] > 0
        boxes, shows = expected_boxes(crowd.mean[:, :2], view.camera(frame.camera, frame.size_px))
        if len(frame.boxes_px):
            covered = ioa(boxes, np.array(frame.boxes_px, dtype=np.float64)).max(axis=1) > _COVERED
            shows &= ~covered
        change -= np.where(shows & ~here, _MISSED, 0.0)
    return with_values(crowd, belief=np.clip(crowd.belief + news * change, _LEAST, _MOST))


def _rivals(crowd: Crowd, gate_m: float) -> Ints:
    """(N,) the row of the nearest older person in the same place, -1 where there is none."""
    if not len(crowd):
        return np.zeros(0, dtype=np.int64)
    apart = np.hypot(*(crowd.mean[:, None, :2] - crowd.mean[None, :, :2]).transpose(2, 0, 1))
    older = np.tril(np.ones(apart.shape, dtype=np.bool_), -1) & (crowd.belief > DOUBTED)[None]
    apart = np.where(older, apart, np.inf)
    nearest = apart.argmin(axis=1)
    return np.where(apart[np.arange(len(crowd)), nearest] < _SAME_PLACE * gate_m, nearest, -1)
