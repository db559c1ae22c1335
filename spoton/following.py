"""What a frame's event changes in one camera's tracks: places, trust, looks, who is new and who is gone."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from spoton import camera_motion, glances
from spoton.events import PeopleDetected
from spoton.track_state import State, born, centred, corrected, measured_variance, predicted

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

TRUST_S = 0.5
"""How long a score counts in the mean that a track is trusted by."""
_TRUST_US = np.array(1e6 * TRUST_S)
LOOK_MEMORY = 0.8
"""What a track's look keeps of itself at each new one."""


class Sight(msgspec.Struct, frozen=True, eq=False):
    """What a frame and its event share.

    axes: every track's predicted ones, (5, 4, N). boxes_px: (M, 4) left, top, width, height; boxes: (4, M) the same as
    ``centred`` gives them; scores: (M,); numbers: (M,) of each box's track or candidate, 0 for none. old: (K,) boxes of
    tracks and candidates that were there before, ascending; which: (K,) their rows of the state; hidden: (N - K,) all
    other rows, ascending; new: boxes that begin a candidate, ascending.
    """

    axes: Floats
    boxes_px: Floats
    boxes: Floats
    scores: Floats
    numbers: NDArray[np.int64]
    old: Rows
    which: Rows
    hidden: Rows
    new: Rows


def sight_of(state: State, event: PeopleDetected) -> Sight:
    """The sight that an event was made from, read out of the event."""
    boxes_px = np.array(event.boxes_px, dtype=np.float64).reshape(-1, 4)
    numbers = np.array(event.tracks, dtype=np.int64) + np.array(event.tentative, dtype=np.int64)
    old = ((numbers > 0) & (numbers < state.next_track)).nonzero()[0]
    which = state.ids.searchsorted(numbers[old])
    return Sight(
        axes=predicted(state, event.at), boxes_px=boxes_px, boxes=centred(boxes_px),
        scores=np.array(event.scores, dtype=np.float64), numbers=numbers,
        old=old, which=which, hidden=others(len(state), which), new=(numbers >= state.next_track).nonzero()[0],
    )  # fmt: skip


def others(count: int, rows: Rows) -> Rows:
    """Of the first ``count`` rows all but ``rows``, ascending."""
    these = np.zeros(count, dtype=np.bool_)
    these[rows] = True
    return (~these).nonzero()[0]


def follow(state: State, event: PeopleDetected, sight: Sight) -> State:
    """The state after a frame."""
    state = _moved(state, event, sight)
    return _remember(state, event, sight) if event.embeddings else state


def _moved(state: State, event: PeopleDetected, sight: Sight) -> State:
    which, scores = sight.which, sight.scores
    boxes, marks, last_at = sight.boxes.take(sight.old, axis=1), scores[sight.old], state.seen_at[which]
    foreseen = sight.axes.take(which, axis=2)
    carried = len(sight.hidden) > 0
    axes = _carried(state, event.at, sight, last_at, foreseen, boxes) if carried else np.empty_like(state.axes)
    axes[:, :, which] = corrected(foreseen, boxes)
    seen_at, trust, doubt = state.seen_at.copy(), state.trust.copy(), state.doubt.copy()
    trusted = trust[which]
    trust[which] = trusted + (1.0 - np.exp((last_at - np.array(event.at)) / _TRUST_US)) * (marks - trusted)
    doubt[which] *= 1.0 - marks
    seen_at[which] = event.at
    confirmed = state.confirmed
    if event.started:
        confirmed = confirmed.copy()
        confirmed[state.ids.searchsorted(event.started)] = True
    moved = replace(
        state, seq=event.seq, frame=event.frame, at=event.at,
        axes=axes, seen_at=seen_at, trust=trust, doubt=doubt, confirmed=confirmed,
    )  # fmt: skip
    gone, new = event.ended + event.dropped, sight.new
    if gone:
        moved = _without(moved, gone)
    return _begun(moved, sight.numbers[new], sight.boxes[:, new], scores[new]) if len(new) else moved


def _carried(
    state: State, at: int, sight: Sight, last_at: NDArray[np.int64], foreseen: Floats, boxes: Floats
) -> Floats:
    """The axes with whoever was not seen moved along with the camera.

    The K that were seen, in ``boxes`` (4, K) and before at ``last_at`` (K,), were foreseen, axes (5, 4, K).
    """
    missed = boxes[:2] - foreseen[0, :2]
    steady = (last_at == state.at).nonzero()[0]
    moved = camera_motion.common_motion(missed.take(steady, axis=1))
    if not np.count_nonzero(moved):
        return state.axes.copy()
    surprise_gain = foreseen[3, :2] / (foreseen[2, :2] + measured_variance(boxes))
    unseen_s = (at - state.seen_at[sight.hidden]) / 1e6
    gain = surprise_gain[:, steady].sum(axis=1) / len(steady)
    return camera_motion.carried(state.axes, sight.hidden, unseen_s, moved, gain)


def _without(state: State, gone: list[int]) -> State:
    """The state without the tracks ``gone``."""
    stay = others(len(state), state.ids.searchsorted(gone))
    return replace(
        state,
        ids=state.ids[stay],
        axes=state.axes.take(stay, axis=2),
        born_at=state.born_at[stay],
        seen_at=state.seen_at[stay],
        confirmed=state.confirmed[stay],
        trust=state.trust[stay],
        doubt=state.doubt[stay],
        looks=state.looks[stay],
        embedded_at=state.embedded_at[stay],
        view=state.view[stay],
    )


def _begun(state: State, new: NDArray[np.int64], boxes: Floats, scores: Floats) -> State:
    """The state with candidates ``new`` (K,), begun now in ``boxes`` (4, K), centred."""
    count = len(new)
    now, never = np.full(count, state.at, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    unknown = np.zeros((count, state.looks.shape[1]), dtype=np.float32)
    return replace(
        state,
        next_track=state.next_track + count,
        ids=np.concatenate([state.ids, new]),
        axes=np.concatenate([state.axes, born(boxes)], axis=2),
        born_at=np.concatenate([state.born_at, now]),
        seen_at=np.concatenate([state.seen_at, now]),
        confirmed=np.concatenate([state.confirmed, np.zeros(count, dtype=np.bool_)]),
        trust=np.concatenate([state.trust, scores]),
        doubt=np.concatenate([state.doubt, 1.0 - scores]),
        looks=np.concatenate([state.looks, unknown]),
        embedded_at=np.concatenate([state.embedded_at, never]),
        view=np.concatenate([state.view, np.zeros(count)]),
    )


def _remember(state: State, event: PeopleDetected, sight: Sight) -> State:
    """Blend the frame's looks into those of their tracks; another model than before starts them anew."""
    numbers = sight.numbers
    taken = [embedding for embedding in event.embeddings if numbers[embedding.row] > 0]
    if not taken:
        return state
    model = taken[0].model
    vectors = np.stack([np.frombuffer(embedding.data, dtype="<f2") for embedding in taken]).astype(np.float32)
    same = model == state.model and vectors.shape[1] == state.looks.shape[1]
    looks = state.looks.copy() if same else np.zeros((len(state), vectors.shape[1]), dtype=np.float32)
    embedded_at = state.embedded_at.copy() if same else np.full(len(state), -1, dtype=np.int64)
    rows = np.array([embedding.row for embedding in taken], dtype=np.intp)
    which = np.searchsorted(state.ids, numbers[rows])
    keep = np.where(embedded_at[which] >= 0, LOOK_MEMORY, 0.0).astype(np.float32)[:, None]
    blended = keep * looks[which] + (np.float32(1.0) - keep) * vectors
    length = np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), np.float32(1e-6))
    looks[which], embedded_at[which] = blended / length, event.at
    view = state.view.copy()
    view[which] = glances.view(sight.boxes_px, event.size_px, rows, numbers > 0)
    return replace(state, model=model, looks=looks, embedded_at=embedded_at, view=view)
