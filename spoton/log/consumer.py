"""Faust's consumer over the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.types import ConsumerMessage
from faust.types.tuples import TP

from spoton.engine.batches import BatchConsumer
from spoton.errors import InputError, LogError
from spoton.log.log import Log
from spoton.log.record import Page, Record

_POLL_RECORDS = 500
_REBALANCED_AFTER_S = 0.01


class Consumer(BatchConsumer):
    """Reads every partition of the subscribed topics; the only member of its group."""

    transport: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.in_transaction:
            raise InputError(
                "processing_guarantee is exactly_once", remedy="the embedded log offers at_least_once only"
            )
        self._log: Log | None = None
        self._subscription: frozenset[str] = frozenset()
        self._assigned: frozenset[TP] = frozenset()
        self._positions: dict[TP, int] = {}
        self._generation = 0
        self._rebalancing = asyncio.Lock()
        self._waiting: asyncio.Future[None] | None = None
        self._limit = self.app.conf.broker_max_poll_records or _POLL_RECORDS
        self._reader_name = self.app.conf.id

    async def on_start(self) -> None:
        """Open the log, or find it open."""
        self._log = await self.transport.open_log()
        self._log.on_arrival = self._wake

    # -- assignment

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read these topics from now on; topics that do not exist are made."""
        subscription = frozenset(topics)
        if subscription == self._subscription:
            return
        self._subscription = subscription
        # Faust waits for this method before it takes the assignment, so the assignment comes after it.
        self.add_future(self._rebalance(subscription))

    async def _rebalance(self, subscription: frozenset[str]) -> None:
        async with self._rebalancing:
            log = self._open_log()
            self.transport.declare_used(log, subscription)
            partitions = {topic: list(range(log.partitions(topic) or 0)) for topic in sorted(subscription)}
            assigned = frozenset(TP(topic, number) for topic, numbers in partitions.items() for number in numbers)
            self.app.on_rebalance_start()
            if self._assigned:
                # Faust forgets what was done in partitions that it is told are gone; those that stay must not be.
                await self.on_partitions_revoked(set(self._assigned - assigned))
            self._assigned = assigned
            self._positions.clear()
            self._generation += 1
            self.app.consumer_generation_id = self._generation
            self._assign_tables(partitions)
            log.watch(assigned)
            if self.app.client_only:
                self._positions.update({tp: log.end(tp) for tp in assigned})
            await self.on_partitions_assigned(set(assigned), self._generation)

    def _assign_tables(self, partitions: dict[str, list[int]]) -> None:
        # Tables recover only from partitions that the assignor calls active: all of them, here.
        assignor = cast(Any, self.app.assignor)
        url = str(self.app.conf.canonical_url)
        changelogs = self.app.tables.changelog_topics
        metadata = ClientMetadata(
            assignment=ClientAssignment(actives=partitions, standbys={}),
            url=url,
            changelog_distribution={url: {name: have for name, have in partitions.items() if name in changelogs}},
            external_topic_distribution={
                url: {name: have for name, have in partitions.items() if name not in changelogs}
            },
            topic_groups=dict.fromkeys(partitions, 0),
        )
        assignor.on_assignment(
            ConsumerProtocolMemberAssignment(
                assignor.version, sorted(partitions.items()), assignor._compress(metadata.dumps())
            )
        )

    def assignment(self) -> set[TP]:
        """The partitions that this consumer reads."""
        return set(self._assigned)

    def _open_log(self) -> Log:
        if self._log is None:
            self._log = cast(Log, self.transport.log)
        return self._log

    # -- reading

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TP, list[Record]]:
        records = await self._fetch(active_partitions)
        if not records and self.flow_active:
            await self._wait_for_arrival(timeout)
            records = await self._fetch(active_partitions)
        return records

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109
        # Where every partition is paused or full, Faust sleeps for a second; a partition that drains wakes this.
        if self.flow_active and not self.app.client_only and not self._get_active_partitions():
            await self._wait_for_arrival(timeout)
            return {}, set()
        found = await super()._wait_next_records(timeout)
        # With records and a stopped flow Faust would seek, in the middle of a recovery that does so itself.
        return found if self.flow_active else (None, None)

    async def _fetch(self, active_partitions: set[TP] | None) -> dict[TP, list[Record]]:
        log = self._open_log()
        found: dict[TP, list[Record]] = {}
        wanted = self._assigned if active_partitions is None else active_partitions
        for tp in list(wanted):
            at = self._positions.get(tp)
            if at is None or at >= log.end(tp) or self._is_withheld(tp):
                continue
            page: Page | None = log.read_now(tp, at, self._limit)
            if page is None:
                generation = self._generation
                page = await log.read(tp, at, self._limit)
                if generation != self._generation or self._positions.get(tp) != at:
                    continue
            self._positions[tp] = page.next
            if page.records:
                found[tp] = page.records
        return found if self.flow_active else {}

    def _is_withheld(self, tp: TP) -> bool:
        # Recovery empties the streams' buffers once more after it has sought their partitions; whatever this fast
        # a reader had put there by then would be lost.
        return self.app.rebalancing and not self.app.client_only and not self._is_changelog_tp(tp)

    async def _wait_for_arrival(self, longest_s: float) -> None:
        if self.app.rebalancing:
            longest_s = _REBALANCED_AFTER_S
        waiting = self._waiting = self.loop.create_future()
        alarm = self.loop.call_later(longest_s, self._wake)
        try:
            await waiting
        finally:
            alarm.cancel()
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _to_message(self, tp: TP, record: Record) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic, tp.partition, record.offset, record.timestamp_ms / 1000.0, 0, list(record.headers),
            record.key, record.value, None, tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read from these partitions again."""
        super().resume_partitions(tps)
        self._wake()

    def on_buffer_drop(self, tp: TP) -> None:
        """A stream has room again."""
        super().on_buffer_drop(tp)
        self._wake()

    def stop_flow(self) -> None:
        """Deliver nothing more for now."""
        super().stop_flow()
        self._wake()

    # -- places

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offset of every partition, or to where its group begins."""
        log = self._open_log()
        found: dict[TP, int | None] = {}
        for tp in self._assigned:
            found[tp] = offset = log.committed(self._reader_name, tp)
            if offset is not None:
                self._positions[tp] = offset
            elif tp not in self._positions or not self._is_changelog_tp(tp):
                self._positions[tp] = await self._beginning(tp)
        self._wake()
        return cast(Mapping[TP, int], found)

    async def _beginning(self, tp: TP) -> int:
        log = self._open_log()
        if self.app.conf.consumer_auto_offset_reset == "latest":
            return log.end(tp)
        return await log.first(tp)

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset
        self._wake()

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go to an offset in each of these partitions."""
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def position(self, tp: TP) -> int | None:
        """The offset that is read next."""
        return self._positions.get(tp)

    def highwater(self, tp: TP) -> int:
        """The offset after the newest record."""
        return self._open_log().end(tp)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset after the newest record, for each partition."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The oldest offset kept, for each partition."""
        log = self._open_log()
        return {tp: await log.first(tp) for tp in partitions}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        log = self._open_log()
        try:
            await log.commit(self._reader_name, offsets)
        except LogError as error:
            # The producer crashes the app with this error; a second crash would say the same.
            self.log.warning("Offsets are not committed: %s", error.problem)
            return False
        return True

    # -- topics

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions a topic has."""
        return self._open_log().partitions(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """The partition of a key."""
        if self.topic_partitions(topic) is None:
            return None
        if partition is not None:
            return partition
        return int(self.app.producer.key_partition(topic, cast(bytes, key)).partition)

    async def create_topic(self, topic: str, partitions: int, replication: int, **options: Any) -> None:
        """Declare a topic."""
        await self.app.producer.create_topic(topic, partitions, replication, **options)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)
