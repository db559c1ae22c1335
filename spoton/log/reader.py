"""Read a log file without owning it: for tools, tests, and after a failure."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from spoton.errors import InputError, LogCorrupt, LogError
from spoton.log.faults import named_faults
from spoton.log.record import Page, Record, Topic
from spoton.log.schema import bounds, check_identity, committed, read_page, topics

_PAGE_RECORDS = 500
_PAGE_BYTES = 4 * 1024 * 1024


class LogReader:
    """A log's file, read only; the process that owns the log may be writing to it meanwhile.

    >>> with LogReader(Path("/var/lib/spoton/log")) as reader:  # doctest: +SKIP
    ...     for record in reader.records("detections", 0):
    ...         print(record.offset, record.timestamp_ms, record.key, record.value)

    Raises:
        LogError: there is no log in ``folder``.
        LogCorrupt: its file is no log, or too damaged to open.
    """

    def __init__(self, folder: Path | str) -> None:
        self.file = Path(folder).absolute() / "log.db"
        if not self.file.is_file():
            raise LogError(f"there is no log at {self.file}", remedy="name the folder of the log:// URL")
        with named_faults(self.file):
            self._connection = _connect(self.file)

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def topics(self) -> list[Topic]:
        """The durable topics, oldest first."""
        with named_faults(self.file):
            return topics(self._connection)

    def topic(self, name: str) -> Topic:
        """The topic called ``name``.

        Raises:
            InputError: there is none.
        """
        known = {topic.name: topic for topic in self.topics()}
        if name not in known:
            raise InputError(f"{self.file} has no topic {name!r}", remedy=f"it has {', '.join(known) or 'none yet'}")
        return known[name]

    def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """First kept offset and next offset of one partition."""
        with named_faults(self.file):
            return bounds(self._connection, topic, partition)

    def partitions(self, name: str) -> dict[int, tuple[int, int]]:
        """Every partition of a topic with its first kept offset and its next offset."""
        topic = self.topic(name)
        return {number: self.bounds(topic, number) for number in range(topic.partitions)}

    def committed(self) -> dict[tuple[str, str, int], int]:
        """Every committed offset: (reader, topic, partition) to the next offset to read."""
        with named_faults(self.file):
            return committed(self._connection, topics(self._connection))

    def page(self, topic: Topic, partition: int, first: int, limit: int, limit_bytes: int = _PAGE_BYTES) -> Page:
        """Up to ``limit`` records from ``first`` on, at most about ``limit_bytes``, and where to read on."""
        with named_faults(self.file):
            return read_page(self._connection, self.file, topic, partition, first, limit, limit_bytes)

    def records(
        self, name: str, partition: int, *, first: int = 0, limit: int | None = None, skip_damaged: bool = False
    ) -> Iterator[Record]:
        """Records of one partition from offset ``first`` on, oldest first, in bounded memory.

        Args:
            name: topic.
            partition: from 0.
            first: offset to begin with.
            limit: most records to give.
            skip_damaged: leave out what is damaged instead of raising.

        Raises:
            LogCorrupt: the file is damaged there.
            InputError: there is no such topic.
        """
        topic = self.topic(name)
        offset, left = first, limit
        while left is None or left > 0:
            count = _PAGE_RECORDS if left is None else min(left, _PAGE_RECORDS)
            try:
                page = self.page(topic, partition, offset, count)
            except LogCorrupt:
                if not skip_damaged:
                    raise
                page = self._past_damage(topic, partition, offset)
            if not page.records and page.next == offset:
                return
            yield from page.records
            offset = page.next
            left = None if left is None else left - len(page.records)

    def _past_damage(self, topic: Topic, partition: int, offset: int) -> Page:
        end = self.bounds(topic, partition)[1]
        for candidate in range(offset, end):
            with contextlib.suppress(LogCorrupt):
                return self.page(topic, partition, candidate, 1)
        return Page([], offset)


def read(folder: Path | str, topic: str, partition: int, offset: int = 0, limit: int = 100) -> list[Record]:
    """Up to ``limit`` records of one partition from ``offset`` on, from a log that may belong to another process.

    Raises:
        LogError, LogCorrupt, InputError: as ``LogReader``.
    """
    with LogReader(folder) as reader:
        return list(reader.records(topic, partition, first=offset, limit=limit))


def _connect(file: Path) -> sqlite3.Connection:
    uri = file.as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    try:
        check_identity(connection, file)
    except sqlite3.OperationalError:
        # A file that was closed cleanly, in a folder that cannot be written, needs no shared memory.
        connection.close()
        waiting = file.with_name(file.name + "-wal")
        if waiting.exists() and waiting.stat().st_size:
            raise
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        check_identity(connection, file)
    except BaseException:
        connection.close()
        raise
    return connection
