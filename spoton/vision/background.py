"""What a fixed camera sees when nobody is there, learnt while people walk through.

One running mean and one running noise level per pixel, updated where nobody is. A pixel that differs waits in a second,
candidate layer; it becomes background when it has stayed the same for most of the time seen so far (at most
``absorb_s``), or at once when the stable region turns out to be a ghost: a place that someone present at the start has
left, known by edges along its outline that the background has and the picture has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton.vision.protocols import Picture

Mask = NDArray[Any]
"""(H, W) uint8, 255 where true."""
Plane = NDArray[Any]
"""(H, W), one channel."""
Stack = NDArray[Any]
"""(3 H, W) uint8, red above green above blue: one channel for OpenCV, which is what makes it quick."""

_LEAST_DIFFERENCE = 14
_NOISE_FACTOR = 4.0
_SHADOW_RATIO = (0.45, 0.97)
_SHADOW_TINT = 0.13
_RATIO_ONE = 128.0
_SHADOW_DARKEST = 24
_STABLE_DIFFERENCE = 12
_GHOST_S = 0.5
_NEW_SCENE_SHARE = 0.6
_LIGHT_STEP = 0.015
_LEAST_OUTLINE = 12
_FREE_RIM = 0.5
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """What differs from the background.

    people: without shadows. shaded: pixels that differ only as a shadow would. difference: (H, W) uint8, largest
    difference over the channels, 0 to 255.
    """

    people: Mask
    shaded: Mask
    difference: Plane


class Background:
    """The background of one fixed camera.

    fps: frames that come in per second. memory_s: time constant of slow changes of light.
    absorb_s: longest time that something left standing stays foreground.
    """

    def __init__(self, *, fps: float = 10.0, memory_s: float = 5.0, absorb_s: float = 60.0) -> None:
        self._fps = fps
        self._memory = memory_s * fps
        self._absorb = absorb_s * fps
        self._seen = 0
        self._mean = np.zeros((0, 0), dtype=np.float32)

    def foreground(self, picture: Picture) -> Foreground:
        """What differs in the next picture; learns from it. A picture of another size starts anew."""
        soft = _stacked(picture)
        if self._seen == 0 or soft.shape != self._mean.shape:
            self._start(soft)
        self._follow_light(soft)
        known = cv2.convertScaleAbs(self._mean)
        difference = _largest(cv2.absdiff(soft, known))
        differs = cv2.compare(difference, self._threshold, cv2.CMP_GT)
        if cv2.countNonZero(differs) > _NEW_SCENE_SHARE * differs.size:
            self._start(soft)
            differs[:] = 0
        shaded = cv2.bitwise_and(differs, _shadow(soft, known))
        self._soft, self._known, self._differs = soft, known, differs
        self._learn(soft, known, difference, differs)
        return Foreground(cv2.bitwise_xor(differs, shaded), shaded, difference)

    @property
    def age_s(self) -> float:
        """Seconds since the background was started."""
        return self._seen / self._fps

    def is_ghost(self, rows: slice, columns: slice) -> bool:
        """Whether what differs in a part of the last picture is a place that somebody has left."""
        region = self._differs[rows, columns]
        return _is_ghost(region, _patch(self._soft, rows, columns), _patch(self._known, rows, columns))

    def _start(self, soft: Stack) -> None:
        shape = soft.shape[0] // 3, soft.shape[1]
        self._seen = 0
        self._mean = soft.astype(np.float32)
        self._noise = np.full(shape, 2.0, dtype=np.float32)
        self._threshold = np.full(shape, _LEAST_DIFFERENCE, dtype=np.uint8)
        self._candidate = soft.copy()
        self._waited = np.zeros(shape, dtype=np.uint16)

    def _follow_light(self, soft: Stack) -> None:
        """Scale the background by the typical change of each channel: automatic exposure, clouds."""
        now, mean = (_sparse(stack) for stack in (soft, self._mean))
        ratios = (now + np.float32(1.0)) / (mean + np.float32(1.0))
        middle = ratios.shape[1] // 2
        gains = np.partition(ratios, middle, axis=1)[:, middle].tolist()
        for plane, gain in zip(_planes(self._mean), gains, strict=True):
            if abs(gain - 1.0) > _LIGHT_STEP:
                plane *= np.float32(gain)

    def _learn(self, soft: Stack, known: Stack, difference: Plane, differs: Mask) -> None:
        self._seen += 1
        quiet = cv2.bitwise_not(cv2.dilate(differs, _SQUARE))
        rate = max(1.0 / (self._seen + 1), 1.0 / self._memory)
        cv2.accumulateWeighted(soft, self._mean, rate, cv2.vconcat([quiet] * 3))
        cv2.accumulateWeighted(difference, self._noise, rate, quiet)
        threshold = cv2.convertScaleAbs(self._noise, alpha=_NOISE_FACTOR, beta=_LEAST_DIFFERENCE / 2)
        self._threshold = np.maximum(threshold, _LEAST_DIFFERENCE)
        self._wait(soft, differs)
        if self._seen % 3 == 0:
            self._absorb_ghosts(soft, known, differs)
        patience = min(max(self._seen / 2, 4 * self._fps), self._absorb)
        self._take_over(soft, _at_least(self._waited, patience))

    def _wait(self, soft: Stack, differs: Mask) -> None:
        """Count for how many frames each differing pixel has looked the same."""
        moved = _at_least(_largest(cv2.absdiff(soft, self._candidate)), _STABLE_DIFFERENCE)
        cv2.copyTo(soft, cv2.vconcat([moved] * 3), self._candidate)
        still = cv2.bitwise_and(cv2.bitwise_not(moved), differs)
        self._waited = cv2.copyTo(self._waited + np.uint16(1), still)

    def _absorb_ghosts(self, soft: Stack, known: Stack, differs: Mask) -> None:
        stable = _at_least(self._waited, self._fps * _GHOST_S)
        height, width = stable.shape
        for contour in cv2.findContours(stable, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
            if len(contour) < _LEAST_OUTLINE:
                continue
            x, y, w, h = cv2.boundingRect(contour)
            rows, columns = slice(max(0, y - 3), min(height, y + h + 3)), slice(max(0, x - 3), min(width, x + w + 3))
            region = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
            cv2.drawContours(region, [contour], 0, 255, cv2.FILLED, offset=(-columns.start, -rows.start))
            rim = cv2.bitwise_xor(cv2.dilate(region, _SQUARE, iterations=2), region)
            free = cv2.countNonZero(cv2.bitwise_and(rim, cv2.bitwise_not(differs[rows, columns])))
            if free > _FREE_RIM * cv2.countNonZero(rim) and _is_ghost(
                region, _patch(soft, rows, columns), _patch(known, rows, columns)
            ):
                grown = np.zeros_like(stable)
                grown[rows, columns] = cv2.dilate(region, _SQUARE)
                self._take_over(soft, grown)

    def _take_over(self, soft: Stack, where: Mask) -> None:
        x, y, width, height = cv2.boundingRect(where)
        if width:
            part = np.s_[y : y + height, x : x + width]
            chosen = where[part] > 0
            self._waited[part][chosen] = 0
            for now, mean in zip(_planes(soft), _planes(self._mean), strict=True):
                mean[part][chosen] = now[part][chosen]


def _stacked(picture: Picture) -> Stack:
    """The three channels, slightly smoothed, one below the other."""
    return cv2.vconcat(cv2.split(cv2.GaussianBlur(picture, (3, 3), 0)))


def _planes(stack: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Views of the three channels."""
    height = stack.shape[0] // 3
    return stack[:height], stack[height : 2 * height], stack[2 * height :]


def _sparse(stack: NDArray[Any]) -> NDArray[Any]:
    """(3, n) every twelfth pixel across and down of the three channels."""
    return stack.reshape(3, -1, stack.shape[1])[:, 6::12, 6::12].reshape(3, -1)


def _patch(stack: Stack, rows: slice, columns: slice) -> Plane:
    """(h, w) brightness of a part."""
    red, green, blue = (plane[rows, columns] for plane in _planes(stack))
    return cv2.addWeighted(cv2.addWeighted(red, 0.5, blue, 0.5, 0.0), 0.5, green, 0.5, 0.0)


def _largest(stack: Stack) -> Plane:
    """(H, W) largest of the three channels."""
    red, green, blue = _planes(stack)
    return cv2.max(cv2.max(red, green), blue)


def _at_least(values: Plane, limit: float) -> Mask:
    """Where a plane reaches a limit."""
    return cv2.compare(values, limit, cv2.CMP_GE)  # type: ignore[call-overload, no-any-return]


def _shadow(soft: Stack, known: Stack) -> Mask:
    """Pixels darker than the background by the same share in every channel, as a cast shadow is.

    The rule of brightness and chromaticity distortion (Horprasert, Harwood and Davis 1999) in its ratio form.
    """
    red, green, blue = _planes(cv2.divide(soft, known, scale=_RATIO_ONE))
    high = cv2.max(cv2.max(red, green), blue)
    low = cv2.min(cv2.min(red, green), blue)
    dim = cv2.bitwise_and(
        _at_least(low, _SHADOW_RATIO[0] * _RATIO_ONE),
        cv2.bitwise_not(_at_least(high, _SHADOW_RATIO[1] * _RATIO_ONE)),
    )
    tinted = _at_least(cv2.subtract(high, low), _SHADOW_TINT * _RATIO_ONE)
    lit = _at_least(_largest(known), _SHADOW_DARKEST)
    return cv2.bitwise_and(cv2.bitwise_and(dim, lit), cv2.bitwise_not(tinted))


def _is_ghost(region: Mask, soft: Plane, known: Plane) -> bool:
    """Whether the outline of a region shows in the background and not in the picture."""
    outline = cv2.morphologyEx(region, cv2.MORPH_GRADIENT, _SQUARE)
    return bool(cv2.mean(_edges(known), outline)[0] > 1.5 * cv2.mean(_edges(soft), outline)[0] + 4.0)


def _edges(patch: Plane) -> Plane:
    return cv2.magnitude(cv2.Sobel(patch, cv2.CV_32F, 1, 0), cv2.Sobel(patch, cv2.CV_32F, 0, 1)) / 4.0
