"""What one camera's tracker knows: every track's motion, age and looks, as arrays that travel as bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.errors import InputError

Floats = NDArray[np.float64]

# All noise is relative to the height of the person's box, in seconds, so that neither resolution nor frame rate enters.
MEASURED = 0.05
"""Standard deviation of a detector's box, in heights."""
ACCEL = (0.2, 0.2, 0.06, 0.06)
"""Of centre x, y, width and height, in heights per second^1.5."""
DRIFT = (0.1, 0.1, 0.06, 0.06)
"""Random walk beside it: gait, lens, a detector that changes its mind; in heights per second^0.5."""
START_SPEED = (1.0, 0.6, 0.3, 0.3)
"""Of a person just found, in heights per second: walking is about 0.8."""
SIZE_COAST_S = 0.3
"""Sizes change on for this long without being seen, positions for as long as the track lives."""

_POSITION = motion.position_of(1)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One camera between two frames; N tracks and candidates, ascending by id.

    seq: events so far. frame, at: of the last frame, -1 before the first. session, online: of the source.
    next_track: the next id to give. mean: (N, 4, 2) for centre x, centre y, width and height, each position and speed
    (px, px/s) when the track was last seen; cov: (N, 4, 2, 2). born_at, seen_at: (N,) microseconds. confirmed: (N,),
    False for candidates. trust: (N,) mean score of late. model: which embedder made ``looks``, (N, D) float32 of unit
    length, zero where unknown; embedded_at: (N,) microseconds, -1 for never.
    """

    seq: int
    frame: int
    at: int
    session: int
    online: bool
    next_track: int
    ids: NDArray[np.int64]
    mean: Floats
    cov: Floats
    born_at: NDArray[np.int64]
    seen_at: NDArray[np.int64]
    confirmed: NDArray[np.bool_]
    trust: Floats
    model: str
    looks: NDArray[np.float32]
    embedded_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Where every track of a state is expected at one time: ``mean`` (N, 4, 2) and ``cov`` (N, 4, 2, 2) as there."""

    mean: Floats
    cov: Floats

    def boxes_px(self) -> Floats:
        """(N, 4) left, top, width, height."""
        centre, size = self.mean[:, :2, 0], np.maximum(self.mean[:, 2:, 0], 1.0)
        return np.concatenate([centre - size / 2.0, size], axis=1)


def initial() -> State:
    """A camera that was never seen."""
    integers = np.zeros(0, dtype=np.int64)
    return State(
        seq=0, frame=-1, at=-1, session=-1, online=False, next_track=1,
        ids=integers, mean=np.zeros((0, 4, 2)), cov=np.zeros((0, 4, 2, 2)),
        born_at=integers, seen_at=integers, confirmed=np.zeros(0, dtype=np.bool_),
        trust=np.zeros(0),
        model="", looks=np.zeros((0, 0), dtype=np.float32), embedded_at=integers,
    )  # fmt: skip


def predicted(state: State, at: int) -> Prediction:
    """Every track carried forward to event time ``at``, in one batch; a time before ``seen_at`` moves nothing."""
    count = len(state)
    elapsed_s = np.maximum(at - state.seen_at, 0) / 1e6
    height = _heights(state.mean)
    dt_s = np.repeat(elapsed_s[:, None], 4, axis=1)
    dt_s[:, 2:] = np.minimum(dt_s[:, 2:], SIZE_COAST_S)
    accel = height[:, None] * np.array(ACCEL)
    F, Q = motion.constant_velocity(dt_s.ravel(), 1, accel.ravel())
    Q[:, 0, 0] += ((height[:, None] * np.array(DRIFT)) ** 2 * elapsed_s[:, None]).ravel()
    mean, cov = motion.predict(state.mean.reshape(-1, 2), state.cov.reshape(-1, 2, 2), F, Q)
    return Prediction(mean.reshape(count, 4, 2), cov.reshape(count, 4, 2, 2))


def corrected(mean: Floats, cov: Floats, boxes_px: Floats) -> tuple[Floats, Floats]:
    """Predicted tracks (K, 4, 2) and (K, 4, 2, 2) after each was seen in its own box (K, 4)."""
    count = len(mean)
    noise = ((MEASURED * np.maximum(boxes_px[:, 3], 1.0)) ** 2).repeat(4)[:, None, None]
    z = centred(boxes_px).reshape(-1, 1)
    new_mean, new_cov = motion.update(mean.reshape(-1, 2), cov.reshape(-1, 2, 2), z, noise, _POSITION)
    return new_mean.reshape(count, 4, 2), new_cov.reshape(count, 4, 2, 2)


def born(boxes_px: Floats) -> tuple[Floats, Floats]:
    """Mean (K, 4, 2) and covariance (K, 4, 2, 2) of people seen for the first time."""
    mean = np.zeros((len(boxes_px), 4, 2))
    mean[:, :, 0] = centred(boxes_px)
    height = _heights(mean)[:, None]
    cov = np.zeros((len(boxes_px), 4, 2, 2))
    cov[:, :, 0, 0] = (MEASURED * height) ** 2
    cov[:, :, 1, 1] = (np.array(START_SPEED) * height) ** 2
    return mean, cov


def centred(boxes_px: Floats) -> Floats:
    """(N, 4) left, top, width, height to centre x, centre y, width, height."""
    return np.concatenate([boxes_px[:, :2] + boxes_px[:, 2:] / 2.0, boxes_px[:, 2:]], axis=1)


def pack(state: State) -> bytes:
    """The state as MessagePack: the same state always gives the same bytes."""
    raw: dict[str, Any] = {}
    for field in fields(state):
        value = getattr(state, field.name)
        raw[field.name] = [value.dtype.str, value.shape, value.tobytes()] if isinstance(value, np.ndarray) else value
    return msgspec.msgpack.encode(raw)


def unpack(data: bytes) -> State:
    """The exact reverse of ``pack``; InputError when the bytes are no state."""
    try:
        raw: dict[str, Any] = msgspec.msgpack.decode(data)
        values: dict[str, Any] = {k: _array(*v) if isinstance(v, list) else v for k, v in raw.items()}
        return State(**values)
    except (msgspec.DecodeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"tracker state of {len(data)} bytes cannot be read ({error})",
            remedy="another version wrote it, or it is damaged: start with a new data folder",
        ) from error


def _array(dtype: str, shape: list[int], data: bytes) -> NDArray[np.generic]:
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)


def _heights(mean: Floats) -> Floats:
    return np.maximum(mean[:, 3, 0], 1.0)
