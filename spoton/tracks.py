"""One camera: boxes become tracks. ``decide`` says what a frame means, ``evolve`` folds it into the state.

Both are pure. Replaying recorded inputs gives the recorded events byte for byte, and replaying recorded events gives
the state byte for byte; time comes from the frames alone, so any frame rate, also a changing one, is fine. After a gap
of more than ``lost_after_s``, however it came about, all tracks end: a camera slower than that needs a longer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton import events, geometry
from spoton.events import CameraOffline, CameraOnline, DetectionEvent, Embedding, FramesSkipped, PeopleDetected
from spoton.pairing import cost_of, looks_cost, newcomers, pair
from spoton.site import Thresholds
from spoton.track_state import Prediction, State, born, corrected, initial, pack, predicted, unpack

__all__ = [
    "FrameSeen", "Input", "State", "decide", "evolve", "initial", "pack", "quantise", "rows_to_embed", "step", "unpack",
]  # fmt: skip

Floats = NDArray[np.float64]

TRUST_S = 0.5
"""How long a score counts in the mean that a track is trusted by."""
LOOK_AGAIN_S = 0.5
"""A track's look is taken again after this long."""
COVERED = 0.4
"""A box covered by another by this much shows somebody else too."""
LOOK_MEMORY = 0.8
"""What a track's look keeps of itself at each new one."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSeen:
    """What was found in one frame, values as ``quantise`` leaves them.

    boxes_px: (N, 4) left, top, width, height; scores: (N,) in [0, 1]. looks: row to little-endian float16 vector of
    unit length, made by ``model``. The rest as in ``events.FrameCaptured``; frames from ``first`` on that were never
    seen are recorded as skipped.
    """

    site: str
    camera: str
    frame: int
    at: int
    session: int
    size_px: tuple[int, int]
    boxes_px: Floats
    scores: Floats
    first: int = 0
    epoch: int = 0
    origin: int = 0
    source: str = ""
    detector: str = ""
    model: str = ""
    looks: Mapping[int, bytes] = field(default_factory=dict)


Input = FrameSeen | events.SourceChanged


def quantise(boxes_px: Floats, scores: Floats, least_score: float = 0.0) -> tuple[Floats, Floats]:
    """Boxes (N, 4) to 0.01 px and scores (N,) to four digits, as events record them.

    Empty and broken boxes go, and those below ``least_score``: give it ``Thresholds.low_score``, below which nothing is
    looked at, and events stay small.
    """
    boxes = np.round(np.asarray(boxes_px, dtype=np.float64).reshape(-1, 4), 2) + 0.0
    marks = np.asarray(np.round(np.clip(scores, 0.0, 1.0), 4), dtype=np.float64)
    usable = np.isfinite(boxes).all(axis=1) & (marks >= least_score) & (boxes[:, 2:] > 0).all(axis=1)
    return boxes[usable], marks[usable]


def step(state: State, given: Input, thresholds: Thresholds) -> tuple[list[DetectionEvent], State]:
    """``decide``, then every event folded in with ``evolve``; the prediction is computed once for both."""
    decided, prediction = _decide(state, given, thresholds)
    for event in decided:
        state = _fold(state, event, prediction)
    return decided, state


def decide(state: State, given: Input, thresholds: Thresholds) -> list[DetectionEvent]:
    """What an input means: nothing for a frame or a change already seen, else the events to record, in order."""
    return _decide(state, given, thresholds)[0]


def evolve(state: State, event: DetectionEvent) -> State:
    """The state after an event; the event says it all, so no thresholds are needed."""
    return _fold(state, event, predicted(state, event.at) if isinstance(event, PeopleDetected) else None)


def rows_to_embed(state: State, frame: FrameSeen, thresholds: Thresholds) -> NDArray[np.intp]:
    """Rows of a frame whose look is worth taking: confident, not covered by somebody else, and not known of late."""
    boxes, scores = frame.boxes_px, frame.scores
    wanted = scores >= thresholds.high_score
    if _is_repeat(state, frame) or not wanted.any():
        return np.zeros(0, dtype=np.intp)
    covered = geometry.ioa(boxes, boxes)
    np.fill_diagonal(covered, 0.0)
    wanted &= covered.max(axis=1, initial=0.0) < COVERED
    owner = pair(state, frame.at, cost_of(predicted(state, frame.at), boxes), scores, thresholds)
    fresh = (state.embedded_at >= 0) & (frame.at - state.embedded_at < LOOK_AGAIN_S * 1e6)
    wanted[owner >= 0] &= ~fresh[owner[owner >= 0]]
    return np.flatnonzero(wanted)


def _is_repeat(state: State, frame: FrameSeen) -> bool:
    """Seen before, or sent by a reader that another one has taken over from.

    A recording that goes on in a new session may repeat its last frames: their number and their time are known.
    """
    known = frame.frame <= state.frame and (frame.session == state.session or frame.at <= state.at)
    return known or frame.session < state.session


def _decide(
    state: State, given: Input, thresholds: Thresholds
) -> tuple[list[DetectionEvent], Prediction | None]:
    if isinstance(given, events.SourceChanged):
        return _source_changed(state, given), None
    if _is_repeat(state, given):
        return [], None
    decided: list[DetectionEvent] = []
    if not state.online or given.session != state.session:
        head = _head(given, state.seq + 1)
        epoch = given.epoch or given.at
        decided.append(
            CameraOnline(
                **head, session=given.session, size_px=given.size_px, epoch=epoch,
                origin=given.origin, source=given.source,
            )
        )  # fmt: skip
    expected = state.frame + 1 if state.frame >= 0 else given.first
    if expected < given.frame:
        head = _head(given, state.seq + len(decided) + 1)
        decided.append(FramesSkipped(**head, first=expected, last=given.frame - 1))
    prediction = predicted(state, given.at)
    decided.append(_people(state, given, prediction, thresholds, state.seq + len(decided) + 1))
    return decided, prediction


def _source_changed(state: State, changed: events.SourceChanged) -> list[DetectionEvent]:
    known = changed.session < state.session or (changed.session == state.session and not state.online)
    if changed.online or known:
        return []
    head = _head(changed, state.seq + 1)
    return [CameraOffline(**head, session=changed.session, reason=changed.reason, ended=changed.ended)]


def _people(
    state: State, frame: FrameSeen, prediction: Prediction, thresholds: Thresholds, seq: int
) -> PeopleDetected:
    boxes, scores = frame.boxes_px, frame.scores
    cost = cost_of(prediction, boxes)
    dim = state.looks.shape[1]
    if frame.model == state.model and dim and all(len(look) == 2 * dim for look in frame.looks.values()):
        cost = cost + looks_cost(state, *_looks(frame.looks, len(boxes), dim), thresholds)
    owner = pair(state, frame.at, cost, scores, thresholds)
    seen = np.zeros(len(state), dtype=np.bool_)
    seen[owner[owner >= 0]] = True
    gap_s, age_s = (frame.at - state.seen_at) / 1e6, (frame.at - state.born_at) / 1e6
    started = seen & ~state.confirmed & (age_s >= thresholds.confirm_s)
    ended = state.confirmed & ~seen & (gap_s > thresholds.lost_after_s)
    lost = state.confirmed & ~seen & (state.seen_at == state.at) & ~ended
    dropped = ~state.confirmed & ~seen & (gap_s > min(thresholds.confirm_s / 2.0, thresholds.lost_after_s))
    numbers = np.zeros(len(boxes), dtype=np.int64)
    numbers[owner >= 0] = state.ids[owner[owner >= 0]]
    is_track = np.zeros(len(boxes), dtype=np.bool_)
    is_track[owner >= 0] = (state.confirmed | started)[owner[owner >= 0]]
    fresh = newcomers(boxes, scores, owner, thresholds)
    numbers[fresh] = state.next_track + np.arange(len(fresh))
    return PeopleDetected(
        **_head(frame, seq), frame=frame.frame, size_px=frame.size_px, detector=frame.detector,
        boxes_px=[tuple(box) for box in boxes.tolist()], scores=scores.tolist(),
        tracks=np.where(is_track, numbers, 0).tolist(), tentative=np.where(is_track, 0, numbers).tolist(),
        started=state.ids[started].tolist(), lost=state.ids[lost].tolist(), ended=state.ids[ended].tolist(),
        dropped=state.ids[dropped].tolist(),
        embeddings=[Embedding(row=row, model=frame.model, data=frame.looks[row]) for row in sorted(frame.looks)],
    )  # fmt: skip


def _head(given: Input, seq: int) -> dict[str, Any]:
    number = events.event_id("detections", f"{given.site}/{given.camera}", seq, given.at)
    return {"id": number, "at": given.at, "site": given.site, "camera": given.camera, "seq": seq}


def _looks(looks: Mapping[int, bytes], count: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    table, known = np.zeros((count, dim), dtype=np.float32), np.zeros(count, dtype=np.bool_)
    for row, data in looks.items():
        table[row], known[row] = np.frombuffer(data, dtype="<f2"), True
    return table, known


def _fold(state: State, event: DetectionEvent, prediction: Prediction | None) -> State:
    if isinstance(event, CameraOnline):
        return replace(state, seq=event.seq, session=event.session, online=True)
    if isinstance(event, CameraOffline):
        return replace(state, seq=event.seq, session=event.session, online=False)
    if prediction is None or not isinstance(event, PeopleDetected):
        return replace(state, seq=event.seq)
    boxes = np.array(event.boxes_px, dtype=np.float64).reshape(-1, 4)
    numbers = np.array(event.tracks, dtype=np.int64) + np.array(event.tentative, dtype=np.int64)
    return _remember(_follow(state, event, prediction, boxes, numbers), event, numbers)


def _follow(
    state: State, event: PeopleDetected, prediction: Prediction, boxes: Floats, numbers: NDArray[np.int64]
) -> State:
    seen = np.flatnonzero((numbers > 0) & (numbers < state.next_track))
    new = np.flatnonzero(numbers >= state.next_track)
    which = np.searchsorted(state.ids, numbers[seen])
    mean, cov, seen_at = state.mean.copy(), state.cov.copy(), state.seen_at.copy()
    mean[which], cov[which] = corrected(prediction.mean[which], prediction.cov[which], boxes[seen])
    seen_at[which] = event.at
    scores = np.array(event.scores, dtype=np.float64)
    trust = state.trust.copy()
    trust[which] += (1.0 - np.exp((state.seen_at[which] - event.at) / 1e6 / TRUST_S)) * (scores[seen] - trust[which])
    confirmed = state.confirmed.copy()
    confirmed[np.searchsorted(state.ids, event.started)] = True
    stays = np.ones(len(state), dtype=np.bool_)
    stays[np.searchsorted(state.ids, event.ended + event.dropped)] = False
    new_mean, new_cov = born(boxes[new])
    now = np.full(len(new), event.at, dtype=np.int64)
    return replace(
        state,
        seq=event.seq, frame=event.frame, at=event.at,
        next_track=int(max(state.next_track - 1, numbers.max(initial=0))) + 1,
        ids=np.concatenate([state.ids[stays], numbers[new]]),
        mean=np.concatenate([mean[stays], new_mean]),
        cov=np.concatenate([cov[stays], new_cov]),
        born_at=np.concatenate([state.born_at[stays], now]),
        seen_at=np.concatenate([seen_at[stays], now]),
        confirmed=np.concatenate([confirmed[stays], np.zeros(len(new), dtype=np.bool_)]),
        trust=np.concatenate([trust[stays], scores[new]]),
        looks=np.concatenate([state.looks[stays], np.zeros((len(new), state.looks.shape[1]), dtype=np.float32)]),
        embedded_at=np.concatenate([state.embedded_at[stays], np.full(len(new), -1, dtype=np.int64)]),
    )  # fmt: skip


def _remember(state: State, event: PeopleDetected, numbers: NDArray[np.int64]) -> State:
    """Blend the frame's looks into those of their tracks; another model than before starts them anew."""
    taken = [embedding for embedding in event.embeddings if numbers[embedding.row] > 0]
    if not taken:
        return state
    model = taken[0].model
    vectors = np.stack([np.frombuffer(embedding.data, dtype="<f2") for embedding in taken]).astype(np.float32)
    same = model == state.model and vectors.shape[1] == state.looks.shape[1]
    looks = state.looks.copy() if same else np.zeros((len(state), vectors.shape[1]), dtype=np.float32)
    embedded_at = state.embedded_at.copy() if same else np.full(len(state), -1, dtype=np.int64)
    which = np.searchsorted(state.ids, numbers[[embedding.row for embedding in taken]])
    keep = np.where(embedded_at[which] >= 0, LOOK_MEMORY, 0.0).astype(np.float32)[:, None]
    blended = keep * looks[which] + (np.float32(1.0) - keep) * vectors
    length = np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), np.float32(1e-6))
    looks[which], embedded_at[which] = blended / length, event.at
    return replace(state, model=model, looks=looks, embedded_at=embedded_at)
