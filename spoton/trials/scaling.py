"""``spoton bench engine --only scaling``: the same backlog for one detection worker and for two.

Sixteen cameras, each with a partition of ``frames`` of its own, so that two workers get half of them each. The workers
are started, have their partitions and have seen a few frames of each camera; then they are suspended (SIGSTOP) while
the backlog is handed over as fast as the broker takes it, and go on together. Clocked is from that moment to the last
fact on ``detections``. On two cores the broker, which writes and reads for both, runs beside the workers.

What a second worker can add at best is measured beside each pair: the same decisions alone (``spoton.trials.bare``) in
one process and in two. One and two take turns on the same broker; ratios are medians over rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
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
from spoton.trials.bare import frames_per_s
from spoton.trials.cluster import Cluster, Running, until
from spoton.trials.footprint import processor_s
from spoton.trials.grounds import grounds
from spoton.trials.load import partition_of
from spoton.trials.recording import Recording

PARTITIONS = 16
FRAMES, WARM_UP_FRAMES = 4000, 20
"""Of each camera."""
ROUNDS, WARM_UPS = 3, 1
BARE_S = 2.0
"""How long the decisions alone are measured."""
_PATIENCE_S = 240.0
_SUSPENDED_S = 3.0
"""Longest that workers may be suspended: 6 s after their last sign of life, one every 2 s, their session ends."""
_REST_S = 30.0


@dataclass(frozen=True, slots=True)
class Drained:
    """One backlog.

    detected: frames of ``frames`` that were dealt with; twice: told of more than once, those of the warm-up too: a
    worker was fenced off, and the figure means nothing. cores: processor seconds per second of workers and broker.
    bare_frames_per_s: the decisions alone, in as many processes.
    """

    workers: int
    frames: int
    detected: int
    twice: int
    frames_per_s: float
    cores: dict[str, float]
    bare_frames_per_s: float


def run() -> dict[str, Any]:
    """``run_rounds`` on a broker of its own; raises BrokerError without Java or Kafka's jars."""
    with (
        tempfile.TemporaryDirectory(prefix="spoton-scaling-", ignore_cleanup_errors=True) as made,
        LocalBroker(Path(made) / "kafka") as broker,
    ):
        return run_rounds(Path(made), broker.url, broker_pid=broker.pid)


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table."""
    title = (
        f"two workers: {result['scaling_ratio']:.2f} times one, of {result['bare_ratio']:.2f} that two processes give"
    )
    table = Table("workers", "frames", "frames/s", "decisions alone", "cores", title=title)
    for one in result["scaling"]:
        cores = ", ".join(f"{name} {used:.2f}" for name, used in one["cores"].items())
        table.add_row(
            str(one["workers"]),
            str(one["detected"]),
            f"{one['frames_per_s']:.0f}",
            f"{one['bare_frames_per_s']:.0f}",
            cores,
        )
    console.print(table)


def run_rounds(
    folder: Path,
    broker: str,
    *,
    broker_pid: int | None = None,
    frames: int = FRAMES,
    rounds: int = ROUNDS,
    partitions: int = PARTITIONS,
    bare_s: float = BARE_S,
    warm_ups: int = WARM_UPS,
) -> dict[str, Any]:
    """What two workers do of what one does, and every single figure.

    scaling_ratio: two workers' throughput over one's. bare_ratio: the same of the decisions alone, in two processes and
    in one: what this machine's cores give. scaling_efficiency: the first over the second. Medians over rounds.

    Before the first round ``warm_ups`` backlogs are worked off that do not count: a broker that has just started
    translates its own code meanwhile, on the same cores.

    broker_pid: its processor time is told too. frames: of each camera. bare_s: seconds that the decisions alone take.
    Raises SpotOnError when a backlog is not dealt with.
    """
    for number in range(warm_ups):
        own = folder / f"warm-up-{number}"
        own.mkdir()
        asyncio.run(measure(2, own, broker, frames=frames, partitions=partitions))
    measured = []
    for number in range(rounds):
        pair = []
        for workers in (1, 2):
            own = folder / f"scaling-{number}-{workers}"
            own.mkdir()
            bare = frames_per_s(workers, work_s=bare_s)
            drained = asyncio.run(
                measure(workers, own, broker, broker_pid=broker_pid, frames=frames, partitions=partitions)
            )
            pair.append(replace(drained, bare_frames_per_s=round(bare, 1)))
        measured.append(pair)
    ratios = [two.frames_per_s / one.frames_per_s for one, two in measured]
    bare_ratios = [two.bare_frames_per_s / one.bare_frames_per_s for one, two in measured]
    efficiencies = [ratio / bare for ratio, bare in zip(ratios, bare_ratios, strict=True)]
    return {
        "scaling_ratio": round(statistics.median(ratios), 3),
        "bare_ratio": round(statistics.median(bare_ratios), 3),
        "scaling_efficiency": round(statistics.median(efficiencies), 3),
        "scaling": [asdict(one) for pair in measured for one in pair],
    }


async def measure(
    workers: int,
    folder: Path,
    broker: str,
    *,
    broker_pid: int | None = None,
    frames: int = FRAMES,
    partitions: int = PARTITIONS,
) -> Drained:
    """One backlog on ``workers`` workers; the decisions alone are not measured here."""
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
        # What still comes of them would count as the backlog's.
        if len(await _all_seen(site, settings, WARM_UP_FRAMES * partitions)) < WARM_UP_FRAMES * partitions:
            raise SpotOnError(f"the first frames were not dealt with within {_REST_S:g} s")
        took_s, cores = await _drained(recording, epoch_us, settings, partitions, started, broker_pid)
        seen = await _all_seen(site, settings, (WARM_UP_FRAMES + frames) * partitions)
    finally:
        await asyncio.to_thread(cluster.stop)
    counted = [count for (_, frame), count in seen.items() if frame >= WARM_UP_FRAMES]
    return Drained(
        workers=workers,
        frames=frames * len(recording.cameras),
        detected=len(counted),
        twice=sum(count > 1 for count in seen.values()),
        frames_per_s=round(len(counted) / took_s, 1),
        cores=cores,
        bare_frames_per_s=0.0,
    )


async def _drained(
    recording: Recording,
    epoch_us: int,
    settings: Settings,
    partitions: int,
    workers: Sequence[Running],
    broker_pid: int | None,
) -> tuple[float, dict[str, float]]:
    """Hand the backlog over; returns the seconds from then to the last fact of it, and the cores that were used."""
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
        # Read before they go on: a short backlog is done before anyone has looked.
        async with _suspended(workers):
            await _hand_over(backlog, settings)
            used, began_s = _used(workers, broker_pid), time.monotonic()
        wanted = before + len(backlog)
        while (now := await told()) < wanted:
            if time.monotonic() > began_s + _PATIENCE_S:
                raise SpotOnError(f"{wanted - now} of {wanted - before} frames still wait after {_PATIENCE_S:g} s")
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - began_s
        after = _used(workers, broker_pid)
    return took_s, {name: round((after[name] - used[name]) / took_s, 3) for name in after}


@asynccontextmanager
async def _suspended(workers: Sequence[Running]) -> AsyncIterator[None]:
    began_s = time.monotonic()
    for worker in workers:
        worker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            worker.signal(signal.SIGCONT)
    if (took_s := time.monotonic() - began_s) > _SUSPENDED_S:
        raise SpotOnError(
            f"handing the backlog over took {took_s:.1f} s, and workers are fenced off soon after {_SUSPENDED_S:g} s",
            remedy="measure on a machine that does nothing else",
        )


def _used(workers: Sequence[Running], broker_pid: int | None) -> dict[str, float]:
    """Processor seconds so far."""
    used = {"workers": processor_s(pid for worker in workers for pid in worker.pids())}
    return used if broker_pid is None else {**used, "broker": processor_s([broker_pid])}


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
        sent = [await producer.send("frames", value, key=key, partition=partition) for key, value, partition in records]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _has(worker: Running, partitions: int) -> bool:
    """Whether a worker reads so many partitions of ``frames``."""
    told = bytes(worker.ask("/metrics")).splitlines()
    return sum(b'topic="frames"' in line and b"partition=" in line for line in told) == partitions


async def _all_seen(site: str, settings: Settings, wanted: int) -> Counter[tuple[str, int]]:
    """How many facts there are of each camera and frame; waits for those that are still on their way."""
    until_s = time.monotonic() + _REST_S
    while True:
        seen = await _seen(site, settings)
        if len(seen) >= wanted or time.monotonic() > until_s:
            return seen
        await asyncio.sleep(1.0)


async def _seen(site: str, settings: Settings) -> Counter[tuple[str, int]]:
    """How many facts there are of each camera and frame of a site."""
    records, _ = await read_whole(settings, "detections")
    facts = (events.decode(record.value) for record in records)
    return Counter(
        (fact.camera, fact.frame) for fact in facts if isinstance(fact, events.PeopleDetected) and fact.site == site
    )
