"""A picture made ready for a network, exactly as the network's own training does it, and boxes brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
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
        tensor: NDArray[np.float32] = self.batch([picture])[0]
        return tensor

    def batch(self, pictures: Sequence[Picture], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(N, 3, height, width) of all pictures, which may differ in size; a grey one, (H, W), counts as RGB.

        out: where to put it, at least N long: what is used again costs no fresh memory pages. Raises InputError for
        what is no picture.
        """
        tensors = out[: len(pictures)] if out is not None else self.empty(len(pictures))
        tables = self._tables()
        for picture, planes in zip(pictures, tensors, strict=True):
            self._fill(as_rgb(picture), planes, tables)
        return tensors

    def empty(self, count: int) -> NDArray[np.float32]:
        """Room for so many pictures."""
        return np.empty((count, 3, self.height, self.width), dtype=np.float32)

    def _fill(self, picture: Picture, planes: NDArray[np.float32], tables: Sequence[NDArray[np.float32]]) -> None:
        height_px, width_px = picture.shape[:2]
        _, _, left, top, inner_width, inner_height = self.placing(height_px, width_px)
        inner = picture
        if (width_px, height_px) != (inner_width, inner_height):
            how = cv2.INTER_CUBIC if self.smooth else cv2.INTER_LINEAR
            inner = np.asarray(cv2.resize(picture, (inner_width, inner_height), interpolation=how), dtype=np.uint8)
        channels = [np.asarray(channel, dtype=np.uint8) for channel in cv2.split(inner)]
        right, bottom = left + inner_width, top + inner_height
        ordered = channels if self.colour == "rgb" else channels[::-1]
        for plane, channel, table in zip(planes, ordered, tables, strict=True):
            plane[:top] = plane[bottom:] = table[self.pad]
            plane[top:bottom, :left] = plane[top:bottom, right:] = table[self.pad]
            room = plane[top:bottom, left:right]
            if self._plain:
                room[:] = channel
            else:
                _look_up(channel, table, room)

    @property
    def _plain(self) -> bool:
        return not any(self.mean) and self.std == (1.0, 1.0, 1.0)

    def _tables(self) -> list[NDArray[np.float32]]:
        """What each of 256 values becomes, per channel in the order of ``colour``: rounded once, to float32."""
        levels = np.arange(256.0)
        return [((levels - mean) / std).astype(np.float32) for mean, std in zip(self.mean, self.std, strict=True)]

    def to_picture(self, corners_px: NDArray[np.float64], height_px: int, width_px: int) -> NDArray[np.float64]:
        """(N, 4) left, top, right, bottom in input pixels, as left, top, width, height in the picture, cut to it."""
        scale_x, scale_y, left, top, _, _ = self.placing(height_px, width_px)
        corners = (corners_px - (left, top, left, top)) / (scale_x, scale_y, scale_x, scale_y)
        low = np.clip(corners[:, :2], 0.0, (width_px, height_px))
        high = np.clip(corners[:, 2:], 0.0, (width_px, height_px))
        return np.concatenate([low, np.maximum(high - low, 0.0)], axis=1)

    def placing(self, height_px: int, width_px: int) -> tuple[float, float, int, int, int, int]:
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


def as_rgb(picture: Picture) -> Picture:
    """The picture itself, or a grey one of shape (H, W) or (H, W, 1) with its value in all three channels.

    Raises InputError for anything else that is not (H, W, 3) of uint8 with at least one pixel.
    """
    if picture.dtype == np.uint8 and picture.size > 0:
        if picture.ndim == 3 and picture.shape[2] == 3:
            return picture
        if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1):
            return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    raise InputError(
        f"an array of shape {list(picture.shape)} and type {picture.dtype} is no picture",
        remedy="give uint8 of shape (height, width, 3), RGB",
    )


def _look_up(channel: NDArray[np.uint8], table: NDArray[np.float32], room: NDArray[np.float32]) -> None:
    """``room[:] = table[channel]``, in place where OpenCV takes the room as it is."""
    written = cv2.LUT(channel, table, room)
    if written is not room and not np.shares_memory(written, room):
        room[:] = written
