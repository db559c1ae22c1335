"""YOLO and RT-DETR checkpoints of the ultralytics library, which is under AGPL-3.0 and no part of the base install."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from spoton.errors import ModelError
from spoton.vision.decoders import Reading, recognise
from spoton.vision.decoding import Decoding
from spoton.vision.halving import BatchLimit, out_of_memory
from spoton.vision.inference import Inference
from spoton.vision.preparation import Fit, Preparation
from spoton.vision.protocols import Detections, Picture
from spoton.vision.providers import first_line
from spoton.vision.recipes import person_among
from spoton.vision.torch_device import INSTALL, Forward, half, to_device, torch_device

LICENCE = "ultralytics and its weights are under AGPL-3.0: who offers a service with them must offer its source too"

log = structlog.get_logger("detection")


class UltralyticsDetector:
    """A ``.pt`` file of ultralytics, run as its own predictor does with ``rect=False``.

    what: path of the file; it holds Python objects that are run when it is opened, so take it from whom you trust.
    score_min: least score given out. overlap_max: as ultralytics' ``iou``. The licence is named in the log each time.

    Raises ModelError when the library is not installed, when the file is missing, damaged or no detector, or when the
    device cannot be used.
    """

    shared = True

    def __init__(
        self, what: str, *, score_min: float = 0.1, overlap_max: float = 0.6, inference: Inference | None = None
    ) -> None:
        inference = inference or Inference()
        path = Path(what).expanduser()
        if not path.is_file():
            raise ModelError(f"{path}: no such weights file", remedy="give the path of a .pt file that is there")
        # Else it would install what it misses by itself, and report on its use.
        os.environ.setdefault("YOLO_AUTOINSTALL", "false")
        os.environ.setdefault("YOLO_OFFLINE", "true")
        try:
            import ultralytics
        except ImportError as error:
            raise ModelError(f"{path} needs ultralytics (AGPL-3.0) and PyTorch", remedy=INSTALL) from error
        log.warning(LICENCE, detector=path.name)
        self.name = path.stem
        self.device = torch_device(inference)
        self.on_gpu = self.device.type == "cuda"
        self.limit = BatchLimit(self.name, inference.batch_max)
        try:
            opened = ultralytics.YOLO(str(path), verbose=False)
            model = opened.model.float().fuse(verbose=False).eval()
        except Exception as error:
            raise ModelError(
                f"{path}: not a readable checkpoint ({path.stat().st_size} bytes): {first_line(error)}",
                remedy="the file may be cut short; get it again",
            ) from error
        if opened.task != "detect":
            raise ModelError(f"{path}: made for the task {opened.task!r}", remedy="choose weights for detection")
        self._half = half(inference, self.device)
        self.model: Any = (model.half() if self._half else model).to(self.device)
        self._forward = Forward(self._outputs, self.device)
        self._decoding = self._recognised(path, isinstance(opened, ultralytics.RTDETR), score_min, overlap_max)
        self.preparation = self._decoding.preparation

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order, boxes within the frame and surest first.

        Raises ModelError when the network fails or gives NaN, InputError for an array that is no picture.
        """
        parts = self.limit.run(lambda start, end: self._detect(frames[start:end]), len(frames))
        return [found for part in parts for found in part]

    def _detect(self, frames: Sequence[Picture]) -> list[Detections]:
        table = self._run(self.preparation.batch(frames))
        return [self._decoding.people([row], *frame.shape[:2]) for row, frame in zip(table, frames, strict=True)]

    def _outputs(self, tensor: Any) -> Sequence[Any]:
        found = self.model(tensor)
        return (found[0] if isinstance(found, (tuple, list)) else found,)

    def _run(self, pictures: Any) -> Any:
        try:
            tensor = to_device(pictures, self.device)
            (table,) = self._forward(tensor.half() if self._half else tensor)
        except Exception as error:
            if out_of_memory(error):
                raise
            raise ModelError(
                f"{self.name}: the network failed: {first_line(error)}", remedy="choose other weights"
            ) from error
        if not np.isfinite(table).all():
            raise ModelError(
                f"{self.name}: the output holds NaN or infinity",
                remedy="the weights are damaged, or overflow in FP16: set precision = fp32",
            )
        return table

    def _recognised(self, path: Path, rtdetr: bool, score_min: float, overlap_max: float) -> Decoding:
        """How pictures go in and what comes out, from the checkpoint's own settings and a first run."""
        side = _side(self.model)
        fit: Fit = "stretch" if rtdetr else "centre"
        preparation = Preparation(side, side, fit, "rgb", std=(255.0, 255.0, 255.0))
        table = self._run(np.full((1, 3, side, side), 114 / 255, dtype=np.float32))
        if rtdetr:
            decoder = "ranked" if table.shape[2] == 6 else "rtdetr"
        else:
            decoder = recognise([table.shape], side, side) or ""
        person = person_among(getattr(self.model, "names", {}))
        if not decoder or person is None:
            problem = (
                f"no decoder knows an output of shape {list(table.shape)}" if not decoder else "has no class person"
            )
            raise ModelError(f"{path}: {problem}", remedy="choose other weights")
        return Decoding(decoder, preparation, Reading(side, side, person, score_min), overlap_max)


def _side(model: Any) -> int:
    """Side of the square input that the checkpoint was trained with, px."""
    args = getattr(model, "args", {})
    side = args.get("imgsz", 640) if isinstance(args, dict) else getattr(args, "imgsz", 640)
    return int(side if isinstance(side, (int, float)) else max(side))
