"""The detector that needs no weights: what moves before a fixed camera, cut into people."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from spoton.vision.background import Background, Foreground
from spoton.vision.decoding import suppress
from spoton.vision.figure_score import FigureScore
from spoton.vision.person_size import PersonSize, Standing
from spoton.vision.preparation import as_rgb
from spoton.vision.protocols import Detections, Picture
from spoton.vision.silhouettes import Figure, figures

_OVERLAP_MAX = 0.6
_YOUNG_S = 3.0
_LEAST_SIDE_PX = 16


class BuiltinDetector:
    """Finds people by background subtraction; one instance per fixed camera, frames in order.

    standing_px: how people appear, from the floor calibration, as ``FloorView.standing_px``; without it their height is
    learnt from those who walk alone.
    fps: frames per second that come in.
    working_side_px: larger pictures are shrunk to this longer side; people should keep some 30 px.
    """

    name = "built-in"
    shared = False

    def __init__(
        self, *, standing_px: Standing | None = None, fps: float = 10.0, working_side_px: int = 480
    ) -> None:
        self._expected = standing_px
        self._working_side_px = working_side_px
        self._background = Background(fps=fps)
        self._size: PersonSize | None = None
        self._shape: tuple[int, ...] = ()

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order; every frame teaches the background.

        Raises InputError for an array that is no picture.
        """
        return [self._people(as_rgb(frame)) for frame in frames]

    def _people(self, frame: Picture) -> Detections:
        scale = min(1.0, self._working_side_px / max(frame.shape[:2]))
        if scale * min(frame.shape[:2]) < _LEAST_SIDE_PX:
            return Detections.none()
        small = frame
        if scale < 1.0:
            how = cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA
            small = np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=how), dtype=np.uint8)
        if self._size is None or frame.shape != self._shape:
            self._shape, self._size = frame.shape, PersonSize(small.shape[1::-1], self._scaled(scale))
        seen = self._background.foreground(small)
        people = cv2.morphologyEx(seen.people, cv2.MORPH_OPEN, np.ones((3, 1), np.uint8))
        people = cv2.morphologyEx(people, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        found = figures(people, cv2.bitwise_or(seen.people, seen.shaded), self._size)
        if self._background.age_s < _YOUNG_S:
            found = [figure for figure in found if not self._left(figure)]
        self._learn(found, small)
        return self._detections(found, seen, scale, frame)

    def _scaled(self, scale: float) -> Standing | None:
        expected = self._expected
        if expected is None or scale == 1.0:
            return expected
        return lambda feet_px: expected(feet_px / scale) * scale

    def _left(self, figure: Figure) -> bool:
        """Whether a figure is only the place where somebody stood when the camera started."""
        rows = slice(max(0, int(figure.top) - 3), int(figure.foot_y) + 4)
        columns = slice(max(0, int(figure.left) - 3), int(figure.left + figure.width) + 4)
        return self._background.is_ghost(rows, columns)

    def _learn(self, found: list[Figure], small: Picture) -> None:
        height, width = small.shape[:2]
        assert self._size is not None
        for figure in found:
            inside = figure.left > 2 and figure.top > 2 and figure.left + figure.width < width - 2
            if figure.alone and inside and figure.foot_y < height - 2:
                self._size.saw(figure.width, figure.height, figure.foot_y)

    def _detections(self, found: list[Figure], seen: Foreground, scale: float, frame: Picture) -> Detections:
        if not found:
            return Detections.none()
        assert self._size is not None
        scores = FigureScore(seen, self._size)(found)
        boxes = np.array([[each.left, each.top, each.width, each.height] for each in found]) / scale
        low = np.clip(boxes[:, :2], 0.0, frame.shape[1::-1])
        high = np.clip(boxes[:, :2] + boxes[:, 2:], 0.0, frame.shape[1::-1])
        return suppress(np.concatenate([low, high - low], axis=1), scores, _OVERLAP_MAX)
