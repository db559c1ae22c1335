"""What every detector must do, as checks to run on one: here on ours, in your tests on yours (docs/new-detector.md).

Each check takes a function that makes the detector and raises AssertionError, in words, where the contract is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.vision.protocols import Detections, Detector, Picture

Make = Callable[[], Detector]

_SIZES = ((33, 71), (97, 1), (1, 211), (3, 5), (481, 359))


def picture(height_px: int, width_px: int, seed: int = 1) -> Picture:
    """A picture with shades and edges: blocks of random colours under noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height_px // 24 + 1, width_px // 24 + 1, 3))
    large = np.repeat(np.repeat(blocks, 24, axis=0), 24, axis=1)[:height_px, :width_px]
    return np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.uint8)


def empty_batch(make: Make) -> None:
    """No frames, no answers."""
    assert make().detect([]) == [], "an empty batch must give an empty list"


def same_alone_and_in_a_batch(make: Make) -> None:
    """A frame's answer does not hang on what it is looked at with, and pictures are left as they were."""
    detector = make()
    if not detector.shared:
        return
    frames = [picture(120, 160, 1), picture(90, 200, 2), picture(120, 160, 3), picture(64, 64, 4), picture(200, 50, 5)]
    before = [frame.copy() for frame in frames]
    together = detector.detect(frames)
    assert len(together) == len(frames), f"{len(together)} answers for {len(frames)} frames"
    assert all(map(np.array_equal, frames, before)), "the pictures were changed"
    for number, (frame, one) in enumerate(zip(frames, together, strict=True)):
        well_formed(one, frame)
        (alone,) = detector.detect([frame])
        assert alike(one, alone), f"frame {number} gives other people in a batch than alone"


def odd_sizes(make: Make) -> None:
    """Thin, tiny and odd pictures are looked at like others."""
    for number, (height_px, width_px) in enumerate(_SIZES):
        frame = picture(height_px, width_px, number)
        (found,) = make().detect([frame])
        well_formed(found, frame)


def grey(make: Make) -> None:
    """A grey picture, (H, W) or (H, W, 1), is the same as its value in all three channels."""
    plane = picture(120, 160)[:, :, 0]
    (expected,) = make().detect([np.repeat(plane[:, :, None], 3, axis=2)])
    for frame in (plane, plane[:, :, None]):
        (found,) = make().detect([frame])
        assert alike(found, expected), (
            f"a grey picture of shape {frame.shape} gives other people than in three channels"
        )


def large(make: Make) -> None:
    """A 4K picture is looked at."""
    frame = picture(2160, 3840)
    (found,) = make().detect([frame])
    well_formed(found, frame)


def corrupt(make: Make) -> None:
    """What is no picture is refused with InputError, and the next picture is looked at as before."""
    good = picture(120, 160)
    detector = make()
    (before,) = detector.detect([good])
    broken_ones: tuple[NDArray[Any], ...] = (
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.full((10, 10, 3), np.nan, np.float32),
        np.zeros((2, 10, 10, 3), np.uint8),
    )
    for broken in broken_ones:
        message = _refused(detector, broken)
        assert message, f"shape {broken.shape} of {broken.dtype} was taken for a picture"
        assert "\n" not in message, f"more than one line: {message}"
    (after,) = detector.detect([good])
    assert not detector.shared or alike(before, after), "a broken picture changed what is found in the next one"


CHECKS = MappingProxyType(
    {check.__name__: check for check in (empty_batch, same_alone_and_in_a_batch, odd_sizes, grey, large, corrupt)}
)
"""All checks by name, for ``pytest.mark.parametrize``."""


def _refused(detector: Detector, broken: NDArray[Any]) -> str:
    """What it says to an array that is no picture; empty where it takes it."""
    try:
        detector.detect([broken])
    except InputError as error:
        return str(error)
    return ""


def well_formed(found: Detections, frame: Picture) -> None:
    """Shapes, types and ranges of one answer; AssertionError says which is wrong."""
    boxes, scores = found.boxes_px, found.scores
    assert boxes.shape == (len(scores), 4), f"boxes {boxes.shape} for {len(scores)} scores"
    assert scores.shape == (len(scores),), f"scores of shape {scores.shape}"
    assert boxes.dtype == np.float64, f"boxes are {boxes.dtype}"
    assert scores.dtype == np.float64, f"scores are {scores.dtype}"
    assert np.isfinite(boxes).all(), "a box is not finite"
    assert ((scores >= 0) & (scores <= 1)).all(), "a score lies outside 0 to 1"
    assert (np.diff(scores) <= 0).all(), "the surest does not come first"
    height_px, width_px = frame.shape[:2]
    assert (boxes[:, 2:] > 0).all(), "a box without area"
    assert (boxes[:, :2] >= 0).all(), "a box left of or above the picture"
    assert (boxes[:, 0] + boxes[:, 2] <= width_px + 1e-6).all(), "a box beyond the right edge"
    assert (boxes[:, 1] + boxes[:, 3] <= height_px + 1e-6).all(), "a box beyond the lower edge"


def alike(
    one: Detections, other: Detections, *, within_px: float = 0.5, within_score: float = 0.01, score_edge: float = 0.0
) -> bool:
    """Whether both found the same people: each box has a partner nearby, with about the same score.

    Of scores within ``within_score`` of ``score_edge``, the least that is given out, either may lack some.
    """
    return _partnered(one, other, within_px, within_score, score_edge) and _partnered(
        other, one, within_px, within_score, score_edge
    )


def _partnered(one: Detections, other: Detections, within_px: float, within_score: float, edge: float) -> bool:
    sure: NDArray[np.bool_] = one.scores > edge + within_score
    if not sure.any():
        return True
    if len(other) == 0:
        return False
    apart_px = np.abs(one.boxes_px[sure, None] - other.boxes_px[None]).max(axis=2)
    apart = np.abs(one.scores[sure, None] - other.scores[None])
    return bool(((apart_px <= within_px) & (apart <= within_score)).any(axis=1).all())
