"""Gated assignment, held against SciPy's solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linear_sum_assignment

from spoton.association import assign, assign_pairs

costs = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    elements=st.floats(-5, 5, allow_nan=False, width=32) | st.sampled_from([np.inf, np.nan, 1.0]),
)


def _least_total(cost, gate):
    """Sum of cost - gate over the best pairs: SciPy's solver on the matrix with one stay-alone column per row."""
    rows = cost.shape[0]
    possible = np.isfinite(cost) & (cost < gate)
    extended = np.hstack([np.where(possible, cost - gate, 1e6), np.zeros((rows, rows))])
    return extended[linear_sum_assignment(extended)].sum()


@settings(deadline=None)
@given(cost=costs, gate=st.floats(-4, 4))
def test_total_is_the_least_there_is(cost, gate):
    rows, columns = assign(cost, gate)
    assert len(set(rows)) == len(rows) == len(columns) == len(set(columns))
    assert (cost[rows, columns] < gate).all()
    assert list(rows) == sorted(rows)
    assert (cost[rows, columns] - gate).sum() == pytest.approx(_least_total(cost, gate), abs=1e-6)


@settings(deadline=None)
@given(cost=costs, gate=st.floats(-4, 4))
def test_the_same_matrix_gives_the_same_pairs(cost, gate):
    first, again = assign(cost, gate), assign(np.asfortranarray(cost), gate)
    np.testing.assert_array_equal(first, again)


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_does_not_matter_without_ties(seed):
    rng = np.random.default_rng(seed)
    cost = rng.random((6, 5))
    row_order, column_order = rng.permutation(6), rng.permutation(5)
    shuffled = assign(cost[row_order][:, column_order], 0.7)
    back = set(zip(row_order[shuffled[0]], column_order[shuffled[1]], strict=True))
    assert back == set(zip(*assign(cost, 0.7), strict=True))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_pair(shape):
    rows, columns = assign(np.zeros(shape), 1.0)
    assert len(rows) == len(columns) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0, 2.0], ids=["nan", "inf", "-inf", "at gate", "above"])
def test_impossible_pairs_are_never_made(value):
    rows, _ = assign(np.full((3, 3), value), 1.0)
    assert len(rows) == 0


def test_a_dear_pair_is_left_out_even_when_possible():
    rows, columns = assign(np.array([[0.1, 0.9], [0.15, np.inf]]), 1.0)
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]
    rows, columns = assign(np.array([[0.1, 0.99], [0.95, np.inf]]), 1.0)
    assert list(zip(rows, columns, strict=True)) == [(0, 0)]


@settings(deadline=None)
@given(cost=costs, gate=st.floats(-4, 4))
def test_possible_pairs_alone_give_the_least_total_too(cost, gate):
    rows, columns = (np.isfinite(cost) & (cost < gate)).nonzero()
    if not len(rows):
        return
    chosen, to = assign_pairs(rows, columns, cost[rows, columns], gate)
    assert len(set(chosen)) == len(chosen) == len(to) == len(set(to))
    assert (cost[chosen, to] < gate).all()
    assert list(chosen) == sorted(chosen)
    assert (cost[chosen, to] - gate).sum() == pytest.approx(_least_total(cost, gate), abs=1e-6)


@pytest.mark.parametrize("people", [30, 300])
def test_pairs_of_a_crowd_equal_the_whole_matrix(people):
    rng = np.random.default_rng(people)
    place = rng.uniform(0, np.sqrt(people), (people, 2))
    apart = np.linalg.norm(place[:, None] - place[None] - rng.normal(0, 0.3, (people, 2)), axis=2)
    cost = np.where(apart < 0.85, apart, np.inf)
    rows, columns = np.isfinite(cost).nonzero()
    assert len(rows) > people
    np.testing.assert_array_equal(assign_pairs(rows, columns, cost[rows, columns], 0.85), assign(cost, 0.85))
