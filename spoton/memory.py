"""Who has left, and what they looked like: so that whoever comes back is the same person again.

Open-set re-identification: most who come are new, so the nearest look is not enough. It must be near, clearly nearer
than that of everybody else who left (the ratio test of Lowe 2004, as a difference), and the way from where that person
was seen last must be walkable in the time that has passed.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton.bindings import Gallery, no_looks, relooked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Halves = NDArray[np.float16]

MOST = 256
"""So many are remembered, those who left last."""
KEEP_US = 3_600_000_000
"""For an hour: people change their clothes, and with every person remembered a mistake becomes more likely."""
WALK_M_S = 2.5
"""Nobody is expected to come faster than this from where they were seen last."""
MARGIN = 0.3
"""By so much of the gate everybody else must look more different than the one recalled."""
_MOST_LOOKS = 4


class Memory(msgspec.Struct, frozen=True):
    """K people who left, by number: number (K,), left_us (K,) when seen last, place_m (K, 2) where.

    looks: one per person and camera, ``owner`` is the number. back: numbers of those who are there again.
    """

    number: Ints
    left_us: Ints
    place_m: Floats
    looks: Gallery
    back: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.number)


def nobody() -> Memory:
    """Nobody has left yet."""
    integers = np.zeros(0, dtype=np.int64)
    return Memory(integers, integers, np.zeros((0, 2)), no_looks())


def of_cameras(memory: Memory, before: tuple[str, ...], after: tuple[str, ...]) -> Memory:
    """The same for another set of cameras: looks to cameras that went away are forgotten."""
    changed: Memory = msgspec.structs.replace(memory, looks=relooked(memory.looks, before, after))
    return changed


def remembered(memory: Memory, number: int, at_us: int, place_m: Floats, gallery: Gallery, uid: int) -> Memory:
    """With one more who left, last seen ``at_us`` at ``place_m`` (2,), and looks like ``uid`` in the gallery."""
    rows = np.flatnonzero(gallery.owner == uid)[:_MOST_LOOKS]
    if not len(rows):
        back = tuple(one for one in memory.back if one != number)
        changed: Memory = msgspec.structs.replace(memory, back=back)
        return changed
    if memory.looks.model != gallery.model:
        # Another embedder's looks cannot be compared: what it knew is of no use any more.
        memory = nobody()
    keep = memory.left_us > at_us - KEEP_US
    keep[: max(0, len(memory) - MOST + 1)] = False
    known = memory.number[keep]
    stays = np.isin(memory.looks.owner, known)
    looks, back = memory.looks, tuple(one for one in memory.back if one != number)
    before = looks.look[stays] if len(looks.owner) else np.zeros((0, gallery.look.shape[1]), dtype=np.float16)
    return Memory(
        np.append(known, number),
        np.append(memory.left_us[keep], at_us),
        np.concatenate([memory.place_m[keep], place_m[None, :2]]),
        Gallery(
            np.concatenate([looks.owner[stays], np.full(len(rows), number, dtype=np.int64)]),
            np.concatenate([looks.camera[stays], gallery.camera[rows]]),
            np.concatenate([before, gallery.look[rows]]),
            gallery.model,
        ),
        back,
    )


def without(memory: Memory, number: int) -> Memory:
    """Without somebody who turned out to be another."""
    if number not in memory.number:
        return memory
    back = memory.back
    changed: Memory = msgspec.structs.replace(forgotten(memory, number), back=back)
    return changed


def forgotten(memory: Memory, number: int) -> Memory:
    """Without somebody who is back."""
    keep, stays = memory.number != number, memory.looks.owner != number
    looks = memory.looks
    return Memory(
        memory.number[keep], memory.left_us[keep], memory.place_m[keep],
        Gallery(looks.owner[stays], looks.camera[stays], looks.look[stays], looks.model),
        (*memory.back, number)[-MOST:],
    )  # fmt: skip


def recalled(
    memory: Memory, gallery: Gallery, uid: int, at_us: int, place_m: Floats, gate: float
) -> tuple[int, float] | None:
    """Who of those who left ``uid`` is, by number, and the cosine distance of their looks; None: nobody for sure.

    at_us, place_m (2,): when and where ``uid`` was seen first. gate: greatest cosine distance.
    """
    if gate <= 0.0:
        return None
    own = gallery.look[gallery.owner == uid].astype(np.float64)
    if not len(own) or not len(memory) or gallery.model != memory.looks.model:
        return None
    apart = 1.0 - memory.looks.look.astype(np.float64) @ own.T
    order = np.argsort(memory.number, kind="stable")
    at = order[np.searchsorted(memory.number[order], memory.looks.owner)]
    nearest = np.full(len(memory), np.inf)
    np.minimum.at(nearest, at, apart.min(axis=1))
    gap_s = (at_us - memory.left_us) / 1e6
    walked = np.hypot(*(memory.place_m - place_m[:2]).T) <= WALK_M_S * gap_s
    best = int(np.argmin(np.where(walked, nearest, np.inf)))
    others = np.delete(nearest, best)
    if not walked[best] or nearest[best] > gate or (len(others) and others.min() < nearest[best] + MARGIN * gate):
        return None
    return int(memory.number[best]), float(nearest[best])
