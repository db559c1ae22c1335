"""What one camera's tracker knows: every track's motion, age and looks, as arrays that travel as bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

# All noise is relative to the height of the person's box, in seconds, so that neither resolution nor frame rate enters.
MEASURED = 0.05
"""Standard deviation of a detector's box, in heights."""
ACCEL = np.array([0.2, 0.2, 0.06, 0.06])[:, None]
"""Of centre x, y, width and height, in heights per second^1.5."""
DRIFT = np.array([0.1, 0.1, 0.06, 0.06])[:, None]
"""Random walk beside it: gait, lens, a detector that changes its mind; in heights per second^0.5."""
START_SPEED = np.array([1.0, 0.6, 0.1, 0.1])[:, None]
"""Of a person just found, in heights per second: walking is about 0.8, and sizes change slowly."""
_ACCEL_DENSITY, _DRIFT_DENSITY = ACCEL**2, DRIFT**2
COAST_S = np.array([np.inf, np.inf, 0.3, 0.3])[:, None]
"""Sizes change on for this long without being seen, positions for as long as the track lives."""
LEAST_PX = np.array(1.0)
"""No side of a box counts as less."""
# With few people in the picture a frame costs what numpy's calls cost, and a function of numpy takes an array of no
# dimension twice as fast as a number: so constants of every frame are such arrays.
_AT_ONCE, _SECOND_US = np.array(0), np.array(1e6)


class State(msgspec.Struct, frozen=True, eq=False):
    """One camera between two frames; N tracks and candidates, ascending by id.

    seq: events so far. frame, at: of the last frame, -1 before the first. session, online: of the source.
    next_track: the next id to give. axes: (5, 4, N) place, speed, variance of the place, covariance of place and speed,
    variance of the speed (px, seconds) of centre x, centre y, width and height, when the track was last seen. born_at,
    seen_at: (N,) microseconds. confirmed: (N,), False for candidates. trust: (N,) mean score of late. doubt: (N,) how
    probable it is that all that a candidate was seen in were false alarms. model: which embedder made ``looks``, (N, D)
    float32 of unit length, zero where unknown; embedded_at: (N,) microseconds, -1 for never; view: (N,) how well the
    last look showed whom it was taken of, as ``glances.view`` says.
    """

    seq: int
    frame: int
    at: int
    session: int
    online: bool
    next_track: int
    ids: Integers
    axes: Floats
    born_at: Integers
    seen_at: Integers
    confirmed: Bools
    trust: Floats
    doubt: Floats
    model: str
    looks: NDArray[np.float32]
    embedded_at: Integers
    view: Floats

    def __len__(self) -> int:
        return len(self.ids)


def initial() -> State:
    """A camera that was never seen."""
    integers = np.zeros(0, dtype=np.int64)
    return State(
        seq=0, frame=-1, at=-1, session=-1, online=False, next_track=1,
        ids=integers, axes=np.zeros((5, 4, 0)), born_at=integers, seen_at=integers,
        confirmed=np.zeros(0, dtype=np.bool_), trust=np.zeros(0), doubt=np.zeros(0),
        model="", looks=np.zeros((0, 0), dtype=np.float32), embedded_at=integers,
        view=np.zeros(0),
    )  # fmt: skip


def predicted(state: State, at: int) -> Floats:
    """Every track carried forward to event time ``at``: axes (5, 4, N); a time before ``seen_at`` moves nothing."""
    elapsed_s = np.maximum(np.array(at) - state.seen_at, _AT_ONCE) / _SECOND_US
    height = np.maximum(state.axes[0, 3], LEAST_PX)
    squared_height = height * height
    walk = _DRIFT_DENSITY * (squared_height * elapsed_s)
    return motion.predict_axes(state.axes, np.minimum(elapsed_s, COAST_S), _ACCEL_DENSITY * squared_height, walk)


def corrected(axes: Floats, boxes: Floats) -> Floats:
    """Predicted axes (5, 4, K) after each track was seen in its own box (4, K), as ``centred`` gives them."""
    return motion.update_axes(axes, boxes, measured_variance(boxes))


def born(boxes: Floats) -> Floats:
    """Axes (5, 4, K) of people seen for the first time, in boxes as ``centred`` gives them."""
    axes = np.zeros((5, *boxes.shape))
    axes[0] = boxes
    axes[2] = measured_variance(boxes)
    axes[4] = (START_SPEED * np.maximum(boxes[3], LEAST_PX)) ** 2
    return axes


def measured_variance(boxes: Floats) -> Floats:
    """(N,) variance in px^2 of each side of a box (4, N), whose last row is its height."""
    deviation: Floats = np.maximum(boxes[3], LEAST_PX)
    deviation *= MEASURED
    return deviation * deviation


def centred(boxes_px: Floats) -> Floats:
    """Boxes (N, 4) left, top, width, height to (4, N) centre x, centre y, width, height."""
    boxes = boxes_px.T.copy()
    centre = boxes[:2]
    centre += boxes[2:] / 2.0
    return boxes


def pack(state: State) -> bytes:
    """The state as MessagePack: the same state always gives the same bytes."""
    raw: dict[str, Any] = {}
    for name in state.__struct_fields__:
        value = getattr(state, name)
        raw[name] = [value.dtype.str, value.shape, value.tobytes()] if isinstance(value, np.ndarray) else value
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
