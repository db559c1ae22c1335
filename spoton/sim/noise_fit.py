"""A ``Noise`` model fitted to what a real detector said about pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.association import assign
from spoton.errors import InputError
from spoton.geometry import iou
from spoton.offline.mot_text import BoxRows
from spoton.sim import cover
from spoton.sim.noise import USUAL_SHARE, Chance, Four, Noise, errors_of, normal_cdf

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OVERLAP = 0.5
"""Least intersection over union of a true box and the detection that found it."""
LEAST = 200
"""True boxes below which nothing is fitted."""
_RIDGE = 1e-3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One camera's truth and what the detector said of the same frames; size_px: width and height of its pictures."""

    truth: BoxRows
    found: BoxRows
    size_px: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """All true boxes, by person, then frame, and all that was found around nobody.

    person: (N,), never shared by cameras; frame: (N,); share: (N,) height over the picture's; visible: (N,); hit: (N,);
    errors: (N, 4) nan where missed; logit: (N,) nan where missed. false: (M, 7) camera, frame, left, top, width,
    height, score, in pictures of height 1; near: (M,) whether its middle is on
    somebody; by_chance: (M,) how likely that is of a box anywhere.
    """

    person: Ints
    frame: Ints
    share: Floats
    visible: Floats
    hit: NDArray[np.bool_]
    errors: Floats
    logit: Floats
    false: Floats
    near: NDArray[np.bool_]
    by_chance: Floats
    frames: int


def fit_noise(cameras: Sequence[Watched], fps: float, score_min: float, fitted: dict[str, str]) -> Noise:
    """The model that explains what was found, given what was there.

    fps: of the frames. score_min: detections below are left out. Truth is paired with detections frame by frame (most
    overlap in all, at least ``OVERLAP``); the log-odds of a miss are a logistic regression, score and its spread a
    linear one; spreads are 1.4826 times the median absolute deviation; time constants come from neighbouring frames.

    Raises InputError when there is too little to fit.
    """
    pairs = _paired(cameras, score_min)
    if len(pairs.hit) < LEAST or pairs.hit.sum() < LEAST // 2:
        raise InputError(
            f"{len(pairs.hit)} true boxes, {int(pairs.hit.sum())} of them found, are too few to fit anything to",
            remedy=f"give {LEAST} or more, in the pixels and frame numbers of the detections",
        )
    design = _design(pairs.share, pairs.visible)
    miss = _logistic(design, ~pairs.hit)
    errors, found = pairs.errors[pairs.hit], design[pairs.hit]
    score: Floats = np.asarray(np.linalg.lstsq(found, pairs.logit[pairs.hit], rcond=None)[0], dtype=np.float64)
    bias = np.median(errors, axis=0)
    sigma = np.array([_spread(column) for column in errors.T])
    before = _before(pairs)
    false, false_s = pairs.false, _false_s(pairs.false, fps)
    height = np.log2(np.maximum(false[:, 5], 1e-4) / USUAL_SHARE)
    aspect = np.log2(np.maximum(false[:, 4], 1e-5) / np.maximum(false[:, 5], 1e-5))
    logit = _logit(false[:, 6])
    return Noise(
        miss=_chance(miss),
        miss_tau_s=_miss_tau_s(design @ miss, pairs.hit, before, fps),
        bias=_four(bias),
        sigma=_four(sigma),
        tau_s=_four([_tau_s((pairs.errors[:, k] - bias[k]) / max(sigma[k], 1e-9), before, fps) for k in range(4)]),
        score=_chance(score),
        score_sigma=float((pairs.logit[pairs.hit] - found @ score).std()),
        false_per_frame=len(false) / max(1, pairs.frames),
        false_s=false_s,
        false_near=_near(pairs),
        false_height=_mean(height),
        false_height_sigma=_deviation(height),
        false_aspect=_mean(aspect, -1.0),
        false_aspect_sigma=_deviation(aspect),
        false_score=_mean(logit),
        false_score_sigma=_deviation(logit),
        score_min=score_min,
        fitted=fitted,
    )


def _paired(cameras: Sequence[Watched], score_min: float) -> _Pairs:
    columns: list[Floats] = []
    false: list[Floats] = [np.zeros((0, 7))]
    near: list[NDArray[np.bool_]] = [np.zeros(0, dtype=np.bool_)]
    by_chance: list[Floats] = [np.zeros(0)]
    frames = people = 0
    for number, camera in enumerate(cameras):
        truth = camera.truth.only(camera.truth.scores > 0)
        found = camera.found.only(camera.found.scores >= score_min)
        last = int(truth.frames.max(initial=0))
        frames += last
        visible = visibility(truth, camera.size_px)
        by_truth, by_found = _by_frame(truth.frames, last), _by_frame(found.frames, last)
        scale = np.array([1.0, 1.0]) / camera.size_px[1]
        for frame, (a, b) in enumerate(zip(by_truth, by_found, strict=True), start=1):
            rows, matches = assign(-iou(truth.boxes_px[a], found.boxes_px[b]), -OVERLAP)
            table = np.full((len(a), 10), np.nan)
            table[:, 0], table[:, 1] = people + truth.ids[a], frame
            table[:, 2], table[:, 3] = truth.boxes_px[a, 3] * scale[1], visible[a]
            table[:, 4] = 0.0
            table[rows, 4] = 1.0
            table[rows, 5:9] = errors_of(truth.boxes_px[a[rows]], found.boxes_px[b[matches]])
            table[rows, 9] = _logit(found.scores[b[matches]])
            columns.append(table)
            free = np.delete(b, matches)
            boxes = found.boxes_px[free] * np.tile(scale, 2)
            head = np.tile((float(number), float(frame)), (len(free), 1))
            false.append(np.column_stack((head, boxes, found.scores[free])))
            near.append(_on_somebody(found.boxes_px[free], truth.boxes_px[a]))
            filled = truth.boxes_px[a, 2:].prod(axis=1).sum() / (camera.size_px[0] * camera.size_px[1])
            by_chance.append(np.full(len(free), min(filled, 0.95)))
        people += int(truth.ids.max(initial=0)) + 1
    table = np.concatenate(columns) if columns else np.zeros((0, 10))
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return _Pairs(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3], table[:, 4] > 0,
        table[:, 5:9], table[:, 9], np.concatenate(false),
        np.concatenate(near), np.concatenate(by_chance), frames,
    )  # fmt: skip


def visibility(truth: BoxRows, size_px: tuple[int, int]) -> Floats:
    """(K,) how much of each true box is in the picture and not behind another whose lower edge is lower: nearer."""
    order = np.argsort(truth.frames, kind="stable")
    boxes = truth.boxes_px[order]
    corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
    rank = np.argsort(np.argsort(-corners[:, 3], kind="stable"), kind="stable")
    picture = np.tile((0.0, 0.0, *map(float, size_px)), (len(boxes), 1))
    seen = np.zeros(len(boxes))
    seen[order] = cover.visible(corners, rank, cover.bits(corners, picture), truth.frames[order])
    return seen


def _on_somebody(boxes: Floats, people: Floats) -> NDArray[np.bool_]:
    """(N,) whether the middle of each box (N, 4) lies in one of the people's (M, 4)."""
    middle = (boxes[:, :2] + boxes[:, 2:] / 2)[:, None]
    inside = (middle >= people[None, :, :2]) & (middle <= (people[:, :2] + people[:, 2:])[None])
    on_one: NDArray[np.bool_] = np.all(inside, axis=2)
    return np.asarray(np.any(on_one, axis=1))


def _by_frame(frames: Ints, last: int) -> list[Ints]:
    order = np.argsort(frames, kind="stable")
    ends = np.searchsorted(frames[order], np.arange(1, last + 2))
    return [order[ends[k] : ends[k + 1]] for k in range(last)]


def _design(share: Floats, visible: Floats) -> Floats:
    return np.column_stack((np.ones(len(share)), np.log2(np.maximum(share, 1e-6) / USUAL_SHARE), 1.0 - visible))


def _logistic(design: Floats, yes: NDArray[np.bool_]) -> Floats:
    """Coefficients of a logistic regression by Newton's steps, with a ridge so small that it only keeps them finite."""
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (yes - chance) - _RIDGE * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -4.0, 4.0)
        if np.abs(step).max() < 1e-8:
            break
    return np.asarray(weights)


def _before(pairs: _Pairs) -> Ints:
    """Rows whose person is in the row before, one frame earlier."""
    same = (np.diff(pairs.person) == 0) & (np.diff(pairs.frame) == 1)
    return np.flatnonzero(same) + 1


def _tau_s(values: Floats, rows: Ints, fps: float) -> float:
    """The time constant of standardised errors, from their correlation with the frame before; outliers cut at 3."""
    now, then = np.clip(values[rows], -3, 3), np.clip(values[rows - 1], -3, 3)
    both = ~np.isnan(now) & ~np.isnan(then)
    if both.sum() < 20:
        return 0.0
    return _from_correlation(float(np.corrcoef(now[both], then[both])[0, 1]), fps)


def _miss_tau_s(odds: Floats, hit: NDArray[np.bool_], rows: Ints, fps: float) -> float:
    """The time constant of misses: the correlation of the hidden normal numbers under which as many misses follow one
    another as did (tetrachoric, Pearson 1900), by bisection."""
    if not len(rows):
        return 0.0
    chance = 1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30)))
    level = _quantile(chance)
    a, b, twice = level[rows], level[rows - 1], float((~hit[rows] & ~hit[rows - 1]).mean())
    alone = chance[rows] * chance[rows - 1]
    low, high = 0.0, 0.995
    for _ in range(40):
        middle = (low + high) / 2
        if float((alone + _above_independence(a, b, middle)).mean()) < twice:
            low = middle
        else:
            high = middle
    return _from_correlation(low, fps)


def _above_independence(a: Floats, b: Floats, correlation: float) -> Floats:
    """P(x < a, y < b) less P(x < a) P(y < b): the normal density, integrated over the correlation (Plackett 1954)."""
    r = correlation * (_NODES + 1) / 2
    rest = 1 - r**2
    x, y = a[:, None], b[:, None]
    density = np.exp(-(x**2 - 2 * r * x * y + y**2) / (2 * rest)) / (2 * np.pi * np.sqrt(rest))
    return np.asarray((density * _WEIGHTS).sum(axis=1) * correlation / 2)


def _quantile(chance: Floats) -> Floats:
    """The normal number below which there is this chance, by interpolation."""
    grid = np.linspace(-6, 6, 4001)
    return np.asarray(np.interp(chance, normal_cdf(grid), grid))


def _from_correlation(value: float, fps: float) -> float:
    return 0.0 if not value > 0.02 else float(-1.0 / (fps * np.log(min(value, 0.999))))


def _false_s(false: Floats, fps: float) -> float:
    """How long a false box lasts, from the share that is there again in the next frame."""
    stays = total = 0
    last = {(int(c), int(f)) for c, f in false[:, :2]}
    boxes = {key: false[(false[:, 0] == key[0]) & (false[:, 1] == key[1])][:, 2:6] for key in last}
    for (camera, frame), here in boxes.items():
        total += len(here)
        there = boxes.get((camera, frame + 1))
        if there is not None:
            stays += len(assign(-iou(here, there), -OVERLAP)[0])
    share = min(stays / total, 0.999) if total else 0.0
    return 1.0 / ((1.0 - share) * fps)


def _near(pairs: _Pairs) -> float:
    """The share of false boxes that are where they are because somebody is there."""
    if not len(pairs.near):
        return 0.0
    by_chance = float(pairs.by_chance.mean())
    return float(np.clip((pairs.near.mean() - by_chance) / (1.0 - by_chance), 0.0, 1.0))


def _logit(scores: Floats) -> Floats:
    inside = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inside / (1 - inside)))


def _spread(values: Floats) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _mean(values: Floats, none: float = 0.0) -> float:
    return float(values.mean()) if len(values) else none


def _deviation(values: Floats) -> float:
    return float(values.std()) if len(values) else 0.0


def _chance(weights: Floats) -> Chance:
    return Chance(*(float(one) for one in weights))


def _four(values: Sequence[float] | Floats) -> Four:
    a, b, c, d = (float(one) for one in values)
    return a, b, c, d
