"""What cameras are off by is learnt from each other, slowly, and bounded."""

from __future__ import annotations

import numpy as np
import pytest

from spoton.offsets import Offsets, corrected, learned, none_known, of_cameras
from spoton.sightings import Sightings


def seen(places: np.ndarray, off_m: np.ndarray, chance: np.random.Generator) -> Sightings:
    """Everyone (N, 2) as C cameras see them that are off by ``off_m`` (C, 2), people after people in each camera."""
    count, cameras = len(places), len(off_m)
    at = np.tile(places, (cameras, 1)) + np.repeat(off_m, count, axis=0) + chance.normal(0, 0.1, (count * cameras, 2))
    total = count * cameras
    return Sightings(
        camera=np.repeat(np.arange(cameras), count), track=np.ones(total, dtype=np.int64),
        firm=np.ones(total, dtype=np.bool_), place_m=np.column_stack([at, np.full(total, 1.7)]),
        cov_m2=np.tile(np.diag([0.01, 0.01, 0.01]), (total, 1, 1)), anchor_m=np.zeros((total, 2)),
        dt_s=np.zeros(total), score=np.ones(total), look=np.zeros((total, 0)), looks_by="",
    )  # fmt: skip


def taught(off_m: np.ndarray, ticks: int = 200) -> Offsets:
    chance, offsets = np.random.default_rng(3), none_known(len(off_m))
    for _ in range(ticks):
        raw = seen(chance.uniform(-8, 8, (6, 2)), off_m, chance)
        owner = np.tile(np.arange(6), len(off_m))
        offsets = learned(offsets, raw, corrected(offsets, raw), owner, 0.5)
    return offsets


def test_cameras_that_disagree_are_brought_together() -> None:
    off_m = np.array([[0.3, 0.0], [-0.3, 0.0], [0.0, 0.25], [0.0, -0.25]])
    offsets, chance = taught(off_m), np.random.default_rng(9)
    raw = seen(chance.uniform(-8, 8, (6, 2)), off_m, chance)
    apart = [each.place_m[:, :2].reshape(4, 6, 2).std(axis=0).max() for each in (raw, corrected(offsets, raw))]
    assert apart[0] > 0.25
    assert apart[1] < 0.15


def test_what_is_learnt_is_no_longer_open() -> None:
    off_m = np.array([[0.2, 0.0], [-0.2, 0.0], [0.0, 0.0]])
    raw = seen(np.zeros((1, 2)), off_m, np.random.default_rng(0))
    before, after = (corrected(offsets, raw).cov_m2[:, 0, 0] for offsets in (none_known(3), taught(off_m)))
    assert (after < before).all()
    assert (after > raw.cov_m2[:, 0, 0]).all()


def test_whoever_only_one_camera_sees_teaches_nothing() -> None:
    chance = np.random.default_rng(0)
    raw = seen(chance.uniform(-8, 8, (5, 2)), np.array([[0.4, 0.0]]), chance)
    offsets = learned(none_known(1), raw, corrected(none_known(1), raw), np.arange(5), 0.1)
    assert not offsets.total.any()


def test_one_wild_box_moves_little() -> None:
    off_m, chance = np.zeros((3, 2)), np.random.default_rng(0)
    offsets = taught(off_m, ticks=60)
    raw = seen(np.zeros((1, 2)), np.array([[4.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), chance)
    wild = learned(offsets, raw, corrected(offsets, raw), np.zeros(3, dtype=np.int64), 0.5)
    calm = seen(np.zeros((1, 2)), off_m, chance)
    moved = corrected(wild, calm).place_m - corrected(offsets, calm).place_m
    assert np.abs(moved).max() < 0.1


@pytest.mark.parametrize("after", [("b", "a"), ("a",), ("a", "b", "c")])
def test_offsets_stay_with_their_cameras(after: tuple[str, ...]) -> None:
    offsets = taught(np.array([[0.3, 0.0], [-0.3, 0.0]]), ticks=10)
    moved = of_cameras(offsets, ("a", "b"), after)
    for column, name in enumerate(after):
        expected = offsets.pull["ab".index(name)] if name in "ab" else np.zeros(7)
        np.testing.assert_array_equal(moved.pull[column], expected)
