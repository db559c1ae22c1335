"""Is anyone really there? What cameras see, and what they ought to see and do not, weighed tick by tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoton.association import near_pairs
from spoton.crowd import Crowd, with_values
from spoton.geometry import covered
from spoton.sightings import Boxes, Sightings, SiteView
from spoton.stance import expected_boxes, same_camera
from spoton.ticks import Tick

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIRMED = 2.4
"""Belief from which someone is taken for a person."""
DOUBTED = 0.0
"""Belief below which a person is no longer shown."""
DISBELIEVED = -1.5
"""Belief below which someone who was never confirmed is dropped."""

# Log likelihood ratios of one independent look.
_TRACKED = 3.5
_UNTRACKED = 2.1
_MISSED = 3.5
_CROWDED = 2.1
_SAME_PLACE = 0.7
_FRESH_S = 0.3
"""What a camera shows is much the same for this long: a look counts by how much of it is news."""
_COVERED = 0.5
_BEHIND = 0.9
_LEAST, _MOST = -4.0, 5.0


def believed(
    crowd: Crowd, sightings: Sightings, owner: Ints, tick: Tick, found: Boxes, view: SiteView, dt_s: float
) -> Crowd:
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
    change -= _MISSED * np.bincount(_missed(crowd, shown > 0, tick, found, view), minlength=len(crowd))
    return with_values(crowd, belief=np.clip(crowd.belief + news * change, _LEAST, _MOST))


def _missed(
    crowd: Crowd, shown: NDArray[np.bool_], tick: Tick, found: Boxes, view: SiteView
) -> Ints:
    """Rows of people, once for each camera whose picture they should stand in, with nothing there that hides them."""
    seen_by = view.of(tick.frames)
    camera = np.array([view.cameras.index(frame.camera) for frame in tick.frames], dtype=np.int64)
    frame, who = np.divmod(np.flatnonzero(~shown[:, camera].T), max(len(crowd), 1))
    boxes, shows = expected_boxes(crowd.mean[who, :2], seen_by, frame)
    boxes, frame, who = boxes[shows], frame[shows], who[shows]
    one, other = same_camera(frame, found.frame)
    mine, seen = boxes[one], found.boxes_px[other]
    low = mine[:, 1] + _BEHIND * mine[:, 3]
    hides = (covered(mine, seen) > _COVERED) & (seen[:, 1] + seen[:, 3] >= low)
    hidden = np.zeros(len(who), dtype=np.bool_)
    hidden[one[hides]] = True
    return who[~hidden]


def _rivals(crowd: Crowd, gate_m: float) -> Ints:
    """(N,) the row of the nearest older person in the same place, -1 where there is none."""
    reach = np.full(len(crowd), 0.5 * _SAME_PLACE * gate_m)
    row, other = near_pairs(crowd.mean[:, :2], crowd.mean[:, :2], reach, reach)
    older = (other < row) & (crowd.belief[other] > DOUBTED)
    row, other = row[older], other[older]
    apart = np.linalg.norm(crowd.mean[row, :2] - crowd.mean[other, :2], axis=1)
    nearest = np.full(len(crowd), -1, dtype=np.int64)
    order = np.lexsort((-other, -apart))
    nearest[row[order]] = other[order]
    return nearest
