"""Our Kafka transport and the product's topics, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace

import faust
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from faust.types.tuples import TP

from agents.draining import drained
from agents.hop_bench import sample_events
from agents.keeping import Keeper
from agents.topics import topics
from agents.watchdog import Progress, restored
from spoton import events
from spoton.errors import BrokerError
from spoton.kafka.settings import servers
from spoton.kafka.sizes import LARGEST_VALUE_BYTES
from spoton.kafka.tail import read_whole
from spoton.kafka.topics import ensure, plans
from spoton.kafka.transport import register
from tables.packed import packed_table, unpacked

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Faust makes a folder where it is started."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}-"


def planned(prefix: str, partitions: int = 2):
    return [replace(plan, name=f"{prefix}{plan.name}") for plan in plans(partitions)]


@asynccontextmanager
async def admin_of(url):
    admin = AIOKafkaAdminClient(bootstrap_servers=servers(url))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_topics_are_made_once_and_found_as_planned(kafka, prefix):
    await ensure(kafka, planned(prefix))
    await ensure(kafka, planned(prefix), changelogs={f"{prefix}not-there": 5})
    async with admin_of(kafka) as admin:
        found = {one["topic"]: one for one in await admin.describe_topics([plan.name for plan in planned(prefix)])}
    made = {name.removeprefix(prefix): len(one["partitions"]) for name, one in found.items()}
    assert set(made.values()) == {2}
    assert {"frames", "detections", "identities", "positions", "behaviour", "commands", "sources"} <= set(made)


@pytest.mark.parametrize(
    ("settings", "partitions", "problem", "command"),
    [
        pytest.param(
            {}, 1, "has 1 partitions, SPOTON_PARTITIONS = 2", "set SPOTON_PARTITIONS to 1", id="partitions"
        ),
        pytest.param(
            {"max.message.bytes": "1000000"}, 2, "max.message.bytes = 1000000",
            "--add-config max.message.bytes=8454144", id="too small for a frame",
        ),
        pytest.param(
            {"cleanup.policy": "compact"}, 2, "cleanup.policy = compact", "--add-config cleanup.policy=delete",
            id="forgets by key",
        ),
    ],
)  # fmt: skip
async def test_a_topic_that_is_not_as_planned_is_one_error_with_its_remedy(
    kafka, prefix, settings, partitions, problem, command
):
    plan = planned(prefix)[0]
    async with admin_of(kafka) as admin:
        made = plan.made_with | settings
        await admin.create_topics([NewTopic(plan.name, partitions, 1, topic_configs=made)])
    with pytest.raises(BrokerError) as refused:
        await ensure(kafka, planned(prefix))
    told = str(refused.value)
    assert "\n" not in told
    assert plan.name in told
    assert problem in told
    assert command in told


async def test_a_cluster_that_is_not_there_is_one_error(unused_tcp_port):
    with pytest.raises(BrokerError, match=f"127.0.0.1:{unused_tcp_port}"):
        await ensure(f"kafka://127.0.0.1:{unused_tcp_port}", planned("x-"))


def make_app(url: str, prefix: str) -> faust.App:
    register()
    return faust.App(
        f"{prefix}app", broker=url, store="memory://", topic_partitions=2, autodiscover=False, web_enabled=False,
        topic_disable_leader=True, broker_commit_interval=0.2, stream_wait_empty=False,
    )  # fmt: skip


def renamed(streams, app, prefix):
    shape = {"key_type": str, "key_serializer": "json", "value_type": bytes, "value_serializer": "raw"}
    return replace(
        streams,
        frames=app.topic(f"{prefix}frames", partitions=2, **shape),
        detections=app.topic(f"{prefix}detections", partitions=2, **shape),
    )


@asynccontextmanager
async def running(app):
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def committed(url: str, group: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers(url), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        return sum([await consumer.committed(TopicPartition(topic, number)) or 0 for number in range(2)])
    finally:
        await consumer.stop()


async def test_the_largest_frame_arrives_and_a_larger_one_is_refused_at_once(kafka, prefix):
    await ensure(kafka, planned(prefix))
    app = make_app(kafka, prefix)
    streams = renamed(topics(app, partitions=2, one_transaction=False), app, prefix)
    arrived: asyncio.Queue[events.Captured] = asyncio.Queue()

    async def see(stream):
        async for batch in drained(stream, most=10):
            for item in batch:
                arrived.put_nowait(events.decode_captured(item.value))

    app.agent(streams.frames, name="see")(see)
    frame = events.FrameCaptured(
        site="s", camera="c", frame=0, at=1_700_000_000_000_000, session=1, size_px=(8000, 6000), jpeg=b""
    )
    room = LARGEST_VALUE_BYTES - len(events.encode_captured(replace_jpeg(frame, 70_000))) + 70_000
    async with running(app):
        await streams.capture(replace_jpeg(frame, room))
        assert len((await asyncio.wait_for(arrived.get(), PATIENCE_S)).jpeg) == room
        with pytest.raises(BrokerError, match="has 8389632 bytes, 8388608 is the most; lower the resolution"):
            await asyncio.wait_for(streams.capture(replace_jpeg(frame, room + 1024)), PATIENCE_S)
        await streams.capture(replace_jpeg(frame, 5))
        assert len((await asyncio.wait_for(arrived.get(), PATIENCE_S)).jpeg) == 5


def replace_jpeg(frame, size):
    return msgspec.structs.replace(frame, jpeg=b"j" * size)


async def test_facts_reach_every_reader_once_and_count_as_done_when_all_have_them(kafka, prefix):
    await ensure(kafka, planned(prefix))
    app = make_app(kafka, prefix)
    streams = renamed(topics(app, partitions=2, one_transaction=False), app, prefix)
    facts = sample_events(3000)
    seen: dict[str, list[str]] = {"quick": [], "slow": []}
    held, kept = asyncio.Event(), []

    def reader(name, most):
        async def read(stream):
            async for batch in drained(stream, most=most):
                if name == "slow":
                    await held.wait()
                seen[name] += [events.decode(item.value).id for item in batch]

        app.agent(streams.detections, name=name)(read)

    reader("quick", 256)
    reader("slow", 100)
    wanted = [fact.id for fact in facts]
    async with running(app):
        for first in range(0, len(facts), 500):
            await streams.publish(facts[first : first + 500], keep=lambda: kept.append(first))  # noqa: B023
        assert len(kept) == 6
        await until(lambda: len(seen["quick"]) >= len(facts))
        assert await committed(kafka, f"{prefix}app", f"{prefix}detections") == 0
        held.set()
        await until(lambda: len(seen["slow"]) >= len(facts))
    assert sorted(seen["quick"]) == sorted(seen["slow"]) == sorted(wanted)
    assert await committed(kafka, f"{prefix}app", f"{prefix}detections") == len(facts)


async def test_what_is_read_is_acknowledged_only_with_the_state_that_it_led_to(kafka, prefix):
    await ensure(kafka, planned(prefix))
    app = make_app(kafka, prefix)
    streams = renamed(topics(app, partitions=2, one_transaction=False), app, prefix)
    table = packed_table(
        app, "counts", msgspec.msgpack.encode, msgspec.msgpack.decode, partitions=2, by_site=True, help="How many."
    )
    keeper = Keeper(app, table, every_s=1.5)
    written: list[dict[str, int]] = []
    seen: list[str] = []

    async def count(stream):
        async for batch in drained(stream, most=7, keeper=keeper):
            states = {}
            for item in batch:
                site = events.decode(item.value).site
                states[site] = states.get(site, keeper.get(site, int)) + 1
                seen.append(site)
            keeper.keep(states)
            written.append(dict(table.items()))

    app.agent(streams.detections, name="count")(count)
    facts = sample_events(100)
    async with running(app):
        for first in range(0, 100, 10):
            await streams.publish(facts[first : first + 10], keep=list)
        await until(lambda: len(seen) == 100)
        assert written[0] == {}, "not with every batch"
        # Nothing more comes: it is written and acknowledged all the same.
        await until(lambda: sum(table.find(site) or 0 for site in set(seen)) == 100)
        await asyncio.sleep(0.6)
        assert await committed(kafka, f"{prefix}app", f"{prefix}detections") == 100
    records, _ = await read_whole({"bootstrap_servers": servers(kafka)}, f"{prefix}app-counts-changelog")
    kept = {record.key: msgspec.msgpack.decode(unpacked(record.value)) for record in records}
    assert sum(kept.values()) == 100
    assert len(records) <= 8 * len(written) // 2, "seldom"


async def test_state_that_was_not_written_is_forgotten_when_partitions_are_given_away(kafka, prefix):
    app = make_app(kafka, prefix)
    table = packed_table(
        app, "counts", msgspec.msgpack.encode, msgspec.msgpack.decode, partitions=2, by_site=True, help="How many."
    )
    keeper = Keeper(app, table)
    keeper.keep({"yard": 5})
    assert keeper.get("yard", int) == 5
    await app.on_partitions_revoked.send(set())
    assert keeper.get("yard", int) == 0


async def until(is_so) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_a_table_whose_changelog_was_emptied_isrestored_empty(kafka, flow):
    """An empty partition with an end beyond 0 has no record that recovery could wait for (faust-streaming #597)."""
    prefix = f"test-{uuid.uuid4().hex[:12]}-"
    app = flow(kafka, 1, 30, prefix=prefix)
    assert app.until(lambda word, rest: word == "done") is not None, app.errors.read_text()
    assert app.stop() == 0
    topic = f"{prefix}counter-counts-changelog"

    async def empty():
        async with admin_of(kafka) as admin, AIOKafkaConsumer(topic, bootstrap_servers=servers(kafka)) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            assert all(ends.values())
            # Kafka deletes no records of a topic that is only compacted.
            both = {"cleanup.policy": "compact,delete"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=both)])
            await admin.delete_records({part: RecordsToDelete(before_offset=end) for part, end in ends.items()})

    asyncio.run(empty())
    again = flow(kafka, 31, 31, prefix=prefix)
    assert again.until(lambda word, rest: word == "ready") == {}, again.errors.read_text()
    again.until(lambda word, rest: word == "acked")
    assert again.stop() == 0


def test_a_table_that_is_notrestored_any_further_is_noticed():
    app = faust.App("restoring", broker="kafka://127.0.0.1:1", store="memory://")
    moving, still = TP("spoton-people-changelog", 0), TP("spoton-people-changelog", 1)
    recovery = app.tables.recovery
    recovery.active_highwaters[moving] = recovery.active_highwaters[still] = 20
    progress = Progress()
    for now_s in range(0, 90, 5):
        recovery.active_offsets[moving], recovery.active_offsets[still] = now_s // 5, 7
        stalled = progress.stalled(restored(app), float(now_s))
    assert stalled == {still: 85.0}
