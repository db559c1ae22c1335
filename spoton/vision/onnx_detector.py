"""People detectors in ONNX files, run with ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.decoders import DECODERS, NEEDS_NO_SUPPRESSION, Reading
from spoton.vision.inference import Inference
from spoton.vision.onnx_graph import Graph
from spoton.vision.protocols import Detections, Picture
from spoton.vision.recipes import detector_recipe


class OnnxDetector:
    """A PicoDet, YOLOX, YOLOv5-, YOLOv8- or RT-DETR-style export; serves all cameras in one batch.

    path: the weights; a TOML file beside them may describe them, see ``spoton.vision.recipes``.
    name: as shown to people; the file's stem when left out.
    score_min: least score that is given out, in [0, 1].
    overlap_max: of two boxes overlapping by more (intersection over union), the lower score goes.
    threads: of ONNX Runtime; None takes what ``inference`` says. inference: device, provider, memory and batch.

    Raises ModelError when the file is missing or damaged, or when no decoder knows its outputs.
    """

    shared = True

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        score_min: float = 0.1,
        overlap_max: float = 0.6,
        threads: int | None = None,
        inference: Inference | None = None,
    ) -> None:
        self.name = name or path.stem
        self.graph = Graph(path, threads=threads, inference=inference)
        self.limit = self.graph.limit
        recipe = detector_recipe(self.graph)
        self.preparation = recipe.preparation
        self._decode = DECODERS[recipe.decoder]
        self._overlap_max = 1.0 if recipe.decoder in NEEDS_NO_SUPPRESSION else overlap_max
        # One for each thread that detects: who writes into it uses it up before the next batch.
        self._rooms = threading.local()
        self._reading = Reading(
            recipe.preparation.width, recipe.preparation.height, recipe.person, score_min, recipe.raw_grid
        )

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order, boxes within the frame and surest first.

        Raises ModelError when the graph fails or gives NaN, InputError for an array that is no picture.
        """
        found: list[Detections] = []
        for start in range(0, len(frames), self.limit.most):
            some = frames[start : start + self.limit.most]
            outputs = self.graph.run(self.preparation.batch(some, self._room(len(some))))
            found += [self._people([output[row] for output in outputs], frame) for row, frame in enumerate(some)]
        return found

    def _room(self, count: int) -> NDArray[np.float32]:
        """Where pictures are prepared, kept from one batch to the next: fresh memory costs as much as the work."""
        room: NDArray[np.float32] | None = getattr(self._rooms, "tensors", None)
        if room is None or len(room) < count:
            room = self._rooms.tensors = self.preparation.empty(count)
        return room[:count]

    def _people(self, outputs: list[NDArray[np.float32]], frame: Picture) -> Detections:
        corners_px, scores = self._decode(outputs, self._reading)
        boxes_px = self.preparation.to_picture(corners_px, *frame.shape[:2])
        visible = (boxes_px[:, 2] >= 1.0) & (boxes_px[:, 3] >= 1.0)
        return suppress(boxes_px[visible], np.clip(scores[visible], 0.0, 1.0), self._overlap_max)


def suppress(boxes_px: NDArray[np.float64], scores: NDArray[np.float64], overlap_max: float) -> Detections:
    """Greedy non-maximum suppression of (N, 4) left, top, width, height boxes; what stays, surest first."""
    if len(scores) == 0:
        return Detections.none()
    keep = np.asarray(cv2.dnn.NMSBoxes(boxes_px.tolist(), scores.tolist(), 0.0, overlap_max), dtype=np.intp)
    return Detections(boxes_px[keep.reshape(-1)], scores[keep.reshape(-1)])
