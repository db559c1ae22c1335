"""How tall a person looks where the feet are: from the floor calibration, or learnt from people who walk alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

ExpectedHeight = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(N, 2) foot points in pixels to (N,) heights in pixels of a standing person."""

_ENOUGH_SEEN = 12
_MOST_KEPT = 400
_REFIT_EVERY = 8
_PRIOR_WEIGHT = 3.0
_CELL_PX = 4
_UPRIGHT = (1.8, 4.2)


class PersonSize:
    """Expected height of a person in one camera.

    size_px: width and height of the picture. expected: from the floor calibration; without it the height is learnt as
    a linear function of the foot's row: exact for a level camera over a flat floor (Hoiem, Efros and Hebert 2006).
    """

    def __init__(self, size_px: tuple[int, int], expected: ExpectedHeight | None = None) -> None:
        self._size_px = size_px
        self._expected = expected
        self._seen: list[tuple[float, float]] = []
        self._news = 0
        self._line: tuple[float, float] | None = None
        self._table = self._tabled()

    @property
    def known(self) -> bool:
        """Whether heights can be asked for."""
        return self._expected is not None or self._line is not None

    def heights(self, feet_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) expected heights, at least 4 px, at (N, 2) foot points, to the nearest few pixels of the point."""
        rows, columns = self._table.shape
        row = np.clip(feet_px[:, 1] / _CELL_PX, 0, rows - 1).astype(np.intp)
        column = np.clip(feet_px[:, 0] / _CELL_PX, 0, columns - 1).astype(np.intp)
        return self._table[row, column]

    def height(self, foot_x: float, foot_y: float) -> float:
        """The expected height at one foot point."""
        rows, columns = self._table.shape
        row, column = int(foot_y / _CELL_PX), int(foot_x / _CELL_PX)
        return float(self._table[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)])

    def _tabled(self) -> NDArray[np.float64]:
        """Heights at the middle of every cell of the picture and of as much again below it."""
        width, height = self._size_px
        x, y = np.meshgrid(np.arange(_CELL_PX / 2, width, _CELL_PX), np.arange(_CELL_PX / 2, 2.0 * height, _CELL_PX))
        feet_px = np.stack([x.ravel(), y.ravel()], axis=1)
        if self._expected is not None:
            heights = np.asarray(self._expected(feet_px), dtype=np.float64)
        elif self._line is not None:
            heights = self._line[0] + self._line[1] * feet_px[:, 1]
        else:
            heights = np.full(len(feet_px), height / 5)
        tallest = 3.0 * height
        heights = np.nan_to_num(heights, nan=tallest, posinf=tallest, neginf=4.0)
        return np.clip(heights, 4.0, tallest).reshape(x.shape)

    def saw(self, width: float, height: float, foot_y: float) -> None:
        """Learn from a figure that stands alone; figures that are not upright teach nothing."""
        if self._expected is not None or not _UPRIGHT[0] <= height / max(width, 1.0) <= _UPRIGHT[1]:
            return
        self._seen = [*self._seen[-_MOST_KEPT + 1 :], (foot_y, height)]
        self._news += 1
        if len(self._seen) >= _ENOUGH_SEEN and (self._line is None or self._news >= _REFIT_EVERY):
            self._news = 0
            self._line = self._fit()
            self._table = self._tabled()

    def _fit(self) -> tuple[float, float]:
        """Offset and slope by reweighted least squares, drawn weakly towards a horizon half a picture above the top."""
        rows, heights = np.array(self._seen).T
        middle, typical = float(np.median(rows)), float(np.median(heights))
        slope = typical / (middle + self._size_px[1] / 2)
        weights = np.ones(len(rows))
        offset = typical
        spread = (self._size_px[1] / 4) ** 2
        for _ in range(6):
            total = weights.sum() + _PRIOR_WEIGHT
            prior = typical / (middle + self._size_px[1] / 2)
            mean_row = (weights @ rows + _PRIOR_WEIGHT * middle) / total
            mean_height = (weights @ heights + _PRIOR_WEIGHT * typical) / total
            centred = rows - mean_row
            slope = float(
                (weights @ (centred * (heights - mean_height)) + _PRIOR_WEIGHT * prior * spread)
                / (weights @ centred**2 + _PRIOR_WEIGHT * spread)
            )
            offset = float(mean_height - slope * mean_row)
            misfit = np.abs(heights - offset - slope * rows)
            weights = 1.0 / np.maximum(1.0, misfit / (0.06 * typical)) ** 2
        return offset, max(slope, 0.0)
