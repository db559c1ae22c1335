"""Reading Kafka topics whole, as a member of no group: for whoever needs every record and keeps no place in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from spoton.errors import BrokerError
from spoton.kafka.sizes import PACE_S

Settings = Mapping[str, Any]
"""How a plain aiokafka client reaches the brokers: its keyword arguments."""

MOST_RECORDS = 500
FRAME_BYTES = 8 * 1024 * 1024


@asynccontextmanager
async def reader(settings: Settings, **more: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, stopped at the end.

    Raises BrokerError when no broker answers.
    """
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=FRAME_BYTES + 65_536,
        **settings,
        **more,
    )
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await consumer.stop()
        raise unreachable(settings, error) from error
    try:
        yield consumer
    finally:
        await consumer.stop()


def unreachable(settings: Settings, error: BaseException) -> BrokerError:
    """The error to raise when no broker answers."""
    return BrokerError(
        f"no Kafka broker at {settings['bootstrap_servers']} answers: {error or type(error).__name__}",
        remedy="start it, or correct --broker",
    )


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, in order; none where there is no such topic."""
    # The client only keeps metadata of topics that it was told of.
    await consumer._client.add_topic(topic)
    await consumer._client.force_metadata_update()
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


async def read_whole(settings: Settings, topic: str) -> tuple[list[ConsumerRecord], dict[TopicPartition, int]]:
    """Every record of a topic up to its end as it is now, and the offset that comes next for each partition."""
    async with reader(settings) as consumer:
        partitions = await partitions_of(consumer, topic)
        if not partitions:
            return [], {}
        first = await consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return await read_between(consumer, first, ends), ends


async def read_between(
    consumer: AIOKafkaConsumer, first: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> list[ConsumerRecord]:
    """The records from ``first`` up to, not including, ``ends``, for each partition in order; once a consumer."""
    wanted = [tp for tp in ends if first[tp] < ends[tp]]
    if not wanted:
        return []
    consumer.assign(wanted)
    for tp in wanted:
        consumer.seek(tp, first[tp])
    records: list[ConsumerRecord] = []
    while wanted:
        found = await consumer.getmany(*wanted, timeout_ms=200, max_records=MOST_RECORDS)
        for tp, fetched in found.items():
            records += [record for record in fetched if record.offset < ends[tp]]
        # Compaction leaves holes and control records are not handed out: the position tells, not the last record.
        done = [tp for tp in wanted if await consumer.position(tp) >= ends[tp]]
        if done:
            wanted = [tp for tp in wanted if tp not in done]
            consumer.pause(*done)
    return records


async def follow(
    settings: Settings,
    topics: Sequence[str],
    *,
    since_ms: int | None = None,
    first: Mapping[TopicPartition, int] = {},
    wanted: Callable[[str, int], Collection[int]] = lambda topic, count: range(count),
) -> AsyncIterator[list[ConsumerRecord]]:
    """Batches of records of the topics, for ever, in order within a partition.

    since_ms: from the first record with this timestamp on; left out, what comes from now on. first: where given
    partitions begin instead. wanted: of a topic and its number of partitions, those that are read. A broker that goes
    away is waited for; topics that do not exist yet too.
    """
    async with reader(settings) as consumer:
        there = {topic: await _when_there(consumer, topic) for topic in topics}
        partitions = [tp for topic, all_ in there.items() for tp in all_ if tp.partition in wanted(topic, len(all_))]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        times = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms)) if since_ms is not None else {}
        for tp in partitions:
            at_time = times.get(tp)
            consumer.seek(tp, first.get(tp, at_time.offset if at_time is not None else ends[tp]))
        while True:
            found = await consumer.getmany(timeout_ms=1000, max_records=MOST_RECORDS)
            if found:
                yield [record for fetched in found.values() for record in fetched]
                await asyncio.sleep(PACE_S)


async def _when_there(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    while not (partitions := await partitions_of(consumer, topic)):  # noqa: ASYNC110 - nobody is woken by a new topic
        await asyncio.sleep(0.5)
    return partitions
