"""``spoton bench engine --only latency``: from the moment a frame is stamped to the client's WebSocket.

A site of 10, 32 and 64 simulated cameras (``spoton.trials.grounds``), 10 frames a second each, about 10 people in each
picture. The n-th frames of all cameras are handed over one after the other in one go, ten times a second, with what
each camera found by itself in the place of a picture; each is stamped when it is handed over. One process each
for detection, identity, behaviour, projection, archive and API; PostgreSQL and Apache Kafka beside them.

A client on ``/ws/tracking`` notes for every ``tracking`` message its clock minus the message's ``at``: for boxes the
frame's stamp, for persons that of the tick, which is the stamp of its oldest frame. Both are on the clock of this
machine. The client and what feeds the frames share a process, which is not counted.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import psutil
import uvloop
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from spoton import events
from spoton.errors import SpotOnError
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.settings import servers
from spoton.kafka.sizes import PRODUCER
from spoton.kafka.topics import ensure, plans
from spoton.trials.cluster import Cluster, Running, until
from spoton.trials.faults import Database
from spoton.trials.footprint import processor_s, resident_bytes
from spoton.trials.grounds import grounds
from spoton.trials.load import partition_of
from spoton.trials.recording import Recording

CAMERAS = (10, 32, 64)
SECONDS, WARM_UP_S = 25.0, 6.0
PARTITIONS = 16
KEPT_UP = 0.97
"""Share of the frames whose boxes must come while it is measured."""
ROLES = ("detection", "identity", "behaviour", "projection", "archive")


@dataclass(frozen=True, slots=True)
class Measured:
    """One size.

    p50_ms, p99_ms: of all messages, and of those with boxes and with persons. frames, boxes, persons: frames fed and
    messages that came while it was measured. kept_up: boxes came for nearly all frames; where not, the machine was too
    slow or too busy, and no other figure means anything. cpu_per_camera: processor seconds per second and camera of
    all our processes. cpu, memory_mb: processor seconds per second, and resident memory, by role. load: the machine's
    load average at the end.
    """

    cameras: int
    p50_ms: float
    p99_ms: float
    boxes_p50_ms: float
    boxes_p99_ms: float
    persons_p50_ms: float
    persons_p99_ms: float
    frames: int
    boxes: int
    persons: int
    kept_up: bool
    cpu_per_camera: float
    cpu: dict[str, float]
    memory_mb: dict[str, float]
    load: float


class _Message(msgspec.Struct):
    """What the client reads of a message."""

    type: str
    at: int | None = None
    persons: msgspec.Raw = msgspec.Raw()


@dataclass(slots=True)
class Client:
    """Listens. late_ms: of every tracking message since ``begin``, by what it held."""

    port: int
    seen: int = 0
    late_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def run(self) -> None:
        """For ever."""
        reader = msgspec.json.Decoder(_Message)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{self.port}/ws/tracking", max_msg_size=0) as socket,
        ):
            async for message in socket:
                now_us = time.time_ns() / 1000
                told = reader.decode(message.data)
                if told.type != "tracking" or told.at is None:
                    continue
                self.seen += 1
                kind = "persons" if bytes(told.persons) else "boxes"
                self.late_ms[kind].append((now_us - told.at) / 1000)

    def begin(self) -> None:
        """Forget what was noted so far."""
        self.late_ms.clear()


def run(sizes: Sequence[int] = CAMERAS, *, seconds: float = SECONDS, warm_up_s: float = WARM_UP_S) -> dict[str, Any]:
    """``latency``: one entry per number of cameras, each on a broker and a database of its own.

    Raises BrokerError without Java or Kafka's jars.
    """
    found = []
    for cameras in sizes:
        with tempfile.TemporaryDirectory(prefix="spoton-latency-", ignore_cleanup_errors=True) as made:
            folder = Path(made)
            # PostgreSQL may run as another user.
            folder.chmod(0o755)
            with LocalBroker(folder / "kafka") as broker:
                measured = uvloop.run(measure(cameras, folder, broker.url, seconds=seconds, warm_up_s=warm_up_s))
        found.append(asdict(measured))
    return {"latency": found}


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a table."""
    heads = ("cameras", "p50 ms", "p99 ms", "boxes p99", "persons p99", "CPU s/s and camera", "memory MB", "load")
    table = Table(*heads, "kept up")
    columns = ("p50_ms", "p99_ms", "boxes_p99_ms", "persons_p99_ms")
    for one in result["latency"]:
        table.add_row(
            str(one["cameras"]), *(f"{one[name]:.0f}" for name in columns),
            f"{one['cpu_per_camera']:.4f}", f"{sum(one['memory_mb'].values()):.0f}", f"{one['load']:.1f}",
            "yes" if one["kept_up"] else "no",
        )  # fmt: skip
    console.print(table)


async def hand_over(recording: Recording, broker: str, partitions: int, handed: list[int]) -> None:
    """Hand the n-th frames of all cameras over when they are due, each stamped at that moment.

    handed: the stamps (microseconds UTC) are added to it.
    """
    producer = AIOKafkaProducer(bootstrap_servers=servers(broker), **PRODUCER)
    await producer.start()
    site = recording.site.name
    keys = {camera: msgspec.json.encode(f"{site}/{camera}") for camera in recording.cameras}
    places = {camera: partition_of(f"{site}/{camera}", partitions) for camera in recording.cameras}
    epoch_s = time.time()
    try:
        for n in range(len(recording.frames)):
            await asyncio.sleep(max(0.0, epoch_s + n / recording.fps - time.time()))
            for frame in recording.captured(0, n):
                stamped = msgspec.structs.replace(frame, at=time.time_ns() // 1000, epoch=0)
                handed.append(stamped.at)
                await producer.send(
                    "frames", events.encode_captured(stamped), key=keys[frame.camera],
                    partition=places[frame.camera], timestamp_ms=stamped.at // 1000,
                )  # fmt: skip
    finally:
        await producer.stop()


async def measure(
    cameras: int, folder: Path, broker: str, *, seconds: float = SECONDS, warm_up_s: float = WARM_UP_S
) -> Measured:
    """One size, on a broker that is new.

    Raises SpotOnError when the processes do not come up, or nothing reaches the client.
    """
    recording = grounds(cameras, warm_up_s + seconds + 1.0, folder)
    await ensure(broker, plans(PARTITIONS))
    database = Database(folder / "postgres")
    url = await asyncio.to_thread(database.start)
    cluster = Cluster(broker, url, folder / "site.toml", folder, PARTITIONS)
    tasks: list[asyncio.Task[None]] = []
    try:
        running = [cluster.worker(role) for role in ROLES]
        await cluster.ready(*running)
        running.append(cluster.api())
        await until(lambda: answers(running[-1]), 60, f"the API ({running[-1].lines})")
        client, handed = Client(running[-1].port), list[int]()
        tasks.append(asyncio.create_task(client.run()))
        await asyncio.sleep(0.5)
        tasks.append(asyncio.create_task(hand_over(recording, broker, PARTITIONS, handed)))
        await asyncio.sleep(warm_up_s)
        began_s, before, first = time.monotonic(), _used(running), len(handed)
        client.begin()
        await asyncio.sleep(seconds)
        wall_s, after, last = (
            time.monotonic() - began_s,
            {one.name: processor_s(one.pids()) for one in running},
            len(handed),
        )
        late_ms = {kind: list(found) for kind, found in client.late_ms.items()}
        for task in tasks:
            if task.done():
                task.result()
        memory_mb = {one.name: round(resident_bytes(one.pids()) / 1e6, 1) for one in running}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(database.stop)
    if not late_ms.get("boxes") or not late_ms.get("persons"):
        raise SpotOnError(f"{cameras} cameras: nothing reached the client, see {folder}")
    cpu = {name: round((after[name] - before[name]) / wall_s, 4) for name in after}
    return _measured(cameras, last - first, late_ms, cpu, memory_mb)


def _measured(
    cameras: int, frames: int, late_ms: dict[str, list[float]], cpu: dict[str, float], memory_mb: dict[str, float]
) -> Measured:
    both = late_ms["boxes"] + late_ms["persons"]
    return Measured(
        cameras=cameras,
        p50_ms=_percentile(both, 50), p99_ms=_percentile(both, 99),
        boxes_p50_ms=_percentile(late_ms["boxes"], 50), boxes_p99_ms=_percentile(late_ms["boxes"], 99),
        persons_p50_ms=_percentile(late_ms["persons"], 50), persons_p99_ms=_percentile(late_ms["persons"], 99),
        frames=frames, boxes=len(late_ms["boxes"]), persons=len(late_ms["persons"]),
        kept_up=len(late_ms["boxes"]) >= KEPT_UP * frames,
        cpu_per_camera=round(sum(cpu.values()) / cameras, 5), cpu=cpu, memory_mb=memory_mb,
        load=round(psutil.getloadavg()[0], 2),
    )  # fmt: skip


def answers(api: Running) -> bool:
    """Whether an API serves."""
    try:
        return bool(api.ask("/health")["status"])
    except OSError:
        return False


def _used(running: Sequence[Running]) -> dict[str, float]:
    return {one.name: processor_s(one.pids()) for one in running}


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 1)
