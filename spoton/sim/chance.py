"""Chance without state: the same keys give the same numbers, whoever asks, in whatever order.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over the keys, so that thousands of walkers draw at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(*keys: ArrayLike) -> Floats:
    """Numbers in [0, 1), one per place of the integer ``keys`` broadcast against each other (at least one axis)."""
    word: Words = np.zeros(1, dtype=np.uint64)
    for key in keys:
        word = _mixed((word ^ np.asarray(key, dtype=np.int64).astype(np.uint64)) + _GOLDEN)
    return np.asarray((word >> np.uint64(11)) * 2.0**-53)


def normal(*keys: ArrayLike) -> Floats:
    """Standard normal numbers by the same keys (Box and Muller, 1958)."""
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(*keys, 0)))
    return np.asarray(radius * np.cos(2 * np.pi * uniform(*keys, 1)))


def _mixed(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))
