"""The writing side of the log file: every change of it happens here, on one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoton.log.faults import damaged, named_faults
from spoton.log.record import Topic
from spoton.log.schema import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    Row,
    bounds,
    check_identity,
    committed,
    first_id,
    offset_of,
    topics,
)
from spoton.log.settings import Sync

_CHECKED_UP_TO_BYTES = 64 * 1024 * 1024
_ROWS_PER_STATEMENT = (256, 64, 16, 4, 1)
_TIDY_ROWS = 500
_TOMBSTONE_MS = 3_600_000


@dataclass
class Batch:
    """Changes that become durable together, in this order: topics, records, committed offsets.

    Attributes:
        topics: new or changed topics.
        events: rows of topics that keep every record.
        latest: (lane, row) of topics that keep the last record of each key.
        committed: (reader, lane, next offset).
        size_bytes: bytes of the rows.
    """

    topics: list[Topic] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    latest: list[tuple[int, Row]] = field(default_factory=list)
    committed: list[tuple[str, int, int]] = field(default_factory=list)
    size_bytes: int = 0


class Store:
    """The open log file. Not thread-safe: one thread makes it, uses it and closes it.

    Raises:
        LogCorrupt: the file is damaged (files up to 64 MiB are checked as a whole), or is not a log.
        LogFull: there is no space to write.
    """

    def __init__(self, file: Path, *, sync: Sync) -> None:
        self.file = file
        with named_faults(file):
            self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=5.0)
            try:
                self._prepare(sync)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, sync: Sync) -> None:
        connection = self._connection
        fresh = connection.execute("PRAGMA schema_version").fetchone()[0] == 0
        if fresh:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            check_identity(connection, self.file)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {sync}")
        connection.execute("PRAGMA cache_size = -8000")
        if fresh:
            with self.transaction():
                for statement in filter(str.strip, SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif self.file.stat().st_size <= _CHECKED_UP_TO_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise damaged(self.file, " ".join(verdict.split()))

    def topics(self) -> list[Topic]:
        """All topics, by number."""
        with named_faults(self.file):
            return topics(self._connection)

    def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """First kept offset and next offset of one partition."""
        with named_faults(self.file):
            return bounds(self._connection, topic, partition)

    def committed(self) -> dict[tuple[str, str, int], int]:
        """Every committed offset: (reader, topic, partition) to the next offset to read."""
        with named_faults(self.file):
            return committed(self._connection, topics(self._connection))

    def transaction(self) -> _Transaction:
        """All or nothing for the statements of a ``with`` block."""
        return _Transaction(self._connection)

    def write(self, batches: Iterable[Batch]) -> None:
        """Make batches durable in one transaction.

        Raises:
            LogFull, LogCorrupt, LogError: nothing of these batches was written.
        """
        group = list(batches)
        with named_faults(self.file), self.transaction():
            for topic in (topic for batch in group for topic in batch.topics):
                self._connection.execute("INSERT OR REPLACE INTO topics VALUES (?, ?, ?, ?, ?)", topic)
            self._insert("INSERT INTO events VALUES", [row for batch in group for row in batch.events], 7)
            # Of several records of one key in a group only the last would outlive it, so only that is written.
            newest = {(lane, row.key): (row.id, lane, *row[1:]) for batch in group for lane, row in batch.latest}
            self._insert("INSERT OR REPLACE INTO latest VALUES", sorted(newest.values(), key=_by_id), 8)
            offsets = {(reader, lane): offset for batch in group for reader, lane, offset in batch.committed}
            rows = [(*key, offset) for key, offset in offsets.items()]
            self._insert("INSERT OR REPLACE INTO committed VALUES", rows, 3)

    def _insert(self, verb: str, rows: Sequence[Sequence[Any]], width: int) -> None:
        # Many rows per statement: each statement gives up the interpreter's lock once, and getting it back from
        # a busy event loop can take milliseconds.
        place = "(" + ",".join("?" * width) + ")"
        done = 0
        for size in _ROWS_PER_STATEMENT:
            while len(rows) - done >= size:
                values = [value for row in rows[done : done + size] for value in row]
                self._connection.execute(f"{verb} {','.join([place] * size)}", values)
                done += size

    def tidy(self, now_ms: int) -> Iterator[None]:
        """Remove what has expired, a few hundred rows per step; each step is one short transaction."""
        for topic in self.topics():
            for partition in range(topic.partitions):
                while self._tidy_lane(topic, partition, now_ms):
                    yield
            yield

    def _tidy_lane(self, topic: Topic, partition: int, now_ms: int) -> bool:
        if topic.compacting:
            return self._drop_tombstones(topic, partition, now_ms - _TOMBSTONE_MS)
        if topic.retention_ms is None:
            return False
        return self._drop_expired(topic, partition, now_ms - topic.retention_ms)

    def _drop_expired(self, topic: Topic, partition: int, before_ms: int) -> bool:
        lane = topic.lane(partition)
        with named_faults(self.file):
            rows = self._connection.execute(
                "SELECT id, stored_ms FROM events WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (first_id(lane), first_id(lane + 1), _TIDY_ROWS),
            ).fetchall()
            expired = 0
            while expired < len(rows) and rows[expired][1] < before_ms:
                expired += 1
            if expired:
                with self.transaction():
                    last = rows[expired - 1][0]
                    self._connection.execute("DELETE FROM events WHERE id >= ? AND id <= ?", (first_id(lane), last))
                    self._connection.execute("INSERT OR REPLACE INTO starts VALUES (?, ?)", (lane, offset_of(last) + 1))
        return expired == _TIDY_ROWS

    def _drop_tombstones(self, topic: Topic, partition: int, before_ms: int) -> bool:
        # The newest record of a lane stays whatever it is: the lane's next offset is read from it.
        lane = topic.lane(partition)
        with named_faults(self.file):
            newest = first_id(lane, max(0, self.bounds(topic, partition)[1] - 1))
            with self.transaction():
                gone = self._connection.execute(
                    "DELETE FROM latest WHERE id IN (SELECT id FROM latest WHERE value IS NULL "
                    "AND id >= ? AND id < ? AND stored_ms < ? LIMIT ?)",
                    (first_id(lane), newest, before_ms, _TIDY_ROWS),
                ).rowcount
        return gone == _TIDY_ROWS

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._connection.close()


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
                return
            except sqlite3.Error:
                self._roll_back()
                raise
        self._roll_back()

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself; a second rollback would hide the first error.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _by_id(row: Sequence[Any]) -> int:
    return int(row[0])
