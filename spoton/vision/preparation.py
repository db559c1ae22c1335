"""A picture made ready for a network, exactly as the network's own training does it, and boxes brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.protocols import Picture

Fit = Literal["stretch", "corner", "centre"]
"""stretch: both sides to the input's, the ratio is lost; corner: ratio kept, picture at the top left, padding right and
below; centre: ratio kept, padding on both sides."""
Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How RGB pictures become network input.

    width, height: of the input in pixels. ``(value - mean) / std`` per channel in the order of ``colour``, on values 0
    to 255. pad: grey value around the picture. smooth: cubic instead of linear interpolation.
    """

    width: int
    height: int
    fit: Fit
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)
    pad: int = 114
    smooth: bool = False

    def tensor(self, picture: Picture) -> NDArray[np.float32]:
        """(3, height, width) of one picture."""
        canvas = self._fitted(picture)
        if self.colour == "bgr":
            canvas = canvas[:, :, ::-1]
        planes = np.ascontiguousarray(canvas.transpose(2, 0, 1)).astype(np.float32)
        if any(self.mean):
            planes -= np.array(self.mean, dtype=np.float32)[:, None, None]
        if self.std != (1.0, 1.0, 1.0):
            planes *= (1.0 / np.array(self.std)).astype(np.float32)[:, None, None]
        return planes

    def batch(self, pictures: list[Picture]) -> NDArray[np.float32]:
        """(N, 3, height, width) of all pictures, which may differ in size."""
        return np.stack([self.tensor(picture) for picture in pictures])

    def to_picture(self, corners_px: NDArray[np.float64], height_px: int, width_px: int) -> NDArray[np.float64]:
        """(N, 4) left, top, right, bottom in input pixels, as left, top, width, height in the picture, cut to it."""
        scale_x, scale_y, left, top, _, _ = self._placing(height_px, width_px)
        corners = (corners_px - (left, top, left, top)) / (scale_x, scale_y, scale_x, scale_y)
        low = np.clip(corners[:, :2], 0.0, (width_px, height_px))
        high = np.clip(corners[:, 2:], 0.0, (width_px, height_px))
        return np.concatenate([low, np.maximum(high - low, 0.0)], axis=1)

    def _fitted(self, picture: Picture) -> Picture:
        height_px, width_px = picture.shape[:2]
        _, _, left, top, inner_width, inner_height = self._placing(height_px, width_px)
        how = cv2.INTER_CUBIC if self.smooth else cv2.INTER_LINEAR
        inner = picture
        if (width_px, height_px) != (inner_width, inner_height):
            inner = cv2.resize(picture, (inner_width, inner_height), interpolation=how).astype(np.uint8, copy=False)
        if (inner_width, inner_height) == (self.width, self.height):
            return inner
        canvas = np.full((self.height, self.width, 3), self.pad, dtype=np.uint8)
        canvas[top : top + inner_height, left : left + inner_width] = inner
        return canvas

    def _placing(self, height_px: int, width_px: int) -> tuple[float, float, int, int, int, int]:
        """Scale x and y, left and top of the picture inside the input, its width and height there."""
        if self.fit == "stretch":
            return self.width / width_px, self.height / height_px, 0, 0, self.width, self.height
        scale = min(self.width / width_px, self.height / height_px)
        if self.fit == "corner":
            return scale, scale, 0, 0, max(1, int(width_px * scale)), max(1, int(height_px * scale))
        inner_width, inner_height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        left = round((self.width - inner_width) / 2 - 0.1)
        top = round((self.height - inner_height) / 2 - 0.1)
        return scale, scale, left, top, inner_width, inner_height
