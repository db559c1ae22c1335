"""The log file: what is written can be read, and only what has expired goes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoton.errors import InputError, LogCorrupt, LogError, LogLocked
from spoton.log.lock import ProcessLock
from spoton.log.preflight import check
from spoton.log.reader import LogReader, read
from spoton.log.record import Record, Topic
from spoton.log.schema import to_row
from spoton.log.settings import LogSettings
from spoton.log.store import Batch, Store
from spoton.log.writer import Writer

EVENTS = Topic(1, "events", 2, 1000, False)
LATEST = Topic(2, "latest", 2, None, True)
HOUR_MS = 3_600_000


def open_store(folder: Path) -> Store:
    return Store(folder / "log.db", sync="normal")


def batch(topic: Topic, partition: int, records: list[Record], *, stored_ms: int = 0) -> Batch:
    lane = topic.lane(partition)
    rows = [to_row(lane, record, stored_ms) for record in records]
    if topic.compacting:
        return Batch(latest=[(lane, row) for row in rows])
    return Batch(events=rows)


def texts(records: list[Record]) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(record.offset, record.key, record.value) for record in records]


def test_records_keep_offset_time_key_value_and_headers(tmp_path):
    record = Record(0, 1_700_000_000_123, b"key", b"value", (("trace", b"\x00\xff"), ("trace", b"again")))
    store = open_store(tmp_path)
    store.write([Batch(topics=[EVENTS]), batch(EVENTS, 1, [record])])
    assert read(tmp_path, "events", 1) == [record]
    store.close()
    assert read(tmp_path, "events", 1) == [record], "and after the file was closed"


def test_a_failed_write_leaves_nothing_of_its_batches(tmp_path):
    store = open_store(tmp_path)
    store.write([Batch(topics=[EVENTS]), batch(EVENTS, 0, [Record(0, 0, b"k", b"first")])])
    twice = [Record(1, 0, b"k", b"new"), Record(0, 0, b"k", b"offset 0 again")]
    with pytest.raises(LogError, match="UNIQUE"):
        store.write([batch(EVENTS, 0, twice), Batch(committed=[("reader", EVENTS.lane(0), 2)])])
    assert texts(read(tmp_path, "events", 0)) == [(0, b"k", b"first")]
    assert store.committed() == {}
    store.close()


def test_expired_records_go_and_offsets_go_on(tmp_path):
    store = open_store(tmp_path)
    store.write([Batch(topics=[EVENTS])])
    store.write([batch(EVENTS, 0, [Record(n, 0, None, b"old") for n in range(1200)], stored_ms=0)])
    store.write([batch(EVENTS, 0, [Record(n, 0, None, b"new") for n in range(1200, 1210)], stored_ms=5000)])
    steps = sum(1 for _ in store.tidy(now_ms=5500))
    assert store.bounds(EVENTS, 0) == (1200, 1210)
    assert steps >= 3, "a step removes a few hundred rows at most"
    for _ in store.tidy(now_ms=50_000):
        pass
    assert store.bounds(EVENTS, 0) == (1210, 1210)
    store.close()
    store = open_store(tmp_path)
    assert store.bounds(EVENTS, 0) == (1210, 1210), "an emptied partition does not begin at 0 again"
    store.close()


def test_retention_counts_from_when_a_record_was_stored_not_from_its_own_time(tmp_path):
    store = open_store(tmp_path)
    replayed = Record(0, 1_200_000_000_000, None, b"recorded in 2008")
    store.write([Batch(topics=[EVENTS]), batch(EVENTS, 0, [replayed], stored_ms=10_000)])
    for _ in store.tidy(now_ms=10_500):
        pass
    assert read(tmp_path, "events", 0) == [replayed]
    store.close()


def test_compaction_keeps_the_last_record_of_each_key(tmp_path):
    store = open_store(tmp_path)
    store.write([Batch(topics=[LATEST])])
    store.write([batch(LATEST, 0, [Record(n, 0, b"k%d" % (n % 3), b"%d" % n) for n in range(6)])])
    store.write([batch(LATEST, 0, [Record(6, 0, b"k0", b"6")]), batch(LATEST, 1, [Record(0, 0, b"k0", b"apart")])])
    assert texts(read(tmp_path, "latest", 0)) == [(4, b"k1", b"4"), (5, b"k2", b"5"), (6, b"k0", b"6")]
    assert texts(read(tmp_path, "latest", 1)) == [(0, b"k0", b"apart")]
    assert store.bounds(LATEST, 0) == (4, 7)
    store.close()


def test_tombstones_go_after_an_hour_but_never_the_newest_record(tmp_path):
    store = open_store(tmp_path)
    gone, newest = Record(1, 0, b"gone", None), Record(3, 0, b"also", None)
    store.write([Batch(topics=[LATEST])])
    store.write([batch(LATEST, 0, [Record(0, 0, b"gone", b"x"), gone, Record(2, 0, b"kept", b"y"), newest])])
    for _ in store.tidy(now_ms=HOUR_MS - 1):
        pass
    assert texts(read(tmp_path, "latest", 0)) == [(1, b"gone", None), (2, b"kept", b"y"), (3, b"also", None)]
    for _ in store.tidy(now_ms=HOUR_MS + 1):
        pass
    assert texts(read(tmp_path, "latest", 0)) == [(2, b"kept", b"y"), (3, b"also", None)]
    assert store.bounds(LATEST, 0) == (2, 4), "the next offset is known by the newest record"
    store.close()


def test_the_writer_tidies_between_transactions_and_goes_on_writing(tmp_path):
    store = open_store(tmp_path)
    store.write([Batch(topics=[EVENTS]), batch(EVENTS, 0, [Record(n, 0, None, b"old") for n in range(1600)])])
    written, failures = threading.Semaphore(0), []
    writer = Writer(store, written=lambda group: written.release(len(group)), failed=failures.append, tidy_every_s=0.01)
    writer.start()
    offset, deadline_s = 1600, time.monotonic() + 30
    while read(tmp_path, "events", 0, limit=1)[0].value == b"old":
        writer.put(batch(EVENTS, 0, [Record(offset, 0, None, b"new")], stored_ms=time.time_ns() // 1_000_000 + HOUR_MS))
        assert written.acquire(timeout=30)
        offset += 1
        assert time.monotonic() < deadline_s
    writer.stop()
    assert failures == []
    assert texts(read(tmp_path, "events", 0, limit=5000)) == [(n, None, b"new") for n in range(1600, offset)]


keys = st.sampled_from([b"a", b"b", b"c"])
partitions = st.integers(0, 1)
values = st.one_of(st.none(), st.binary(max_size=6))
steps = st.one_of(
    st.tuples(st.just("append"), st.booleans(), st.lists(st.tuples(partitions, keys, values), max_size=7)),
    st.tuples(st.just("commit"), partitions, st.integers(0, 30)),
    st.tuples(st.just("tidy"), st.integers(0, 3000), st.none()),
    st.tuples(st.just("reopen"), st.none(), st.none()),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=14))
def test_the_store_does_what_a_list_and_a_dict_would(tmp_path_factory, history):
    folder = tmp_path_factory.mktemp("store")
    store = open_store(folder)
    store.write([Batch(topics=[EVENTS, LATEST])])
    kept: dict[tuple[Topic, int], list[tuple[int, Record]]] = {(t, p): [] for t in (EVENTS, LATEST) for p in (0, 1)}
    ends = dict.fromkeys(kept, 0)
    committed: dict[tuple[str, str, int], int] = {}
    now_ms = 0
    for action, first, second in history:
        if action == "append":
            topic = LATEST if first else EVENTS
            group = []
            for partition, key, value in second:
                record = Record(ends[topic, partition], now_ms, key, value)
                ends[topic, partition] += 1
                lane = kept[topic, partition]
                if topic.compacting:
                    lane[:] = [entry for entry in lane if entry[1].key != key]
                lane.append((now_ms, record))
                group.append(batch(topic, partition, [record], stored_ms=now_ms))
            store.write(group)
        elif action == "commit":
            committed["reader", "events", first] = second
            store.write([Batch(committed=[("reader", EVENTS.lane(first), second)])])
        elif action == "tidy":
            now_ms += first
            for _ in store.tidy(now_ms):
                pass
            for partition in (0, 1):
                lane = kept[EVENTS, partition]
                lane[:] = [entry for entry in lane if entry[0] >= now_ms - 1000]
        else:
            store.close()
            store = open_store(folder)
    with LogReader(folder) as reader:
        for (topic, partition), lane in kept.items():
            records = [record for _, record in lane]
            assert list(reader.records(topic.name, partition)) == records
            middle = ends[topic, partition] // 2
            assert (
                list(reader.records(topic.name, partition, first=middle, limit=3))
                == [record for record in records if record.offset >= middle][:3]
            )
            assert store.bounds(topic, partition)[1] == ends[topic, partition]
        assert reader.committed() == committed
    store.close()


@pytest.fixture
def full_log(tmp_path) -> Path:
    store = open_store(tmp_path)
    store.write([Batch(topics=[EVENTS])])
    for first in range(0, 4000, 200):
        records = [Record(n, n, b"key-%d" % n, os.urandom(150)) for n in range(first, first + 200)]
        store.write([batch(EVENTS, 0, records)])
    store.close()
    return tmp_path


def overwrite_middle(file: Path, *, length: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(file.stat().st_size // 2)
        handle.write(b"\xa5" * length)


def test_damaged_pages_are_named_and_the_rest_stays_readable(full_log):
    overwrite_middle(full_log / "log.db", length=5 * 4096)
    with pytest.raises(LogCorrupt, match=r"log\.db is damaged"):
        open_store(full_log)
    with pytest.raises(LogCorrupt, match=r"log\.db is damaged"):
        check(f"log://{full_log}")
    with LogReader(full_log) as reader:
        with pytest.raises(LogCorrupt, match="damaged"):
            list(reader.records("events", 0))
        rest = list(reader.records("events", 0, skip_damaged=True))
    offsets = [record.offset for record in rest]
    assert offsets == sorted(set(offsets))
    assert offsets[0] == 0
    assert offsets[-1] == 3999
    assert 3700 < len(offsets) < 4000, "five pages hold about twenty records each"


def test_one_flipped_bit_inside_a_record_is_seen(full_log):
    file = full_log / "log.db"
    content = bytearray(file.read_bytes())
    place = content.index(b"key-2000") + len(b"key-2000") + 20
    content[place] ^= 1
    file.write_bytes(content)
    with LogReader(full_log) as reader:
        with pytest.raises(LogCorrupt, match="record 2000 fails its checksum"):
            list(reader.records("events", 0))
        assert len(list(reader.records("events", 0, skip_damaged=True))) == 3999


@pytest.mark.parametrize("content", [b"not a database " * 600, b"\x00" * 9000], ids=["text", "zeros"])
def test_a_file_that_is_no_log_is_refused(tmp_path, content):
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(LogCorrupt, match=r"log\.db"):
        open_store(tmp_path)
    assert (tmp_path / "log.db").read_bytes() == content, "and left as it was"


def test_another_applications_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(LogCorrupt, match="is not a SpotOn log"):
        open_store(tmp_path)


def test_a_log_of_a_later_format_is_refused(tmp_path):
    open_store(tmp_path).close()
    later = sqlite3.connect(tmp_path / "log.db")
    later.execute("PRAGMA user_version = 9")
    later.close()
    with pytest.raises(LogError, match="log format 9, this version of SpotOn reads format 1"):
        open_store(tmp_path)


def test_reading_where_there_is_no_log_says_so(tmp_path):
    with pytest.raises(LogError, match="there is no log at"):
        LogReader(tmp_path)


def test_reading_a_topic_that_is_not_there_names_those_that_are(full_log):
    with pytest.raises(InputError, match="no topic 'evnts'; it has events"):
        read(full_log, "evnts", 0)


def test_the_lock_names_file_owner_and_kafka_and_comes_back(tmp_path):
    first = ProcessLock(tmp_path / "log.lock", subject=tmp_path / "log.db")
    second = ProcessLock(tmp_path / "log.lock", subject=tmp_path / "log.db")
    first.acquire()
    with pytest.raises(LogLocked, match=rf"log\.db is in use by process {os.getpid()}; .*kafka://"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_url_says_where_and_how():
    settings = LogSettings.from_url(
        "log:///var/lib/spot%20on/?sync=normal&memory=frames,raw&memory_bytes=1e6&retention_s=60"
    )
    assert settings == LogSettings(Path("/var/lib/spot on"), "normal", frozenset({"frames", "raw"}), 1_000_000, 60.0)
    assert LogSettings.from_url("log:///x") == LogSettings(Path("/x"))
    assert LogSettings.from_url("log:///x?memory=").memory_topics == frozenset()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("log://relative/folder", "no absolute folder"),
        ("log:", "no absolute folder"),
        ("log:///", "no absolute folder"),
        ("kafka://host", "no absolute folder"),
        ("log:///x?sync=off", "sync='off' is neither full nor normal"),
        ("log:///x?memory_bytes=0", "memory_bytes='0' is not a positive number"),
        ("log:///x?retention_s=week", "retention_s='week' is not a positive number"),
        ("log:///x?snyc=full", "unknown option 'snyc'"),
    ],
)
def test_a_wrong_url_is_one_clear_line(url, problem):
    with pytest.raises(InputError, match=problem):
        LogSettings.from_url(url)
