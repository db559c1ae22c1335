"""``spoton bench engine --only scaling``: the same backlog for one detection worker and for two.

Sixteen cameras, each with a partition of ``frames`` of its own, so that two workers get half of them each. The workers
are started, have their partitions and have seen a few frames of each camera; then the backlog is handed over at once,
as fast as the broker takes it. Clocked is from the first fact on ``detections`` to the last. On two cores the broker,
which writes and reads for both, runs beside the workers. One and two take turns on the same broker; the ratio is the
median over rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.table import Table

from spoton import events
from spoton.errors import SpotOnError
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.settings import servers
from spoton.kafka.sizes import PRODUCER
from spoton.kafka.tail import Settings, partitions_of, read_whole, reader
from spoton.kafka.topics import ensure, plans
from spoton.trials.cluster import Cluster, Running, until
from spoton.trials.grounds import grounds
from spoton.trials.load import partition_of
from spoton.trials.recording import Recording

PARTITIONS = 16
FRAMES, WARM_UP_FRAMES = 2000, 20
"""Of each camera."""
ROUNDS = 3
_PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True)
class Drained:
    """One backlog. detected: frames of ``frames`` that were dealt with; twice: told of more than once."""

    workers: int
    frames: int
    detected: int
    twice: int
    frames_per_s: float


def run() -> dict[str, Any]:
    """``run_rounds`` on a broker of its own; raises BrokerError without Java or Kafka's jars."""
    with (
        tempfile.TemporaryDirectory(prefix="spoton-scaling-", ignore_cleanup_errors=True) as made,
        LocalBroker(Path(made) / "kafka") as broker,
    ):
        return run_rounds(Path(made), broker.url)


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table("workers", "frames", "frames/s", title=f"two workers: {result['scaling_ratio']:.2f} times one")
    for one in result["scaling"]:
        table.add_row(str(one["workers"]), str(one["detected"]), f"{one['frames_per_s']:.0f}")
    console.print(table)


def run_rounds(
    folder: Path, broker: str, *, frames: int = FRAMES, rounds: int = ROUNDS, partitions: int = PARTITIONS
) -> dict[str, Any]:
    """``scaling_ratio``, median over rounds of two workers' throughput over one's, and every single figure.

    frames: of each camera. Raises SpotOnError when a backlog is not dealt with.
    """
    measured = []
    for number in range(rounds):
        pair = []
        for workers in (1, 2):
            own = folder / f"scaling-{number}-{workers}"
            own.mkdir()
            pair.append(asyncio.run(measure(workers, own, broker, frames=frames, partitions=partitions)))
        measured.append(pair)
    ratios = [two.frames_per_s / one.frames_per_s for one, two in measured]
    return {
        "scaling_ratio": round(statistics.median(ratios), 3),
        "scaling": [asdict(one) for pair in measured for one in pair],
    }


async def measure(
    workers: int, folder: Path, broker: str, *, frames: int = FRAMES, partitions: int = PARTITIONS
) -> Drained:
    """One backlog on ``workers`` workers."""
    # Of its own name: workers know what they have seen of a camera, also of one that another run had.
    site = f"grounds-{folder.name}"

    def even(index: int, name: str) -> str:
        tried = (f"{name}-{k}" for k in itertools.count())
        return next(one for one in tried if partition_of(f"{site}/{one}", partitions) == index)

    recording = grounds(partitions, (WARM_UP_FRAMES + frames) / 10.0, folder, name=site, camera_name=even)
    await ensure(broker, plans(partitions))
    settings = {"bootstrap_servers": servers(broker)}
    cluster = Cluster(broker, "postgresql://nobody@127.0.0.1:1/none", folder / "site.toml", folder, partitions)
    epoch_us = time.time_ns() // 1000
    try:
        started = [cluster.worker("detection") for _ in range(workers)]
        await cluster.ready(*started)
        await _hand_over(_encoded(recording, range(WARM_UP_FRAMES), epoch_us, partitions), settings)
        share = partitions // workers
        await until(lambda: all(_has(one, share) for one in started), 60, "an even share for each worker")
        took_s = await _drained(recording, epoch_us, settings, partitions)
    finally:
        await asyncio.to_thread(cluster.stop)
    seen = await _seen(site, settings)
    counted = [count for (_, frame), count in seen.items() if frame >= WARM_UP_FRAMES]
    return Drained(
        workers=workers,
        frames=frames * len(recording.cameras),
        detected=len(counted),
        twice=sum(count > 1 for count in counted),
        frames_per_s=round(len(counted) / took_s, 1),
    )


async def _drained(recording: Recording, epoch_us: int, settings: Settings, partitions: int) -> float:
    """Hand the backlog over; returns the seconds from the first fact of it to the last."""
    last = len(recording.frames)
    place = TopicPartition("detections", partition_of(recording.site.name, partitions))
    async with reader(settings) as consumer:
        await partitions_of(consumer, place.topic)

        async def told() -> int:
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets([place])
            return ends[place]

        # Encoded beforehand: what is measured is how fast the workers are, not who feeds them.
        backlog = _encoded(recording, range(WARM_UP_FRAMES, last), epoch_us, partitions)
        before = await _until_still(told)
        handing = asyncio.create_task(_hand_over(backlog, settings))
        wanted = before + len(backlog)
        began_s = time.monotonic()
        until_s = began_s + _PATIENCE_S
        while (now := await told()) < wanted:
            if now <= before:
                began_s = time.monotonic()
            if time.monotonic() > until_s:
                raise SpotOnError(f"{wanted - now} of {wanted - before} frames still wait after {_PATIENCE_S:g} s")
            await asyncio.sleep(0.02 if now <= before else 0.1)
        took_s = time.monotonic() - began_s
        await handing
    return took_s


async def _until_still(told: Callable[[], Awaitable[int]]) -> int:
    before = -1
    while (now := await told()) != before:
        before = now
        await asyncio.sleep(1.0)
    return now


def _encoded(
    recording: Recording, numbers: Sequence[int], epoch_us: int, partitions: int
) -> list[tuple[bytes, bytes, int]]:
    """These frames of every camera: key, value and partition of each record."""
    found = []
    for n in numbers:
        for frame in recording.captured(epoch_us, n):
            key = f"{frame.site}/{frame.camera}"
            partition = partition_of(key, partitions)
            found.append((msgspec.json.encode(key), events.encode_captured(frame), partition))
    return found


async def _hand_over(records: Sequence[tuple[bytes, bytes, int]], settings: Settings) -> None:
    """All of it, as fast as the broker takes it."""
    producer = AIOKafkaProducer(**{**PRODUCER, "linger_ms": 20}, **settings)
    await producer.start()
    try:
        sent = [
            await producer.send("frames", value, key=key, partition=partition) for key, value, partition in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _has(worker: Running, partitions: int) -> bool:
    """Whether a worker reads so many partitions of ``frames``."""
    told = bytes(worker.ask("/metrics")).splitlines()
    return sum(b'topic="frames"' in line and b"partition=" in line for line in told) == partitions


async def _seen(site: str, settings: Settings) -> Counter[tuple[str, int]]:
    """How many facts there are of each camera and frame of a site."""
    records, _ = await read_whole(settings, "detections")
    facts = (events.decode(record.value) for record in records)
    return Counter(
        (fact.camera, fact.frame) for fact in facts if isinstance(fact, events.PeopleDetected) and fact.site == site
    )
