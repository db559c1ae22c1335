"""Wires everything into one worker; nobody imports it.

Run it with ``python -m faust_app``, settings from the environment (see ``spoton.config``). On the embedded log one
process does everything; on Kafka a process does the one role it is told, and others the rest.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import faust
import structlog
import uvloop
from aiohttp import web
from faust.transport.consumer import Consumer
from mode import Service
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

import agents.watchdog
import tables.sources
from agents import commands, roles
from agents.roles import Worker
from agents.topics import topics
from api import checks, status
from api.access import LOOPBACK
from api.app import create_api
from api.detection_metrics import DetectionMetrics
from api.health import Health
from api.keys import Record
from api.looks import LooksMetrics
from spoton import __version__, diagnostics
from spoton.config import Config
from spoton.engine.process import tune
from spoton.errors import InputError, SpotOnError
from spoton.history.late import LateHistory
from spoton.kafka import transport
from spoton.kafka.commands import with_recorded_cameras
from spoton.kafka.facts import detection_facts
from spoton.kafka.settings import KafkaSettings, servers
from spoton.kafka.sizes import PACE_S, UNHURRIED_S
from spoton.kafka.topics import ensure, plans
from spoton.live.sites import RecordedSites, Sites
from spoton.live.state import LiveState
from spoton.log import preflight
from spoton.log.transport import Assignor
from spoton.offline.check import check
from spoton.running import supervisor
from spoton.site import Site
from tables.cameras import CameraStatus, last_word
from tables.packed import PackedTable

SESSION_S = 6.0
"""How long Kafka waits for a sign of life of a worker before it gives its work to others."""
STALL_S, ARCHIVE_STALL_S = 60.0, 900.0
"""How long a worker may stand still before it is started anew; the archive waits for a database that is away."""

log = structlog.get_logger("spoton")


class App(faust.App):
    """Closes what the agents use only after the agents have ended.

    pace_s: how long its reader on Kafka lets more gather when it was given little.
    """

    pace_s = PACE_S

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.after_agents: list[Callable[[], Awaitable[None]]] = []

    async def on_shutdown(self) -> None:
        """Called by Faust when every agent has stopped."""
        await super().on_shutdown()
        for close in self.after_agents:
            await close()


def create_app(config: Config, site: Site) -> faust.App:
    """Everything in one process, on the embedded log.

    Raises SpotOnError when a detector cannot be made.
    """
    app = _app("spoton", config, PartitionAssignor=Assignor)
    streams = topics(app, partitions=config.partitions, one_transaction=True)
    worker = Worker(app, config, Sites([site]), streams, app.after_agents)
    history = LateHistory(config.database, config.data / "postgres")
    app.after_agents.append(history.stop)
    live = LiveState(site)
    detectors, trackers = roles.detection(worker, lambda f: live.picture(f.camera, f.frame, f.at, f.jpeg))
    live.name_detectors(detectors.names(site))
    cameras = roles.projection(worker, live.apply)
    roles.capture(worker, lambda key: tables.sources.tracked(cameras.find(key), trackers.find(key)))
    roles.identity(worker)
    roles.behaviour(worker)
    roles.archive(worker, history.write_when_there)
    metrics: list[Collector] = [
        DetectionMetrics(detectors.now, config.inference.memory_bytes), LooksMetrics(worker.looked),
    ]  # fmt: skip
    _attach_api(app, config, site, live, history, cameras, metrics, partial(commands.recorded, streams))
    return app


def create_role(
    config: Config, sites: RecordedSites, kafka: KafkaSettings, offsets: Mapping[Any, int] | None = None
) -> faust.App:
    """One role of ``config.roles`` on Kafka, beside others of its kind and of the other roles.

    offsets: where the commands begin that ``sites`` does not know of yet.
    """
    (role,) = config.roles
    transport.register()
    app = _app(
        f"spoton-{role}",
        config,
        broker_credentials=kafka.faust_credentials(),
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=1.0,
        broker_rebalance_timeout=10.0,
        broker_request_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=1,
        stream_recovery_delay=0.0,
        topic_replication_factor=config.replication,
        # Requests for another worker's part of a table are not what we use the group for.
        topic_disable_leader=True,
    )
    if role in ("projection", "archive"):
        # Nobody waits for them, and few large requests cost less than many small ones.
        app.pace_s = UNHURRIED_S
    streams = topics(app, partitions=config.partitions, one_transaction=False)
    worker = Worker(app, config, sites, streams, app.after_agents)
    client = {"bootstrap_servers": servers(config.broker), **kafka.client_options()}
    metrics: list[Collector] = []
    match role:
        case "capture":
            roles.shared_capture(worker)
        case "detection":
            detectors, _ = roles.detection(worker, lambda _: None, detection_facts(client, config.partitions))
            metrics += [DetectionMetrics(detectors.now, config.inference.memory_bytes), LooksMetrics(worker.looked)]
        case "identity":
            roles.identity(worker)
        case "behaviour":
            roles.behaviour(worker)
        case "projection":
            roles.projection(worker)
        case "archive":
            history = LateHistory(config.database, config.data / "postgres")
            app.after_agents.append(history.stop)
            roles.archive(worker, history.write_when_there)
            _attach_start(app, history.start)
    commands.attach(app, sites, client, offsets or {})
    stall_s = ARCHIVE_STALL_S if role == "archive" else STALL_S
    agents.watchdog.attach(app, session_s=SESSION_S, stall_s=stall_s)
    _attach_status(app, config, role, metrics)
    return app


def _app(name: str, config: Config, **settings: Any) -> App:
    return App(
        name,
        broker=config.broker,
        store="memory://" if config.embedded else "spoton-rocksdb://",
        datadir=config.data / "faust" if config.embedded else own_folder(config.data / "faust", name),
        version=1,
        topic_partitions=config.partitions,
        autodiscover=False,
        web_enabled=False,
        broker_commit_interval=1.0,
        # What is not acknowledged comes again after a restart, and whoever has seen it ignores it.
        stream_wait_empty=False,
        # Archive may fall this far behind before it holds back the streams it reads.
        stream_buffer_maxsize=16_384,
        **settings,
    )


def own_folder(parent: Path, name: str) -> Path:
    """The first of ``name-0``, ``name-1``, ... that no other process has: workers of one role may share a machine.

    It stays this process's until it ends, however it ends, and is the same again after a restart.
    """
    for number in itertools.count():
        folder = parent / f"{name}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return folder
    raise AssertionError("there is always a next number")


def _attach_start(app: faust.App, start: Callable[[], None]) -> None:
    class Start(Service):
        """Starts what needs the running loop."""

        async def on_start(self) -> None:
            start()

    app.service(Start)


def _attach_status(app: faust.App, config: Config, role: str, metrics: Sequence[Collector]) -> None:
    """``/health`` and ``/metrics`` of one role."""
    port = config.metrics_port
    if port is None:
        return

    class Status(Service):
        """Lives and ends with the worker."""

        runner: web.AppRunner | None = None

        async def on_start(self) -> None:
            made = status.create_status(
                role=role,
                version=__version__,
                lag=lambda: agents.watchdog.lag(app),
                restarts=config.restarts or {},
                broker=lambda: _broker_health(app, config),
                more=metrics,
            )
            self.runner = web.AppRunner(made, access_log=None, shutdown_timeout=3)
            await self.runner.setup()
            await web.TCPSite(self.runner, config.host, port).start()

        async def on_stop(self) -> None:
            if self.runner is not None:
                await self.runner.cleanup()

    app.service(Status)


def _attach_api(
    app: faust.App,
    config: Config,
    site: Site,
    live: LiveState,
    history: LateHistory,
    cameras: PackedTable[CameraStatus],
    metrics: Sequence[Collector],
    record: Record,
) -> None:
    """History and the API: they live and end with the worker."""

    class Outside(Service):
        """Starts when tables are there, stops with the app."""

        runner: web.AppRunner | None = None

        async def on_start(self) -> None:
            for known in cameras.values():
                if not known.online:
                    live.apply(last_word(site.name, known))
            history.start()
            health = Health(
                checks={
                    "broker": lambda: _broker_health(app, config),
                    "database": checks.database(history),
                    "redis": checks.redis(None),
                    "gpu": checks.gpu(),
                },
                version=__version__,
            )
            # Bound to another address it goes by names that only its operator knows.
            hosts = LOOPBACK if config.host in LOOPBACK else None
            registry = CollectorRegistry()
            for metric in metrics:
                registry.register(metric)
            api = create_api(
                site=site, live=live, history=history, health=health, registry=registry, record=record, hosts=hosts
            )
            self.runner = web.AppRunner(api, access_log=None, shutdown_timeout=3)
            await self.runner.setup()
            await web.TCPSite(self.runner, config.host, config.port).start()
            host, port = self.runner.addresses[0][:2]
            log.info("spoton is up", version=__version__, site=site.name, page=f"http://{host}:{port}/")

        async def on_stop(self) -> None:
            if self.runner is not None:
                await self.runner.cleanup()

    app.service(Outside)


async def _broker_health(app: faust.App, config: Config) -> dict[str, Any]:
    """How far the slowest stream's readers lie behind its end, measured."""
    consumer = cast(Consumer, app.consumer)
    assigned = consumer.assignment()
    if config.embedded and assigned:
        ends = await consumer.highwaters(*assigned)
        done = consumer._committed_offset
        acked = {tp: done.get(tp) for tp in ends if tp.topic in app.topics.acking_topics}
        behind = [ends[tp] - offset for tp, offset in acked.items() if offset is not None]
    else:
        behind = list(agents.watchdog.lag(app).values())
    state = "ok" if assigned else "down"
    url = config.broker.partition("?")[0]
    return {"status": state, "url": url, "partitions": len(assigned), "lag": max((0, *behind))}


def read_site(config: Config, path: Any) -> Site:
    """A site file, checked; raises SiteError, or InputError for a calibration that is too far off."""
    report = check(path, accept_bad=config.accept_bad_calibration)
    for warning in report.warnings:
        log.warning(warning)
    if not report.accepted:
        raise InputError("; ".join(report.refusals))
    return report.site


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Raise InputError when an address cannot be listened on, before anything has started."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise InputError(
            f"port {port} on {host} cannot be listened on: {error.strerror or error}",
            remedy=f"end the other program, or choose another with {option}",
        ) from error


def _made(config: Config) -> faust.App:
    sites = [read_site(config, path) for path in config.sites]
    if config.embedded:
        check_port(config.host, config.port)
        preflight.check(config.broker)
        return create_app(config, sites[0])
    if len(config.roles) != 1:
        raise InputError(
            f"SPOTON_ROLES names {len(config.roles)} roles", remedy="a process on Kafka has one: use spoton worker"
        )
    if config.metrics_port:
        check_port(config.host, config.metrics_port, "--metrics-port")
    kafka = KafkaSettings.from_env(os.environ)
    client = {"bootstrap_servers": servers(config.broker), **kafka.client_options()}


    async def prepared() -> tuple[RecordedSites, Mapping[Any, int]]:
        # A worker that subscribes to a topic which is not there yet does not notice for minutes that it appears.
        wanted, options = plans(config.partitions), kafka.client_options()
        await ensure(config.broker, wanted, replication=config.replication, client_options=options)
        return await with_recorded_cameras(sites, client)

    recorded, offsets = asyncio.run(prepared())
    return create_role(config, recorded, kafka, offsets)


def main() -> None:
    """Run one worker until it is told to stop; a mistake of the operator is one line and a non-zero exit."""
    # The vision pool has a thread per core: OpenCV's own threads on top only get in each other's way.
    cv2.setNumThreads(1)
    diagnostics.configure()
    supervisor.end_with_supervisor()
    try:
        config = Config.from_env(os.environ)
        config.data.mkdir(parents=True, exist_ok=True)
        app = _made(config)
    except SpotOnError as error:
        print(f"spoton: {error}", file=sys.stderr)
        sys.exit(1)
    tune()
    worker = faust.Worker(
        app, loop=uvloop.new_event_loop(), loglevel="WARNING", redirect_stdouts=False, quiet=True, logging_config=None
    )
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
