"""Cameras pulled together by people whom several of them see: bundle adjustment of calibrations on foot points.

A person seen by several cameras at one time stands in one place. Each camera's small changes (``spoton.adjustment``)
are chosen so that the places agree best, with Huber's loss, each camera held to its present calibration by a prior:
what people do not tell, the common frame of all above all, stays as it is. The people's places are eliminated (Triggs
et al., Bundle adjustment: a modern synthesis, 2000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoton.adjustment import floor_slope, moved, prior_sigma
from spoton.geometry import floor_view
from spoton.site import Calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WEAK = 1.25
"""A camera that disagrees with the others so many times as much as usual is weak."""
WEAK_M = 0.35
"""And by so much: less is what boxes lean by in each view, which is learnt and taken out while it runs."""

_LEAST = 40
_ROUNDS = 12
_HUBER = 1.5
_ANCHOR_M = 0.5
"""How surely each person stands, beforehand, where all cameras together saw them: it keeps the common floor."""
_ALIKE = 0.1
"""What a foot point tells beyond those of the same person just before."""
_BASE_M = 0.1
"""How far a foot point is off in any case: shoes, strides, the box."""


@dataclass(frozen=True, slots=True, eq=False)
class FootPoints:
    """Who stood where in whose picture: K rows. group: (K,) one number per person and time. camera: (K,).

    foot_px: (K, 2) in pictures of the calibration's size. sigma_px: (K, 2). at_us: (K,).
    """

    group: Ints
    camera: Ints
    foot_px: Floats
    sigma_px: Floats
    at_us: Ints

    def only(self, which: Bools) -> FootPoints:
        """The rows ``which`` (K,), but for people of whom one camera alone is left."""
        rows = np.flatnonzero(which)
        _, group, count = np.unique(self.group[rows], return_inverse=True, return_counts=True)
        rows = rows[count[group] > 1]
        _, group = np.unique(self.group[rows], return_inverse=True)
        return FootPoints(group, self.camera[rows], self.foot_px[rows], self.sigma_px[rows], self.at_us[rows])


class Apart(NamedTuple):
    """Distances (K,) from the middle of the other cameras' places, m and standard deviations; nan without a place."""

    distance_m: Floats
    sigmas: Floats


@dataclass(frozen=True, slots=True)
class View:
    """One camera: its calibration, and the size of the pictures that it speaks of."""

    calibration: Calibration
    size_px: tuple[int, int]


def apart(points: FootPoints, views: Sequence[View]) -> Apart:
    """How far each foot point falls from where the other cameras see its person."""
    place, informed, valid = _places(points, views)
    total, drawn = _sums(points.group, informed, place)
    rest = total[points.group] - informed
    alone = ~valid | (np.linalg.det(rest) < 1e-9)
    rest[alone] = np.eye(2)
    pull = drawn[points.group] - np.einsum("kij,kj->ki", informed, place)
    others = np.linalg.solve(rest, pull[:, :, None])[:, :, 0]
    off = place - others
    cov = np.linalg.inv(rest) + np.linalg.inv(np.where(alone[:, None, None], np.eye(2), informed))
    sigmas = np.sqrt(np.einsum("ki,kij,kj->k", off, np.linalg.inv(cov), off))
    return Apart(np.where(alone, np.nan, np.linalg.norm(off, axis=1)), np.where(alone, np.nan, sigmas))


def disagreement(points: FootPoints, views: Sequence[View]) -> Floats:
    """Of each camera (C,) the median distance from the others in standard deviations; 0 where there are few points."""
    return _medians(points, apart(points, views).sigmas, len(views))


def _medians(points: FootPoints, values: Floats, cameras: int) -> Floats:
    known = np.isfinite(values)
    each = [values[known & (points.camera == camera)] for camera in range(cameras)]
    return np.array([float(np.median(some)) if len(some) >= _LEAST else 0.0 for some in each])


def pulled(points: FootPoints, views: Sequence[View]) -> tuple[list[int], list[View]]:
    """Which cameras are weak, the weakest first, and all views after these were moved to where the others agree.

    A camera is weak that disagrees ``WEAK`` times as much as usual, and by ``WEAK_M``; it is moved, then who is weak is
    asked again. The common floor is that of the others: at most a third, of three cameras one, is moved.
    """
    free: list[int] = []
    now = list(views)
    while len(free) < max(1, len(views) // 3):
        distance_m, sigmas = (_medians(points, values, len(views)) for values in apart(points, now))
        sigmas[free] = 0.0
        held = sigmas[sigmas > 0.0]
        off = np.where(distance_m >= WEAK_M, sigmas, 0.0)
        if len(held) < 2 or off.max() < WEAK * np.median(held):
            break
        free.append(int(off.argmax()))
        now = refined(points, views, free)
    return free, now


def middles(points: FootPoints, views: Sequence[View]) -> Floats:
    """Where each person is by all cameras together, (G, 2) m."""
    place, informed, _ = _places(points, views)
    total, drawn = _sums(points.group, informed, place)
    return np.asarray(np.linalg.solve(total + np.eye(2) * 1e-9, drawn[:, :, None])[:, :, 0], dtype=np.float64)


def refined(points: FootPoints, views: Sequence[View], free: Sequence[int]) -> list[View]:
    """The cameras after those numbered ``free`` were moved so that all agree best on the foot points.

    Gauss-Newton with step control on the robust cost; a step that does not lower it ends the search.
    """
    start, steps = list(views), {camera: np.zeros(len(prior_sigma(views[camera].calibration))) for camera in free}
    anchor = middles(points, start)
    now, cost = start, _cost(points, start, steps, start, anchor)
    for _ in range(_ROUNDS):
        change = _step(points, now, steps, anchor)
        share = 1.0
        while share > 0.05:
            tried = {camera: steps[camera] + share * change[camera] for camera in free}
            there = _moved(start, tried)
            lower = _cost(points, there, tried, start, anchor)
            if lower < cost:
                break
            share /= 2
        else:
            break
        done = cost - lower < 1e-6 * cost
        now, steps, cost = there, tried, lower
        if done:
            break
    return now


def _moved(start: Sequence[View], steps: Mapping[int, Floats]) -> list[View]:
    return [
        replace(view, calibration=moved(view.calibration, steps[camera], view.size_px)) if camera in steps else view
        for camera, view in enumerate(start)
    ]


def _places(points: FootPoints, views: Sequence[View]) -> tuple[Floats, Floats, Bools]:
    """Places (K, 2), how surely (K, 2, 2), and whether they are on the floor (K,)."""
    count = len(points.group)
    place, informed, valid = np.zeros((count, 2)), np.zeros((count, 2, 2)), np.zeros(count, dtype=np.bool_)
    for camera, view in enumerate(views):
        rows = np.flatnonzero(points.camera == camera)
        there = floor_view(view.calibration, view.size_px).to_floor(points.foot_px[rows], points.sigma_px[rows])
        place[rows], valid[rows] = there.floor_m, there.valid
        sure = np.linalg.inv(there.cov_m2 + np.eye(2) * _BASE_M**2)
        informed[rows] = sure * there.valid[:, None, None]
    return place, informed, valid


def _sums(group: Ints, informed: Floats, place: Floats) -> tuple[Floats, Floats]:
    groups = int(group.max(initial=-1)) + 1
    total, drawn = np.zeros((groups, 2, 2)), np.zeros((groups, 2))
    np.add.at(total, group, informed)
    np.add.at(drawn, group, np.einsum("kij,kj->ki", informed, place))
    return total, drawn


def _centres(group: Ints, informed: Floats, place: Floats, anchor: Floats) -> Floats:
    """Each person's middle with the anchor, (G, 2)."""
    total, drawn = _sums(group, informed, place)
    held = np.eye(2) / _ANCHOR_M**2
    return np.asarray(np.linalg.solve(total + held, (drawn + anchor @ held)[:, :, None])[:, :, 0], dtype=np.float64)


def _weights(off: Floats, informed: Floats) -> Floats:
    far = np.sqrt(np.maximum(np.einsum("ki,kij,kj->k", off, informed, off), 0.0))
    weights: Floats = np.minimum(1.0, _HUBER / np.maximum(far, 1e-9))
    return weights


def _cost(
    points: FootPoints, views: Sequence[View], steps: Mapping[int, Floats], start: Sequence[View], anchor: Floats
) -> float:
    place, informed, _ = _places(points, views)
    centre = _centres(points.group, informed, place, anchor)
    off = place - centre[points.group]
    far = np.sqrt(np.maximum(np.einsum("ki,kij,kj->k", off, informed, off), 0.0))
    robust = np.where(far < _HUBER, 0.5 * far**2, _HUBER * (far - 0.5 * _HUBER)).sum()
    prior = sum(0.5 * float(np.sum((step / prior_sigma(start[c].calibration)) ** 2)) for c, step in steps.items())
    held = 0.5 * float(np.sum((centre - anchor) ** 2)) / _ANCHOR_M**2
    return float(_ALIKE * (robust + held) + prior)


def _step(points: FootPoints, views: Sequence[View], steps: Mapping[int, Floats], anchor: Floats) -> dict[int, Floats]:
    place, informed, valid = _places(points, views)
    off = place - _centres(points.group, informed, place, anchor)[points.group]
    informed = informed * _weights(off, informed)[:, None, None]
    off = place - _centres(points.group, informed, place, anchor)[points.group]
    informed = informed * _ALIKE
    total, _ = _sums(points.group, informed, place)
    begins, size = {}, 0
    for camera, step in steps.items():
        begins[camera], size = size, size + len(step)
    normal, pull = np.zeros((size, size)), np.zeros(size)
    groups = len(total)
    together = np.zeros((groups, 2, size))
    for camera, step in steps.items():
        rows = np.flatnonzero((points.camera == camera) & valid)
        at = slice(begins[camera], begins[camera] + len(step))
        sigma = prior_sigma(views[camera].calibration)
        normal[at, at] += np.diag(sigma**-2)
        pull[at] -= step * sigma**-2
        if not len(rows):
            continue
        slope = floor_slope(views[camera].calibration, views[camera].size_px, points.foot_px[rows])
        drawn = informed[rows] @ slope
        normal[at, at] += np.einsum("kip,kiq->pq", slope, drawn)
        pull[at] -= np.einsum("kip,ki->p", drawn, off[rows])
        np.add.at(together[:, :, at], points.group[rows], drawn)
    half = np.linalg.cholesky(np.linalg.inv(total + np.eye(2) * _ALIKE / _ANCHOR_M**2))
    rows_of = np.einsum("gij,gip->gjp", half, together).reshape(2 * groups, size)
    change = np.linalg.solve(normal - rows_of.T @ rows_of, pull)
    return {camera: change[begin : begin + len(steps[camera])] for camera, begin in begins.items()}
