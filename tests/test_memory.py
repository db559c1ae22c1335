"""Who left, when and where."""

import numpy as np

from spoton import memory

S = 1_000_000


def left(*numbers: int) -> memory.Memory:
    """They left at 0, 1, ... seconds at (n, 0), seen by camera n last."""
    known = memory.nobody()
    for n, number in enumerate(numbers):
        known = memory.remembered(known, number, n * S, np.array([n, 0.0, 0.0, 0.0, 1.7]), f"c{n}")
    return known


def test_who_is_back_is_forgotten_until_they_leave_again() -> None:
    known = memory.without(left(10, 11), 10)
    assert (known.number.tolist(), known.camera, known.place_m.tolist()) == ([11], ("c1",), [[1.0, 0.0]])
    known = memory.remembered(known, 10, 9 * S, np.zeros(5), "c9")
    assert (known.number.tolist(), known.left_us.tolist(), known.camera) == ([11, 10], [S, 9 * S], ("c1", "c9"))


def test_nobody_is_remembered_twice() -> None:
    known = memory.remembered(left(10, 11), 10, 5 * S, np.array([3.0, 4.0]), "c5")
    assert (known.number.tolist(), known.camera, known.place_m.tolist()) == ([11, 10], ("c1", "c5"), [[1, 0], [3, 4]])


def test_who_is_not_known_cannot_be_forgotten() -> None:
    known = left(10, 11)
    assert memory.without(known, 12) is known


def test_the_number_of_those_remembered_is_bounded_and_so_is_the_time() -> None:
    many = left(*range(memory.MOST + 20))
    assert len(many) == len(many.camera) == memory.MOST
    assert many.number.tolist() == list(range(20, 20 + memory.MOST))
    later = memory.remembered(many, 999, memory.KEEP_US + 10_000 * S, np.zeros(5), "c")
    assert (later.number.tolist(), later.camera) == ([999], ("c",))
