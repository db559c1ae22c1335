"""Real Faust agents and tables on the embedded log, in processes that are killed, refused, starved and stopped."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import faust
import pytest
from faust.types.tuples import TP

from spoton.errors import InputError
from spoton.log.lock import ProcessLock
from spoton.log.reader import LogReader
from spoton.log.record import Record, Topic
from spoton.log.schema import to_row
from spoton.log.store import Batch, Store
from spoton.log.transport import Transport, register

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Faust makes a folder where it is started."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def running(tmp_path, flow):
    def start(*args, **options):
        return flow(f"log://{tmp_path / 'log'}", *args, **options)

    return start


def stored(folder: Path, topic: str) -> list[tuple[str, object]]:
    with LogReader(folder) as reader:
        return [
            (json.loads(record.key) if record.key.startswith(b'"') else record.key.decode(), json.loads(record.value))
            for partition in reader.partitions(topic)
            for record in reader.records(topic, partition)
        ]


def test_a_second_process_is_told_who_has_the_log_and_what_to_do(tmp_path, running):
    (tmp_path / "log").mkdir()
    owner = ProcessLock(tmp_path / "log" / "log.lock", subject=tmp_path / "log" / "log.db")
    owner.acquire()
    second = running(1, 10)
    assert second.end() != 0
    owner.release()
    assert second.acked == []
    message = next(line for line in second.errors.read_text().splitlines() if "LogLocked:" in line)
    assert str(tmp_path / "log" / "log.db") in message
    assert f"process {os.getpid()}" in message
    assert "kafka://" in message


def assert_full_disk_was_told_once_and_kept_what_was_acked(app, folder: Path) -> None:
    assert app.until(lambda word, rest: word == "done") is None
    assert app.process.wait(PATIENCE_S) not in (0, -signal.SIGXFSZ)
    told = app.errors.read_text()
    assert told.count("LogFull") == 1, told
    assert "Traceback" not in told, told
    assert f"no space left for the log {folder / 'log.db'}; free disk space" in told
    assert len(app.acked) > 20
    assert set(app.acked) <= {number for _, number in stored(folder, "numbers")}


def test_at_the_limit_of_a_files_size_it_stops_and_keeps_what_was_acked(tmp_path, running):
    limit = 1_500_000
    app = running(1, 100_000, limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert_full_disk_was_told_once_and_kept_what_was_acked(app, tmp_path / "log")


def test_on_a_full_disk_it_stops_and_keeps_what_was_acked(tmp_path, running):
    folder = tmp_path / "log"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.decode().strip()}")
    try:
        app = running(1, 100_000)
        assert_full_disk_was_told_once_and_kept_what_was_acked(app, folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_damaged_log_is_refused_at_the_start(tmp_path, running):
    folder = tmp_path / "log"
    folder.mkdir()
    topic = Topic(1, "numbers", 3, None, False)
    rows = [to_row(topic.lane(0), Record(n, 0, b'"key"', b"%d" % n), 0) for n in range(3000)]
    store = Store(folder / "log.db", sync="normal")
    store.write([Batch(topics=[topic], events=rows)])
    store.close()
    with (folder / "log.db").open("r+b") as handle:
        handle.seek(os.path.getsize(folder / "log.db") // 2)
        handle.write(b"\x5a" * 8192)
    app = running(1, 2)
    assert app.end() != 0
    told = app.errors.read_text()
    assert told.splitlines()[-1].startswith("spoton.errors.LogCorrupt: the log"), told
    assert f"{folder / 'log.db'} is damaged" in told


def make_app(folder: Path, *, query: str = "", **options) -> faust.App:
    register()
    return faust.App(
        "trial", broker=f"log://{folder}?sync=normal{query}", store="memory://", web_enabled=False,
        topic_disable_leader=True, **options,
    )  # fmt: skip


def test_the_url_chooses_this_transport(tmp_path):
    assert type(make_app(tmp_path).transport) is Transport


def test_exactly_once_is_refused_in_one_line(tmp_path):
    app = make_app(tmp_path, processing_guarantee="exactly_once")
    app.in_worker = True
    with pytest.raises(InputError, match="at_least_once"):
        app.consumer  # noqa: B018


async def test_keys_go_where_kafka_puts_them(tmp_path):
    app = make_app(tmp_path, topic_partitions=16)
    await app.maybe_start_producer()
    try:
        chosen = [app.producer.key_partition("t", key).partition for key in (b"kafka", b"21", b"foobar", b"a-key")]
        # What the Java client's murmur2 gives, from Kafka's own tests: 21 -> -973932308, foobar -> -790332482.
        assert chosen[1:3] == [(-973932308 & 0x7FFFFFFF) % 16, (-790332482 & 0x7FFFFFFF) % 16]
        assert [app.producer.key_partition("t", None).partition for _ in range(3)] == [0, 1, 2], "each in turn"
    finally:
        await app.producer.stop()


async def test_agents_take_frames_in_memory_with_headers_and_timestamps(tmp_path):
    app = make_app(tmp_path, topic_partitions=2)
    frames = app.topic("frames", key_type=str, value_type=bytes, value_serializer="raw", partitions=3)
    seen = []

    @app.agent(frames)
    async def watch(stream):
        async for event in stream.events():
            message = event.message
            seen.append((event.key, event.value, message.timestamp, dict(event.headers), message.topic))

    async with app:
        await app.tables.wait_until_recovery_completed()
        place = await (
            await frames.send(key="cam", value=b"\xff\xd8", timestamp=1_700_000_000.25, headers={"seq": b"1"})
        )
        while not seen:
            await app.sleep(0.01)
        assert app.consumer.topic_partitions("frames") == 3
    assert seen == [("cam", b"\xff\xd8", 1_700_000_000.25, {"seq": b"1"}, "frames")]
    assert place.offset == 0
    with LogReader(tmp_path) as reader:
        assert "frames" not in {topic.name for topic in reader.topics()}


async def test_a_stream_that_is_behind_reads_the_file_and_misses_nothing(tmp_path):
    app = make_app(tmp_path, topic_partitions=2, stream_buffer_maxsize=64)
    numbers = app.topic("numbers", key_type=str, value_type=int)
    seen = []

    @app.agent(numbers)
    async def watch(stream):
        async for number in stream:
            seen.append(number)  # noqa: PERF401

    await app.maybe_start_producer()
    for number in range(3000):
        await app.producer.send("numbers", b'"key-%d"' % (number % 7), b"%d" % number, None, None, None)
    async with app:
        while len(seen) < 3000:
            await app.sleep(0.01)
    assert sorted(seen) == list(range(3000))
    store = Store(tmp_path / "log.db", sync="normal")
    ends = {("trial", "numbers", part): store.bounds(store.topics()[0], part)[1] for part in (0, 1)}
    assert store.committed() == ends
    store.close()


async def test_a_topic_added_in_the_middle_repeats_nothing(tmp_path):
    app = make_app(tmp_path, topic_partitions=2)
    numbers = app.topic("numbers", key_type=str, value_type=int)
    counts = app.Table("counts", default=int)
    seen = []

    @app.agent(numbers)
    async def count(stream):
        async for event in stream.events():
            counts[event.key] += 1
            seen.append(event.value)
            await app.sleep(0.001)

    async with app:
        await app.tables.wait_until_recovery_completed()
        for number in range(600):
            await numbers.send(key="key", value=number)
            if number == 100:
                app.topics.add(app.topic("late", key_type=str, value_type=int))
        while len(seen) < 600 or app.consumer_generation_id < 2:
            await app.sleep(0.01)
        await app.sleep(0.2)
        assert TP("late", 0) in app.consumer.assignment()
    assert seen == list(range(600))
    assert [value for key, value in stored(tmp_path, "trial-counts-changelog")] == [600]


async def test_a_stream_too_slow_for_its_frames_goes_on_with_the_newest(tmp_path):
    app = make_app(
        tmp_path, query="&memory_bytes=20000", topic_partitions=1, stream_buffer_maxsize=8, broker_commit_interval=0.1
    )
    frames = app.topic("frames", key_type=str, value_type=bytes, value_serializer="raw")
    seen = []

    @app.agent(frames)
    async def watch(stream):
        async for event in stream.events():
            await app.sleep(0.005)
            seen.append(event.message.offset)

    async with app:
        await app.tables.wait_until_recovery_completed()
        log = app.transport.log
        for _ in range(400):
            await frames.send(key="cam", value=b"x" * 740)
        while not seen or seen[-1] < 399 or log.committed("trial", TP("frames", 0)) != 400:
            await app.sleep(0.01)
        assert log.dropped == {("frames", 0): 400 - len(seen)}
    assert seen == sorted(set(seen))
    assert 20 <= len(seen) < 400
