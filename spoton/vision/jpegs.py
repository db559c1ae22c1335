"""JPEG to pictures: on the host with OpenCV, or with TorchCodec on the device where a network runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import structlog

from spoton.errors import ModelError
from spoton.vision.device_picture import DevicePicture
from spoton.vision.protocols import Picture
from spoton.vision.providers import first_line

log = structlog.get_logger("detection")


class DeviceJpegs:
    """Decodes JPEGs on a device: on a GPU a batch at once, with nvJPEG.

    refused: how many pictures the device did not take, which OpenCV was given instead; the first one is in the log.
    Raises ModelError when TorchCodec is missing or does not fit PyTorch.
    """

    def __init__(self, device: Any) -> None:
        try:
            import torch
            from torchcodec.decoders import decode_jpeg
        except (ImportError, OSError, RuntimeError) as error:
            raise ModelError(
                f"decoding pictures on the GPU needs TorchCodec: {first_line(error)}",
                remedy="pip install 'torchcodec>=0.17', of the version that fits PyTorch",
            ) from error
        self._decode = decode_jpeg
        self._device = torch.device(device)
        # nvJPEG's hardware decoder writes without waiting for what its stream was given before, also into memory that
        # was freed on that stream and is still being read there. On a stream of their own pictures get no such memory.
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._lock = threading.Lock()
        self.refused = 0

    def pictures(self, jpegs: Sequence[bytes]) -> list[DevicePicture | Picture | None]:
        """One for each JPEG, in order; None for what OpenCV cannot decode either.

        A batch with a picture that the device refuses is decoded one by one.
        """
        try:
            return [*self._on_device(jpegs)]
        except (RuntimeError, ValueError) as error:
            if len(jpegs) > 1:
                return [one for jpeg in jpegs for one in self.pictures([jpeg])]
            self._refuse(error)
            return [decoded(jpegs[0])]

    def _on_device(self, jpegs: Sequence[bytes]) -> list[DevicePicture]:
        if not jpegs:
            return []
        if self._stream is None:
            return [DevicePicture(one) for one in self._decode(list(jpegs), mode="RGB", device=self._device)]
        import torch

        reads = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            planes = self._decode(list(jpegs), mode="RGB", device=self._device)
        reads.wait_stream(self._stream)
        for one in planes:
            # Freed, its memory is not written into before those who read it are done.
            one.record_stream(reads)
        return [DevicePicture(one) for one in planes]

    def _refuse(self, error: Exception) -> None:
        with self._lock:
            self.refused += 1
            first = self.refused == 1
        if first:
            log.warning("a picture is decoded on the CPU, the GPU does not take it", reason=first_line(error))


def decoded(jpeg: bytes) -> Picture | None:
    """The picture, decoded with OpenCV; None where it cannot be."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
