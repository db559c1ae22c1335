"""People detectors in ONNX files, run with ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.vision.decoders import Reading
from spoton.vision.decoding import Decoding
from spoton.vision.device_picture import DevicePicture
from spoton.vision.device_preparation import DevicePreparation
from spoton.vision.inference import Inference
from spoton.vision.jpegs import DeviceJpegs
from spoton.vision.onnx_graph import Graph
from spoton.vision.protocols import Detections, Picture
from spoton.vision.recipes import detector_recipe
from spoton.vision.torch_device import device_jpegs


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
        self.on_gpu = self.graph.on_gpu
        recipe = detector_recipe(self.graph)
        self.preparation = recipe.preparation
        self.jpegs: DeviceJpegs | None = None
        self._on_device: DevicePreparation | None = None
        if self.on_gpu:
            self._use_device(inference or Inference())
        # One for each thread that detects: who writes into it uses it up before the next batch.
        self._rooms = threading.local()
        reading = Reading(
            recipe.preparation.width, recipe.preparation.height, recipe.person, score_min, recipe.raw_grid
        )
        self._decoding = Decoding(recipe.decoder, recipe.preparation, reading, overlap_max)

    def _use_device(self, inference: Inference) -> None:
        """Decode and prepare pictures on the GPU where PyTorch can use it."""
        try:
            import torch
        except ImportError:
            return
        if torch.cuda.is_available():
            device = torch.device("cuda", inference.gpu)
            self._on_device = DevicePreparation(self.preparation, device)
            self.jpegs = device_jpegs(inference, device)

    def detect(self, frames: Sequence[Picture | DevicePicture]) -> list[Detections]:
        """One ``Detections`` per frame, in order, boxes within the frame and surest first.

        Raises ModelError when the graph fails or gives NaN, InputError for an array that is no picture.
        """
        found: list[Detections] = []
        for start in range(0, len(frames), self.limit.most):
            some = frames[start : start + self.limit.most]
            outputs = self.graph.run(self._prepared(some))
            found += [
                self._decoding.people([output[row] for output in outputs], *frame.shape[:2])
                for row, frame in enumerate(some)
            ]
        return found

    def _prepared(self, frames: Sequence[Any]) -> Any:
        if self._on_device is not None:
            return self._on_device.batch(frames)
        return self.preparation.batch(frames, self._room(len(frames)))

    def _room(self, count: int) -> NDArray[np.float32]:
        """Where pictures are prepared, kept from one batch to the next: fresh memory costs as much as the work."""
        room: NDArray[np.float32] | None = getattr(self._rooms, "tensors", None)
        if room is None or len(room) < count:
            room = self._rooms.tensors = self.preparation.empty(count)
        return room[:count]
