"""What people in a picture look like, taken where it is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spoton import tracks
from spoton.site import Thresholds
from spoton.vision.protocols import Embedder, Picture


def with_looks(
    seen: tracks.FrameSeen, picture: Picture, state: tracks.State, thresholds: Thresholds, embedder: Embedder
) -> tracks.FrameSeen:
    """The frame with the looks that its camera's state has use for, as float16."""
    rows = tracks.rows_to_embed(state, seen, thresholds)
    looks = embedder.embed([crop(picture, seen.boxes_px[row]) for row in rows]).astype("<f2")
    return replace(
        seen, model=embedder.name, looks={int(row): look.tobytes() for row, look in zip(rows, looks, strict=True)}
    )


def crop(picture: Picture, box_px: NDArray[np.float64]) -> Picture:
    """The part of a picture inside a box (left, top, width, height), at least one pixel; a view, not a copy."""
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(box_px[:2]).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(box_px[:2] + box_px[2:]).astype(int), (left + 1, top + 1), (width, height))
    return picture[top:bottom, left:right]
