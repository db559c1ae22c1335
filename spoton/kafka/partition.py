"""Which partition a key goes to."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2

_hash = lru_cache(65_536)(murmur2)
"""Keys are few (sites and cameras); the hash is Python."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among ``partitions``, as Kafka's default partitioner chooses it."""
    return int(_hash(key) & 0x7FFFFFFF) % partitions
