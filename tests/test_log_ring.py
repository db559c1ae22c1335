"""Memory topics lose the oldest first, and only within their budget."""

from __future__ import annotations

from spoton.log.record import Record
from spoton.log.ring import Ring, Rings


def record(offset: int, size: int = 744) -> Record:
    made = Record(offset, 0, None, b"x" * size)
    assert made.size_bytes == size + 256
    return made


def test_reading_begins_at_the_oldest_kept():
    ring = Ring()
    for offset in range(10):
        ring.append(record(offset))
    for _ in range(4):
        ring.drop_first()
    assert [r.offset for r in ring.read(0, 3, 10**9)] == [4, 5, 6]
    assert [r.offset for r in ring.read(8, 100, 10**9)] == [8, 9]
    assert ring.read(10, 5, 10**9) == []


def test_a_read_is_bounded_by_bytes_but_gives_at_least_one():
    ring = Ring()
    for offset in range(5):
        ring.append(record(offset))
    assert len(ring.read(0, 5, 2500)) == 2
    assert len(ring.read(0, 5, 1)) == 1


def test_a_gap_empties_the_ring():
    ring = Ring()
    ring.append(record(0))
    ring.append(record(5))
    assert (ring.first, ring.end, len(ring), ring.size_bytes) == (5, 6, 1, 1000)


def test_the_fullest_partition_pays_for_the_budget():
    rings = Rings(limit_bytes=10_000)
    quiet, busy = rings.ring("frames", 0), rings.ring("frames", 1)
    rings.append(quiet, record(0))
    rings.append(quiet, record(1))
    for offset in range(50):
        rings.append(busy, record(offset))
    assert rings.size_bytes == quiet.size_bytes + busy.size_bytes == 10_000
    assert (quiet.first, len(quiet)) == (0, 2)
    assert (busy.first, busy.end) == (42, 50)
    assert rings.dropped == {("frames", 1): 42}


def test_a_record_larger_than_the_budget_stays_until_the_next():
    rings = Rings(limit_bytes=1000)
    ring = rings.ring("frames", 0)
    rings.append(ring, record(0, 5000))
    assert len(ring) == 1
    rings.append(ring, record(1, 5000))
    assert (ring.first, len(ring), rings.dropped) == (1, 1, {("frames", 0): 1})


def test_what_was_read_can_be_forgotten_without_counting_as_lost():
    rings = Rings(limit_bytes=100_000)
    ring = rings.ring("frames", 0)
    for offset in range(5):
        rings.append(ring, record(offset))
    rings.forget("frames", 0, before=3)
    rings.forget("frames", 9, before=3)
    assert (ring.first, rings.size_bytes, rings.dropped) == (3, 2000, {})
    rings.remove("frames", 0)
    assert rings.size_bytes == 0


def test_what_was_read_before_it_went_is_not_lost():
    rings = Rings(limit_bytes=3000)
    ring = rings.ring("frames", 0)
    for offset in range(3):
        rings.append(ring, record(offset))
    assert len(ring.read(0, 2, 10**9)) == 2
    for offset in range(3, 8):
        rings.append(ring, record(offset))
    assert ring.first == 5
    assert rings.dropped == {("frames", 0): 3}
