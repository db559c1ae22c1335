"""RT-DETR and RT-DETRv2 (Apache-2.0; arXiv:2304.08069, arXiv:2407.17140) with the transformers library."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from spoton.errors import InputError, ModelError
from spoton.vision.device_picture import DevicePicture
from spoton.vision.device_preparation import planes_on
from spoton.vision.halving import BatchLimit, out_of_memory
from spoton.vision.inference import Inference
from spoton.vision.protocols import Detections, Picture
from spoton.vision.recipes import person_among
from spoton.vision.torch_device import INSTALL, Forward, device_jpegs, half, torch_device

_FAMILIES = ("rt_detr", "rt_detr_v2")


class TransformersDetector:
    """An RT-DETR checkpoint; pictures are prepared and boxes read by the library's own image processor.

    what: a folder that ``save_pretrained`` wrote, or a name on the model hub. score_min: least score given out.

    Raises ModelError when the library is not installed, when there is no readable checkpoint of these families, or
    when the device cannot be used.
    """

    shared = True

    def __init__(self, what: str, *, score_min: float = 0.1, inference: Inference | None = None) -> None:
        inference = inference or Inference()
        try:
            import transformers
        except ImportError as error:
            raise ModelError(f"transformers:{what} needs transformers and PyTorch", remedy=INSTALL) from error
        transformers.utils.logging.disable_progress_bar()
        self.device = torch_device(inference)
        self.on_gpu = self.device.type == "cuda"
        self.jpegs = device_jpegs(inference, self.device)
        self.name = Path(what).name
        self._score_min = score_min
        self.limit = BatchLimit(self.name, inference.batch_max)
        try:
            config = transformers.AutoConfig.from_pretrained(what)
            if config.model_type not in _FAMILIES:
                raise ModelError(
                    f"transformers:{what} is a {config.model_type}", remedy=f"choose one of {', '.join(_FAMILIES)}"
                )
            model = transformers.AutoModelForObjectDetection.from_pretrained(what)
            self.processor = _processor(what)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"transformers:{what}: no readable checkpoint: {_one_line(error)}",
                remedy="give the folder or the hub's name of an RT-DETR checkpoint; a download may be cut short",
            ) from error
        person = person_among(dict(config.id2label))
        if person is None:
            names = ", ".join(map(str, config.id2label.values()))
            raise ModelError(f"transformers:{what}: no class is named person among {names}", remedy="choose another")
        self._person = person
        self.model: Any = model.eval().to(self.device)
        self._half = half(inference, self.device)
        if self._half:
            self.model = self.model.half()
        self._forward = Forward(self._outputs, self.device)

    def detect(self, frames: Sequence[Picture | DevicePicture]) -> list[Detections]:
        """One ``Detections`` per frame, in order, boxes within the frame and surest first.

        Raises ModelError when the network fails or gives NaN, InputError for an array that is no picture.
        """
        parts = self.limit.run(lambda start, end: self._detect(frames[start:end]), len(frames))
        return [found for part in parts for found in part]

    def tensors(self, pictures: Sequence[Picture | DevicePicture]) -> Any:
        """(N, 3, height, width) float32 of RGB pictures, resized on the device where the network runs."""
        planes = [planes_on(self.device, picture) for picture in pictures]
        return self.processor(images=planes, return_tensors="pt", input_data_format="channels_first")["pixel_values"]

    def _outputs(self, tensor: Any) -> Sequence[Any]:
        found = self.model(pixel_values=tensor)
        return found.logits, found.pred_boxes

    def _detect(self, pictures: Sequence[Picture | DevicePicture]) -> list[Detections]:
        import torch

        try:
            tensor = self.tensors(pictures)
            logits, boxes = self._forward(tensor.half() if self._half else tensor)
        except InputError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise ModelError(
                f"{self.name}: the network failed: {_one_line(error)}", remedy="choose other weights"
            ) from error
        if not (np.isfinite(logits).all() and np.isfinite(boxes).all()):
            raise ModelError(
                f"{self.name}: the outputs hold NaN or infinity",
                remedy="the weights are damaged, or overflow in FP16: set precision = fp32",
            )
        read = self.processor.post_process_object_detection(
            SimpleNamespace(logits=torch.from_numpy(logits), pred_boxes=torch.from_numpy(boxes)),
            threshold=self._score_min,
            target_sizes=[picture.shape[:2] for picture in pictures],
        )
        return [self._people(each, picture) for each, picture in zip(read, pictures, strict=True)]

    def _people(self, read: dict[str, Any], picture: Picture | DevicePicture) -> Detections:
        height_px, width_px = picture.shape[:2]
        person = read["labels"].numpy() == self._person
        corners = read["boxes"].numpy().astype(np.float64)[person].reshape(-1, 2, 2)
        corners = np.clip(corners, 0.0, (width_px, height_px))
        boxes_px = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1)
        visible = (boxes_px[:, 2] >= 1.0) & (boxes_px[:, 3] >= 1.0)
        return Detections(boxes_px[visible], read["scores"].numpy().astype(np.float64)[person][visible])


def _processor(what: str) -> Any:
    """The checkpoint's own; RT-DETR's published settings where it has none."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return transformers.RTDetrImageProcessor.from_pretrained(what)
        except OSError:
            return transformers.RTDetrImageProcessor()


def _one_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
