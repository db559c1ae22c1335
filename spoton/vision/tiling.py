"""Large pictures in overlapping tiles, so that small people are not lost when a network shrinks its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.vision.decoding import suppress
from spoton.vision.halving import BatchLimit
from spoton.vision.protocols import Detections, Detector, Picture

_CUT_MARGIN_PX = 2.0
_CONTAINED = 0.75


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


class TiledDetector:
    """Runs another detector on a picture's tiles and on the whole picture, and merges what they find.

    detector: one without memory (``shared``). tile_px: width and height of a tile; a picture no larger than that is
    not cut. overlap: share of a tile that its neighbour sees too, in [0, 0.9]; at least a person's height is wise.

    A person whom an inner edge of a tile cuts is dropped there: the neighbour or the whole picture has them.
    """

    shared = True

    def __init__(
        self,
        detector: Detector,
        *,
        tile_px: tuple[int, int] = (640, 640),
        overlap: float = 0.25,
        overlap_max: float = 0.6,
    ) -> None:
        if not detector.shared:
            raise InputError(f"{detector.name} remembers what it saw", remedy="tile a detector that does not")
        if not 0.0 <= overlap <= 0.9 or min(tile_px) < 32:
            raise InputError(
                f"tile_px = {tile_px}, overlap = {overlap}", remedy="tiles of at least 32 px, overlap from 0 to 0.9"
            )
        self.name = f"{detector.name} in tiles"
        self.limit: BatchLimit | None = getattr(detector, "limit", None)
        self.on_gpu: bool = getattr(detector, "on_gpu", False)
        self._detector = detector
        self._tile_px = tile_px
        self._overlap = overlap
        self._overlap_max = overlap_max

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order, surest first; raises what the detector inside raises."""
        tiles = [self._tiles(frame) for frame in frames]
        parts = [
            frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
            for frame, cut in zip(frames, tiles, strict=True)
            for tile in cut
        ]
        found = iter(self._detector.detect(parts))
        return [
            self._merged([(tile, next(found)) for tile in cut], frame) for frame, cut in zip(frames, tiles, strict=True)
        ]

    def _tiles(self, frame: Picture) -> list[Tile]:
        """The whole picture first, then its tiles row by row."""
        height, width = frame.shape[:2]
        whole = Tile(0, 0, width, height)
        tile_width, tile_height = self._tile_px
        if width <= tile_width and height <= tile_height:
            return [whole]
        tops = list(_starts(height, tile_height, self._overlap))
        lefts = list(_starts(width, tile_width, self._overlap))
        return [whole] + [
            Tile(left, top, min(tile_width, width), min(tile_height, height)) for top in tops for left in lefts
        ]

    def _merged(self, parts: list[tuple[Tile, Detections]], frame: Picture) -> Detections:
        height, width = frame.shape[:2]
        boxes, scores = [], []
        for tile, found in parts:
            keep = ~_cut(found.boxes_px, tile, width, height)
            boxes.append(found.boxes_px[keep] + (tile.left, tile.top, 0, 0))
            scores.append(found.scores[keep])
        merged = suppress(np.concatenate(boxes), np.concatenate(scores), self._overlap_max)
        return _without_parts(merged) if len(parts) > 1 else merged


def _starts(side: int, tile: int, overlap: float) -> Iterator[int]:
    """Where tiles begin so that they cover the side evenly."""
    if side <= tile:
        yield 0
        return
    count = int(np.ceil((side - tile) / (tile * (1.0 - overlap)))) + 1
    for index in range(count):
        yield round(index * (side - tile) / (count - 1))


def _cut(boxes_px: NDArray[np.float64], tile: Tile, width: int, height: int) -> NDArray[np.bool_]:
    """(N,) whether a box in tile pixels touches an edge of the tile that is no edge of the picture."""
    left, top = boxes_px[:, 0] < _CUT_MARGIN_PX, boxes_px[:, 1] < _CUT_MARGIN_PX
    right = boxes_px[:, 0] + boxes_px[:, 2] > tile.width - _CUT_MARGIN_PX
    bottom = boxes_px[:, 1] + boxes_px[:, 3] > tile.height - _CUT_MARGIN_PX
    return np.asarray(
        (left & (tile.left > 0))
        | (top & (tile.top > 0))
        | (right & (tile.left + tile.width < width))
        | (bottom & (tile.top + tile.height < height))
    )


def _without_parts(found: Detections) -> Detections:
    """Boxes that lie almost wholly in a larger and surer one of similar width go: halves of people."""
    boxes = found.boxes_px
    keep = np.ones(len(found), dtype=bool)
    for row in range(1, len(found)):
        surer = boxes[:row][keep[:row]]
        low = np.maximum(surer[:, :2], boxes[row, :2])
        high = np.minimum(surer[:, :2] + surer[:, 2:], boxes[row, :2] + boxes[row, 2:])
        shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
        area = boxes[row, 2] * boxes[row, 3]
        larger = surer[:, 2] * surer[:, 3] > area
        alike = surer[:, 2] < 1.6 * boxes[row, 2]
        keep[row] = not np.any(larger & alike & (shared > _CONTAINED * area))
    return Detections(boxes[keep], found.scores[keep])
