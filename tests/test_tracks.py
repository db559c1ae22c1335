"""One camera's tracker: replay is exact, repeats are nothing, ids hold at any frame rate."""

import dataclasses
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from spoton import events, pairing, tracks
from spoton.errors import InputError
from spoton.glances import Verdict
from spoton.offline.mot_text import BoxRows, read_boxes
from spoton.offline.scores import score_boxes
from spoton.site import Thresholds
from spoton.track_state import centred, predicted

SHARED = Path(os.environ.get("SPOTON_SHARED", Path(__file__).resolve().parents[2] / "shared"))
THRESHOLDS = Thresholds()
SIZE = (1280, 720)


def _frame(index, boxes, scores=None, *, fps=10.0, session=1, **more):
    boxes_px, marks = tracks.quantise(
        np.array(boxes, dtype=float).reshape(-1, 4), np.full(len(boxes), 0.9) if scores is None else scores
    )
    return tracks.FrameSeen(
        site="plaza", camera="north", frame=index, at=1_000_000 + round(index * 1e6 / fps), session=session,
        size_px=SIZE, boxes_px=boxes_px, scores=marks, detector="test", **more,
    )  # fmt: skip


def _offline(session=1, at=9_000_000, ended=False):
    return events.SourceChanged(
        site="plaza", camera="north", at=at, session=session, online=False, ended=ended, reason="gone"
    )


def _walkers(fps, seconds, seed=0, missed=0.1, people=6):
    """People on straight ways through the picture: per frame the boxes, scores and true ids that a detector gives."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(80, 200, people)
    start = np.stack([rng.uniform(100, 1100, people), rng.uniform(100, 500, people)], axis=1)
    speed = rng.uniform(-0.7, 0.7, (people, 2)) * height[:, None] * [1.0, 0.2]
    for index in range(round(fps * seconds)):
        centre = start + speed * index / fps
        boxes = np.stack([centre[:, 0], centre[:, 1], height * 0.4, height], axis=1)
        boxes += rng.normal(0, 0.02, boxes.shape) * height[:, None]
        seen = np.flatnonzero(rng.random(people) > missed)
        yield boxes[seen], rng.uniform(0.3, 0.95, len(seen)), seen


def _recorded_input(seed=1, fps=8.0, seconds=6.0):
    """Frames with everything in them: gaps in the count, looks, doubtful scores, a lost source, a repeat."""
    rng = np.random.default_rng(seed)
    given_inputs = []
    for index, (boxes, scores, who) in enumerate(_walkers(fps, seconds, seed)):
        if index in (11, 12, 30):
            continue
        frame = _frame(index, boxes, scores, fps=fps, session=1 + (index > 25))
        looks = {
            row: _look(rng, who[row]) for row in range(len(frame.scores)) if len(frame.scores) == len(who) and row % 2
        }
        given_inputs.append(replace(frame, model="test", looks=looks))
        if index == 25:
            given_inputs += [frame, _offline(at=frame.at), _offline(at=frame.at)]
    return given_inputs


def _look(rng, who):
    vector = np.eye(8)[who % 8] + rng.normal(0, 0.1, 8)
    return (vector / np.linalg.norm(vector)).astype("<f2").tobytes()


def _run(inputs, state=None, thresholds=THRESHOLDS):
    state, decided = state or tracks.initial(), []
    for given_input in inputs:
        more, state = tracks.step(state, given_input, thresholds)
        decided += more
    return decided, state


def test_replaying_inputs_gives_the_events_byte_for_byte():
    inputs = _recorded_input()
    first, again = _run(inputs)[0], _run(inputs)[0]
    assert [events.encode(e) for e in first] == [events.encode(e) for e in again]
    assert {type(e) for e in first} == {
        events.PeopleDetected, events.FramesSkipped, events.CameraOnline, events.CameraOffline,
    }  # fmt: skip


def test_replaying_events_gives_the_state_byte_for_byte():
    decided, state = _run(_recorded_input())
    replayed = tracks.initial()
    for event in decided:
        replayed = tracks.evolve(replayed, events.decode(events.encode(event)))
    assert len(state) > 0
    assert state.embedded_at.max() > 0
    assert tracks.pack(replayed) == tracks.pack(state)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 40))
def test_another_worker_goes_on_from_the_packed_state(seed, cut):
    inputs = _recorded_input(seed)
    whole, state = _run(inputs)
    before, middle = _run(inputs[:cut])
    after, end = _run(inputs[cut:], tracks.unpack(tracks.pack(middle)))
    assert [events.encode(e) for e in before + after] == [events.encode(e) for e in whole]
    assert tracks.pack(end) == tracks.pack(state)


def test_step_is_decide_and_then_evolve():
    state = tracks.initial()
    for given_input in _recorded_input(3):
        decided, after = tracks.step(state, given_input, THRESHOLDS)
        assert decided == tracks.decide(state, given_input, THRESHOLDS)
        for event in decided:
            state = tracks.evolve(state, event)
        assert tracks.pack(state) == tracks.pack(after)


def test_a_repeated_delivery_is_nothing():
    inputs = _recorded_input()
    decided, state = _run(inputs)
    repeated, same = _run(inputs, state)
    assert repeated == []
    assert same is state
    twice = [one for given_input in inputs for one in (given_input, given_input)]
    assert _run(twice)[0] == decided


def test_events_are_numbered_without_a_gap_and_never_share_an_id():
    decided, _ = _run(_recorded_input())
    assert [e.seq for e in decided] == list(range(1, len(decided) + 1))
    assert len({e.id for e in decided}) == len(decided)
    assert decided[4].id == events.event_id("detections", "plaza/north", 5, decided[4].at)


def test_the_first_frame_says_online_and_skips_nothing():
    decided, _ = _run([_frame(7, [], first=7), _frame(8, [], first=7)])
    assert [type(e).__name__ for e in decided] == ["CameraOnline", "PeopleDetected", "PeopleDetected"]
    assert (decided[0].epoch, decided[0].session, decided[0].size_px) == (decided[0].at, 1, SIZE)
    assert _run([_frame(7, [], epoch=5)])[0][0].epoch == 5


def test_a_gap_in_frame_numbers_is_recorded():
    decided, _ = _run([_frame(0, []), _frame(4, [])])
    assert [(e.first, e.last) for e in decided if isinstance(e, events.FramesSkipped)] == [(1, 3)]


def test_frames_captured_before_the_first_one_seen_are_recorded_as_skipped():
    decided, _ = _run([_frame(7, [], first=5)])
    assert [type(e).__name__ for e in decided] == ["CameraOnline", "FramesSkipped", "PeopleDetected"]
    assert (decided[1].first, decided[1].last) == (5, 6)


def test_offline_is_said_once_and_a_new_session_is_online_again():
    decided, state = _run([_frame(0, []), _offline(), _offline(), _frame(1, [], session=2), _offline(session=1)])
    assert [type(e).__name__ for e in decided] == [
        "CameraOnline", "PeopleDetected", "CameraOffline", "CameraOnline", "PeopleDetected",
    ]  # fmt: skip
    assert state.online
    assert _run([_offline(session=2, ended=True)], state)[0][0].ended


def test_a_source_that_never_came_up_is_offline_once_per_session():
    decided, _ = _run([_offline(1), _offline(1), _offline(2)])
    assert [e.session for e in decided] == [1, 2]


def test_a_candidate_becomes_a_track_after_confirm_s_with_the_same_number():
    frames = [_frame(i, [[100 + 3 * i, 100, 40, 100]], [0.6]) for i in range(4)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert [e.tracks for e in people] == [[0], [0], [1], [1]]
    assert [e.tentative for e in people] == [[1], [1], [0], [0]]
    assert [e.started for e in people] == [[], [], [1], []]


@pytest.mark.parametrize(("score", "starts_at"), [(0.95, 1), (0.7, 1), (0.66, 2), (0.56, 2)])
def test_a_candidate_starts_sooner_when_its_scores_leave_little_doubt(score, starts_at):
    """Twice 0.7 leaves 0.09 that both were false alarms, twice 0.66 leaves 0.12; time counts at 0.2 s."""
    frames = [_frame(i, [[100 + 3 * i, 100, 40, 100]], [score]) for i in range(4)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert [i for i, e in enumerate(people) if e.started] == [starts_at]


def test_a_flash_is_dropped_and_its_number_never_given_again():
    frames = [_frame(0, [[100, 100, 40, 100]]), _frame(1, []), *(_frame(i, [[600, 300, 40, 100]]) for i in range(2, 6))]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert people[1].dropped == [1]
    assert people[-1].tracks == [2]


def test_a_track_is_lost_found_again_and_ended_when_it_stays_away():
    def box(i):
        return [[100 + 5 * i, 100, 40, 100]]

    seen = [i for i in range(30) if not 10 <= i < 18]
    frames = [_frame(i, box(i) if i in seen else []) for i in range(30)] + [_frame(i, []) for i in range(30, 60)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert {t for e in people for t in e.tracks} == {0, 1}
    assert [(e.frame, e.lost) for e in people if e.lost] == [(10, [1]), (30, [1])]
    ended = [e for e in people if e.ended]
    assert [e.ended for e in ended] == [[1]]
    assert ended[0].at - people[29].at == pytest.approx(1.6e6)


@pytest.mark.parametrize("gap_s", [1.7, 3.1, 61.0])
@pytest.mark.parametrize("left_px", [115, 400, 900], ids=["same place", "near", "other side"])
def test_nobody_takes_a_track_that_was_unseen_for_too_long(gap_s, left_px):
    """The frames in between may never have come: an outage, a restart, a detector that stalled."""
    _, state = _run([_frame(i, [[100 + 3 * i, 100, 40, 100]]) for i in range(6)])
    late = [
        replace(_frame(6 + i, [[left_px, 100, 40, 100]]), at=state.at + round(gap_s * 1e6) + i * 100_000)
        for i in range(4)
    ]
    people = [e for e in _run(late, state)[0] if isinstance(e, events.PeopleDetected)]
    assert [e.ended for e in people] == [[1], [], [], []]
    assert [e.tracks for e in people] == [[0], [2], [2], [2]]
    assert people[0].lost == []


def test_a_gap_shorter_than_lost_after_s_keeps_the_track():
    _, state = _run([_frame(i, [[100 + 3 * i, 100, 40, 100]]) for i in range(6)])
    late = replace(_frame(6, [[155, 100, 40, 100]]), at=state.at + 1_400_000)
    assert _run([late], state)[0][-1].tracks == [1]


def test_a_candidate_from_before_a_gap_becomes_nobodys_track():
    _, state = _run([_frame(0, [[100, 100, 40, 100]])])
    late = replace(_frame(1, [[900, 300, 40, 100]]), at=state.at + 20_000_000)
    event = _run([late], state)[0][-1]
    assert (event.tracks, event.tentative, event.started, event.dropped) == ([0], [2], [], [1])


def test_whoever_comes_after_a_gap_is_looked_at_anew():
    look = np.eye(4)[0].astype("<f2").tobytes()
    thresholds = Thresholds(lost_after_s=0.2)
    first = _frame(0, [[100, 100, 40, 100]], model="test", looks={0: look})
    _, state = _run([first, *(_frame(i, [[100, 100, 40, 100]]) for i in (1, 2))], thresholds=thresholds)
    late = replace(_frame(3, [[100, 100, 40, 100]]), at=first.at + 450_000)
    assert _worth(state, late, thresholds) == ["TAKEN"]
    assert _worth(state, late) == ["KNOWN"]


def test_doubtful_boxes_carry_a_track_but_start_none():
    frames = [_frame(i, [[100, 100, 40, 100], [500, 100, 40, 100]], [0.9 if i < 5 else 0.3, 0.3]) for i in range(8)]
    last = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)][-1]
    assert last.tracks == [1, 0]
    assert last.tentative == [0, 0]


def test_clutter_is_not_followed_for_ever_on_doubtful_boxes():
    frames = [_frame(i, [[100, 100, 40, 100]], [0.9 if i < 4 else 0.2]) for i in range(60)]
    decided, state = _run(frames)
    assert [e.ended for e in decided if isinstance(e, events.PeopleDetected) and e.ended] == [[1]]
    assert len(state) == 0


@pytest.mark.parametrize("fps", [2.0, 5.0, 10.0, 30.0])
def test_ids_hold_at_any_frame_rate(fps):
    truth, boxes, _ = zip(*[(who, b, s) for b, s, who in _walkers(fps, 10.0, seed=4, missed=0.05)], strict=True)
    frames = [_frame(i, b, np.full(len(b), 0.9), fps=fps) for i, b in enumerate(boxes)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    given_ids = {}
    for event, who in zip(people, truth, strict=True):
        for person, track in zip(who, event.tracks, strict=True):
            if track:
                given_ids.setdefault(int(person), []).append(track)
    assert len(given_ids) == 6
    assert all(len(set(ids)) == 1 for ids in given_ids.values())


def test_irregular_times_are_followed_too():
    at = np.cumsum([0, 40, 40, 400, 40, 200, 700, 40, 40, 300]) * 1000
    frames = [replace(_frame(i, [[100 + 60 * t / 1e6, 100, 40, 100]]), at=int(1_000_000 + t)) for i, t in enumerate(at)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert {t for e in people for t in e.tracks} == {0, 1}


def test_looks_tell_apart_who_motion_cannot():
    """Two people meet, are hidden for a second and step out again: who is who only looks can say."""
    red, blue = (np.eye(4)[k].astype("<f2").tobytes() for k in (0, 1))

    def frame(i, apart, left, right):
        boxes = [[500, 100, 40, 100], [500 + apart, 100, 40, 100]]
        return _frame(i, boxes, model="test", looks={0: left, 1: right})

    start = [frame(i, 15, red, blue) for i in range(6)]
    hidden = [_frame(i, []) for i in range(6, 14)]
    same = _run([*start, *hidden, frame(14, 5, red, blue)])[0][-1]
    crossed = _run([*start, *hidden, frame(14, 5, blue, red)])[0][-1]
    assert same.tracks == [1, 2]
    assert crossed.tracks == [2, 1]


LOOK = np.eye(4)[0].astype("<f2").tobytes()


def _worth(state, frame, thresholds=THRESHOLDS):
    return [Verdict(one).name for one in tracks.looks_worth(state, frame, thresholds)]


def test_a_look_is_worth_taking_of_who_is_new_clear_or_not_known_of_late():
    boxes = [[100, 100, 40, 100], [110, 110, 40, 100], [600, 100, 40, 100], [800, 100, 40, 100]]
    scores = [0.9, 0.9, 0.9, 0.2]
    first = _frame(0, boxes, scores)
    assert _worth(tracks.initial(), first) == ["COVERED", "TAKEN", "TAKEN", "DOUBTFUL"]
    _, state = tracks.step(tracks.initial(), replace(first, model="test", looks={1: LOOK, 2: LOOK}), THRESHOLDS)
    assert _worth(state, _frame(1, boxes, scores)) == ["COVERED", "KNOWN", "KNOWN", "DOUBTFUL"]
    assert _worth(state, _frame(6, boxes, scores)) == ["COVERED", "TAKEN", "TAKEN", "DOUBTFUL"]
    often, seldom = dataclasses.replace(THRESHOLDS, look_again_s=0.0), dataclasses.replace(THRESHOLDS, look_again_s=2.0)
    assert _worth(state, _frame(1, boxes, scores), often)[1:3] == ["TAKEN", "TAKEN"]
    assert _worth(state, _frame(6, boxes, scores), seldom)[1:3] == ["KNOWN", "KNOWN"]
    assert _worth(state, first) == ["KNOWN"] * 4, "a frame seen before is worth nothing"


@pytest.mark.parametrize("fps", [5.0, 30.0])
def test_a_look_is_taken_every_half_second_at_any_frame_rate(fps):
    state, taken = tracks.initial(), []
    for index in range(round(4 * fps)):
        frame = _frame(index, [[100, 100, 40, 100]], fps=fps)
        if _worth(state, frame) == ["TAKEN"]:
            taken.append(index)
            frame = replace(frame, model="test", looks={0: LOOK})
        state = tracks.step(state, frame, THRESHOLDS)[1]
    assert taken[0] == 0
    assert set(np.diff(taken)) == {np.ceil(0.5 * fps)}


def test_a_much_better_view_is_worth_a_look_at_once():
    hidden, open_ = [[100, 100, 40, 100], [125, 120, 60, 100]], [[100, 100, 40, 100], [300, 120, 60, 100]]
    first = _frame(0, hidden)
    assert _worth(tracks.initial(), first) == ["TAKEN", "TAKEN"]
    _, state = tracks.step(tracks.initial(), replace(first, model="test", looks={0: LOOK, 1: LOOK}), THRESHOLDS)
    assert state.view.tolist() == [pytest.approx(100 * (1 - 0.9 * 0.375), abs=10), 100.0]
    assert _worth(state, _frame(1, hidden)) == ["KNOWN", "KNOWN"]
    assert _worth(state, _frame(1, open_))[0] == "TAKEN"
    again = tracks.unpack(tracks.pack(state))
    assert _worth(again, _frame(1, open_))[0] == "TAKEN", "what was seen of whom survives a restart"


def test_another_model_starts_looks_anew():
    def frame(i, model, dim):
        return _frame(i, [[100, 100, 40, 100]], model=model, looks={0: np.eye(dim)[0].astype("<f2").tobytes()})

    _, state = _run([frame(0, "old", 4), frame(1, "new", 6)])
    assert (state.model, state.looks.shape) == ("new", (1, 6))
    _, state = _run([frame(2, "new", 8)], state)
    assert state.looks.shape == (1, 8)


@pytest.mark.parametrize(
    ("box", "score"),
    [([0, 0, 0, 10], 0.9), ([0, 0, 10, -1], 0.9), ([np.nan, 0, 10, 10], 0.9), ([0, 0, 10, 10], np.nan)],
    ids=["no width", "negative height", "nan box", "nan score"],
)
def test_quantise_drops_what_is_no_box(box, score):
    boxes, scores = tracks.quantise(np.array([box, [1.234, 2, 3, 4]]), np.array([score, 0.123456]))
    assert boxes.tolist() == [[1.23, 2.0, 3.0, 4.0]]
    assert scores.tolist() == [0.1235]


def test_events_hold_exactly_what_was_decided_on():
    rng = np.random.default_rng(0)
    frame = _frame(0, rng.uniform(1, 999, (50, 4)), rng.random(50))
    event = events.decode(events.encode(_run([frame])[0][-1]))
    assert np.array_equal(np.array(event.boxes_px), frame.boxes_px)
    assert np.array_equal(np.array(event.scores), frame.scores)


def test_empty_frames_and_one_time_twice_are_fine():
    frames = [replace(_frame(i, [[100, 100, 40, 100]] if i % 2 else []), at=5) for i in range(8)]
    decided, state = _run(frames)
    assert decided[-1].frame == 7
    assert np.isfinite(predicted(state, 5)).all()


@pytest.mark.parametrize(
    "data",
    [b"\x93\x01\x02", b"", b"\x80", msgspec.msgpack.encode({"ids": ["<i8", [3], b"1"]})],
    ids=["cut short", "empty", "nothing in it", "no array"],
)
def test_broken_state_bytes_are_named_with_what_to_do(data):
    with pytest.raises(InputError, match=f"tracker state of {len(data)} bytes cannot be read.*new data folder"):
        tracks.unpack(data)


def test_pack_keeps_every_array_exactly():
    _, state = _run(_recorded_input())
    again = tracks.unpack(tracks.pack(state))
    for name in ("ids", "axes", "born_at", "seen_at", "confirmed", "trust", "doubt", "looks", "embedded_at", "view"):
        kept, original = getattr(again, name), getattr(state, name)
        assert kept.dtype == original.dtype
        np.testing.assert_array_equal(kept, original)


def test_a_second_box_around_the_same_person_starts_nothing():
    frames = [_frame(i, [[100, 100, 40, 100], [103, 102, 40, 98]][: 1 + (i > 3)]) for i in range(10)]
    people = [e for e in _run(frames)[0] if isinstance(e, events.PeopleDetected)]
    assert max(sum(t > 0 for t in e.tracks) + sum(t > 0 for t in e.tentative) for e in people) == 1


def test_nothing_is_possible_beyond_the_motion_gate():
    _, state = _run([_frame(i, [[100, 100, 40, 100]]) for i in range(20)])
    boxes = np.array([[101.0, 100, 40, 100], [100, 100, 40, 55]])
    pairs = pairing.possible(predicted(state, state.at + 100_000), centred(boxes))
    assert pairs.box.tolist() == [0]
    assert pairs.cost[0] < 0.2


def test_a_crowd_is_paired_the_same_by_touch_as_by_looking_at_all(monkeypatch):
    frames = [_frame(i, b, s) for i, (b, s, _) in enumerate(_walkers(10.0, 2.0, seed=5, people=25))]
    whole = _run(frames)
    monkeypatch.setattr(pairing, "DENSE", 0)
    touching = _run(frames)
    assert [events.encode(e) for e in touching[0]] == [events.encode(e) for e in whole[0]]
    assert tracks.pack(touching[1]) == tracks.pack(whole[1])


@pytest.mark.parametrize("seed", range(5))
def test_boxes_that_touch_are_found_without_looking_at_all(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = (pairing._edges(rng.uniform(0, 500, (2, n)), rng.uniform(1, 60, (2, n))) for n in (31, 40))
    inner = np.minimum(ours[..., None], theirs[..., None, :])
    expected = ((inner[0] + inner[1]) > 0).all(axis=0).nonzero()
    assert len(expected[0]) > 10
    np.testing.assert_array_equal(pairing._touching(ours, theirs), expected)


def test_unequal_heights_cost_extra():
    _, state = _run([_frame(i, [[100, 100, 40, 100]]) for i in range(20)])
    axes = predicted(state, state.at + 100_000)
    boxes = np.array([[100, 95, 40, 110.0], [98, 100, 44, 100.0]])
    tall, wide = pairing.possible(axes, centred(boxes)).cost
    assert tall > wide + 0.01


@pytest.mark.parametrize(
    ("name", "camera", "fps", "kept", "least"),
    [
        ("pets09_s2l1", "View_001", 10.0, slice(None, None, 2), 83),
        ("pets09_s2l1", "View_001", 10.0, slice(None, None, 5), 65),
        ("MOT17-11", "MOT17-11", 30.0, slice(None, None, 3), 75),
        ("MOT17-11", "MOT17-11", 30.0, slice(None, None, 6), 68),
        ("MOT17-11", "MOT17-11", 30.0, slice(None, None, 15), 38),
        ("MOT17-11", "MOT17-11", 30.0, None, 78),
    ],
    ids=["pets 5 fps", "pets 2 fps", "mot 10 fps", "mot 5 fps", "mot 2 fps", "mot half dropped by chance"],
)
def test_a_thinned_sequence_keeps_its_identities(name, camera, fps, kept, least):
    """Only the times of the frames tell the tracker; the floor is a few points below what was measured."""
    folder = SHARED / "seqs" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (SPOTON_SHARED)")
    found, truth = (read_boxes(folder / part / f"{camera}.txt") for part in ("det", "gt"))
    count = int(truth.frames.max())
    numbers = np.arange(count)[kept] if kept else np.flatnonzero(np.random.default_rng(0).random(count) < 0.5)
    state, rows = tracks.initial(), []
    for number in numbers.tolist():
        here = found.frames == number + 1
        seen = _frame(number, found.boxes_px[here], found.scores[here], fps=fps)
        decided, state = tracks.step(state, seen, THRESHOLDS)
        event = decided[-1]
        rows += [(number + 1, t, *box, 1.0) for t, box in zip(event.tracks, event.boxes_px, strict=True) if t]
    table = np.array(rows)
    said = BoxRows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:6], table[:, 6])
    scores = score_boxes(truth.only(np.isin(truth.frames, numbers + 1)), said)
    assert scores.idf1 >= least
