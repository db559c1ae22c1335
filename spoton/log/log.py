"""The log as the event loop sees it: appends, reads, committed offsets, and who waits for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from faust.types.tuples import TP, RecordMetadata

from spoton.errors import InputError, LogError
from spoton.log.catalogue import Catalogue, Lane
from spoton.log.lock import ProcessLock
from spoton.log.reader import LogReader
from spoton.log.record import Page, Record
from spoton.log.ring import Rings
from spoton.log.schema import to_row
from spoton.log.settings import LogSettings
from spoton.log.store import Batch, Store
from spoton.log.writer import Writer

_TAIL_BYTES = 32 * 1024 * 1024
_BACKLOG_BYTES = 64 * 1024 * 1024
_PAGE_BYTES = 4 * 1024 * 1024


@dataclass
class _Appended:
    """A batch on its way to the disk, with whom to tell."""

    batch: Batch = field(default_factory=Batch)
    records: list[tuple[Lane, Record, asyncio.Future[RecordMetadata]]] = field(default_factory=list)
    flushed: list[asyncio.Future[None]] = field(default_factory=list)


class Log:
    """An open log. Its methods belong to the event loop that opened it, and none makes that loop wait for the disk.

    Records of durable topics become visible to readers when they are durable, those of memory topics at once.

    Attributes:
        failure: the error that ended the log, if one did.
        on_failure: called once with that error.
        on_arrival: called whenever new records have become visible.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.settings = settings
        self.failure: LogError | None = None
        self.on_failure: Callable[[LogError], None] | None = None
        self.on_arrival: Callable[[], None] | None = None
        self._lock = ProcessLock(settings.folder / "log.lock", subject=settings.file)
        self._memory = Rings(settings.memory_bytes)
        self._tails = Rings(_TAIL_BYTES)
        self._catalogue = Catalogue(settings, self._memory)
        self._committed: dict[tuple[str, str, int], int] = {}
        self._watched: frozenset[TP] = frozenset()
        self._pending: _Appended | None = None
        self._underway: dict[int, _Appended] = {}
        self._backlog_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def open(self) -> None:
        """Take the lock, open the file and start the writer.

        Raises:
            LogLocked: another process owns the log.
            LogCorrupt, LogFull, LogError: the file cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spoton-log-reader")
        try:
            store = await self._loop.run_in_executor(self._disk, self._open_files)
        except BaseException:
            self._disk.shutdown(wait=False)
            self._lock.release()
            raise
        self._writer = Writer(store, written=self._tell_written, failed=self._tell_failed)
        self._writer.start()

    def _open_files(self) -> Store:
        self.settings.make_folder()
        self._lock.acquire()
        store = Store(self.settings.file, sync=self.settings.sync)
        try:
            self._catalogue.load(store.topics(), lambda topic, partition: store.bounds(topic, partition)[1])
            self._committed = store.committed()
            self._reader = LogReader(self.settings.folder)
        except BaseException:
            store.close()
            raise
        return store

    async def close(self) -> None:
        """Make everything queued durable, close the file and give the lock back."""
        self._hand_over()
        await self._loop.run_in_executor(self._disk, self._close_files)
        self._disk.shutdown(wait=False)

    def _close_files(self) -> None:
        self._reader.close()
        self._writer.stop()
        self._lock.release()

    def partitions(self, topic: str) -> int | None:
        """How many partitions a topic has, ``None`` if there is no such topic."""
        return self._catalogue.partitions(topic)

    def declare(self, name: str, partitions: int, *, retention_s: float | None = None, compacting: bool = False) -> int:
        """Make a topic, or change how long it keeps records; returns the number of partitions that it has.

        The number of partitions and the kind of a topic that holds records stay as they are.

        Raises:
            InputError: the number of partitions is out of range.
        """
        changed = self._catalogue.declare(name, partitions, retention_s, compacting)
        if changed is not None:
            self._batch().batch.topics.append(changed)
        return self._catalogue.partitions(name) or partitions

    def append(
        self,
        tp: TP,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> asyncio.Future[RecordMetadata]:
        """Add a record; the future gets its place when it is durable (in a memory topic: at once).

        Everything appended in one turn of the event loop becomes durable in one transaction. If the log fails, the
        future stays open and ``on_failure`` and ``drained`` tell: one failure is one error, not one per record.

        Raises:
            InputError: no such partition, or a record without a key in a topic that keeps one per key.
            LogError: the log has failed before.
        """
        if self.failure is not None:
            raise self.failure
        lane = self._catalogue.lanes.get(tp)
        if lane is None:
            raise InputError(f"topic {tp.topic!r} has no partition {tp.partition}", remedy="declare the topic first")
        now_ms = time.time_ns() // 1_000_000
        record = Record(lane.next, now_ms if timestamp_ms is None else timestamp_ms, key, value, headers)
        done: asyncio.Future[RecordMetadata] = self._loop.create_future()
        if lane.topic is None:
            lane.next += 1
            self._show(lane, record, done)
            self._arrived()
        else:
            self._queue(lane, record, done, now_ms)
        return done

    def _queue(self, lane: Lane, record: Record, done: asyncio.Future[RecordMetadata], now_ms: int) -> None:
        assert lane.topic is not None
        number = lane.topic.lane(lane.tp.partition)
        row = to_row(number, record, now_ms)
        if lane.topic.compacting and record.key is None:
            raise InputError(f"topic {lane.tp.topic!r} keeps one record per key", remedy="send a key")
        pending = self._batch()
        if lane.topic.compacting:
            pending.batch.latest.append((number, row))
        else:
            pending.batch.events.append(row)
        lane.next += 1
        pending.batch.size_bytes += record.size_bytes
        pending.records.append((lane, record, done))
        self._backlog_bytes += record.size_bytes
        if self._backlog_bytes > _BACKLOG_BYTES:
            self._room.clear()

    async def room(self) -> None:
        """Wait while more than 64 MiB wait for the disk; returns at once when the log has failed."""
        await self._room.wait()

    async def drained(self) -> None:
        """Wait until everything appended so far is durable.

        Raises:
            LogError: it could not be written.
        """
        if self.failure is not None:
            raise self.failure
        if self._pending is not None or self._underway:
            flushed: asyncio.Future[None] = self._loop.create_future()
            self._batch().flushed.append(flushed)
            await flushed

    def _batch(self) -> _Appended:
        if self._pending is None:
            self._pending = _Appended()
            self._loop.call_soon(self._hand_over)
        return self._pending

    def _hand_over(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._underway[id(pending.batch)] = pending
        if self.failure is None:
            self._writer.put(pending.batch)
        else:
            self._give_up(self.failure)

    def _tell_written(self, group: list[Batch]) -> None:
        self._loop.call_soon_threadsafe(self._on_written, group)

    def _tell_failed(self, error: LogError) -> None:
        self._loop.call_soon_threadsafe(self._on_failed, error)

    def _on_written(self, group: list[Batch]) -> None:
        for batch in group:
            appended = self._underway.pop(id(batch))
            self._backlog_bytes -= batch.size_bytes
            for lane, record, done in appended.records:
                self._show(lane, record, done)
            for flushed in appended.flushed:
                if not flushed.done():
                    flushed.set_result(None)
        if self._backlog_bytes <= _BACKLOG_BYTES:
            self._room.set()
        self._arrived()

    def _on_failed(self, error: LogError) -> None:
        self.failure = error
        self._room.set()
        self._give_up(error)
        if self.on_failure is not None:
            self.on_failure(error)

    def _give_up(self, error: LogError) -> None:
        for flushed in (flushed for appended in self._underway.values() for flushed in appended.flushed):
            if not flushed.done():
                flushed.set_exception(error)
        self._underway.clear()

    def _show(self, lane: Lane, record: Record, done: asyncio.Future[RecordMetadata]) -> None:
        tp = lane.tp
        if lane.topic is None:
            assert lane.ring is not None
            self._memory.append(lane.ring, record)
        elif tp in self._watched:
            if lane.ring is None:
                lane.ring = self._tails.ring(tp.topic, tp.partition, first=record.offset)
            self._tails.append(lane.ring, record)
        lane.end = record.offset + 1
        if not done.done():
            done.set_result(RecordMetadata(tp.topic, tp.partition, tp, record.offset, record.timestamp_ms / 1000, 0))

    def _arrived(self) -> None:
        if self.on_arrival is not None:
            self.on_arrival()

    def watch(self, partitions: Iterable[TP]) -> None:
        """Keep new records of these partitions in memory for the reader that follows them."""
        self._watched = frozenset(partitions)
        for tp, lane in self._catalogue.lanes.items():
            if lane.topic is not None and tp not in self._watched:
                self._tails.remove(tp.topic, tp.partition)
                lane.ring = None

    def end(self, tp: TP) -> int:
        """The offset after the newest visible record; 0 for an unknown partition."""
        lane = self._catalogue.lanes.get(tp)
        return lane.end if lane else 0

    def next_offset(self, tp: TP) -> int:
        """The offset that the next append gets; 0 for an unknown partition."""
        lane = self._catalogue.lanes.get(tp)
        return lane.next if lane else 0

    async def first(self, tp: TP) -> int:
        """The oldest offset that is still kept; 0 for an unknown partition."""
        lane = self._catalogue.lanes.get(tp)
        if lane is None:
            return 0
        if lane.topic is None:
            assert lane.ring is not None
            return lane.ring.first
        oldest, _ = await self._loop.run_in_executor(self._disk, self._reader.bounds, lane.topic, tp.partition)
        return min(lane.end, oldest)

    def read_now(self, tp: TP, first: int, limit: int) -> Page | None:
        """What ``read`` would give, where memory has it; ``None`` where only the disk has."""
        lane = self._catalogue.lanes[tp]
        if first >= lane.end:
            return Page([], first)
        ring = lane.ring
        if lane.topic is not None:
            if ring is None or not ring.first <= first < ring.end:
                return None
            self._tails.forget(tp.topic, tp.partition, before=first)
        assert ring is not None
        records = ring.read(first, limit, _PAGE_BYTES)
        return Page(records, records[-1].offset + 1 if records else first)

    async def read(self, tp: TP, first: int, limit: int) -> Page:
        """Up to ``limit`` records from offset ``first`` on, or from the oldest kept, and the offset to read on from.

        Raises:
            LogCorrupt: the file is damaged there.
        """
        page = self.read_now(tp, first, limit)
        if page is not None:
            return page
        lane = self._catalogue.lanes[tp]
        end, topic = lane.end, lane.topic
        assert topic is not None
        page = await self._loop.run_in_executor(
            self._disk, self._reader.page, topic, tp.partition, first, limit, _PAGE_BYTES
        )
        # The file may already hold records whose batch the loop has not yet been told about.
        seen = [record for record in page.records if record.offset < end]
        return Page(seen, seen[-1].offset + 1 if seen else end)

    def committed(self, reader: str, tp: TP) -> int | None:
        """The next offset that ``reader`` has committed, ``None`` if it has not (memory topics: in this process)."""
        return self._committed.get((reader, tp.topic, tp.partition))

    async def commit(self, reader: str, offsets: Mapping[TP, int]) -> None:
        """Remember where a reader stands; returns when that is durable, with everything appended before it.

        Raises:
            LogError: it could not be written.
        """
        if self.failure is not None:
            raise self.failure
        for tp, offset in offsets.items():
            lane = self._catalogue.lanes[tp]
            self._committed[reader, tp.topic, tp.partition] = offset
            if lane.topic is None:
                self._memory.forget(tp.topic, tp.partition, before=offset)
            else:
                self._batch().batch.committed.append((reader, lane.topic.lane(tp.partition), offset))
        await self.drained()

    @property
    def dropped(self) -> dict[tuple[str, int], int]:
        """Records that each partition of a memory topic has lost to the memory budget before they were read."""
        return self._memory.dropped
