"""A group of people as one blob of foreground, explained by figures of the expected size.

Figures are added one by one where they explain most of what is left, and after each the others are placed anew: a
greedy form of the generative models of Fleuret et al. (2008) and Zhao, Nevatia and Wu (2008), with a figure of three
rectangles, so that one integral picture scores every place at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.background import Mask
from spoton.vision.person_size import PersonSize

Part = tuple[float, float, float, float]
"""Left, right, top, bottom in heights of the figure, from its axis and from its top; wider where people look wider."""
Floats = NDArray[np.float64]
Sums = NDArray[Any]
"""An integral picture, row after row, float32."""

_HEAD: Part = (-0.06, 0.06, 0.0, 0.14)
_TRUNK: Part = (-0.13, 0.13, 0.15, 0.52)
_LEGS: Part = (-0.11, 0.11, 0.52, 0.98)
_ABOVE: Part = (-0.10, 0.10, -0.13, -0.02)
_BELOW: Part = (-0.12, 0.12, 1.03, 1.13)
_BESIDE: tuple[Part, Part] = ((-0.30, -0.19, 0.05, 0.6), (0.19, 0.30, 0.05, 0.6))
_PARTS = (_HEAD, _TRUNK, _LEGS, _ABOVE, _BELOW, *_BESIDE)
_BODY = 3
"""The first parts are the figure itself, the others are around it."""
_CORNER = np.array([1.0, -1.0, -1.0, 1.0], dtype=np.float32)
_WORTHS = np.outer([2.0, 1.0, 1.0, -0.8, -0.4, -0.25, -0.25], _CORNER).ravel().astype(np.float32)
"""Worth of unexplained foreground in each part, for each of its corners in an integral picture."""
_PRICES = np.outer([2.0, 0.6, 0.4], _CORNER).ravel().astype(np.float32)
"""Price of background in each part of the body: a head is seldom hidden, legs often are."""
_SIGNS = np.tile(_CORNER, _BODY)
_COVERED: tuple[Part, ...] = ((-0.10, 0.10, -0.05, 0.16), (-0.18, 0.18, 0.12, 0.55), (-0.18, 0.18, 0.5, 1.04))
"""What a placed figure explains: a little more than its parts."""
_BODY_AREA = sum((right - left) * (bottom - top) for left, right, top, bottom in _PARTS[:_BODY])
_OUTLINE: tuple[Part, ...] = ((-0.10, 0.10, 0.0, 0.16), (-0.18, 0.18, 0.15, 0.55), (-0.18, 0.18, 0.5, 1.0))
"""The parts of a placed figure that its box goes around."""
_STEP = 0.06
_TALL_PX = 44
"""Taller figures are placed on a mask of half the size, where they still have 22 px."""
_LEAST_GAIN = 0.15
_LEAST_HOPE = 0.03
_REACH = (0.6, 1.2)
"""Across and along, in heights: a figure further away does not change what another one explains."""
_MOST_FIGURES = 12
_TRIM = 0.14


@dataclass(frozen=True, slots=True)
class Placed:
    """A figure in a group: box in pixels of the picture, and the share of its parts that is foreground, in [0, 1]."""

    left: float
    top: float
    width: float
    height: float
    fill: float


def explain(box: tuple[int, int, int, int], people: Mask, differs: Mask, size: PersonSize) -> list[Placed]:
    """The figures in one blob, best explained first.

    box: of the blob, left, top, width, height. people, differs: the whole masks, without and with shadows; shadows
    neither speak for nor against a figure.
    """
    left, top, width, height = box
    tall = size.height(left + width / 2, top + height)
    pad = int(0.35 * tall) + 1
    rows = slice(max(0, top - pad), min(people.shape[0], top + height + 2 * pad))
    columns = slice(max(0, left - pad), min(people.shape[1], left + width + pad))
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
    y0, x0 = top - rows.start, left - columns.start
    mask[y0 : y0 + height, x0 : x0 + width] = people[top : top + height, left : left + width]
    taken = cv2.bitwise_or(people[rows, columns], differs[rows, columns])
    x = np.arange(left, left + width, max(1.0, _STEP * tall)) - columns.start
    y = np.arange(top + height + 0.35 * tall, top + 0.4 * tall, -max(1.0, _STEP * tall)) - rows.start
    if len(y) == 0:
        return []
    feet = np.column_stack([np.tile(x, len(y)), np.repeat(y, len(x))])
    people_at = size.at(feet + np.array([columns.start, rows.start]))
    halves = 2 if tall >= _TALL_PX else 1
    places = _Places(feet / halves, people_at.height / halves, people_at.lean, people_at.girth)
    group = _Group(_shrunk(mask, halves), _shrunk(taken, halves), places)
    offset = columns.start, rows.start
    return [_trimmed(mask, group.at.one(place), halves, group.fill(place), offset) for place in group.places()]


class _Places(NamedTuple):
    """Where figures could be: feet (N, 2) in pixels of the mask, and how people there appear, as in ``Stature``."""

    feet: Floats
    height: Floats
    lean: Floats
    girth: Floats

    def only(self, which: NDArray[np.intp]) -> _Places:
        return _Places(*(each[which] for each in self))

    def one(self, place: int) -> _Places:
        return self.only(np.array([place]))

    @property
    def area(self) -> Floats:
        """(N,) worth of a figure all foreground, in an integral picture."""
        return 255.0 * _BODY_AREA * self.girth * self.height**2

    def spans(self, parts: Sequence[Part]) -> Floats:
        """(parts, 4, N) left, right, top, bottom of each part in pixels of the mask."""
        of_part = np.array(parts)
        spans: Floats = np.multiply.outer(of_part, self.height)
        spans[:, :2] *= self.girth
        # A part is where the axis is at half its height.
        aside = np.multiply.outer(1.0 - of_part[:, 2:].mean(axis=1), self.lean * self.height)
        spans[:, :2] += (self.feet[:, 0] + aside)[:, None]
        spans[:, 2:] += self.feet[:, 1] - self.height
        return spans


def _shrunk(mask: Mask, times: int) -> Mask:
    """The mask at a fraction of its size, grey where it is true in part."""
    height, width = mask.shape[0] // times, mask.shape[1] // times
    if times == 1 or not height or not width:
        return mask
    return cv2.resize(mask[: height * times, : width * times], (width, height), interpolation=cv2.INTER_AREA)


class _Group:
    """One blob with the places where a figure could be worth something if nothing around it were foreground."""

    def __init__(self, mask: Mask, taken: Mask, places: _Places) -> None:
        whole = _integral(mask)
        body = _corners(_PARTS[:_BODY], mask.shape, places)
        area = places.area.astype(np.float32)
        cost = _PRICES @ _integral(cv2.bitwise_not(taken)).take(body) / area
        hopeful = np.flatnonzero(_WORTHS[: 4 * _BODY] @ whole.take(body) / area - cost > _LEAST_HOPE)
        self.mask, self.at = mask, places.only(hopeful)
        around = _corners(_PARTS[_BODY:], mask.shape, self.at)
        self._corners = np.concatenate([body.take(hopeful, axis=1), around])
        self._area, self._cost = area[hopeful], cost[hopeful]
        self._rest: dict[frozenset[int], Sums] = {frozenset(): whole}
        self._best_of: dict[frozenset[int], tuple[int, float]] = {}
        self._known_parts: dict[int, list[tuple[slice, slice]]] = {}

    def places(self) -> list[int]:
        """Indices of the figures that explain the blob.

        One more figure is tried as long as all of them together, placed anew, explain enough more.
        """
        chosen: list[int] = []
        explained = 0.0
        while len(self.at.height) and len(chosen) < _MOST_FIGURES:
            place, gain = self._best(chosen)
            if gain < (_LEAST_HOPE if chosen else _LEAST_GAIN):
                break
            trial = self._settled([*chosen, place])
            total = self._explained(trial)
            if total < explained + _LEAST_GAIN:
                break
            chosen, explained = trial, total
        return chosen

    def _settled(self, trial: list[int]) -> list[int]:
        """The same figures, those near the last one moved to where they explain most of what the others leave."""
        moved = [trial[-1]]
        for row, place in enumerate(trial):
            if any(self._is_near(place, other) for other in moved):
                trial[row] = self._best(trial[:row] + trial[row + 1 :])[0]
                if trial[row] != place:
                    moved.append(place)
        return trial

    def _is_near(self, one: int, other: int) -> bool:
        across, along = (np.abs(self.at.feet[one] - self.at.feet[other]) / self.at.height[one]).tolist()
        return bool(across < _REACH[0] * self.at.girth[one] and along < _REACH[1])

    def _best(self, others: list[int]) -> tuple[int, float]:
        """The place that explains most of what the others leave, and its gain in figures."""
        key = frozenset(others)
        if key not in self._best_of:
            self._best_of[key] = self._searched(self._left_by(key))
        return self._best_of[key]

    def _searched(self, table: Sums) -> tuple[int, float]:
        gains = _WORTHS @ table.take(self._corners) / self._area - self._cost
        best = int(gains.argmax())
        return best, float(gains[best])

    def _explained(self, trial: list[int]) -> float:
        """Gain in figures of all together, each of what those before it leave."""
        total = 0.0
        for row, place in enumerate(trial):
            worth = _WORTHS @ self._left_by(frozenset(trial[:row])).take(self._corners[:, place])
            total += float(worth / self._area[place] - self._cost[place])
        return total

    def _left_by(self, others: frozenset[int]) -> Sums:
        """Sums over the mask without what other figures explain."""
        table = self._rest.get(others)
        if table is None:
            rest = self.mask.copy()
            for other in others:
                for part in self._known_parts.get(other) or self._parts(other):
                    rest[part] = 0
            table = self._rest[others] = _integral(rest)
        return table

    def _parts(self, place: int) -> list[tuple[slice, slice]]:
        """Rows and columns that a figure explains."""
        self._known_parts[place] = [
            (slice(max(0, high), max(0, low)), slice(max(0, left), max(0, right)))
            for left, right, high, low in np.rint(self.at.one(place).spans(_COVERED)[..., 0]).astype(int).tolist()
        ]
        return self._known_parts[place]

    def fill(self, place: int) -> float:
        """Share of head, trunk and legs that is foreground."""
        inside = _SIGNS @ self._rest[frozenset()].take(self._corners[: 4 * _BODY, place])
        return float(min(1.0, inside / self._area[place]))


def _integral(mask: Mask) -> Sums:
    return cv2.integral(mask, sdepth=cv2.CV_32F).ravel()


def _corners(parts: tuple[Part, ...], shape: tuple[int, ...], places: _Places) -> NDArray[np.intp]:
    """(4 parts, places) where an integral picture has the corners of parts of figures.

    Part after part; of each the corners that count +, -, -, +.
    """
    rows, columns = shape
    pixels = np.rint(places.spans(parts)).astype(np.int32)
    across = np.minimum(np.maximum(pixels[:, :2], 0), columns)
    down = np.minimum(np.maximum(pixels[:, 2:], 0), rows) * (columns + 1)
    return (down[:, ::-1, None] + across[:, None, ::-1]).reshape(4 * len(parts), -1).astype(np.intp)


def _trimmed(mask: Mask, place: _Places, times: int, fill: float, offset: tuple[int, int]) -> Placed:
    """The figure's box, its sides moved to where its own foreground ends if that is near."""
    spans = times * place.spans(_OUTLINE)[..., 0]
    left, right = float(spans[:, 0].min()), float(spans[:, 1].max())
    top, bottom = float(spans[:, 2].min()), float(spans[:, 3].max())
    tall = bottom - top
    slack = _TRIM * tall
    x0, y0 = max(0, round(left - slack)), max(0, round(top - slack))
    own = mask[y0 : round(bottom + slack), x0 : round(right + slack)]
    across = np.flatnonzero(_sums(own, 0) >= 255 * 0.06 * tall)
    down = np.flatnonzero(_sums(own[:, own.shape[1] // 4 : -(own.shape[1] // 4) or None], 1) >= 510)
    if len(across) and len(down):
        left, right = _near(x0 + across[0], left, slack), _near(x0 + across[-1] + 1.0, right, slack)
        top, bottom = _near(y0 + down[0], top, slack), _near(y0 + down[-1] + 1.0, bottom, slack)
    return Placed(float(left + offset[0]), float(top + offset[1]), float(right - left), float(bottom - top), fill)


def _sums(mask: Mask, axis: int) -> NDArray[Any]:
    """Sums along an axis; OpenCV refuses masks without pixels."""
    if not mask.size:
        return np.zeros(0)
    return cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()


def _near(seen: float, expected: float, slack: float) -> float:
    """What was seen, unless it lies at the end of where was looked."""
    return seen if abs(seen - expected) < 0.85 * slack else expected
