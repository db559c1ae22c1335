"""One hop from agent to agent, measured in a process of its own: ``python -m agents.hop_bench KIND URL COUNT``.

KIND is ``bare`` (aiokafka alone) or ``faust`` (agents of this package, on either broker). What is measured is defined
in ``spoton.offline.engine_bench``, which starts this. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from uuid import uuid4

import aiokafka
import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types.tuples import TP

from agents.draining import drained
from agents.topics import topics
from spoton import events
from spoton.engine.process import tune
from spoton.kafka import transport as kafka
from spoton.kafka.partition import partition_of
from spoton.kafka.settings import servers
from spoton.kafka.sizes import CONSUMER, PRODUCER
from spoton.log.log import Log
from spoton.log.settings import LogSettings
from spoton.log.transport import Assignor, register
from tables.packed import route_key

PARTITIONS = 4
_TICK = b'"turn"'
_SITES = 8
_CAMERAS = 4
_PEOPLE = 10
_TURN = 256
"""Events that are sent before their acknowledgement is waited for, on both sides; agents take as many at once."""
_PATIENCE_S = 240.0


def sample_events(count: int) -> list[events.PeopleDetected]:
    """``count`` frames of 8 sites with 4 cameras each, 10 tracked people in every frame, no embeddings."""
    made = []
    for number in range(count):
        site, camera = f"site-{number % _SITES}", f"camera-{number // _SITES % _CAMERAS}"
        frame = number // (_SITES * _CAMERAS)
        at = 1_700_000_000_000_000 + frame * 100_000
        left = [((37 * frame + 191 * person) % 180_000) / 100 for person in range(_PEOPLE)]
        made.append(
            events.PeopleDetected(
                id=events.event_id("detections", f"{site}/{camera}", frame + 1, at), at=at, site=site, seq=frame + 1,
                camera=camera, frame=frame, size_px=(1920, 1080), detector="picodet-s",
                boxes_px=[(x, 410.25 + x / 16, 81.5, 203.75) for x in left],
                scores=[0.9137 - person / 100 for person in range(_PEOPLE)],
                tracks=list(range(1, _PEOPLE + 1)), tentative=[0] * _PEOPLE,
            )
        )  # fmt: skip
    return made


@dataclass
class Clock:
    """From the first event that is about to be sent to the last that was given to its reader."""

    count: int
    seen: int = 0
    began_s: float = 0.0
    began_cpu_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def begin(self) -> None:
        """The first event is about to be sent; later calls count for nothing."""
        if not self.began_s:
            self.began_s, self.began_cpu_s = time.perf_counter(), time.process_time()

    def arrive(self, count: int) -> bool:
        """Count what B was given; True when that was all."""
        self.seen += count
        if self.seen < self.count or self.wall_s:
            return self.wall_s > 0
        self.wall_s = time.perf_counter() - self.began_s
        self.cpu_s = time.process_time() - self.began_cpu_s
        return True

    def result(self, value_bytes: float) -> dict[str, float]:
        """What was measured."""
        return {
            "events": self.count,
            "seen": self.seen,
            "value_bytes": round(value_bytes),
            "events_per_s": round(self.count / self.wall_s, 1),
            "cpu_us_per_event": round(1e6 * self.cpu_s / self.count, 2),
        }


async def on_kafka(url: str, turns: int, measure: Callable[..., Awaitable[Any]]) -> Any:
    """Make two topics, fill the first with as many records as there are turns, measure, and remove them."""
    server = ",".join(servers(url))
    names = [f"spoton-bench-{uuid4().hex}-{part}" for part in ("in", "out")]
    admin = AIOKafkaAdminClient(bootstrap_servers=server)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=server, **PRODUCER) as producer:
            for turn in range(turns):
                await producer.send_and_wait(names[0], b"turn", key=_TICK, partition=turn % PARTITIONS)
        return await measure(server, *names)
    finally:
        with suppress(Exception):
            await admin.delete_topics(names)
        await admin.close()


async def bare(server: str, target: str, facts: Sequence[events.PeopleDetected], clock: Clock) -> None:
    """A producer that sends the same bytes turn by turn, and a consumer that commits."""
    records = [
        (route_key(f"{fact.site}/{fact.camera}"), events.encode(fact), fact.at // 1000,
         partition_of(route_key(fact.site), PARTITIONS))
        for fact in facts
    ]  # fmt: skip
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=server, **PRODUCER)
    consumer = aiokafka.AIOKafkaConsumer(
        target, group_id=f"{target}-b", bootstrap_servers=server, auto_offset_reset="earliest",
        enable_auto_commit=True, auto_commit_interval_ms=1000, **CONSUMER,
    )  # fmt: skip
    await producer.start()
    await consumer.start()

    async def send_all() -> None:
        clock.begin()
        for first in range(0, len(records), _TURN):
            sent = [
                await producer.send(target, value, key=key, partition=partition, timestamp_ms=at_ms)
                for key, value, at_ms, partition in records[first : first + _TURN]
            ]
            await asyncio.gather(*sent)

    sender = asyncio.create_task(send_all())
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not clock.arrive(sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))):
                if sender.done():
                    sender.result()
    finally:
        sender.cancel()
        await consumer.stop()
        await producer.stop()


async def hop(
    broker: str, source: str, target: str, facts: Sequence[events.PeopleDetected], clock: Clock, **settings: Any
) -> None:
    """Agent A publishes a turn of facts for every record that it is given; agent B takes and decodes them."""
    decided = iter(facts)
    app = faust.App(
        f"spoton-bench-{uuid4().hex}", broker=broker, store="memory://", topic_partitions=PARTITIONS,
        autodiscover=False, web_enabled=False, topic_disable_leader=True, broker_commit_interval=1.0,
        stream_wait_empty=False, stream_buffer_maxsize=16_384, **settings,
    )  # fmt: skip
    streams = topics(app, partitions=PARTITIONS, one_transaction=broker.startswith("log://"))
    shape: dict[str, Any] = {"key_type": str, "key_serializer": "json", "value_type": bytes, "value_serializer": "raw"}
    into = app.topic(source, partitions=PARTITIONS, **shape)
    streams = replace(streams, detections=app.topic(target, partitions=PARTITIONS, **shape))
    finished = asyncio.Event()

    async def send_on(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=_TURN):
            for _ in batch:
                clock.begin()
                await streams.publish(list(islice(decided, _TURN)), keep=lambda: None)

    async def take(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=_TURN):
            for item in batch:
                events.decode(item.value)
            if clock.arrive(len(batch)):
                finished.set()

    app.agent(into, name="a")(send_on)
    app.agent(streams.detections, name="b")(take)
    await app.start()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not finished.is_set():
                await asyncio.sleep(0.01)
                for part in (app, app.consumer, app.producer, app._fetcher):
                    if part.crash_reason is not None:
                        raise part.crash_reason
    finally:
        await app.stop()


async def _hop_on_log(url: str, facts: Sequence[events.PeopleDetected], turns: int, clock: Clock) -> None:
    log = Log(LogSettings.from_url(url))
    await log.open()
    for name in ("bench-in", "bench-out"):
        log.declare(name, PARTITIONS)
    for turn in range(turns):
        log.append(TP("bench-in", turn % PARTITIONS), _TICK, b"turn")
    await log.drained()
    await log.close()
    await hop(url, "bench-in", "bench-out", facts, clock, PartitionAssignor=Assignor)


async def run(kind: str, url: str, count: int) -> dict[str, float]:
    """Measure one kind once."""
    facts = sample_events(count)
    clock = Clock(count)
    turns = -(-count // _TURN)
    if url.startswith("log://"):
        register()
        await _hop_on_log(url, facts, turns, clock)
    elif kind == "bare":
        await on_kafka(url, turns, lambda server, _, target: bare(server, target, facts, clock))
    else:
        kafka.register()
        await on_kafka(url, turns, lambda _, source, target: hop(url, source, target, facts, clock))
    return clock.result(sum(len(events.encode(fact)) for fact in facts[:100]) / min(100, count))


def main() -> None:
    """Print one measurement as JSON."""
    kind, url, count = sys.argv[1:4]
    import uvloop

    tune()
    print(json.dumps(uvloop.run(run(kind, url, int(count)))))


if __name__ == "__main__":
    main()
