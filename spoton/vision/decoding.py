"""From what a network put out for one picture to the people in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.decoders import DECODERS, NEEDS_NO_SUPPRESSION, Reading
from spoton.vision.preparation import Preparation
from spoton.vision.protocols import Detections


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the outputs of one network are read.

    decoder: a name of ``DECODERS``. overlap_max: of two boxes overlapping by more (intersection over union), the lower
    score goes; decoders whose networks do that by themselves are left as they are.
    """

    decoder: str
    preparation: Preparation
    reading: Reading
    overlap_max: float = 0.6

    def people(self, outputs: Sequence[NDArray[np.float32]], height_px: int, width_px: int) -> Detections:
        """Who is in a picture of that size; outputs: each without its batch side. Surest first, within the picture."""
        corners_px, scores = DECODERS[self.decoder](outputs, self.reading)
        boxes_px = self.preparation.to_picture(corners_px, height_px, width_px)
        visible = (boxes_px[:, 2] >= 1.0) & (boxes_px[:, 3] >= 1.0)
        boxes_px, scores = boxes_px[visible], np.clip(scores[visible], 0.0, 1.0)
        if self.decoder in NEEDS_NO_SUPPRESSION:
            order = np.argsort(-scores, kind="stable")
            return Detections(boxes_px[order], scores[order])
        return suppress(boxes_px, scores, self.overlap_max)


def suppress(boxes_px: NDArray[np.float64], scores: NDArray[np.float64], overlap_max: float) -> Detections:
    """Greedy non-maximum suppression of (N, 4) left, top, width, height boxes; what stays, surest first."""
    if len(scores) == 0:
        return Detections.none()
    keep = np.asarray(cv2.dnn.NMSBoxes(boxes_px.tolist(), scores.tolist(), 0.0, overlap_max), dtype=np.intp)
    return Detections(boxes_px[keep.reshape(-1)], scores[keep.reshape(-1)])
