"""One camera: boxes become tracks. ``decide`` says what a frame means, ``evolve`` folds it into the state.

Both are pure. Replaying recorded inputs gives the recorded events byte for byte, and replaying recorded events gives
the state byte for byte; time comes from the frames alone, so any frame rate, also a changing one, is fine. After a gap
of more than ``lost_after_s``, however it came about, all tracks end: a camera slower than that needs a longer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton import camera_motion, events, geometry
from spoton.events import CameraOffline, CameraOnline, DetectionEvent, Embedding, FramesSkipped, PeopleDetected
from spoton.pairing import newcomers, pair, possible, with_looks
from spoton.site import Thresholds
from spoton.track_state import State, born, centred, corrected, initial, measured_variance, pack, predicted, unpack

__all__ = [
    "FrameSeen", "Input", "State", "decide", "evolve", "initial", "pack", "quantise", "rows_to_embed", "step", "unpack",
]  # fmt: skip

Floats = NDArray[np.float64]

DOUBT = 0.1
"""A candidate whose sightings are all false alarms with no more than this probability starts before ``confirm_s``."""
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
    boxes = np.asarray(boxes_px, dtype=np.float64).reshape(-1, 4).round(2) + 0.0
    marks = np.minimum(np.maximum(np.asarray(scores, dtype=np.float64), 0.0), 1.0).round(4)
    # Not a number fails every comparison and infinity survives a sum: where all are usable, this is seen at once.
    if marks.min(initial=1.0) >= least_score and boxes[:, 2:].min(initial=1.0) > 0.0 and isfinite(boxes.sum()):
        return boxes, marks
    usable = np.isfinite(boxes).all(axis=1) & (marks >= least_score) & (boxes[:, 2:] > 0).all(axis=1)
    return boxes[usable], marks[usable]


def step(state: State, given: Input, thresholds: Thresholds) -> tuple[list[DetectionEvent], State]:
    """``decide``, then every event folded in with ``evolve``; what both compute is computed once."""
    decided, sight = _decide(state, given, thresholds)
    for event in decided:
        state = _fold(state, event, sight)
    return decided, state


def decide(state: State, given: Input, thresholds: Thresholds) -> list[DetectionEvent]:
    """What an input means: nothing for a frame or a change already seen, else the events to record, in order."""
    return _decide(state, given, thresholds)[0]


def evolve(state: State, event: DetectionEvent) -> State:
    """The state after an event; the event says it all, so no thresholds are needed."""
    if not isinstance(event, PeopleDetected):
        return _fold(state, event, None)
    boxes = np.array(event.boxes_px, dtype=np.float64).reshape(-1, 4)
    numbers = np.array(event.tracks, dtype=np.int64) + np.array(event.tentative, dtype=np.int64)
    scores = np.array(event.scores, dtype=np.float64)
    return _fold(state, event, _Sight(predicted(state, event.at), boxes, scores, numbers))


def rows_to_embed(state: State, frame: FrameSeen, thresholds: Thresholds) -> NDArray[np.intp]:
    """Rows of a frame whose look is worth taking: confident, not covered by somebody else, and not known of late."""
    boxes, scores = frame.boxes_px, frame.scores
    wanted = scores >= thresholds.high_score
    if _is_repeat(state, frame) or not wanted.any():
        return np.zeros(0, dtype=np.intp)
    covered = geometry.ioa(boxes, boxes)
    np.fill_diagonal(covered, 0.0)
    wanted &= covered.max(axis=1, initial=0.0) < COVERED
    owner = pair(state, frame.at, possible(predicted(state, frame.at), boxes), scores, thresholds)
    fresh = (state.embedded_at >= 0) & (frame.at - state.embedded_at < LOOK_AGAIN_S * 1e6)
    wanted[owner >= 0] &= ~fresh[owner[owner >= 0]]
    return np.flatnonzero(wanted)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """What a frame and its event share: every track's predicted axes (5, 4, N), and of each of M boxes its sides
    (left, top, width, height), score and the number of its track or candidate, 0 for none.
    """

    axes: Floats
    boxes_px: Floats
    scores: Floats
    numbers: NDArray[np.int64]


def _is_repeat(state: State, frame: FrameSeen) -> bool:
    return frame.frame <= state.frame and frame.session <= state.session


def _decide(state: State, given: Input, thresholds: Thresholds) -> tuple[list[DetectionEvent], _Sight | None]:
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
    people, sight = _people(state, given, thresholds, state.seq + len(decided) + 1)
    decided.append(people)
    return decided, sight


def _source_changed(state: State, changed: events.SourceChanged) -> list[DetectionEvent]:
    known = changed.session < state.session or (changed.session == state.session and not state.online)
    if changed.online or known:
        return []
    head = _head(changed, state.seq + 1)
    return [CameraOffline(**head, session=changed.session, reason=changed.reason, ended=changed.ended)]


def _people(state: State, frame: FrameSeen, thresholds: Thresholds, seq: int) -> tuple[PeopleDetected, _Sight]:
    boxes, scores = frame.boxes_px, frame.scores
    axes = predicted(state, frame.at)
    pairs = possible(axes, boxes)
    dim = state.looks.shape[1]
    if frame.model == state.model and dim and all(len(look) == 2 * dim for look in frame.looks.values()):
        pairs = with_looks(pairs, state, *_looks(frame.looks, len(boxes), dim), thresholds)
    owner = pair(state, frame.at, pairs, scores, thresholds)
    matched = (owner >= 0).nonzero()[0]
    who = owner[matched]
    ids = state.ids[who]
    firm = state.confirmed[who]
    started: list[int] = []
    if not firm.all():
        old_enough = frame.at - state.born_at[who] >= thresholds.confirm_s * 1e6
        starts = ~firm & (old_enough | (state.doubt[who] * (1.0 - scores[matched]) <= DOUBT))
        started = np.sort(ids[starts]).tolist()
        firm |= starts
    numbers, of_tracks = np.zeros((2, len(boxes)), dtype=np.int64)
    numbers[matched] = ids
    of_tracks[matched] = ids * firm
    if len(matched) < len(boxes):
        fresh = newcomers(boxes, scores, owner, thresholds)
        numbers[fresh] = state.next_track + np.arange(len(fresh))
    lives = _lives(state, frame.at, who, thresholds) if len(who) < len(state) else {}
    people = PeopleDetected(
        **_head(frame, seq), frame=frame.frame, size_px=frame.size_px, detector=frame.detector,
        boxes_px=list(map(tuple, boxes.tolist())), scores=scores.tolist(),
        tracks=of_tracks.tolist(), tentative=(numbers - of_tracks).tolist(), started=started, **lives,
        embeddings=[Embedding(row=row, model=frame.model, data=frame.looks[row]) for row in sorted(frame.looks)],
    )  # fmt: skip
    return people, _Sight(axes, boxes, scores, numbers)


def _lives(state: State, at: int, seen: NDArray[np.int64], thresholds: Thresholds) -> dict[str, list[int]]:
    """Which tracks are lost or ended, and which candidates dropped, as only the rows ``seen`` were seen."""
    unseen = np.ones(len(state), dtype=np.bool_)
    unseen[seen] = False
    rows = unseen.nonzero()[0]
    ids, track, seen_at = state.ids[rows], state.confirmed[rows], state.seen_at[rows]
    gap_us, lost_us = at - seen_at, thresholds.lost_after_s * 1e6
    over = gap_us > np.where(track, lost_us, min(thresholds.confirm_s * 1e6 / 2.0, lost_us))
    lost = track & ~over & (seen_at == state.at)
    return {"lost": ids[lost].tolist(), "ended": ids[track & over].tolist(), "dropped": ids[over & ~track].tolist()}


def _head(given: Input, seq: int) -> dict[str, Any]:
    number = events.event_id("detections", f"{given.site}/{given.camera}", seq, given.at)
    return {"id": number, "at": given.at, "site": given.site, "camera": given.camera, "seq": seq}


def _looks(looks: Mapping[int, bytes], count: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    table, known = np.zeros((count, dim), dtype=np.float32), np.zeros(count, dtype=np.bool_)
    for row, data in looks.items():
        table[row], known[row] = np.frombuffer(data, dtype="<f2"), True
    return table, known


def _fold(state: State, event: DetectionEvent, sight: _Sight | None) -> State:
    if isinstance(event, CameraOnline):
        return replace(state, seq=event.seq, session=event.session, online=True)
    if isinstance(event, CameraOffline):
        return replace(state, seq=event.seq, session=event.session, online=False)
    if sight is None or not isinstance(event, PeopleDetected):
        return replace(state, seq=event.seq)
    state = _follow(state, event, sight)
    return _remember(state, event, sight.numbers) if event.embeddings else state


def _follow(state: State, event: PeopleDetected, sight: _Sight) -> State:
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
    )


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
