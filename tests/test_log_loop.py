"""The log on an event loop: what becomes visible when, and what survives."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from faust.types.tuples import TP

from spoton.errors import InputError, LogFull, LogLocked
from spoton.log.log import Log
from spoton.log.reader import LogReader
from spoton.log.settings import LogSettings

A0, A1 = TP("a", 0), TP("a", 1)


@asynccontextmanager
async def opened(folder, **options):
    log = Log(LogSettings(folder, sync="normal", **options))
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def values(page):
    return [record.value for record in page.records]


async def test_an_append_is_acknowledged_when_it_can_be_read_from_the_file(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 2)
        place = await log.append(A1, b"k", b"v", timestamp_ms=1234)
        assert (place.topic_partition, place.offset, place.timestamp) == (A1, 0, 1.234)
        with LogReader(tmp_path) as reader:
            assert [record.value for record in reader.records("a", 1)] == [b"v"]


async def test_what_one_turn_of_the_loop_appends_is_one_transaction(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 2)
        log.declare("table", 1, compacting=True)
        await log.drained()
        transactions = []
        write = log._writer._store.write

        def watched(group):
            transactions.append([len(batch.events) + len(batch.latest) for batch in group])
            write(group)

        log._writer._store.write = watched
        first = log.append(A0, b"k", b"output")
        second = log.append(A1, b"k", b"another")
        third = log.append(TP("table", 0), b"k", b"state")
        assert not first.done()
        await asyncio.gather(first, second, third)
        assert transactions == [[3]]


async def test_readers_see_a_record_only_once_it_is_durable(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 1)
        log.watch([A0])
        await log.drained()
        done = log.append(A0, None, b"v")
        assert log.end(A0) == 0
        assert values(await log.read(A0, 0, 10)) == []
        await done
        assert log.end(A0) == 1
        assert values(log.read_now(A0, 0, 10)) == [b"v"], "a watched partition is read from memory"


async def test_readers_go_on_where_they_committed(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 2)
        for number in range(10):
            log.append(A0, None, b"%d" % number)
        await log.commit("group", {A0: 7})
        assert log.committed("other", A0) is None
    async with opened(tmp_path) as log:
        assert log.partitions("a") == 2
        assert (log.committed("group", A0), log.committed("group", A1)) == (7, None)
        assert (await log.first(A0), log.end(A0), log.end(A1)) == (0, 10, 0)
        page = await log.read(A0, 7, 2)
        assert (values(page), page.next) == ([b"7", b"8"], 9)
        assert (await log.append(A0, None, b"next")).offset == 10


async def test_reads_move_from_disk_to_memory_without_gap_or_repeat(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 1)
        for number in range(100):
            log.append(A0, None, b"%d" % number)
        await log.drained()
        log.watch([A0])
        for number in range(100, 200):
            log.append(A0, None, b"%d" % number)
        await log.drained()
        at, seen = 0, []
        while at < log.end(A0):
            page = await log.read(A0, at, 30)
            seen += values(page)
            at = page.next
        assert seen == [b"%d" % number for number in range(200)]
        assert values(await log.read(A0, 150, 1)) == [b"150"], "going back reads the file again"


async def test_memory_topics_are_never_written_and_begin_afresh(tmp_path):
    frames = TP("frames", 0)
    async with opened(tmp_path, memory_bytes=10_000) as log:
        log.declare("frames", 1)
        for number in range(30):
            place = log.append(frames, b"cam", b"%03d" % number * 247)
            assert place.done()
        assert place.result().offset == 29
        page = await log.read(frames, 0, 100)
        assert [record.offset for record in page.records] == list(range(20, 30)), "the newest that fit"
        assert await log.first(frames) == 20
        assert log.dropped == {("frames", 0): 20}
        await log.commit("group", {frames: 25})
        assert log.committed("group", frames) == 25
        assert await log.first(frames) == 25
    async with opened(tmp_path) as log:
        log.declare("frames", 1)
        assert log.committed("group", frames) is None
        assert (await log.append(frames, None, b"new")).offset == 0
        assert values(await log.read(frames, 0, 10)) == [b"new"]
    with LogReader(tmp_path) as reader:
        assert reader.topics() == []


async def test_a_topic_with_records_keeps_its_partitions_and_kind(tmp_path):
    async with opened(tmp_path) as log:
        assert log.declare("a", 2) == 2
        assert log.declare("a", 3, retention_s=5) == 3, "an empty topic can still change"
        await log.append(TP("a", 2), b"k", b"v")
        assert log.declare("a", 8, retention_s=9) == log.declare("a", 8, compacting=True) == 3
        await log.drained()
        with LogReader(tmp_path) as reader:
            (topic,) = reader.topics()
        assert (topic.partitions, topic.compacting, topic.retention_ms) == (3, False, 9000)


async def test_appends_that_make_no_sense_are_refused(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("table", 1, compacting=True)
        with pytest.raises(InputError, match="topic 'a' has no partition 0"):
            log.append(A0, b"k", b"v")
        with pytest.raises(InputError, match="one record per key"):
            log.append(TP("table", 0), None, b"v")
        with pytest.raises(InputError, match="5000 partitions"):
            log.declare("wide", 5000)


async def test_a_second_log_on_the_folder_is_refused_until_the_first_is_closed(tmp_path):
    async with opened(tmp_path):
        with pytest.raises(LogLocked, match=r"kafka://"):
            await Log(LogSettings(tmp_path)).open()
    async with opened(tmp_path) as log:
        log.declare("a", 1)
        await log.append(A0, None, b"v")


async def test_after_a_failure_everything_says_so_and_nothing_hangs(tmp_path):
    failures = []
    log = Log(LogSettings(tmp_path, sync="normal"))
    log.on_failure = failures.append
    await log.open()
    log.declare("a", 1)
    await log.append(A0, None, b"kept")
    log._writer._store._connection.execute("PRAGMA max_page_count = 12")
    lost = log.append(A0, None, b"x" * 200_000)
    with pytest.raises(LogFull, match=r"no space left for the log .*log\.db; free disk space"):
        await log.drained()
    assert [type(failure) for failure in failures] == [LogFull]
    assert not lost.done()
    with pytest.raises(LogFull):
        log.append(A0, None, b"more")
    with pytest.raises(LogFull):
        await log.commit("group", {A0: 1})
    await log.room()
    assert values(await log.read(A0, 0, 10)) == [b"kept"]
    await log.close()
    async with opened(tmp_path) as log:
        assert log.end(A0) == 1
        assert (await log.append(A0, None, b"goes on")).offset == 1


async def test_senders_wait_while_the_disk_is_far_behind(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 1)
        for _ in range(70):
            log.append(A0, None, b"x" * 1_000_000)
        waiting = asyncio.ensure_future(log.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await waiting
        await log.drained()
        assert log.end(A0) == 70


async def test_each_turns_wakes_the_reader_once_there_is_something(tmp_path):
    async with opened(tmp_path) as log:
        log.declare("a", 1)
        await log.drained()
        arrived = asyncio.Event()
        log.on_arrival = arrived.set
        log.append(A0, None, b"v")
        assert not arrived.is_set()
        await asyncio.wait_for(arrived.wait(), 5)
        assert log.end(A0) == 1


async def test_retention_of_the_url_is_what_topics_get_that_do_not_say(tmp_path):
    settings = replace(LogSettings.from_url(f"log://{tmp_path}?retention_s=60"), sync="normal")
    log = Log(settings)
    await log.open()
    log.declare("a", 1)
    log.declare("table", 1, compacting=True)
    await log.close()
    with LogReader(tmp_path) as reader:
        assert {topic.name: topic.retention_ms for topic in reader.topics()} == {"a": 60_000, "table": None}
