"""Faust's producer over the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from aiokafka.partitioner import murmur2
from faust.transport import base
from faust.transport.producer import ProducerBuffer
from faust.types.tuples import TP, FutureMessage, RecordMetadata
from mode.utils.times import want_seconds

from spoton.engine.outgoing import Outgoing
from spoton.errors import InputError, LogError
from spoton.log.log import Log

_STOPPING_S = 5.0


class Backlog(ProducerBuffer):
    """Slows streams down when the disk is slower than they are."""

    log_room: Any = None

    async def wait_until_ebb(self) -> None:
        """Wait until the log can take more."""
        await super().wait_until_ebb()
        if self.log_room is not None:
            await self.log_room()


class Producer(base.Producer):
    """Appends to the log.

    ``send_soon``, through which tables write their changelogs, appends at once: an agent's outputs and then its
    table's change, made in one turn of the event loop, are one transaction.
    """

    transport: Any
    buffer: Any
    _log: Log | None = None

    def __post_init__(self) -> None:
        self._turn: dict[str, int] = {}
        self._hash = lru_cache(65536)(murmur2)
        self._announce = self.app.on_produce_message.send

    def __init__(self, transport: Any, loop: Any = None, **kwargs: Any) -> None:
        super().__init__(transport, loop=loop, **kwargs)
        if self.app.conf.producer_threaded:
            raise InputError("producer_threaded is set", remedy="leave it out: the embedded log has its own thread")
        self.buffer = Backlog(loop=self._loop, beacon=self.beacon)
        self.buffer.app = self.app

    async def on_start(self) -> None:
        """Open the log, or find it open."""
        await super().on_start()
        self._log = await self.transport.open_log()
        self._log.on_failure = self._on_failure
        self.buffer.log_room = self._log.room

    async def on_stop(self) -> None:
        """Make durable what was appended and close the log."""
        await super().on_stop()
        self._log = self.buffer.log_room = None
        await self.transport.close_log()

    def _on_failure(self, error: LogError) -> None:
        self.add_future(self.crash(error))

    @property
    def log_or_raise(self) -> Log:
        """The open log.

        Raises:
            LogError: the producer has not been started, or has been stopped.
        """
        if self._log is None:
            raise LogError("the embedded log is not open", remedy="start the app before it sends")
        return self._log

    @property
    def _is_ending(self) -> bool:
        return self.app.should_stop if self._log is None else self._log.failure is not None

    def send_soon(self, fut: FutureMessage) -> None:
        """Append now if the log is open, as soon as it is otherwise."""
        if self._log is None:
            self.buffer.put(fut)
            return
        if self._log.failure is not None:
            return
        pending = fut.message
        channel = cast(Any, pending.channel)
        topic = channel._topic_name_or_default(pending.channel)
        state = self.app.sensors.on_send_initiated(
            self, topic, message=pending, keysize=len(cast(bytes, pending.key) or b""),
            valsize=len(cast(bytes, pending.value) or b""),
        )  # fmt: skip
        done = self._append(
            topic, cast(Any, pending.key), cast(Any, pending.value), pending.partition, pending.timestamp,
            cast(Any, pending.headers),
        )  # fmt: skip
        done.add_done_callback(lambda done: channel._on_published(done, message=fut, producer=self, state=state))

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
        """Append a record; what is returned gives its place once it is durable."""
        if self._log is not None:
            await self._log.room()
        if self._is_ending:
            # Senders are about to be cancelled. Raising in each of them would turn a clean stop into a crash, and
            # bury the one error of a log that failed.
            await asyncio.sleep(_STOPPING_S)
        return self._append(topic, key, value, partition, timestamp, headers)

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Append a record and wait until it is durable."""
        done = await self.send(topic, key, value, partition, timestamp, headers)
        await self.log_or_raise.drained()
        return await done

    def _append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> asyncio.Future[RecordMetadata]:
        log = self.log_or_raise
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers or ())
        self._announce(key=key, value=value, partition=partition, timestamp=timestamp, headers=list(pairs))
        if log.partitions(topic) is None:
            self.transport.declare_used(log, [topic])
        number = self.key_partition(topic, cast(bytes, key)).partition if partition is None else partition
        timestamp_ms = round(timestamp * 1000) if timestamp else None
        return log.append(TP(topic, number), key, value, timestamp_ms=timestamp_ms, headers=pairs)

    async def append_all(self, records: Sequence[Outgoing]) -> list[asyncio.Future[RecordMetadata]]:
        """Append records, in order and without waiting, so in one turn of the loop with whatever follows."""
        log = self.log_or_raise
        return [
            log.append(TP(record.topic, record.partition), record.key, record.value, timestamp_ms=record.timestamp_ms)
            for record in records
        ]

    async def flush(self) -> None:
        """Wait until everything appended is durable, or the log has failed."""
        await self.buffer.flush()
        if self._log is not None and self._log.failure is None:
            try:
                await self._log.drained()
            except LogError as error:
                self.log.warning("Not everything is durable: %s", error.problem)

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Any = 1000.0,  # noqa: ASYNC109
        retention: Any = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Declare a topic; ``retention`` is seconds; replication and further config have no meaning here."""
        log = self.log_or_raise
        have = log.declare(
            topic, partitions, retention_s=want_seconds(retention) if retention else None, compacting=bool(compacting)
        )
        if have != partitions:
            self.log.warning("Topic %s keeps its %d partitions; %d were asked for", topic, have, partitions)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The partition of a key, as Kafka's default partitioner chooses it; without a key each in turn."""
        log = self.log_or_raise
        count = log.partitions(topic)
        if count is None:
            self.transport.declare_used(log, [topic])
            count = log.partitions(topic)
        assert count is not None
        if self.partitioner is not None:
            everything = list(range(count))
            return TP(topic, self.partitioner(key, everything, everything))
        if key is None:
            self._turn[topic] = turn = self._turn.get(topic, -1) + 1
            return TP(topic, turn % count)
        return TP(topic, (self._hash(key) & 0x7FFFFFFF) % count)

    def supports_headers(self) -> bool:
        """Headers are stored."""
        return True
