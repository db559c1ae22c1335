"""One-to-one over all cameras of a tick, and the pairs that are looked at for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spoton import crowd as crowds
from spoton.association import near_pairs
from spoton.fusion import gathered_groups
from spoton.matching import assign_known, candidates
from spoton.sightings import Sightings


def sightings(camera: list[int], place_m: np.ndarray, sigma_m: float = 0.2) -> Sightings:
    count = len(camera)
    return Sightings(
        camera=np.array(camera, dtype=np.int64), track=np.zeros(count, dtype=np.int64),
        firm=np.zeros(count, dtype=np.bool_), place_m=np.column_stack([place_m, np.full(count, 1.7)]),
        cov_m2=np.tile(np.diag([sigma_m**2, sigma_m**2, 0.01]), (count, 1, 1)), anchor_m=np.zeros((count, 2)),
        dt_s=np.zeros(count), score=np.ones(count), look=np.zeros((count, 0)), looks_by="",
    )  # fmt: skip


def crowd(place_m: np.ndarray, sigma_m: float) -> crowds.Crowd:
    count = len(place_m)
    cov = np.tile(np.diag([sigma_m**2, sigma_m**2, 0.01]), (count, 1, 1))
    return crowds.newborn(range(1, count + 1), np.column_stack([place_m, np.full(count, 1.7)]), cov, 0, 4)


def owners(people: crowds.Crowd, seen: Sightings) -> np.ndarray:
    nobody, active = np.full(len(seen), -1, dtype=np.int64), np.ones(len(people), dtype=np.bool_)
    found = candidates(people, seen, nobody, np.zeros(len(seen)), active, 1.0)
    return assign_known(people, seen, found, np.zeros(len(found[0])), 0.5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), people=st.integers(1, 8), cameras=st.integers(1, 4))
def test_a_camera_shows_everyone_at_most_once_and_the_order_does_not_matter(
    seed: int, people: int, cameras: int
) -> None:
    chance = np.random.default_rng(seed)
    where = chance.uniform(0, 4, (people, 2))
    camera = np.sort(chance.integers(0, cameras, 3 * people)).tolist()
    places = where[chance.integers(0, people, len(camera))] + chance.normal(0, 0.2, (len(camera), 2))
    owner = owners(crowd(where, 0.3), sightings(camera, places))
    pairs = [(c, o) for c, o in zip(camera, owner.tolist(), strict=True) if o >= 0]
    assert len(set(pairs)) == len(pairs)
    order = np.concatenate([np.flatnonzero(np.array(camera) == c)[::-1] for c in range(cameras)])
    turned = owners(crowd(where, 0.3), sightings(np.array(camera)[order].tolist(), places[order]))
    np.testing.assert_array_equal(turned, owner[order])


def test_what_all_cameras_show_together_outweighs_a_vague_prediction() -> None:
    """Two people 0.8 m apart have both gone on by 0.6 m: each box alone lies nearer to the other's old place."""
    before, now = np.array([[0.0, 0.0], [0.8, 0.0]]), np.array([[0.6, 0.0], [1.4, 0.0]])
    camera = [0, 0, 1, 1, 2, 2]
    owner = owners(crowd(before, 0.5), sightings(camera, np.tile(now, (3, 1)), 0.15))
    np.testing.assert_array_equal(owner, [0, 1, 0, 1, 0, 1])


def test_cameras_that_took_two_people_for_each_other_agree_in_the_end() -> None:
    """One camera misses the left person; the box it has of the right one is nearer to where the left one was."""
    before, now = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.45, 0.0], [1.45, 0.0]])
    places = np.concatenate([now, now, now[1:] - [0.4, 0.0]])
    owner = owners(crowd(before, 0.5), sightings([0, 0, 1, 1, 2], places, 0.25))
    np.testing.assert_array_equal(owner, [0, 1, 0, 1, 1])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), rows=st.integers(0, 30), columns=st.integers(0, 30))
def test_near_pairs_are_all_pairs_within_reach(seed: int, rows: int, columns: int) -> None:
    chance = np.random.default_rng(seed)
    a, b = chance.uniform(0, 10, (rows, 2)), chance.uniform(0, 10, (columns, 2))
    reach_a, reach_b = chance.uniform(0, 2, rows), chance.uniform(0, 2, columns)
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    expected = np.argwhere(apart <= reach_a[:, None] + reach_b[None])
    np.testing.assert_array_equal(np.column_stack(near_pairs(a, b, reach_a, reach_b)), expected)


def test_newcomers_are_gathered_by_place_with_one_box_of_each_camera() -> None:
    places = np.array([[0.0, 0.0], [5.0, 0.0], [0.1, 0.0], [5.1, 0.0], [0.2, 0.0], [9.0, 9.0]])
    groups = gathered_groups(sightings([0, 0, 1, 1, 1, 2], places), np.arange(6), 1.0)
    assert [group.tolist() for group in groups] == [[0, 2], [1, 3], [4], [5]]
    assert gathered_groups(sightings([0], places[:1]), np.zeros(0, dtype=np.int64), 1.0) == []
