"""A camera that moves is known by what everybody's predictions miss together."""

import numpy as np
import pytest

from spoton import camera_motion, events, tracks
from spoton.site import Thresholds


def _missed(moved, people=9, noise=1.0, seed=0):
    return np.array(moved)[:, None] + np.random.default_rng(seed).normal(0, noise, (2, people))


@pytest.mark.parametrize("moved", [(12.0, 0.0), (-8.0, 5.0)])
def test_what_all_miss_by_is_the_cameras_motion_although_one_runs(moved):
    missed = _missed(moved)
    missed[:, 3] += 90.0
    assert camera_motion.common_motion(missed) == pytest.approx(moved, abs=1.5)


@pytest.mark.parametrize("seed", range(5))
def test_a_still_camera_does_not_tremble(seed):
    moved = camera_motion.common_motion(_missed((0.0, 0.0), people=12, seed=seed))
    assert np.abs(moved).max() < 0.4
    assert (camera_motion.common_motion(_missed((30.0, 30.0), people=3)) == 0).all()


def test_the_hidden_are_foreseen_where_the_camera_moved_them_to():
    """The place is from when a track was seen last: carried on with its speed it must move by what the others moved."""
    axes = np.random.default_rng(0).normal(size=(5, 4, 3))
    unseen_s = np.array([0.5, 2.0])
    hidden = np.array([0, 2])
    after = camera_motion.carried(axes, hidden, unseen_s, np.array([7.0, -3.0]), np.array([4.0, 2.0]))
    foreseen = [one[0, :2, hidden].T + one[1, :2, hidden].T * unseen_s for one in (axes, after)]
    np.testing.assert_allclose(foreseen[1] - foreseen[0], [[7.0, 7.0], [-3.0, -3.0]])
    np.testing.assert_allclose(after[1, :2, hidden] - axes[1, :2, hidden], [[28.0, -6.0], [28.0, -6.0]])
    np.testing.assert_array_equal(after[:, :, 1], axes[:, :, 1])


def test_somebody_hidden_while_the_camera_turns_keeps_the_number():
    """Seven people stand; one is covered for a second in which the camera turns by two body widths and back by one."""
    at_px = np.array([[x, 200.0 + 15 * k, 40.0, 100.0] for k, x in enumerate((150, 300, 450, 600, 750, 900, 1050))])
    turn = np.concatenate([np.zeros(8), np.linspace(0, 90, 8), np.linspace(90, 45, 6), np.full(6, 45.0)])
    state, people = tracks.initial(), []
    for index, shift in enumerate(turn):
        seen = [k for k in range(7) if k != 3 or not 9 <= index < 21]
        boxes, scores = tracks.quantise(at_px[seen] + [shift, 0, 0, 0], np.full(len(seen), 0.9))
        frame = tracks.FrameSeen(
            site="s", camera="c", frame=index, at=round(index * 1e5), session=1, size_px=(1280, 720),
            boxes_px=boxes, scores=scores,
        )  # fmt: skip
        decided, state = tracks.step(state, frame, Thresholds())
        people += [event for event in decided if isinstance(event, events.PeopleDetected)]
    assert people[-1].tracks == people[7].tracks == [1, 2, 3, 4, 5, 6, 7]
