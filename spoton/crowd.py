"""Everyone whom a site may know, as arrays: one row per person, confirmed or not yet.

Rows are ordered by ``uid``, which counts up with each birth, so a lower row is an older person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.stance import HEAD_M, HEIGHT_SIGMA_M
from spoton.ticks import NEVER_US

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ACCEL_SIGMA = 0.8
"""Square root of the spectral density of walking people's acceleration, m/s^1.5."""
BRAKE_S = 1.0
"""An unseen person's speed falls to 1/e in this time: people who vanish rarely walk straight on."""

_STILL_M2_S2 = 1.0
_WIDEST_M2 = 9.0
_HEIGHT_DRIFT = 0.02
"""Random walk of a person's height, for posture and heels, m/s^0.5."""
STATE = ("x_m", "y_m", "vx_m_s", "vy_m_s", "height_m")
PLACE = [0, 1, 4]
"""Where x, y and height are in a state."""


class Crowd(msgspec.Struct, frozen=True):
    """State of N people on a floor seen by C cameras; arrays are never changed in place.

    uid, number: (N,); number 0 until confirmed. mean: (N, 5) x, y m, vx, vy m/s, height m. cov: (N, 5, 5). belief: (N,)
    log odds that the person is there. born_us, seen_us: (N,); born_m: (N, 2) where they were seen first. shown_us:
    (N, C) when each camera saw the person last. home: (N,) the camera that the person is reckoned to, -1 none.
    """

    uid: Ints
    number: Ints
    mean: Floats
    cov: Floats
    belief: Floats
    born_us: Ints
    born_m: Floats
    seen_us: Ints
    shown_us: Ints
    home: Ints

    def __len__(self) -> int:
        return len(self.uid)


def nobody(cameras: int) -> Crowd:
    """No person, as seen by that many cameras."""
    none = np.zeros(0, dtype=np.int64)
    return Crowd(
        uid=none, number=none, mean=np.zeros((0, 5)), cov=np.zeros((0, 5, 5)), belief=np.zeros(0), born_us=none,
        born_m=np.zeros((0, 2)), seen_us=none, shown_us=np.zeros((0, cameras), dtype=np.int64), home=none,
    )  # fmt: skip


def newborn(uids: Sequence[int], place_m: Floats, cov_m2: Floats, at_us: int, cameras: int) -> Crowd:
    """People first seen now at ``place_m`` (N, 3), with a walker's unknown speed and the usual spread of heights."""
    count = len(place_m)
    mean, cov = np.zeros((count, 5)), np.zeros((count, 5, 5))
    mean[:, PLACE] = place_m
    cov[np.ix_(range(count), PLACE, PLACE)] = cov_m2
    cov[:, [2, 3], [2, 3]] = _STILL_M2_S2
    usual = np.full((count, 1), HEAD_M), np.full((count, 1, 1), HEIGHT_SIGMA_M**2)
    mean, cov = motion.update(mean, cov, *usual, np.eye(5)[4:])
    now = np.full(count, at_us, dtype=np.int64)
    return Crowd(
        uid=np.array(uids, dtype=np.int64), number=np.zeros(count, dtype=np.int64), mean=mean, cov=cov,
        belief=np.zeros(count), born_us=now, born_m=place_m[:, :2].copy(), seen_us=now,
        shown_us=np.full((count, cameras), NEVER_US, dtype=np.int64), home=np.full(count, -1, dtype=np.int64),
    )  # fmt: skip


def with_values(crowd: Crowd, **values: Any) -> Crowd:
    """The crowd with some arrays replaced."""
    changed: Crowd = msgspec.structs.replace(crowd, **values)
    return changed


def kept(crowd: Crowd, keep: Bools) -> Crowd:
    """Only the rows where ``keep``."""
    if keep.all():
        return crowd
    return Crowd(**{name: getattr(crowd, name)[keep] for name in Crowd.__struct_fields__})


def joined(first: Crowd, second: Crowd) -> Crowd:
    """The rows of both, ``first`` before ``second``."""
    if not len(second):
        return first
    return Crowd(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in Crowd.__struct_fields__}
    )


def predicted(crowd: Crowd, dt_s: float, at_us: int, brake_after_s: float) -> Crowd:
    """Everyone carried ``dt_s`` forward to ``at_us``; whoever was unseen for ``brake_after_s`` slows down."""
    if not len(crowd) or dt_s <= 0:
        return crowd
    F, Q = np.eye(5), np.zeros((5, 5))
    F[:4, :4], Q[:4, :4] = motion.constant_velocity(dt_s, 2, ACCEL_SIGMA)
    Q[4, 4] = _HEIGHT_DRIFT**2 * dt_s
    mean, cov = motion.predict(crowd.mean, crowd.cov, F, Q)
    unseen = (at_us - crowd.seen_us) / 1e6 > brake_after_s
    mean[:, 2:4] *= np.where(unseen, np.exp(-dt_s / BRAKE_S), 1.0)[:, None]
    # Someone lost for long could be anywhere within reach: past that the spread tells nothing more.
    spread = np.maximum(cov[:, 0, 0], cov[:, 1, 1]) / _WIDEST_M2
    cov = cov / np.maximum(spread, 1.0)[:, None, None]
    return with_values(crowd, mean=mean, cov=cov)


def reseen(crowd: Crowd, before: Sequence[str], after: Sequence[str]) -> Crowd:
    """The crowd for another set of cameras: what cameras that went away saw is forgotten."""
    if tuple(before) == tuple(after):
        return crowd
    shown = np.full((len(crowd), len(after)), NEVER_US, dtype=np.int64)
    places = {name: k for k, name in enumerate(after)}
    moved = np.array([places.get(name, -1) for name in before], dtype=np.int64)
    for old, new in enumerate(moved):
        if new >= 0:
            shown[:, new] = crowd.shown_us[:, old]
    home = np.where(crowd.home >= 0, moved[crowd.home] if len(moved) else -1, -1)
    return with_values(crowd, shown_us=shown, home=home)
