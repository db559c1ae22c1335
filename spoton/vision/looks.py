"""What people in a picture look like, taken where it is worth it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from spoton import tracks
from spoton.glances import Verdict
from spoton.site import Thresholds
from spoton.vision.device_picture import DevicePicture
from spoton.vision.protocols import Embedder, Picture
from spoton.vision.sharpness import LEAST_SHARPNESS, sharpness


@dataclass(frozen=True, slots=True)
class Tally:
    """How many boxes were looked at, and why the others were not.

    taken: a look was taken; known: of somebody whose last look is fresh and no worse; small, covered, cut, blurred: the
    view was not good enough. An embedder that takes every confident box of every frame takes all of these.
    """

    taken: int = 0
    known: int = 0
    small: int = 0
    covered: int = 0
    cut: int = 0
    blurred: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: count + getattr(other, name) for name, count in self.counts().items()})

    def counts(self) -> Mapping[str, int]:
        """Boxes by what became of them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def boxes(self) -> int:
        """All confident boxes."""
        return sum(self.counts().values())

    @property
    def saved(self) -> float | None:
        """Share in [0, 1] of confident boxes that no look was taken of; None before the first box."""
        return 1.0 - self.taken / self.boxes if self.boxes else None

    def __str__(self) -> str:
        if self.saved is None:
            return "nobody to look at"
        why = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count and name != "taken")
        return f"{self.taken} of {self.boxes} boxes looked at, {self.saved:.1%} saved" + (f" ({why})" if why else "")


def with_looks(
    seen: tracks.FrameSeen,
    picture: Picture | DevicePicture,
    state: tracks.State,
    thresholds: Thresholds,
    embedder: Embedder,
) -> tuple[tracks.FrameSeen, Tally]:
    """The frame with the looks that its camera's state has use for, as float16, and what became of its boxes.

    Raises ModelError when the embedder fails.
    """
    verdict = tracks.looks_worth(state, seen, thresholds)
    rows = np.flatnonzero(verdict == Verdict.TAKEN)
    crops = [crop(picture, seen.boxes_px[row]) for row in rows]
    blurred = sharpness(crops) < LEAST_SHARPNESS
    verdict[rows[blurred]] = Verdict.BLURRED
    rows, crops = rows[~blurred], [one for one, bad in zip(crops, blurred.tolist(), strict=True) if not bad]
    looks = embedder.embed(crops).astype("<f2")
    data = {int(row): look.tobytes() for row, look in zip(rows, looks, strict=True)}
    return replace(seen, model=embedder.name, looks=data), tally(verdict)


def tally(verdict: NDArray[np.int8]) -> Tally:
    """The boxes of one frame, by ``glances.Verdict``."""
    counts = np.bincount(verdict, minlength=len(Verdict)).tolist()
    return Tally(**{one.name.lower(): counts[one] for one in Verdict if one is not Verdict.DOUBTFUL})


def crop(picture: Picture | DevicePicture, box_px: NDArray[np.float64]) -> Picture:
    """The part of a picture inside a box (left, top, width, height), at least one pixel; a view where it can be."""
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(box_px[:2]).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(box_px[:2] + box_px[2:]).astype(int), (left + 1, top + 1), (width, height))
    return picture[top:bottom, left:right]
