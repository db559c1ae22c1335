"""The tables of the log file and how records become rows."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from spoton.errors import LogCorrupt, LogError
from spoton.log.faults import damaged
from spoton.log.record import PARTITIONS_MAX, Page, Record, Topic

APPLICATION_ID = 0x53504F54
FORMAT = 1
OFFSET_BITS = 40

SCHEMA = """
CREATE TABLE topics (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
  retention_ms INTEGER, compacting INTEGER NOT NULL
);
CREATE TABLE starts (lane INTEGER PRIMARY KEY, first INTEGER NOT NULL);
CREATE TABLE committed (
  reader TEXT NOT NULL, lane INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (reader, lane)
) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, stored_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  key BLOB, value BLOB, headers BLOB, crc INTEGER NOT NULL
);
CREATE TABLE latest (
  id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, stored_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  key BLOB NOT NULL, value BLOB, headers BLOB, crc INTEGER NOT NULL, UNIQUE (lane, key)
);
CREATE INDEX tombstones ON latest (id) WHERE value IS NULL;
"""


class Row(NamedTuple):
    """A record as ``events`` stores it; ``id`` is the lane and the offset in one number."""

    id: int
    stored_ms: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: bytes | None
    crc: int


def first_id(lane: int, offset: int = 0) -> int:
    """The row id of ``offset`` in ``lane``."""
    return lane << OFFSET_BITS | offset


def offset_of(row_id: int) -> int:
    """The offset inside a row id."""
    return row_id & ((1 << OFFSET_BITS) - 1)


def checksum(key: bytes | None, value: bytes | None, headers: bytes | None) -> int:
    """CRC-32 of what a record carries."""
    return zlib.crc32(headers or b"", zlib.crc32(value or b"", zlib.crc32(key or b"")))


def to_row(lane: int, record: Record, stored_ms: int) -> Row:
    """The row that stores ``record``."""
    headers = msgspec.msgpack.encode(record.headers) if record.headers else None
    return Row(
        first_id(lane, record.offset), stored_ms, record.timestamp_ms, record.key, record.value, headers,
        checksum(record.key, record.value, headers),
    )  # fmt: skip


def to_record(row: Sequence[Any], file: Path) -> Record:
    """The record in a row of ``id, at_ms, key, value, headers, crc``.

    Raises:
        LogCorrupt: its bytes are not those that were written.
    """
    row_id, at_ms, key, value, packed, crc = row
    if checksum(key, value, packed) != crc:
        raise damaged(file, f"record {offset_of(row_id)} fails its checksum")
    headers = tuple((str(name), bytes(text)) for name, text in msgspec.msgpack.decode(packed)) if packed else ()
    return Record(offset_of(row_id), at_ms, key, value, headers)


def check_identity(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file that is no log of ours.

    Raises:
        LogCorrupt: the file is another application's, or empty where a log should be.
        LogError: a later version of SpotOn wrote it.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LogCorrupt(f"{file} is not a SpotOn log", remedy="name another folder in the log:// URL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        raise LogError(
            f"{file} has log format {version}, this version of SpotOn reads format {FORMAT}",
            remedy="start it with the version of SpotOn that wrote it",
        )


def topics(connection: sqlite3.Connection) -> list[Topic]:
    """All topics of the file, by number."""
    rows = connection.execute("SELECT number, name, partitions, retention_ms, compacting FROM topics ORDER BY number")
    return [Topic(number, name, count, keep, bool(compact)) for number, name, count, keep, compact in rows]


def bounds(connection: sqlite3.Connection, topic: Topic, partition: int) -> tuple[int, int]:
    """First kept offset and next offset of one partition."""
    lane = topic.lane(partition)
    table = table_of(topic)
    low, high = first_id(lane), first_id(lane + 1)
    newest = connection.execute(f"SELECT max(id) FROM {table} WHERE id >= ? AND id < ?", (low, high)).fetchone()[0]
    oldest = connection.execute(f"SELECT min(id) FROM {table} WHERE id >= ? AND id < ?", (low, high)).fetchone()[0]
    start = connection.execute("SELECT first FROM starts WHERE lane = ?", (lane,)).fetchone()
    floor = start[0] if start else 0
    if newest is None:
        return floor, floor
    return offset_of(oldest), offset_of(newest) + 1


def read_page(
    connection: sqlite3.Connection, file: Path, topic: Topic, partition: int, first: int, limit: int, limit_bytes: int
) -> Page:
    """Up to ``limit`` records from offset ``first`` on, and up to ``limit_bytes`` bytes, but at least one."""
    lane = topic.lane(partition)
    rows = connection.execute(
        f"SELECT id, at_ms, key, value, headers, crc FROM {table_of(topic)} "
        "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (first_id(lane, first), first_id(lane + 1), limit),
    )
    records: list[Record] = []
    size = 0
    for row in rows:
        records.append(to_record(row, file))
        size += records[-1].size_bytes
        if size > limit_bytes:
            break
    return Page(records, records[-1].offset + 1 if records else first)


def committed(connection: sqlite3.Connection, names: Iterable[Topic]) -> dict[tuple[str, str, int], int]:
    """Every committed offset: (reader, topic, partition) to the next offset to read."""
    by_number = {topic.number: topic.name for topic in names}
    return {
        (reader, by_number[lane // PARTITIONS_MAX], lane % PARTITIONS_MAX): offset
        for reader, lane, offset in connection.execute("SELECT reader, lane, next FROM committed")
    }


def table_of(topic: Topic) -> str:
    """The table that holds a topic's records."""
    return "latest" if topic.compacting else "events"
