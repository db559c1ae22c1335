"""What the built-in embedder measures by, learnt from simulated people."""

from __future__ import annotations

import numpy as np

from spoton.offline.embedder_bench import equal_error
from spoton.sim.floor import SimulatedFloor
from spoton.sim.metric_fit import Crops, learnt, metric, recoloured, seen
from spoton.sim.scenario import Scenario
from spoton.vision.histogram_embedder import METRIC
from spoton.vision.worn_colours import BINS, STRIPES, of_small

SMALL = Scenario(seed=4001, people=16, floor_m=(18.0, 12.0), cameras=3, rig="ring", size_px=(320, 240))
OTHERS = Scenario(seed=4002, people=16, floor_m=(20.0, 14.0), cameras=4, rig="grid", size_px=(320, 240))


def error(rows: np.ndarray, person: np.ndarray) -> float:
    """How much is mistaken where as many of the same as of different people are."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    one, other = np.triu_indices(len(unit), 1)
    apart = 1.0 - (unit[one] * unit[other]).sum(axis=1)
    same = person[one] == person[other]
    return equal_error(apart[same], apart[~same])[1]


def test_the_direction_in_which_people_differ_comes_first():
    chance = np.random.default_rng(3)
    people = [chance.normal((0, where, 0), (9, 1, 1), (30, 3)) for where in chance.normal(0, 5, 40)]
    first = metric(people, 1)[:, 0]
    assert abs(first[1]) == 1.0
    assert np.abs(first[[0, 2]]).max() < 0.1


def test_people_nobody_learnt_from_are_told_apart_better():
    crops = seen(OTHERS, 40.0, 1.0)
    rows = of_small(crops.pictures).astype(np.float64)
    plain = error(rows, crops.person)
    assert error(rows @ learnt([SMALL], 48, 30.0, 1.0), crops.person) < 0.95 * plain
    assert error(rows @ np.load(METRIC).astype(np.float64), crops.person) < 0.85 * plain


def test_the_same_floors_teach_the_same():
    once, again = (learnt([SMALL], 8, 6.0, 1.0) for _ in range(2))
    assert once.shape == (STRIPES * BINS, 8)
    assert np.array_equal(once, again)


def test_everyone_keeps_their_pictures_in_other_colours():
    crops = seen(SMALL, 6.0, 1.0)
    after = dict(recoloured(crops, np.random.default_rng(1)))
    assert list(after) == np.unique(crops.person).tolist()
    for person, pictures in after.items():
        before = crops.pictures[crops.person == person]
        assert pictures.shape == before.shape
        assert not np.array_equal(pictures, before)


def test_everyone_wears_one_colour_in_all_their_pictures_and_another_than_others():
    """Two people who wore the same red, ten pictures each."""
    red = np.broadcast_to(np.array([200, 30, 30], np.uint8), (20, 60, 24, 3))
    after = [pictures for _, pictures in recoloured(Crops(red, np.repeat([1, 2], 10)), np.random.default_rng(4))]
    colours = [pictures.reshape(10, -1, 3).mean(axis=1) for pictures in after]
    assert max(np.linalg.norm(each - each.mean(axis=0), axis=1).max() for each in colours) < 60
    assert np.linalg.norm(colours[0].mean(axis=0) - colours[1].mean(axis=0)) > 100
    # Each picture is in a light of its own.
    assert min(each.std(axis=0).max() for each in colours) > 1.0


def test_only_whom_a_camera_shows_well_is_learnt_from():
    crops, world = seen(SMALL, 3.0, 1.0), SimulatedFloor(SMALL)
    wanted = []
    for frame in (0, 10, 20):
        ids, sight = world.sight(frame)
        wanted += ids[(sight.visible > 0.55) & (sight.boxes_px[:, 3] > 32)].tolist()
    assert sorted(wanted) == sorted(crops.person.tolist())
