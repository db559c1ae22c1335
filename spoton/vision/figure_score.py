"""How sure the built-in detector is of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.background import Foreground
from spoton.vision.person_size import PersonSize
from spoton.vision.silhouettes import Figure

Parts = NDArray[np.float64]
"""(parts, 4) left, right, top, bottom in heights of the figure, from its axis and from its top; wider where people look
wider."""

_BODY: Parts = np.array([(-0.06, 0.06, 0.0, 0.14), (-0.13, 0.13, 0.15, 0.52), (-0.11, 0.11, 0.52, 0.98)])
_AROUND: Parts = np.array(
    [
        (-0.32, -0.20, 0.05, 0.90),
        (0.20, 0.32, 0.05, 0.90),
        (-0.12, 0.12, -0.14, -0.03),
        (-0.15, 0.15, 1.03, 1.12),
    ]
)
_WHOLE_FILL = 0.85
_CUT_AGREEMENT = 0.7


class FigureScore:
    """Scores the figures of one picture.

    A score is the product of four shares in [0, 1]: the root of how far the body is filled, how empty it is around
    the body, the root of how well the height agrees with the expected one, and contrast to the background.
    """

    def __init__(self, seen: Foreground, size: PersonSize) -> None:
        self._seen = seen
        self._size = size
        self._sums = cv2.integral(seen.people)

    def __call__(self, found: Sequence[Figure]) -> NDArray[np.float64]:
        """The score of each figure in [0.01, 1]."""
        filled = np.minimum(1.0, self._shares(found, _BODY) / _WHOLE_FILL)
        free = 1.0 - self._shares(found, _AROUND)
        agreement = np.array([self._agreement(figure) for figure in found])
        contrast = np.array([self._contrast(figure) for figure in found])
        scores = np.sqrt(filled * agreement) * free * np.minimum(1.0, 0.4 + 2.0 * contrast)
        return np.asarray(np.clip(scores, 0.01, 1.0))

    def _agreement(self, figure: Figure) -> float:
        height, width = self._seen.people.shape
        cut = figure.foot_y > height - 3 or figure.left < 2 or figure.left + figure.width > width - 2
        if cut or not self._size.known:
            return _CUT_AGREEMENT
        expected = self._size.height(figure.left + figure.width / 2, figure.foot_y)
        return math.exp(-2.0 * abs(math.log(figure.height / expected)))

    def _contrast(self, figure: Figure) -> float:
        """Mean difference of the figure's foreground from the background, in [0, 1]."""
        rows = slice(max(0, int(figure.top)), int(figure.foot_y) + 1)
        columns = slice(max(0, int(figure.left)), int(figure.left + figure.width) + 1)
        return cv2.mean(self._seen.difference[rows, columns], self._seen.people[rows, columns])[0] / 255.0

    def _shares(self, found: Sequence[Figure], parts: Parts) -> NDArray[np.float64]:
        """(N,) shares of some parts of the figures that are foreground; parts outside the picture do not count."""
        rows, columns = self._seen.people.shape
        x, top, tall = np.array([(each.left + each.width / 2, each.top, each.height) for each in found]).T
        feet_px = np.array([(each.left + each.width / 2, each.foot_y) for each in found])
        _, lean, girth = self._size.at(feet_px)
        spans = np.multiply.outer(parts.T, tall)
        spans[:2] = spans[:2] * girth + x + np.multiply.outer(0.5 - parts[:, 2:].mean(axis=1), lean * tall)
        spans[2:] += top
        left, right, high, low = np.rint(spans).astype(np.intp)
        x0, x1 = np.clip(left, 0, columns), np.clip(right, 0, columns)
        y0, y1 = np.clip(high, 0, rows), np.clip(low, 0, rows)
        inside = self._sums[y1, x1] - self._sums[y0, x1] - self._sums[y1, x0] + self._sums[y0, x0]
        area = ((x1 - x0) * (y1 - y0)).sum(axis=0)
        return np.asarray(inside.sum(axis=0) / (255.0 * np.maximum(area, 1)))
