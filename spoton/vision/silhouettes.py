"""Foreground pixels to people: fragments joined, groups split by figures of the expected size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
from numpy.typing import NDArray

from spoton.vision.background import Mask
from spoton.vision.groups import explain
from spoton.vision.person_size import PersonSize

_WIDE = (1.25, 2.2)
"""Wider than so many usual widths are two people, most likely, and surely."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One person: box in pixels, share of the figure that is foreground, and whether it stands free."""

    left: float
    top: float
    width: float
    height: float
    fill: float
    alone: bool

    @property
    def foot_y(self) -> float:
        """Row of the feet."""
        return self.top + self.height


def figures(people: Mask, differs: Mask, size: PersonSize) -> list[Figure]:
    """The people in a mask. differs: the same with shadows, to find legs that look like shadow."""
    found: list[Figure] = []
    for box in _joined(_boxes(people), size):
        found += _in_blob(box, people, differs, size)
    return found


def _boxes(people: Mask) -> list[tuple[int, int, int, int]]:
    contours, _ = cv2.findContours(people, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [_bounds(contour) for contour in contours]
    return sorted((box for box in boxes if box[2] * box[3] >= 8), key=lambda box: -box[2] * box[3])[:80]


def _bounds(contour: NDArray[Any]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(contour)
    return left, top, width, height


def _joined(boxes: list[tuple[int, int, int, int]], size: PersonSize) -> list[tuple[int, int, int, int]]:
    """Boxes one above the other are parts of one person when together they are no taller than one."""
    waiting, done = list(boxes), []
    while waiting:
        box = waiting.pop(0)
        for other in waiting:
            union = _union(box, other)
            if _one_person(box, other, union, size):
                waiting.remove(other)
                waiting.insert(0, union)
                break
        else:
            done.append(box)
    return done


def _union(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def _one_person(
    one: tuple[int, int, int, int],
    other: tuple[int, int, int, int],
    union: tuple[int, int, int, int],
    size: PersonSize,
) -> bool:
    shared = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    gap = max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3])
    if shared < 0.4 * min(one[2], other[2]):
        return False
    expected = size.height(union[0] + union[2] / 2, union[1] + union[3])
    if gap > 0.3 * expected:
        return False
    return union[3] <= 1.2 * expected or union[3] <= 1.05 * max(one[3], other[3])


def _in_blob(box: tuple[int, int, int, int], people: Mask, differs: Mask, size: PersonSize) -> Iterator[Figure]:
    left, top, width, height = box
    part = people[top : top + height, left : left + width]
    area = cv2.countNonZero(part)
    expected = size.height(left + width / 2, top + height)
    if not size.known:
        if height >= people.shape[0] / 20 and 1.2 <= height / width <= 5.0:
            yield Figure(left, top, width, height, area / (width * height), True)
        return
    if area < 0.05 * expected * expected or height < 0.35 * expected:
        return
    lone = 0.8 * expected <= height <= 1.25 * expected
    wide = width / size.width(left + width / 2, top + height)
    if lone and height <= 1.12 * expected and wide <= _WIDE[0]:
        yield Figure(left, top, width, height, area / (width * height), True)
        return
    placed = explain(box, people, differs, size)
    if len(placed) == 1 and lone and wide <= _WIDE[1]:
        yield Figure(left, top, width, height, max(placed[0].fill, area / (width * height)), True)
        return
    for one in placed:
        yield Figure(one.left, one.top, one.width, one.height, one.fill, False)
