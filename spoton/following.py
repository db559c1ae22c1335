"""What a frame's event changes in one camera's tracks: places, trust, looks, who is new and who is gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from spoton import camera_motion, glances
from spoton.events import PeopleDetected
from spoton.track_state import State, born, centred, corrected, measured_variance, predicted

Floats = NDArray[np.float64]

TRUST_S = 0.5
"""How long a score counts in the mean that a track is trusted by."""
LOOK_MEMORY = 0.8
"""What a track's look keeps of itself at each new one."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a frame and its event share: every track's predicted axes (5, 4, N), and of each of M boxes its sides
    (left, top, width, height), score and the number of its track or candidate, 0 for none.
    """

    axes: Floats
    boxes_px: Floats
    scores: Floats
    numbers: NDArray[np.int64]


def sight_of(state: State, event: PeopleDetected) -> Sight:
    """The sight that an event was made from, read out of the event."""
    return Sight(
        predicted(state, event.at),
        np.array(event.boxes_px, dtype=np.float64).reshape(-1, 4),
        np.array(event.scores, dtype=np.float64),
        np.array(event.tracks, dtype=np.int64) + np.array(event.tentative, dtype=np.int64),
    )


def follow(state: State, event: PeopleDetected, sight: Sight) -> State:
    """The state after a frame."""
    state = _moved(state, event, sight)
    return _remember(state, event, sight) if event.embeddings else state


def _moved(state: State, event: PeopleDetected, sight: Sight) -> State:
    numbers, boxes, scores = sight.numbers, centred(sight.boxes_px), sight.scores
    seen = ((numbers > 0) & (numbers < state.next_track)).nonzero()[0]
    which = state.ids.searchsorted(numbers[seen])
    mine, marks, last_at = boxes.take(seen, axis=1), scores[seen], state.seen_at[which]
    foreseen = sight.axes.take(which, axis=2)
    hidden = len(state) - len(which)
    axes = _carried(state, event.at, which, last_at, foreseen, mine) if hidden else np.empty_like(state.axes)
    axes[:, :, which] = corrected(foreseen, mine)
    seen_at, trust, doubt = state.seen_at.copy(), state.trust.copy(), state.doubt.copy()
    trust[which] += (1.0 - np.exp((last_at - event.at) / (1e6 * TRUST_S))) * (marks - trust[which])
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
    gone = event.ended + event.dropped
    new = (numbers >= state.next_track).nonzero()[0]
    return _changed(moved, gone, numbers[new], boxes[:, new], scores[new]) if gone or len(new) else moved


def _carried(
    state: State, at: int, which: NDArray[np.intp], last_at: NDArray[np.int64], foreseen: Floats, boxes: Floats
) -> Floats:
    """The axes with whoever was not seen moved along with the camera.

    Those of the rows ``which`` (K,), last seen at ``last_at``, were foreseen, axes (5, 4, K), and seen in ``boxes``.
    """
    steady = (last_at == state.at).nonzero()[0]
    moved = camera_motion.common_motion((boxes[:2] - foreseen[0, :2])[:, steady])
    if not moved.any():
        return state.axes.copy()
    gain = foreseen[3, :2] / (foreseen[2, :2] + measured_variance(boxes))
    hidden = np.delete(np.arange(len(state)), which)
    return camera_motion.carried(
        state.axes, hidden, (at - state.seen_at[hidden]) / 1e6, moved, gain[:, steady].mean(axis=1)
    )


def _changed(state: State, gone: list[int], new: NDArray[np.int64], boxes: Floats, scores: Floats) -> State:
    """Without the tracks ``gone`` and with candidates ``new`` (K,), begun now in ``boxes`` (4, K), centred."""
    stays = np.ones(len(state), dtype=np.bool_)
    stays[np.searchsorted(state.ids, gone)] = False
    now, never = np.full(len(new), state.at, dtype=np.int64), np.full(len(new), -1, dtype=np.int64)
    unknown = np.zeros((len(new), state.looks.shape[1]), dtype=np.float32)
    return replace(
        state,
        next_track=state.next_track + len(new),
        ids=np.concatenate([state.ids[stays], new]),
        axes=np.concatenate([state.axes[:, :, stays], born(boxes)], axis=2),
        born_at=np.concatenate([state.born_at[stays], now]),
        seen_at=np.concatenate([state.seen_at[stays], now]),
        confirmed=np.concatenate([state.confirmed[stays], np.zeros(len(new), dtype=np.bool_)]),
        trust=np.concatenate([state.trust[stays], scores]),
        doubt=np.concatenate([state.doubt[stays], 1.0 - scores]),
        looks=np.concatenate([state.looks[stays], unknown]),
        embedded_at=np.concatenate([state.embedded_at[stays], never]),
        view=np.concatenate([state.view[stays], np.zeros(len(new))]),
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
