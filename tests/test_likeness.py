"""What distances between looks say, learnt from distances of the same and of different people."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spoton import likeness
from spoton.likeness import Likeness

DISTANCES = arrays(np.float64, st.integers(0, 80), elements=st.floats(0.0, 2.0))


def known(same: float, other: float, count: int = 400) -> Likeness:
    """Distances spread by a factor about these medians."""
    chance = np.random.default_rng(5)
    spread = [median * np.exp(0.3 * chance.normal(size=count)) for median in (same, other)]
    return likeness.learned(Likeness(), np.clip(spread[0], 0, 2), np.clip(spread[1], 0, 2))


def test_nothing_is_said_before_enough_was_seen() -> None:
    few = likeness.learned(Likeness(), np.full(14, 0.1), np.full(99, 0.6))
    assert not few.known
    assert likeness.evidence(few, np.array([0.1, 0.6])).tolist() == [0.0, 0.0]
    assert likeness.gate(few, "histogram", None) == likeness.usual_gate("histogram", None) == 0.25
    assert likeness.learned(few, np.array([0.1]), np.array([0.6])).known


@pytest.mark.parametrize(("same", "other"), [(0.04, 0.3), (0.3, 0.6)])
def test_every_embedder_and_place_has_its_own_scale(same: float, other: float) -> None:
    learnt = known(same, other)
    near, even, far = likeness.evidence(learnt, np.array([same, np.sqrt(same * other), other]))
    assert near > 1.5
    assert far < -1.5
    assert abs(even) < 1.0
    assert same < likeness.gate(learnt, "histogram", None) < other


def test_it_is_the_ratio_of_how_often_each_distance_was_seen() -> None:
    """Two normal distributions of logarithms: the ratio of their densities is known."""
    chance = np.random.default_rng(0)
    same, other = np.log(0.1), np.log(0.4)
    learnt = likeness.learned(
        Likeness(), np.exp(same + 0.4 * chance.normal(size=2500)), np.exp(other + 0.4 * chance.normal(size=2500))
    )
    at = np.linspace(np.log(0.13), np.log(0.25), 9)
    exact = ((at - other) ** 2 - (at - same) ** 2) / (2 * 0.4**2)
    assert likeness.evidence(learnt, np.exp(at)) == pytest.approx(exact, abs=0.7)


def test_no_distance_says_all() -> None:
    said = likeness.evidence(known(0.04, 0.5), np.array([1e-9, 2.0]))
    assert said[0] <= np.log(1 / likeness.MISTAKEN)
    assert said[1] >= np.log(likeness.SPOILT)


def test_where_others_look_more_alike_nothing_is_known() -> None:
    assert not known(0.5, 0.1).known


@given(same=DISTANCES, other=DISTANCES)
def test_a_larger_distance_never_says_more(same: np.ndarray, other: np.ndarray) -> None:
    learnt = likeness.learned(known(0.1, 0.4, 120), same, other)
    said = likeness.evidence(learnt, np.linspace(0.0, 2.0, 200))
    assert np.isfinite(said).all()
    assert (np.diff(said) <= 1e-12).all()


def test_the_light_may_change() -> None:
    learnt = known(0.05, 0.3)
    for _ in range(20):
        learnt = likeness.learned(learnt, np.full(400, 0.25), np.full(400, 0.7))
    assert learnt.same.sum() <= 5000.0 + 1e-6
    assert likeness.evidence(learnt, np.array([0.25]))[0] > 2.0


def test_an_operators_gate_holds() -> None:
    assert likeness.gate(known(0.05, 0.3), "histogram", 0.7) == 0.7
    assert likeness.usual_gate("somebody's own", None) == 0.5


def looks_of(people: np.ndarray, noise: np.ndarray, seed: int = 0) -> np.ndarray:
    """A look of each of ``people`` (N, D), off by ``noise`` (D,)."""
    return people + noise * np.random.default_rng(seed).normal(size=people.shape)


def test_numbers_that_vary_within_people_count_less() -> None:
    """Half of the numbers say who it is, the others are noise."""
    chance = np.random.default_rng(1)
    people, noise = chance.normal(size=(300, 16)), np.repeat([0.2, 3.0], 8)
    people[:, 8:] = 0.0
    plain = Likeness()
    weighed = likeness.weighed(plain, looks_of(np.zeros((likeness.WEIGHED_AT[0], 16)), noise))
    assert len(weighed.weight) == 16
    assert weighed.weight[:8].min() > 1.5 * weighed.weight[8:].max()
    one, other = looks_of(people, noise, 2), looks_of(people, noise, 3)

    def confused(told: Likeness) -> float:
        """How often a different person is nearer than the same one."""
        apart = 1.0 - likeness.measured(told, one) @ likeness.measured(told, other).T
        return float((apart < np.diag(apart)[:, None]).mean())

    assert confused(weighed) < 0.7 * confused(plain)


def test_weights_stand_until_more_is_known_and_distances_by_the_former_ones_count_less() -> None:
    chance = np.random.default_rng(2)
    learnt = known(0.05, 0.3)
    counted = learnt.same.sum()
    for _ in range(likeness.WEIGHED_AT[0] - 1):
        learnt = likeness.weighed(learnt, chance.normal(size=(1, 4)))
    assert not len(learnt.weight)
    assert learnt.same.sum() == counted
    learnt = likeness.weighed(learnt, chance.normal(size=(1, 4)))
    assert len(learnt.weight) == 4
    assert learnt.same.sum() == pytest.approx(likeness.KEEPS * counted)
    weight = learnt.weight
    learnt = likeness.weighed(learnt, 9.0 * chance.normal(size=(500, 4)))
    assert np.array_equal(learnt.weight, weight)
    for _ in range(120):
        learnt = likeness.weighed(learnt, np.array([0.1, 1.0, 1.0, 1.0]) * chance.normal(size=(500, 4)))
        assert learnt.looks <= 2 * likeness.WEIGHED_AT[-1]
    # What varies changes with the light, and weights follow.
    assert learnt.varies / learnt.looks == pytest.approx(np.array([0.01, 1.0, 1.0, 1.0]), abs=0.2)
    assert learnt.weight[0] > 1.5 * learnt.weight[1:].max()


def test_measured_looks_are_unit_rows_and_nothing_stays_nothing() -> None:
    looks = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float16)
    assert likeness.measured(Likeness(), looks) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))
    weighed = Likeness(weight=np.array([4.0, 3.0]))
    assert likeness.measured(weighed, looks)[0] == pytest.approx(np.full(2, np.sqrt(0.5)))
