"""Who left and what they looked like."""

import numpy as np
import pytest

from spoton import memory
from spoton.bindings import Gallery

S = 1_000_000


def look(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float16)


def gallery(*angles: float, model: str = "histogram") -> Gallery:
    """Person n looks like the n-th angle, to one camera."""
    owners = np.arange(len(angles), dtype=np.int64)
    return Gallery(owners, np.zeros_like(owners), np.array([look(one) for one in angles]), model)


def left(*angles: float) -> memory.Memory:
    """Numbers 10, 11, ... left at 0, 1, ... seconds at (n, 0)."""
    known = memory.nobody()
    for n in range(len(angles)):
        known = memory.remembered(known, 10 + n, n * S, np.array([n, 0.0, 0.0, 0.0, 1.7]), gallery(*angles), n)
    return known


@pytest.mark.parametrize(
    ("angles", "asked", "at_s", "place_m", "number"),
    [
        pytest.param((0.0, 1.0), 0.1, 20, (3.0, 0.0), 10, id="one looks alike"),
        pytest.param((0.0, 1.0), 0.5, 20, (3.0, 0.0), None, id="nobody looks alike"),
        pytest.param((0.0, 0.1), 0.05, 20, (3.0, 0.0), None, id="two look alike"),
        pytest.param((0.0, 1.0), 0.1, 20, (70.0, 0.0), None, id="too far to walk"),
        pytest.param((), 0.1, 20, (3.0, 0.0), None, id="nobody left"),
    ],
)
def test_only_who_is_clearly_like_and_could_have_walked_is_recalled(
    angles: tuple[float, ...], asked: float, at_s: int, place_m: tuple[float, float], number: int | None
) -> None:
    found = memory.recalled(left(*angles), gallery(asked), 0, at_s * S, np.array(place_m), 0.05)
    assert (None if found is None else found[0]) == number
    if found is not None:
        assert found[1] == pytest.approx(1 - np.cos(0.1), abs=2e-3)


def test_who_is_back_is_forgotten_until_they_leave_again() -> None:
    known = memory.forgotten(left(0.0, 1.0), 10)
    assert (known.number.tolist(), known.looks.owner.tolist(), known.back) == ([11], [11], (10,))
    known = memory.remembered(known, 10, 9 * S, np.zeros(5), gallery(0.0), 0)
    assert (known.number.tolist(), known.back) == ([11, 10], ())


def test_the_number_of_those_remembered_is_bounded_and_so_is_the_time() -> None:
    many = left(*np.linspace(0, 3, memory.MOST + 20))
    assert len(many) == memory.MOST
    assert many.number.tolist() == list(range(30, 30 + memory.MOST))
    later = memory.remembered(many, 999, memory.KEEP_US + 10_000 * S, np.zeros(5), gallery(0.0), 0)
    assert later.number.tolist() == [999]
    assert later.looks.owner.tolist() == [999]


def test_looks_of_another_embedder_are_not_compared() -> None:
    assert memory.recalled(left(0.0), gallery(0.0, model="osnet"), 0, 20 * S, np.zeros(2), 0.05) is None
    anew = memory.remembered(left(0.0), 20, 5 * S, np.zeros(5), gallery(0.0, model="osnet"), 0)
    assert (anew.number.tolist(), anew.looks.model) == ([20], "osnet")


def test_who_was_never_described_is_not_remembered() -> None:
    assert len(memory.remembered(memory.nobody(), 1, 0, np.zeros(5), gallery(), 0)) == 0
