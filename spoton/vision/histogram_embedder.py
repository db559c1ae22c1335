"""The embedder that needs no weights: which colours a person wears at which height."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.protocols import Picture

STRIPES = 6
HUES = 12
GREYS = 4
_WIDTH, _HEIGHT = 24, 60
_COLOURED = 0.22


class HistogramEmbedder:
    """Colour histograms of six horizontal stripes, soft over hue and brightness, weighted towards the middle column.

    A row holds per stripe ``HUES`` bins of hue (0 is red, 4 green, 8 blue) followed by ``GREYS`` bins of brightness; a
    pixel counts as coloured as far as saturation and brightness let hue be known. Square roots are taken before the
    row gets unit length, so a dot product of two rows is the Bhattacharyya coefficient of their histograms, in [0, 1].
    """

    name = "histogram"
    dim = STRIPES * (HUES + GREYS)

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """(N, 96) float32 rows of unit length, one per RGB crop; an empty crop gives the row of a black one."""
        if len(crops) == 0:
            return np.zeros((0, self.dim), dtype=np.float32)
        return _described(np.stack([_small(crop) for crop in crops]))


def _small(crop: Picture) -> Picture:
    if crop.size == 0:
        return np.zeros((_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(crop, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _described(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows of crops (N, height, width, 3), all in one go."""
    count = len(crops)
    # One tall picture: colours do not ask where they are.
    tall = crops.reshape(count * _HEIGHT, _WIDTH, 3).astype(np.float32) / 255.0
    hsv = cv2.cvtColor(tall, cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[:, :, 0] / 360.0, hsv[:, :, 1], hsv[:, :, 2]
    coloured = np.clip(saturation * value / _COLOURED, 0.0, 1.0) ** 2
    stripe = np.repeat(np.arange(count * STRIPES), _HEIGHT // STRIPES)[:, None]
    weight = np.broadcast_to(_column_weights(), hue.shape)
    table = np.concatenate(
        [
            _spread(stripe, hue * HUES, weight * coloured, HUES, ring=True),
            _spread(stripe, value * (GREYS - 1), weight * (1.0 - coloured), GREYS, ring=False),
        ],
        axis=1,
    )
    root = np.sqrt(table).reshape(count, -1)
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True), dtype=np.float32)


def _column_weights() -> NDArray[np.float64]:
    """(width,) bell around the middle, where the person is and the background is not."""
    offset = (np.arange(_WIDTH) + 0.5) / _WIDTH - 0.5
    return np.exp(-0.5 * (offset / 0.22) ** 2)


def _spread(
    stripe: NDArray[np.intp], position: NDArray[Any], weight: NDArray[np.float64], bins: int, *, ring: bool
) -> NDArray[np.float64]:
    """(stripes, bins): each pixel's weight in its two nearest bins, linearly; hue bins close to a ring."""
    low = np.floor(position).astype(np.intp)
    part = position - low
    stripes = int(stripe[-1, 0]) + 1
    table = np.zeros(stripes * bins)
    for bin_index, share in ((low, 1.0 - part), (low + 1, part)):
        column = bin_index % bins if ring else np.clip(bin_index, 0, bins - 1)
        table += np.bincount((stripe * bins + column).ravel(), (weight * share).ravel(), minlength=len(table))
    return table.reshape(stripes, bins)
