"""One camera: boxes become tracks. ``decide`` says what a frame means, ``evolve`` folds it into the state.

Both are pure. Replaying recorded inputs gives the recorded events byte for byte, and replaying recorded events gives
the state byte for byte; time comes from the frames alone, so any frame rate, also a changing one, is fine. After a gap
of more than ``lost_after_s``, however it came about, all tracks end: a camera slower than that needs a longer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from spoton import events, glances
from spoton.events import CameraOffline, CameraOnline, DetectionEvent, Embedding, FramesSkipped, PeopleDetected
from spoton.following import Sight, follow, others, sight_of
from spoton.pairing import newcomers, pair, possible, with_looks
from spoton.site import Thresholds
from spoton.track_state import State, centred, initial, pack, predicted, unpack

__all__ = [
    "FrameSeen", "Input", "State", "decide", "evolve", "initial", "looks_worth", "pack", "quantise", "seen", "step",
    "unpack",
]  # fmt: skip

Floats = NDArray[np.float64]

DOUBT = 0.1
"""A candidate whose sightings are all false alarms with no more than this probability starts before ``confirm_s``."""

_NO_SCORE, _FULL_SCORE = np.array(0.0), np.array(1.0)


class FrameSeen(msgspec.Struct, frozen=True, eq=False):
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
    looks: Mapping[int, bytes] = msgspec.field(default_factory=dict)


Input = FrameSeen | events.SourceChanged


def seen(
    frame: events.FrameCaptured, boxes_px: Floats, scores: Floats, *, detector: str, least_score: float
) -> FrameSeen:
    """A captured frame with what was found in it; see ``quantise`` for boxes (N, 4), scores (N,) and least_score."""
    boxes, marks = quantise(boxes_px, scores, least_score)
    return FrameSeen(
        site=frame.site, camera=frame.camera, frame=frame.frame, at=frame.at, session=frame.session,
        size_px=frame.size_px, boxes_px=boxes, scores=marks, first=frame.first, epoch=frame.epoch,
        origin=frame.origin, source=frame.source, detector=detector,
    )  # fmt: skip


def quantise(boxes_px: Floats, scores: Floats, least_score: float = 0.0) -> tuple[Floats, Floats]:
    """Boxes (N, 4) to 0.01 px and scores (N,) to four digits, as events record them.

    Empty and broken boxes go, and those below ``least_score``: give it ``Thresholds.low_score``, below which nothing is
    looked at, and events stay small.
    """
    boxes = np.asarray(boxes_px, dtype=np.float64).reshape(-1, 4).round(2)
    boxes += 0.0
    marks = np.minimum(np.maximum(np.asarray(scores, dtype=np.float64), _NO_SCORE), _FULL_SCORE).round(4)
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
    return _fold(state, event, sight_of(state, event) if isinstance(event, PeopleDetected) else None)


def looks_worth(state: State, frame: FrameSeen, thresholds: Thresholds) -> NDArray[np.int8]:
    """Of each box of a frame, (N,), whether a look is worth taking, as a ``glances.Verdict``.

    Worth it is a confident box, shown well, of somebody new, of somebody whose last look was taken ``look_again_s``
    ago, or of somebody shown much better than then.
    """
    boxes, scores = frame.boxes_px, frame.scores
    if _is_repeat(state, frame):
        return np.full(len(boxes), glances.Verdict.KNOWN, dtype=np.int8)
    owned, known, seen_well = *np.zeros((2, len(boxes)), dtype=np.bool_), np.zeros(len(boxes))
    if len(state) and len(boxes):
        owner = pair(state, frame.at, possible(predicted(state, frame.at), centred(boxes)), scores, thresholds)
        owned = owner >= 0
        who = owner[owned]
        recent = frame.at - state.embedded_at[who] < thresholds.look_again_s * 1e6
        known[owned] = (state.embedded_at[who] >= 0) & recent
        seen_well[owned] = state.view[who]
    return glances.judge(
        boxes, scores, frame.size_px,
        least_score=thresholds.high_score, followed=owned, known=known, seen_well=seen_well,
    )  # fmt: skip


def _is_repeat(state: State, frame: FrameSeen) -> bool:
    """Seen before, or sent by a reader that another one has taken over from.

    A recording that goes on in a new session may repeat its last frames: their number and their time are known.
    """
    known = frame.frame <= state.frame and (frame.session == state.session or frame.at <= state.at)
    return known or frame.session < state.session


def _decide(state: State, given: Input, thresholds: Thresholds) -> tuple[list[DetectionEvent], Sight | None]:
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


def _people(state: State, frame: FrameSeen, thresholds: Thresholds, seq: int) -> tuple[PeopleDetected, Sight]:
    boxes_px, scores, boxes = frame.boxes_px, frame.scores, centred(frame.boxes_px)
    axes = predicted(state, frame.at)
    pairs = possible(axes, boxes)
    dim = state.looks.shape[1]
    if frame.model == state.model and dim and all(len(look) == 2 * dim for look in frame.looks.values()):
        pairs = with_looks(pairs, state, *_looks(frame.looks, len(scores), dim), thresholds)
    owner = pair(state, frame.at, pairs, scores, thresholds)
    old = (owner >= 0).nonzero()[0]
    which = owner[old]
    numbers = np.zeros(len(scores), dtype=np.int64)
    numbers[old] = state.ids[which]
    of_tracks = numbers.copy()
    started: list[int] = []
    firm = state.confirmed[which]
    if np.count_nonzero(firm) < len(firm):
        old_enough = frame.at - state.born_at[which] >= thresholds.confirm_s * 1e6
        starts = ~firm & (old_enough | (state.doubt[which] * (1.0 - scores[old]) <= DOUBT))
        started = np.sort(numbers[old[starts]]).tolist()
        of_tracks[old[~(firm | starts)]] = 0
    new = newcomers(boxes_px, scores, owner, thresholds) if len(old) < len(scores) else old[:0]
    if len(new):
        numbers[new] = state.next_track + np.arange(len(new))
    hidden = others(len(state), which)
    lost, ended, dropped = _unseen(state, frame.at, hidden, thresholds) if len(hidden) else ([], [], [])
    people = PeopleDetected(
        **_head(frame, seq), frame=frame.frame, size_px=frame.size_px, detector=frame.detector,
        boxes_px=list(map(tuple, boxes_px.tolist())), scores=scores.tolist(),
        tracks=of_tracks.tolist(), tentative=(numbers - of_tracks).tolist(),
        started=started, lost=lost, ended=ended, dropped=dropped,
        embeddings=[Embedding(row=row, model=frame.model, data=frame.looks[row]) for row in sorted(frame.looks)],
    )  # fmt: skip
    return people, Sight(axes, boxes_px, boxes, scores, numbers, old, which, hidden, new)


def _unseen(
    state: State, at: int, rows: NDArray[np.intp], thresholds: Thresholds
) -> tuple[list[int], list[int], list[int]]:
    """Of the tracks ``rows``, which were not seen: who is lost, who ended, and which candidates are dropped."""
    ids, track, seen_at = state.ids[rows], state.confirmed[rows], state.seen_at[rows]
    gap_us, lost_us = at - seen_at, thresholds.lost_after_s * 1e6
    over = gap_us > np.where(track, lost_us, min(thresholds.confirm_s * 1e6 / 2.0, lost_us))
    until_now = track & (seen_at == state.at)
    if not np.count_nonzero(over):
        return ids[until_now].tolist(), [], []
    return ids[until_now & ~over].tolist(), ids[track & over].tolist(), ids[over & ~track].tolist()


def _head(given: Input, seq: int) -> dict[str, Any]:
    number = events.event_id("detections", f"{given.site}/{given.camera}", seq, given.at)
    return {"id": number, "at": given.at, "site": given.site, "camera": given.camera, "seq": seq}


def _looks(looks: Mapping[int, bytes], count: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    table, known = np.zeros((count, dim), dtype=np.float32), np.zeros(count, dtype=np.bool_)
    for row, data in looks.items():
        table[row], known[row] = np.frombuffer(data, dtype="<f2"), True
    return table, known


def _fold(state: State, event: DetectionEvent, sight: Sight | None) -> State:
    if isinstance(event, CameraOnline):
        return replace(state, seq=event.seq, session=event.session, online=True)
    if isinstance(event, CameraOffline):
        return replace(state, seq=event.seq, session=event.session, online=False)
    if sight is None or not isinstance(event, PeopleDetected):
        return replace(state, seq=event.seq)
    return follow(state, event, sight)
