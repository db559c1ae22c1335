"""``spoton bench faults``: workers, broker and database fail under load, and every frame is accounted for.

Each trial feeds the same recorded detections to real processes, does its damage, waits until the archive has caught up
and compares what it holds with what an undisturbed run of the same recording gives.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from rich.console import Console
from rich.table import Table

from spoton import events
from spoton.errors import InputError
from spoton.history.embedded import EmbeddedPostgres
from spoton.kafka.local_broker import LocalBroker
from spoton.kafka.settings import servers
from spoton.kafka.topics import ensure, plans
from spoton.sim.plaza import Plaza
from spoton.sim.site_text import site_toml
from spoton.site_file import parse
from spoton.trials import handover
from spoton.trials.cluster import Cluster, Running, until
from spoton.trials.load import Watch, feed, partition_of
from spoton.trials.recording import Recording, record, undisturbed
from spoton.trials.verdict import Outcome, accounted_frames, judged, largest_mb

PARTITIONS = 4
LATE_S = 45.0
"""How long a tick waits for a camera in these trials: for longer than any failover, so that no view is left out and
identities can be compared with an undisturbed run one by one. By default sites wait for 0.5 s and go on without it."""
SETTLE_S = 4.0
CATCH_UP_S = 240.0

log = structlog.get_logger("trials")


@dataclass(slots=True)
class Trial:
    """What a fault has to work with. recovery_s: set by a fault that measures it itself."""

    cluster: Cluster
    broker: LocalBroker | None
    database: Database
    workers: dict[str, list[Running]]
    site: str
    recovery_s: float | None = None

    async def owner(self, role: str, topic: str, key: str) -> Running:
        """The worker of a role that has the partition of a key; it says so once it has committed something there."""
        await until(lambda: bool(self._owners(role, topic, key)), 30.0, f"{role} to have {key}")
        return self._owners(role, topic, key)[0]

    def _owners(self, role: str, topic: str, key: str) -> list[Running]:
        partition = partition_of(key, self.cluster.partitions)
        wanted = f'partition="{partition}",role="{role}",topic="{topic}"'.encode()
        alive = [worker for worker in self.workers[role] if worker.process.poll() is None]
        return [worker for worker in alive if _says(worker, wanted)]


@dataclass(slots=True)
class Database:
    """The embedded PostgreSQL, which can be taken away and brought back."""

    folder: Path
    server: EmbeddedPostgres | None = None

    def start(self) -> str:
        """Start it; returns its URL, the same each time."""
        self.server = EmbeddedPostgres(self.folder)
        return self.server.url

    def stop(self) -> None:
        """Stop it."""
        if self.server is not None:
            self.server.stop()
            self.server = None


def _says(worker: Running, wanted: bytes) -> bool:
    try:
        return wanted in worker.ask("/metrics")
    except OSError:
        return False


Fault = Callable[[Trial], Awaitable[None]]


async def detection_worker_dies(trial: Trial) -> None:
    """kill -9; the other detection worker takes its cameras."""
    trial.cluster.kill(await trial.owner("detection", "frames", f"{trial.site}/south-west"))


async def identity_worker_dies(trial: Trial) -> None:
    """kill -9; the other identity worker takes the site."""
    trial.cluster.kill(await trial.owner("identity", "detections", trial.site))


async def broker_stops(trial: Trial, away_s: float = 20.0) -> None:
    """The only broker is away for 20 s."""
    if trial.broker is None:
        raise InputError("the broker is not ours to stop", remedy="leave SPOTON_TEST_KAFKA out")
    await asyncio.to_thread(trial.broker.stop)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(trial.broker.start)


async def database_goes(trial: Trial, away_s: float = 60.0) -> None:
    """The database is away for 60 s."""
    await asyncio.to_thread(trial.database.stop)
    await asyncio.sleep(away_s)
    url = await asyncio.to_thread(trial.database.start)

    def caught_up() -> bool:
        return time.time() - asyncio.run(_newest_s(url)) < 2.0

    trial.recovery_s = await until(caught_up, CATCH_UP_S, "the archive to catch up")


async def worker_is_paused(trial: Trial) -> None:
    """SIGSTOP until its session is over and another has its cameras, then SIGCONT."""
    worker = await trial.owner("detection", "frames", f"{trial.site}/south-west")
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(14.0)
    worker.signal(signal.SIGCONT)


async def workers_come_and_go(trial: Trial) -> None:
    """Two detection workers are added and removed, ten times in a row."""
    for _ in range(10):
        added = [trial.cluster.worker("detection"), trial.cluster.worker("detection")]
        await trial.cluster.ready(*added)
        await asyncio.to_thread(trial.cluster.stop, *added)


FAULTS: dict[str, tuple[Fault, float]] = {
    "detection worker killed": (detection_worker_dies, 22.0),
    "identity worker killed": (identity_worker_dies, 22.0),
    "broker away for 20 s": (broker_stops, 38.0),
    "database away for 60 s": (database_goes, 70.0),
    "worker paused until fenced": (worker_is_paused, 28.0),
    "two workers come and go ten times": (workers_come_and_go, 90.0),
}
"""Each fault and for how many seconds frames are fed around it."""


async def run_trial(name: str, folder: Path, broker: LocalBroker | None, broker_url: str) -> Outcome:
    """One of ``FAULTS`` on a cluster of its own, on a broker that is new; see ``try_out``."""
    fault, seconds = FAULTS[name]
    return await try_out(name, fault, seconds, folder, broker, broker_url)


async def try_out(
    name: str, fault: Fault, seconds: float, folder: Path, broker: LocalBroker | None, broker_url: str
) -> Outcome:
    """A fault while frames are fed for ``seconds``, on a cluster of its own, on a broker that is new.

    Raises SpotOnError when the cluster does not come up, or does not catch up.
    """
    recording = _recording(seconds, folder)
    settings = {"bootstrap_servers": servers(broker_url)}
    await ensure(broker_url, plans(PARTITIONS))
    database = Database(folder / "postgres")
    url = await asyncio.to_thread(database.start)
    cluster = Cluster(broker_url, url, folder / "site.toml", folder, PARTITIONS)
    watch = Watch(settings, recording.site.name)
    watching = asyncio.create_task(watch.run())
    try:
        workers = {
            role: [cluster.worker(role) for _ in range(count)]
            for role, count in (("detection", 2), ("identity", 2), ("behaviour", 1), ("projection", 1), ("archive", 1))
        }
        await cluster.ready(*(one for several in workers.values() for one in several))
        epoch_us = time.time_ns() // 1000 + 500_000
        feeding = asyncio.create_task(feed(recording, settings, PARTITIONS, epoch_us))
        await asyncio.sleep(SETTLE_S)
        began_s = time.monotonic()
        trial = Trial(cluster, broker, database, workers, recording.site.name)
        await fault(trial)
        await feeding
        expected = undisturbed(recording, epoch_us)
        await _until_archived(url, recording)
        memory_mb = largest_mb(cluster)
        archived = await _archived(url)
    finally:
        watching.cancel()
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(database.stop)
    recovery_s = watch.silence_s(began_s) if trial.recovery_s is None else trial.recovery_s
    return judged(name, recording, archived, expected, recovery_s, memory_mb)


def _recording(seconds: float, folder: Path) -> Recording:
    plaza = Plaza(7, people=10)
    text = site_toml(plaza, plan=None) + f"\n[thresholds]\nlate_s = {LATE_S}\n"
    (folder / "site.toml").write_text(text)
    site = parse(text, str(folder / "site.toml"))
    return record(plaza, site, seconds)


async def _until_archived(url: str, recording: Recording) -> None:
    """Wait until every frame is accounted for in the archive and nothing follows any more."""
    wanted = len(recording.frames) * len(recording.cameras)
    until_s = time.monotonic() + CATCH_UP_S
    count, steady_since_s = -1, time.monotonic()
    while time.monotonic() < until_s:
        archived = await _archived(url)
        if len(archived) != count:
            count, steady_since_s = len(archived), time.monotonic()
        # Identities follow their detections: what is still on its way must not be taken for lost.
        patience_s = 4.0 if len(accounted_frames(archived)) >= wanted else 30.0
        if time.monotonic() - steady_since_s > patience_s:
            return
        await asyncio.sleep(0.5)


async def _newest_s(url: str) -> float:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        newest = await connection.fetchval("SELECT max(at) FROM events")
    finally:
        await connection.close()
    return float(newest.timestamp()) if newest is not None else 0.0


async def _archived(url: str) -> list[events.AnyEvent]:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return []
    try:
        if not await connection.fetchval("SELECT to_regclass('events')"):
            return []
        rows = await connection.fetch("SELECT body FROM events ORDER BY at, id")
    finally:
        await connection.close()
    return [events.decode(row["body"].encode()) for row in rows]


def run(only: str | None = None) -> dict[str, Any]:
    """All faults, one after the other, each on a broker and a cluster of its own.

    Raises BrokerError without Java or Kafka's jars, InputError for a fault that does not exist.
    """
    names = [name for name in (handover.NAME, *FAULTS) if only is None or only in name]
    if not names:
        known = ", ".join((handover.NAME, *FAULTS))
        raise InputError(f"fault {only!r} does not exist", remedy=f"choose from: {known}")
    outcomes = []
    for name in names:
        log.info("trial", fault=name)
        with tempfile.TemporaryDirectory(prefix="spoton-faults-", ignore_cleanup_errors=True) as made:
            folder = Path(made)
            folder.chmod(0o755)
            with LocalBroker(folder / "kafka") as broker:
                if name == handover.NAME:
                    outcomes.append(asyncio.run(handover.run_trial(folder, broker.url)))
                else:
                    outcomes.append(asyncio.run(run_trial(name, folder, broker, broker.url)))
    return {"faults": [asdict(outcome) for outcome in outcomes]}


def render(result: dict[str, Any], console: Console) -> None:
    """A table for people."""
    table = Table("fault", *(name for name in result["faults"][0] if name != "fault"))
    for row in result["faults"]:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
