"""Faust's producer over aiokafka, with one acknowledgement per batch instead of one per record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, RecordMetadata

from spoton.engine.outgoing import Outgoing
from spoton.errors import BrokerError
from spoton.kafka.partition import partition_of
from spoton.kafka.sizes import LARGEST_VALUE_BYTES, PRODUCER


class Producer(driver.Producer):
    """Sends through aiokafka's accumulator, which puts records of one partition together."""

    transport: Any

    def _settings_default(self) -> Mapping[str, Any]:
        return {**super()._settings_default(), **PRODUCER}

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Put a record on its way; what is returned gives its place once it is acknowledged.

        Raises:
            BrokerError: it is larger than any topic takes.
        """
        _check_size(topic, value)
        return await super().send(
            topic, key, value, partition, timestamp, headers, transactional_id=transactional_id
        )

    async def append_all(self, records: Sequence[Outgoing]) -> list[asyncio.Future[Any]]:
        """Put records on their way, in order; when all that is returned is done, all are acknowledged.

        Raises:
            BrokerError: one is larger than any topic takes; none has been sent then.
            ProducerSendError: the producer has failed or is stopped.
        """
        producer = self._ensure_producer()
        for record in records:
            _check_size(record.topic, record.value)
        for topic in {record.topic for record in records}:
            await producer.client._wait_on_metadata(topic)
        accumulator = producer._message_accumulator
        if accumulator._closed or accumulator._exception is not None:
            raise ProducerSendError(f"the producer is closed: {accumulator._exception!r}")
        waiting: dict[asyncio.Future[Any], None] = {}
        for record in records:
            waiting[_append(accumulator, record)] = None
        return list(waiting)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The partition of a key; a topic that nothing was sent to yet has those it was declared with."""
        known = self._ensure_producer()._metadata.partitions_for_topic(topic)
        if known is None:
            return TP(topic, partition_of(key, self.transport.declared_partitions(topic)))
        if key is None:
            return super().key_partition(topic, key)
        return TP(topic, partition_of(key, len(known)))


def _append(accumulator: Any, record: Outgoing) -> asyncio.Future[Any]:
    # aiokafka makes a future for every record; the batch has one that says the same for all of its records.
    tp = TopicPartition(record.topic, record.partition)
    batches = accumulator._batches.get(tp)
    if batches:
        batch = batches[-1]
        if batch._builder.append(timestamp=record.timestamp_ms, key=record.key, value=record.value) is not None:
            return _shared(batch)
        if not accumulator._waiter_future.done():
            accumulator._waiter_future.set_result(None)
    batch = accumulator._append_batch(accumulator.create_builder(), tp)
    batch._builder.append(timestamp=record.timestamp_ms, key=record.key, value=record.value)
    return _shared(batch)


def _shared(batch: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = batch.future
    return future


def _check_size(topic: str, value: bytes | None) -> None:
    if value is not None and len(value) > LARGEST_VALUE_BYTES:
        raise BrokerError(
            f"a record for topic {topic!r} has {len(value)} bytes, {LARGEST_VALUE_BYTES} is the most",
            remedy="lower the resolution or the JPEG quality of the camera",
        )
