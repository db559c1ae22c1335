"""What was recorded of a site's cameras lately, read back from the stream ``detections``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiokafka import TopicPartition

from spoton import events
from spoton.events import DetectionEvent
from spoton.kafka.partition import partition_of
from spoton.kafka.tail import Settings, partitions_of, read_between, reader

TOPIC = "detections"
MARGIN_US = 5_000_000
"""Cameras of a site share a partition and are not in step: reading begins this much earlier."""
MOST_RECORDS = 20_000
"""Where no time is known from which on to read."""


def detection_facts(settings: Settings, partitions: int) -> Callable[[str, int], Awaitable[Sequence[DetectionEvent]]]:
    """A function of site and event time (microseconds UTC; -1: unknown) to all that was recorded since, in order."""

    async def facts(site: str, since_us: int) -> Sequence[DetectionEvent]:
        number = partition_of(msgspec.json.encode(site), partitions)
        async with reader(settings) as consumer:
            if not await partitions_of(consumer, TOPIC):
                return []
            tp = TopicPartition(TOPIC, number)
            ends = await consumer.end_offsets([tp])
            first = await consumer.beginning_offsets([tp])
            if since_us >= 0:
                found = (await consumer.offsets_for_times({tp: max(0, since_us - MARGIN_US) // 1000}))[tp]
                first[tp] = ends[tp] if found is None else found.offset
            else:
                first[tp] = max(first[tp], ends[tp] - MOST_RECORDS)
            records = await read_between(consumer, first, ends)
        read = (events.decode(record.value) for record in records)
        return [fact for fact in read if fact.site == site and isinstance(fact, DetectionEvent)]

    return facts
