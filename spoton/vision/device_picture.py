"""A picture that lies on a GPU, for those who need little of it on the host."""

from __future__ import annotations

from typing import Any

from spoton.vision.protocols import Picture


class DevicePicture:
    """A picture on a device: only the parts that somebody asks for come to the host.

    planes: PyTorch tensor (3, H, W), uint8, RGB. ``picture[rows, columns]`` gives that part as a ``Picture``.
    """

    __slots__ = ("planes",)

    def __init__(self, planes: Any) -> None:
        self.planes = planes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of a ``Picture``."""
        channels, height, width = self.planes.shape
        return int(height), int(width), int(channels)

    def __getitem__(self, part: tuple[slice, slice]) -> Picture:
        rows, columns = part
        inside: Picture = self.planes[:, rows, columns].permute(1, 2, 0).contiguous().cpu().numpy()
        return inside
