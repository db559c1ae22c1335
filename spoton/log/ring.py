"""Newest records of partitions in memory, within one budget of bytes."""

from __future__ import annotations

from spoton.log.record import Record


class Ring:
    """The newest records of one partition, by offset; offsets are consecutive.

    Attributes:
        first: the oldest offset kept.
        end: the offset after the newest.
        size_bytes: bytes held.
        dropped: records that went to keep the budget before anyone had read them.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.end = first
        self.size_bytes = 0
        self.dropped = 0
        self._read_to = first
        self._records: dict[int, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        """Add the next record; a gap before it empties the ring first."""
        if record.offset != self.end:
            self.clear(record.offset)
        self._records[record.offset] = record
        self.end = record.offset + 1
        self.size_bytes += record.size_bytes

    def read(self, first: int, limit: int, limit_bytes: int) -> list[Record]:
        """Up to ``limit`` records from ``first`` on, or from the oldest kept; at least one if there is any."""
        found: list[Record] = []
        size = 0
        for offset in range(max(first, self.first), min(self.end, max(first, self.first) + limit)):
            record = self._records[offset]
            size += record.size_bytes
            if found and size > limit_bytes:
                break
            found.append(record)
        if found:
            self._read_to = max(self._read_to, found[-1].offset + 1)
        return found

    def lose_first(self) -> int:
        """Remove the oldest record for want of room; returns its bytes."""
        self.dropped += self.first >= self._read_to
        return self.drop_first()

    def drop_first(self) -> int:
        """Remove the oldest record; returns its bytes."""
        size = self._records.pop(self.first).size_bytes
        self.first += 1
        self.size_bytes -= size
        return size

    def clear(self, first: int) -> None:
        """Forget everything and go on from offset ``first``."""
        self._records.clear()
        self.size_bytes = 0
        self.first = self.end = first


class Rings:
    """Several rings under one budget: when it is exceeded, the ring with most bytes loses its oldest record."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._rings: dict[tuple[str, int], Ring] = {}

    def ring(self, topic: str, partition: int, *, first: int = 0) -> Ring:
        """The ring of one partition, made at offset ``first`` where there was none."""
        key = (topic, partition)
        found = self._rings.get(key)
        if found is None:
            found = self._rings[key] = Ring(first)
        return found

    @property
    def dropped(self) -> dict[tuple[str, int], int]:
        """How many records each partition has lost to the budget before anyone had read them."""
        return {key: ring.dropped for key, ring in self._rings.items() if ring.dropped}

    def append(self, ring: Ring, record: Record) -> None:
        """Add a record to ``ring`` and keep the budget; the newest record of a ring always stays."""
        before = ring.size_bytes
        ring.append(record)
        self.size_bytes += ring.size_bytes - before
        while self.size_bytes > self.limit_bytes:
            fullest = max(self._rings.values(), key=_droppable_bytes)
            if _droppable_bytes(fullest) == 0:
                return
            self.size_bytes -= fullest.lose_first()

    def forget(self, topic: str, partition: int, *, before: int) -> None:
        """Remove what is older than offset ``before``: it was read, or is durable elsewhere."""
        ring = self._rings.get((topic, partition))
        while ring and ring.first < before:
            self.size_bytes -= ring.drop_first()

    def remove(self, topic: str, partition: int) -> None:
        """Remove the ring of one partition."""
        ring = self._rings.pop((topic, partition), None)
        if ring is not None:
            self.size_bytes -= ring.size_bytes


def _droppable_bytes(ring: Ring) -> int:
    return ring.size_bytes if len(ring) > 1 else 0
