"""How a person looks where the feet are: from the floor calibration, or learnt from people who walk alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Standing = Callable[[Floats], Floats]
"""(N, 2) foot points in pixels to (N, 3), as ``FloorView.standing_px``: how far right of the feet the head is, how far
above, and how wide the same height is across."""

_ENOUGH_SEEN = 12
_MOST_KEPT = 400
_REFIT_EVERY = 8
_PRIOR_WEIGHT = 3.0
_CELL_PX = 4
_UPRIGHT = (1.8, 4.2)
_MOST_LEAN, _MOST_GIRTH = 1.0, 2.0
_WIDTH, _SPREAD = 0.36, 0.7


class Stature(NamedTuple):
    """How people appear, (N,) each. height: pixels, at least 4. lean: how far right of the feet the head is, in
    heights. girth: how much wider than a person seen from the side, as people from above are.
    """

    height: Floats
    lean: Floats
    girth: Floats


class PersonSize:
    """How a person is expected to appear in one camera.

    size_px: width and height of the picture. expected: from the floor calibration; without it people stand straight,
    and the height is learnt as a linear function of the foot's row: exact for a level camera over a flat floor (Hoiem,
    Efros and Hebert 2006).
    """

    def __init__(self, size_px: tuple[int, int], expected: Standing | None = None) -> None:
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

    def at(self, feet_px: Floats) -> Stature:
        """How people with feet at (N, 2) are expected to appear, to the nearest few pixels of the point."""
        _, rows, columns = self._table.shape
        row = np.clip(feet_px[:, 1] / _CELL_PX, 0, rows - 1).astype(np.intp)
        column = np.clip(feet_px[:, 0] / _CELL_PX, 0, columns - 1).astype(np.intp)
        return Stature(*self._table[:, row, column])

    def height(self, foot_x: float, foot_y: float) -> float:
        """The expected height at one foot point."""
        return self._at(foot_x, foot_y)[0]

    def width(self, foot_x: float, foot_y: float) -> float:
        """The expected width of somebody whose box has the middle of its lower edge here."""
        height, lean, girth = self._at(foot_x, foot_y)
        return height * (_WIDTH * girth + _SPREAD * abs(lean))

    def _at(self, foot_x: float, foot_y: float) -> tuple[float, float, float]:
        _, rows, columns = self._table.shape
        row, column = int(foot_y / _CELL_PX), int(foot_x / _CELL_PX)
        height, lean, girth = self._table[:, min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)].tolist()
        return height, lean, girth

    def _tabled(self) -> Floats:
        """(3, rows, columns) stature at the middle of every cell of the picture and of as much again below it."""
        width, height = self._size_px
        x, y = np.meshgrid(np.arange(_CELL_PX / 2, width, _CELL_PX), np.arange(_CELL_PX / 2, 2.0 * height, _CELL_PX))
        feet_px = np.stack([x.ravel(), y.ravel()], axis=1)
        lean, girth = np.zeros(len(feet_px)), np.ones(len(feet_px))
        tallest = 3.0 * height
        if self._expected is not None:
            aside, heights, across = np.nan_to_num(self._expected(feet_px), nan=np.nan, posinf=np.nan).T
            lean = np.clip(np.nan_to_num(aside / heights), -_MOST_LEAN, _MOST_LEAN)
            girth = np.clip(np.nan_to_num(across / heights, nan=1.0), 1.0, _MOST_GIRTH)
        elif self._line is not None:
            heights = self._line[0] + self._line[1] * feet_px[:, 1]
        else:
            heights = np.full(len(feet_px), height / 5)
        heights = np.clip(np.nan_to_num(heights, nan=tallest), 4.0, tallest)
        return np.stack([heights, lean, girth]).reshape(3, *x.shape)

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
