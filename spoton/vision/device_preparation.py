"""The same preparation as ``spoton.vision.preparation``, computed with PyTorch where the network runs.

A GPU resizes and normalises faster than the host does, and only bytes cross the bus: a quarter of what floats take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spoton.errors import ModelError
from spoton.vision.device_picture import DevicePicture
from spoton.vision.preparation import Preparation, as_rgb
from spoton.vision.protocols import Picture
from spoton.vision.torch_device import to_device


class DevicePreparation:
    """Pictures to a tensor on a device.

    Interpolation is PyTorch's, rounded to whole values as OpenCV does it: single values differ from the host's by one
    of 255 (two where the interpolation is cubic).

    Raises ModelError when PyTorch is not installed.
    """

    def __init__(self, preparation: Preparation, device: Any) -> None:
        try:
            import torch
        except ImportError as error:
            raise ModelError("preparing pictures on the GPU needs PyTorch", remedy="pip install torch") from error
        self._preparation = preparation
        self._device = torch.device(device)
        shape = (3, 1, 1)
        self._mean = torch.tensor(preparation.mean, device=self._device, dtype=torch.float32).view(shape)
        self._std = torch.tensor(preparation.std, device=self._device, dtype=torch.float32).view(shape)

    def batch(self, pictures: Sequence[Picture | DevicePicture]) -> Any:
        """(N, 3, height, width) float32 on the device; raises InputError for what is no picture."""
        import torch

        one = self._preparation
        shape = (len(pictures), 3, one.height, one.width)
        canvas = torch.full(shape, float(one.pad), device=self._device)
        for number, picture in enumerate(pictures):
            planes = planes_on(self._device, picture)[None].float()
            _, _, left, top, width, height = one.placing(*planes.shape[2:])
            if planes.shape[2:] != (height, width):
                planes = torch.nn.functional.interpolate(
                    planes, size=(height, width), mode="bicubic" if one.smooth else "bilinear", align_corners=False
                )
                # Halves go up, as in OpenCV; PyTorch itself rounds them to even.
                planes = (planes + 0.5).floor().clamp(0, 255)
            canvas[number, :, top : top + height, left : left + width] = planes[0]
        ordered = canvas if one.colour == "rgb" else canvas.flip(1)
        return (ordered - self._mean) / self._std


def planes_on(device: Any, picture: Picture | DevicePicture) -> Any:
    """(3, H, W) uint8, RGB, on the device; raises InputError for what is no picture."""
    if isinstance(picture, DevicePicture):
        return picture.planes
    return to_device(as_rgb(picture), device).permute(2, 0, 1)
