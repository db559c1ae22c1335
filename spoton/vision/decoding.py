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
        scores = np.clip(scores, 0.0, 1.0)
        if self.decoder in NEEDS_NO_SUPPRESSION:
            keep = np.argsort(-scores, kind="stable")
        else:
            # Before boxes are cut to the picture, as the references do: cut, two that reach far out would be one.
            keep = _kept(
                np.concatenate([corners_px[:, :2], corners_px[:, 2:] - corners_px[:, :2]], axis=1),
                scores,
                self.overlap_max,
            )
        boxes_px, scores = self.preparation.to_picture(corners_px[keep], height_px, width_px), scores[keep]
        visible = (boxes_px[:, 2] >= 1.0) & (boxes_px[:, 3] >= 1.0)
        return Detections(boxes_px[visible], scores[visible])


def suppress(boxes_px: NDArray[np.float64], scores: NDArray[np.float64], overlap_max: float) -> Detections:
    """Greedy non-maximum suppression of (N, 4) left, top, width, height boxes; what stays, surest first."""
    keep = _kept(boxes_px, scores, overlap_max)
    return Detections(boxes_px[keep], scores[keep])


def _kept(boxes_px: NDArray[np.float64], scores: NDArray[np.float64], overlap_max: float) -> NDArray[np.intp]:
    """Rows that stay, surest first."""
    if len(scores) == 0:
        return np.zeros(0, dtype=np.intp)
    return np.asarray(cv2.dnn.NMSBoxes(boxes_px.tolist(), scores.tolist(), 0.0, overlap_max), dtype=np.intp).reshape(-1)
