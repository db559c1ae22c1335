"""Faust's consumer over aiokafka, in the loop of the app.

Faust's own runs aiokafka in a thread and sends it every call through a queue: two threads that take the interpreter
from each other for every batch. Here the loop is never blocked (detectors and decoders work elsewhere), so heartbeats
need no thread of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

import aiokafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import ensure_TPset
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from faust.types import ConsumerMessage
from faust.types.tuples import TP

from spoton.engine.batches import BatchConsumer
from spoton.errors import InputError
from spoton.kafka.partition import partition_of
from spoton.kafka.sizes import CONSUMER, PACE_S

_TURN_S = 0.1
_LAST_COMMIT_S = 5.0
"""Far below the time that a rebalance gives us."""


class Consumer(BatchConsumer):
    """One member of the app's consumer group."""

    transport: Any
    consumer_stopped_errors = (ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.in_transaction:
            raise InputError("processing_guarantee is exactly_once", remedy="leave it at at_least_once")
        self._consumer: aiokafka.AIOKafkaConsumer | None = None
        self._listener = _Listener(self)
        self.pace_s = getattr(self.app, "pace_s", PACE_S)

    async def on_start(self) -> None:
        """Connect."""
        self._consumer = aiokafka.AIOKafkaConsumer(**self._options())
        await self._consumer.start()

    async def on_stop(self) -> None:
        """Commit what is done and leave the group."""
        await super().on_stop()
        self.transport._topic_waiters.clear()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    def _options(self) -> dict[str, Any]:
        conf = self.app.conf
        options = {
            "client_id": conf.broker_client_id,
            "bootstrap_servers": server_list(self.transport.url, self.transport.default_port),
            "request_timeout_ms": int(conf.broker_request_timeout * 1000),
            "max_poll_records": conf.broker_max_poll_records,
            "max_poll_interval_ms": int((conf.broker_max_poll_interval or 0) * 1000),
            "auto_offset_reset": conf.consumer_auto_offset_reset,
            "check_crcs": conf.broker_check_crcs,
            **CONSUMER,
            **credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        }
        if self.app.client_only:
            return options | {"enable_auto_commit": True}
        if conf.broker_session_timeout > conf.broker_request_timeout:
            raise InputError(
                f"broker_session_timeout = {conf.broker_session_timeout} is longer than broker_request_timeout = "
                f"{conf.broker_request_timeout}",
                remedy="make it shorter",
            )
        # Tables know their partitions only from Faust's assignor.
        needs_faust = conf.table_standby_replicas > 0 or self.app.tables.changelog_topics
        return options | {
            "group_id": conf.id,
            "group_instance_id": conf.consumer_group_instance_id,
            "partition_assignment_strategy": [self.app.assignor if needs_faust else RoundRobinPartitionAssignor],
            "enable_auto_commit": False,
            "session_timeout_ms": int(conf.broker_session_timeout * 1000),
            "rebalance_timeout_ms": int(conf.broker_rebalance_timeout * 1000),
            "heartbeat_interval_ms": int(conf.broker_heartbeat_interval * 1000),
            "metadata_max_age_ms": conf.consumer_metadata_max_age_ms,
            "connections_max_idle_ms": conf.consumer_connections_max_idle_ms,
        }

    @property
    def kafka(self) -> aiokafka.AIOKafkaConsumer:
        """The connected consumer; raises ConsumerStoppedError before the start and after the stop."""
        if self._consumer is None:
            raise ConsumerStoppedError
        return self._consumer

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done while the partitions are still ours, so that less of it is done again."""
        try:
            await asyncio.wait_for(self.commit(), _LAST_COMMIT_S)
        except TimeoutError:
            self.log.info("What was done last is not committed and comes again: the broker did not answer in time")
        await super().on_partitions_revoked(revoked)

    # -- reading

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read these topics from now on."""
        self.kafka.subscribe(topics=set(topics), listener=self._listener)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> Mapping[TP, list[Any]]:
        found: Mapping[Any, list[Any]] = {}
        until_s = asyncio.get_running_loop().time() + timeout
        # In short turns, so that a seek need not wait for long.
        while not found and self.flow_active and asyncio.get_running_loop().time() < until_s:
            async with self._fetching:
                self._seeks_at_fetch = self._seeks
                found = await self._fetch(active_partitions, min(timeout, _TURN_S))
        return {TP(tp.topic, tp.partition): records for tp, records in found.items()}

    async def _fetch(self, partitions: set[TP] | None, wait_s: float) -> Mapping[Any, list[Any]]:
        consumer = self.kafka
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            return cast(
                Mapping[Any, list[Any]],
                await fetcher.fetched_records(partitions, timeout=wait_s, max_records=consumer._max_poll_records),
            )

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic, tp.partition, record.offset, record.timestamp / 1000.0, record.timestamp_type, record.headers,
            record.key, record.value, record.checksum, record.serialized_key_size, record.serialized_value_size, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- places

    def assignment(self) -> set[TP]:
        """The partitions that this consumer reads."""
        return set() if self._consumer is None else ensure_TPset(self._consumer.assignment())

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offset of every partition."""
        return cast(Mapping[TP, int], await self.kafka.seek_to_committed())

    async def _seek(self, partition: TP, offset: int) -> None:
        self.kafka.seek(partition, offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go to an offset in each of these partitions."""
        for tp, offset in partitions.items():
            self.kafka.seek(tp, offset)
            self._read_offset[tp] = offset or None
        await asyncio.wait_for(
            asyncio.gather(*(self.kafka.position(tp) for tp in partitions)), self.app.conf.broker_request_timeout
        )

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Go to the oldest record of these partitions."""
        await self.kafka.seek_to_beginning(*partitions)

    async def position(self, tp: TP) -> int | None:
        """The offset that is read next."""
        return cast(int, await self.kafka.position(tp))

    def highwater(self, tp: TP) -> int:
        """The offset after the newest record, as the last fetch told it."""
        return cast(int, self.kafka.highwater(tp))

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset after the newest record, for each partition."""
        return cast(Mapping[TP, int], await self.kafka.end_offsets(partitions))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The oldest offset kept, for each partition."""
        return cast(Mapping[TP, int], await self.kafka.beginning_offsets(partitions))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        ours = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned}
        if not ours:
            return False
        try:
            await self.kafka.commit(ours)
        except (CommitFailedError, IllegalStateError) as error:
            # A rebalance came first: whoever owns the partitions now does the same again, and commits it.
            self.log.info("Not committed, the partitions have another owner: %s", error)
            return False
        except KafkaError as error:
            # Offsets only grow, so the next commit, a second later, makes good for this one.
            self.log.warning("Not committed: %r", error)
            return False
        return True

    # -- topics

    async def create_topic(self, topic: str, partitions: int, replication: int, **settings: Any) -> None:
        """Make a topic that does not exist."""
        await self.app.producer.create_topic(topic, partitions, replication, **settings)

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions a topic has."""
        if self._consumer is None:
            return None
        return cast("int | None", self._consumer._coordinator._metadata_snapshot.get(topic))

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """The partition of a key."""
        known = self.kafka._client.cluster.partitions_for_topic(topic)
        if known is None or partition is not None:
            return None if known is None else partition
        return partition_of(cast(bytes, key), len(known))

    def close(self) -> None:
        """Called where a rebalance meets an app that stops: nothing more is fetched."""
        if self._consumer is not None:
            self._consumer._closed = True


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        # At once, not when the coroutine is awaited: from here on what is fetched counts for nothing.
        self._consumer.app.on_rebalance_start()
        return self._consumer.on_partitions_revoked(ensure_TPset(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        generation = self._consumer.kafka._coordinator.generation
        self._consumer.app.consumer_generation_id = generation
        await self._consumer.on_partitions_assigned(ensure_TPset(assigned), generation)
