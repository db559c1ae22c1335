"""The two engines as the tests see them: a broker URL, and what an app left there when it had ended."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient

from spoton.kafka.settings import servers
from spoton.log.reader import LogReader

Stored = list[tuple[Any, Any]]
Answer = TypeVar("Answer")


class LogBroker:
    """The embedded log in a folder of its own."""

    kind = "log"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = new_prefix()

    @property
    def url(self) -> str:
        return f"log://{self.folder}"

    def stored(self, topic: str) -> Stored:
        """Key and value of every record, partition after partition, each in its order."""
        with LogReader(self.folder) as reader:
            return [
                decoded(record.key, record.value)
                for partition in reader.partitions(topic)
                for record in reader.records(topic, partition)
            ]

    def ends(self, topic: str) -> dict[int, int]:
        """The offset that the next record of each partition gets."""
        with LogReader(self.folder) as reader:
            return {partition: end for partition, (_, end) in reader.partitions(topic).items()}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offset that the group goes on from, per partition."""
        with LogReader(self.folder) as reader:
            committed = reader.committed().items()
        return {at: offset for (one, name, at), offset in committed if (one, name) == (group, topic)}


class KafkaBroker:
    """Apache Kafka; topics and groups of a test begin with its prefix."""

    kind = "kafka"

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = new_prefix()

    def stored(self, topic: str) -> Stored:
        async def read(consumer: aiokafka.AIOKafkaConsumer) -> Stored:
            found = []
            for part, end in (await consumer.end_offsets(consumer.assignment())).items():
                while await consumer.position(part) < end:
                    batch = await consumer.getmany(part, timeout_ms=1000)
                    found += [(part.partition, one.offset, one.key, one.value) for one in batch.get(part, [])]
            return [decoded(key, value) for _, _, key, value in sorted(found, key=lambda one: one[:2])]

        return self._ask(topic, read)

    def ends(self, topic: str) -> dict[int, int]:
        async def read(consumer: aiokafka.AIOKafkaConsumer) -> dict[int, int]:
            ends = await consumer.end_offsets(consumer.assignment())
            return {part.partition: end for part, end in ends.items()}

        return self._ask(topic, read)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        async def read() -> dict[int, int]:
            admin = AIOKafkaAdminClient(bootstrap_servers=servers(self.url))
            await admin.start()
            try:
                offsets = await admin.list_consumer_group_offsets(group)
            finally:
                await admin.close()
            return {part.partition: one.offset for part, one in offsets.items() if part.topic == topic}

        return asyncio.run(read())

    def _ask(self, topic: str, read: Callable[[aiokafka.AIOKafkaConsumer], Awaitable[Answer]]) -> Answer:
        async def run() -> Answer:
            # Without a group it reads all partitions.
            options = {"bootstrap_servers": servers(self.url), "auto_offset_reset": "earliest"}
            async with aiokafka.AIOKafkaConsumer(topic, **options) as consumer:
                return await read(consumer)

        return asyncio.run(run())


def new_prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}-"


def decoded(key: bytes, value: bytes) -> tuple[Any, Any]:
    return (json.loads(key) if key.startswith(b'"') else key.decode()), json.loads(value)
