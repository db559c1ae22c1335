"""A Faust consumer that hands whole batches to the streams.

Faust delivers record by record, with four tasks each, decodes through codecs and asks its sensors at every step. Here
a batch of one partition goes into the queues of its readers at once. Values of topics whose value is raw bytes and
whose key is JSON are passed on as they are; every other topic (changelogs, replies) is decoded by Faust's own
conductor, without the tasks.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from time import monotonic
from typing import Any, cast

from faust.events import Event
from faust.transport import base
from faust.types.tuples import TP

from spoton.engine.eager import Started

FEW = 32
"""Fewer records than this at once are few."""

_RAW = (str, "json", bytes, "raw")
"""Key type and codec, value type and codec of the topics whose values are passed on as they are."""

_decode_key = lru_cache(65_536)(json.loads)
"""Keys are few (sites and cameras) and come again with every record."""


class BatchConsumer(base.Consumer):
    """Reads as Faust's consumer does, hands over in batches.

    Attributes:
        pace_s: how long it lets more gather after it has handed over a few records, before it asks again.
        delivered_at_s: per partition when records were last handed over, ``time.monotonic``.
        acknowledged_at_s: per partition when a reader was last done with some, ``time.monotonic``.
    """

    pace_s = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delivered_at_s: dict[TP, float] = {}
        self.acknowledged_at_s: dict[TP, float] = {}
        self._drops: dict[TP, partial[None]] = {}
        # A seek waits for the fetch in hand, and no fetch begins during a seek.
        self._fetching = asyncio.Lock()
        self._seeks = 0
        self._seeks_at_fetch = 0
        # Only those who wait for all streams to be empty want to know each message. (Faust's settings are slow to ask.)
        self._tracks_each = bool(self.app.conf.stream_wait_empty)

    # -- handing over

    async def _drain_messages(self, fetcher: Any) -> None:
        if self.app.client_only:
            await super()._drain_messages(fetcher)
            return
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                count = await self._drain_once()
                # What is fetched without waiting must not keep everything else from its turn.
                await asyncio.sleep(self.pace_s if 0 < count < FEW else 0)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise
        except Exception as error:
            self.log.exception("Reading failed: %r", error)
            raise

    async def _drain_once(self) -> int:
        """Hand over what there is; returns how many records that were."""
        self._revive_emptied()
        if not self.flow_active:
            # Before the generation is noted: what is fetched when the flow goes on is of the one that it goes on with.
            await self.wait(cast(Any, self.can_resume_flow))
            if not self.flow_active:
                return 0
        # As they are before the fetch: records of another generation, or from before a seek, are not what comes next.
        generation, self._seeks_at_fetch = self.app.consumer_generation_id, self._seeks
        records, active = await self._wait_next_records(1.0)
        seeks = self._seeks_at_fetch
        if records is None or self.should_stop:
            return 0
        for tp, batch in records.items():
            if active is None or tp in active or tp in self._buffered_partitions:
                current = self.flow_active and self._is_current(generation, seeks)
                if not current or not await self._deliver(tp, batch, generation, seeks):
                    await self._put_back(tp, batch, generation)
        return sum(map(len, records.values()))

    def _is_current(self, generation: int, seeks: int) -> bool:
        return self.app.consumer_generation_id == generation and self._seeks == seeks

    async def _put_back(self, tp: TP, records: Sequence[Any], generation: int) -> None:
        """Nobody has seen these: read them again, unless a seek or a new owner has settled where to go on."""
        if not records or self.app.consumer_generation_id != generation or tp not in self.assignment():
            return
        position = await self.position(tp)
        if position is not None and position > records[-1].offset:
            await self._seek(tp, records[0].offset)

    async def perform_seek(self) -> None:
        """Stop the flow and go back to what is committed; the caller lets it flow again.

        Faust lets its partitions flow before it seeks at the end of a recovery. What was handed over in between is
        emptied from the queues when the flow is resumed, and where it ended would count as read.
        """
        self.stop_flow()
        async with self._fetching:
            self._seeks += 1
            await super().perform_seek()

    async def _deliver(self, tp: TP, records: Sequence[Any], generation: int, seeks: int) -> bool:
        """Hand one partition's records to all who read it; False where the flow stopped before anyone got one."""
        if not await self._may_flow() or not self._is_current(generation, seeks):
            return False
        records = await self._unread(tp, records)
        if not records:
            return True
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        channels = self._readers(tp)
        if channels and all(map(_is_raw, channels)):
            self._hand_over(tp, records, channels)
            self._read_offset[tp] = records[-1].offset
        else:
            await self._deliver_each(tp, records)
        self.delivered_at_s[tp] = monotonic()
        return True

    def _readers(self, tp: TP) -> list[Any]:
        return list(cast(Any, self.app.topics)._tp_index.get(tp, ()))

    async def _may_flow(self) -> bool:
        """Wait until the producer has room and the streams may go on; False when they were stopped meanwhile."""
        if not self.app.flow_control.is_active():
            await self.wait_first(self.app.flow_control.acquire(), self.suspend_flow.wait())
        if self.flow_active:
            await self.app.producer.buffer.wait_until_ebb()
        return bool(self.flow_active and self.app.flow_control.is_active())

    def _hand_over(self, tp: TP, records: Sequence[Any], channels: Collection[Any]) -> None:
        app, readers = self.app, len(channels)
        events: list[Event] = []
        to_message, tracked = self._to_message, not self._tracks_each
        for record in records:
            message = to_message(tp, record)
            message.refcount = readers
            message.tracked = tracked
            key = message.key if message.key is None else _decode_key(message.key)
            events.append(Event(app, key, message.value, message.headers or None, message))
        drop = self._drops.setdefault(tp, partial(self.on_buffer_drop, tp))
        for channel in channels:
            queue = channel.queue
            queue._queue.extend(events)
            queue._wakeup_next(queue._getters)
            if queue.in_pressure_high_state(drop):
                self.on_buffer_full(tp)

    async def _deliver_each(self, tp: TP, records: Sequence[Any]) -> None:
        generation = self.app.consumer_generation_id
        for number, record in enumerate(records, 1):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            delivery = Started(cast(Any, self.callback(self._to_message(tp, record))))
            if not delivery.done:
                await self.wait_first(delivery.rest(), self.suspend_flow.wait())
            self._read_offset[tp] = record.offset
            if not number % 100:
                await asyncio.sleep(0)

    async def _unread(self, tp: TP, records: Sequence[Any]) -> Sequence[Any]:
        """What has not been read before; offsets that the topic no longer has count as done."""
        read = self._read_offset[tp]
        if read is not None and records[0].offset < read:
            records = [record for record in records if record.offset >= read]
        if not records:
            return records
        offsets = [record.offset for record in records]
        if not self.app.topics.acks_enabled_for(tp.topic):
            return records
        if read is not None and offsets[0] - read > 1:
            await self._add_gap(tp, read + 1, offsets[0])
        if offsets[-1] - offsets[0] != len(offsets) - 1:
            for before, after in _holes(offsets):
                await self._add_gap(tp, before + 1, after)
        return records

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Faust names the record after the gap as its end and would count that one as done.
        await super()._add_gap(tp, offset_from, offset_to - 1)

    # -- being done

    def acknowledge(self, events: Iterable[Any]) -> None:
        """A reader is done with these events; what all readers are done with may be committed.

        Not while partitions change hands: what came of the events may not have been kept, so they have to come again.
        """
        if self.app.rebalancing:
            return
        done: dict[TP, list[int]] = defaultdict(list)
        generation = self.app.consumer_generation_id
        for event in events:
            message = event.message
            if message.acked:
                continue
            message.refcount -= 1
            if message.refcount > 0:
                continue
            if self._tracks_each:
                message.refcount = 1
                event.ack()
            elif message.generation_id == generation:
                message.acked = True
                done[message.tp].append(message.offset)
        for tp, offsets in done.items():
            self._count_done(tp, offsets)

    def _count_done(self, tp: TP, offsets: list[int]) -> None:
        self.acknowledged_at_s[tp] = monotonic()
        if not self.app.topics.acks_enabled_for(tp.topic):
            return
        committed = self._committed_offset[tp]
        known = self._acked_index[tp]
        # A set: an offset that is counted twice ends Faust's row of consecutive ones, and with it every commit.
        new = {offset for offset in offsets if committed is None or offset >= committed} - known
        known |= new
        self._acked[tp].extend(new)
        self._n_acked += len(new)

    # -- full buffers

    def on_buffer_drop(self, tp: TP) -> None:
        """A stream has room again; a partition that is paused or no longer ours stays as it is."""
        if tp in self._paused_partitions or tp not in self.assignment():
            self._buffered_partitions.discard(tp)
            return
        super().on_buffer_drop(tp)

    def _revive_emptied(self) -> None:
        """Read on from partitions whose readers have room, also when nobody said so.

        A queue says that it has room when it is read from; one that a rebalance has emptied is not, and its
        partition would stand still for ever.
        """
        for tp in list(self._buffered_partitions):
            queues = [channel.queue for channel in self._readers(tp)]
            if all(queue.qsize() <= queue.pressure_drop_size for queue in queues):
                for queue in queues:
                    queue._pending_pressure_drop_callbacks.discard(self._drops.get(tp))
                self.on_buffer_drop(tp)


def _is_raw(channel: Any) -> bool:
    return (channel.key_type, channel.key_serializer, channel.value_type, channel.value_serializer) == _RAW


def _holes(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    return (
        (before, after) for before, after in pairwise(offsets) if after - before > 1
    )
