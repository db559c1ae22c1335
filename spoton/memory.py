"""Who has left, when and where: so that whoever comes back can be the same person again."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 128
"""So many are remembered, those who left last."""
KEEP_US = 3_600_000_000
"""For an hour: people change their clothes, and with every person remembered a mistake becomes more likely."""


class Memory(msgspec.Struct, frozen=True):
    """K people who left, by number: number (K,), left_us (K,) when seen last, place_m (K, 2) where, camera (K,) by
    which, as its name.
    """

    number: Ints
    left_us: Ints
    place_m: Floats
    camera: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.number)


def nobody() -> Memory:
    """Nobody has left yet."""
    none = np.zeros(0, dtype=np.int64)
    return Memory(none, none, np.zeros((0, 2)))


def remembered(memory: Memory, number: int, at_us: int, place_m: Floats, camera: str) -> Memory:
    """With one more who left, last seen ``at_us`` at ``place_m`` (2,) by ``camera``."""
    keep = (memory.left_us > at_us - KEEP_US) & (memory.number != number)
    keep &= np.cumsum(keep[::-1])[::-1] < MOST
    return Memory(
        np.append(memory.number[keep], number),
        np.append(memory.left_us[keep], at_us),
        np.concatenate([memory.place_m[keep], place_m[None, :2]]),
        (*_where(memory.camera, keep), camera),
    )


def without(memory: Memory, number: int) -> Memory:
    """Without somebody who is back, or turned out to be another."""
    keep = memory.number != number
    if keep.all():
        return memory
    return Memory(memory.number[keep], memory.left_us[keep], memory.place_m[keep], _where(memory.camera, keep))


def _where(names: tuple[str, ...], keep: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, stays in zip(names, keep.tolist(), strict=True) if stays)
