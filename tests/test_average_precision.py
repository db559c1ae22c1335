"""Average precision on cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spoton.errors import InputError
from spoton.offline.average_precision import average_precision, intersection_over_union

A, B, C = [0, 0, 10, 20], [50, 0, 10, 20], [100, 0, 10, 20]
FAR = [300, 300, 10, 20]
HALF_OFF = [5, 0, 10, 20]  # overlaps A by 1/3


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 4)


@pytest.mark.parametrize(
    ("truth", "found", "scores", "expected"),
    [
        pytest.param([boxes(A, B)], [boxes(A, B)], [[0.9, 0.8]], 1.0, id="all found"),
        pytest.param([boxes(A, B)], [boxes(A)], [[0.9]], 0.5, id="half found, nothing false"),
        pytest.param([boxes(A, B)], [boxes(A, FAR, B)], [[0.9, 0.8, 0.7]], 0.5 + 0.5 * 2 / 3, id="a false one between"),
        pytest.param([boxes(A)], [boxes(FAR, A)], [[0.9, 0.8]], 0.5, id="a false one first"),
        pytest.param(
            [boxes(A, B)], [boxes(FAR, A, B)], [[0.9, 0.8, 0.7]], 2 / 3, id="the envelope lifts earlier steps"
        ),
        pytest.param([boxes(A)], [boxes(A, A)], [[0.9, 0.8]], 1.0, id="a second box on the same person is false"),
        pytest.param([boxes(A, B)], [boxes(A, A, B)], [[0.9, 0.8, 0.7]], 0.5 + 0.5 * 2 / 3, id="and costs later ones"),
        pytest.param([boxes(A)], [boxes(HALF_OFF)], [[0.9]], 0.0, id="too little overlap"),
        pytest.param([boxes(A)], [boxes()], [[]], 0.0, id="nothing found"),
        pytest.param([boxes()], [boxes(A)], [[0.9]], 0.0, id="no truth"),
        pytest.param([boxes(A), boxes()], [boxes(A), boxes(B)], [[0.5], [0.9]], 0.5, id="rank is over all pictures"),
        pytest.param([boxes(A), boxes(B)], [boxes(B), boxes(B)], [[0.5], [0.9]], 0.5, id="truth of another picture"),
    ],
)
def test_area_under_the_curve(truth, found, scores, expected):
    assert average_precision(truth, found, [np.array(row) for row in scores]) == pytest.approx(expected)


def test_the_overlap_is_the_callers():
    assert average_precision([boxes(A)], [boxes(HALF_OFF)], [np.array([0.9])], overlap=1 / 3) == pytest.approx(1.0)


def test_overlap_by_hand():
    expected = [[1.0, 1 / 3, 0.0], [0.0, 0.0, 0.0]]
    assert intersection_over_union(boxes(A, [0, 0, 0, 0]), boxes(A, HALF_OFF, C)) == pytest.approx(np.array(expected))


def test_lists_of_different_length_are_refused():
    with pytest.raises(InputError, match="2 truths, 1 boxes, 1 scores"):
        average_precision([boxes(A), boxes()], [boxes(A)], [np.array([0.5])])
