"""Which colours a person wears at which height: histograms of four overlapping stripes, weighted towards the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.protocols import Picture

STRIPES = 4
HUES, VALUES, GREYS = 12, 6, 8
BINS = HUES * VALUES + GREYS
_WIDTH, _HEIGHT, _BAND = 24, 60, 3
_COLOURED = 0.12
_SIDES = 0.36
"""Beyond this share of the width from the middle is background, most of it."""
_BACKGROUND = 0.3
_POWER = 0.4

Floats = NDArray[np.float32]


def worn_colours(crops: Sequence[Picture]) -> Floats:
    """(N, STRIPES * BINS) float32 rows of unit length, one per RGB crop; an empty crop gives the row of a black one.

    A row holds per stripe ``HUES`` bins of hue (0 is red, 4 green, 8 blue) times ``VALUES`` of brightness, followed by
    ``GREYS`` of brightness alone; a pixel counts as coloured as far as saturation and brightness let hue be known.
    Of each stripe a share of what its two sides show is taken away: that is background. A power is taken before the row
    gets unit length, so that large areas do not decide alone (Perronnin et al., ECCV 2010).
    """
    if len(crops) == 0:
        return np.zeros((0, STRIPES * BINS), dtype=np.float32)
    return of_small(np.stack([small(crop) for crop in crops]))


def small(crop: Picture) -> Picture:
    """A crop in the one size that colours are counted in; an empty one is black."""
    if crop.size == 0:
        return np.zeros((_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(crop, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def of_small(crops: NDArray[np.uint8]) -> Floats:
    """The rows of crops of the size that ``small`` gives, (N, height, width, 3), all in one go."""
    count = len(crops)
    # One tall picture: colours do not ask where they are.
    tall = crops.reshape(count * _HEIGHT, _WIDTH, 3).astype(np.float32) / 255.0
    hsv = cv2.cvtColor(tall, cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[:, :, 0] / 360.0, hsv[:, :, 1], hsv[:, :, 2]
    coloured = np.clip(saturation * value / _COLOURED, 0.0, 1.0) ** 2
    votes = [
        (hue_bin * VALUES + value_bin, hue_share * value_share * coloured)
        for hue_bin, hue_share in _nearest(hue, HUES, ring=True)
        for value_bin, value_share in _nearest(value, VALUES, ring=False)
    ]
    votes += [(HUES * VALUES + bin_, share * (1.0 - coloured)) for bin_, share in _nearest(value, GREYS, ring=False)]
    across = (np.arange(_WIDTH) + 0.5) / _WIDTH - 0.5
    person = _shares(votes, count, slice(None), np.exp(-0.5 * (across / 0.22) ** 2))
    sides = np.flatnonzero(np.abs(across) > _SIDES)
    around = _shares(votes, count, sides, np.ones(len(sides)))
    root = np.maximum(person - _BACKGROUND * around, 0.0).reshape(count, -1) ** _POWER
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True), dtype=np.float32)


def _nearest(position: NDArray[Any], bins: int, *, ring: bool) -> list[tuple[NDArray[np.intp], Floats]]:
    """The two nearest of ``bins`` of each position in [0, 1], and the share of each; hue closes to a ring."""
    along = position * (bins if ring else bins - 1)
    low = np.minimum(np.floor(along).astype(np.intp), bins - 1 if ring else bins - 2)
    part: Floats = along - low
    return [(low, 1.0 - part), ((low + 1) % bins, part)]


def _shares(votes: list[tuple[NDArray[np.intp], Floats]], count: int, columns: Any, weight: Any) -> NDArray[np.float64]:
    """(count, STRIPES, BINS): which share of each stripe, in these columns with this weight, has which colour."""
    bands = _HEIGHT // _BAND
    row = np.repeat(np.arange(count * bands), _BAND)[:, None] * BINS
    table = np.zeros(count * bands * BINS)
    for bin_, share in votes:
        bins, shares = row + bin_[:, columns], share[:, columns] * weight
        table += np.bincount(bins.ravel(), shares.ravel(), minlength=len(table))
    middle = (np.arange(bands) + 0.5) * STRIPES / bands
    reach = np.maximum(0.0, 1.0 - np.abs(middle - (np.arange(STRIPES) + 0.5)[:, None]))
    stripes = reach @ table.reshape(count, bands, BINS)
    total: NDArray[np.float64] = stripes / stripes.sum(axis=2, keepdims=True)
    return total
