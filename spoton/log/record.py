"""What the log stores: topics, their settings, and records."""

from __future__ import annotations

from typing import NamedTuple

PARTITIONS_MAX = 1024
"""Most partitions that one topic can have."""

TOPICS_MAX = 8191
"""Most durable topics that one log can have: with the partitions and 40 bits of offset they fill a row id."""


class Record(NamedTuple):
    """One record of a partition.

    ``offset`` counts from 0 in its partition and never repeats; ``timestamp_ms`` is milliseconds since 1970 as the
    sender gave it; a ``value`` of ``None`` is a tombstone: the key was deleted.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value, with an allowance for the object around them."""
        return len(self.key or b"") + len(self.value or b"") + 256


class Topic(NamedTuple):
    """A durable topic. ``retention_ms`` is ``None`` where records do not expire by age."""

    number: int
    name: str
    partitions: int
    retention_ms: int | None
    compacting: bool

    def lane(self, partition: int) -> int:
        """The number under which the file knows one partition of this topic."""
        return self.number * PARTITIONS_MAX + partition


class Page(NamedTuple):
    """Records of one partition, and the offset at which to read on."""

    records: list[Record]
    next: int
