"""Wires everything into one worker; nobody imports it.

Run it with ``python -m faust_app``, settings from the environment (see ``spoton.config``).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import cv2
import faust
import msgspec
import structlog
import uvloop
from aiohttp import web
from faust.transport.consumer import Consumer
from mode import Service
from prometheus_client import CollectorRegistry

import agents.archive
import agents.behaviour
import agents.capture
import agents.detection
import agents.identity
import agents.projection
import tables.cameras
import tables.state
from agents.topics import topics
from api import checks
from api.access import LOOPBACK
from api.app import create_api
from api.health import Health
from spoton import __version__, diagnostics, people, tracks, zones
from spoton.config import Config
from spoton.engine.process import tune
from spoton.errors import InputError, SpotOnError
from spoton.history.late import LateHistory
from spoton.kafka import topics as kafka_topics
from spoton.kafka import transport as kafka
from spoton.kafka.settings import KafkaSettings
from spoton.live.state import LiveState
from spoton.log import preflight
from spoton.log.transport import Assignor
from spoton.offline.check import check
from spoton.site import Site
from spoton.vision.apart import DetectorProcess
from spoton.vision.choose import make_embedder
from spoton.vision.eyes import Eyes
from spoton.vision.sources import open_source, wall_clock_us
from tables.packed import PackedTable, packed_table

log = structlog.get_logger("spoton")


class App(faust.App):
    """Closes what the agents use only after the agents have ended."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.after_agents: list[Callable[[], Awaitable[None]]] = []

    async def on_shutdown(self) -> None:
        """Called by Faust when every agent has stopped."""
        await super().on_shutdown()
        for close in self.after_agents:
            await close()


def create_app(config: Config, site: Site) -> faust.App:
    """The worker: all roles in one process, on the broker, database and port that ``config`` names.

    Raises SpotOnError when a detector cannot be made.
    """
    embedded = config.broker.startswith("log://")
    if not embedded:
        kafka.register()
    app = App(
        "spoton",
        broker=config.broker,
        store="memory://",
        datadir=config.data / "faust",
        version=1,
        topic_partitions=config.partitions,
        autodiscover=False,
        web_enabled=False,
        broker_commit_interval=1.0,
        # What is not acknowledged comes again after a restart, and whoever has seen it ignores it.
        stream_wait_empty=False,
        # Archive may fall this far behind before it holds back the streams it reads.
        stream_buffer_maxsize=16_384,
        **({"PartitionAssignor": Assignor} if embedded else {}),
    )
    streams = topics(app, partitions=config.partitions, one_transaction=embedded)
    known = _Tables(app, config.partitions)
    sites = {site.name: site}
    cores = os.cpu_count() or 2
    pool = ThreadPoolExecutor(max_workers=2 * cores, thread_name_prefix="vision")
    # Of its own: threads that wait for a detector must not keep the next pictures waiting too.
    capture_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="capture")
    embedder = make_embedder(site.embedder, weights_dir=config.weights)
    processes = [DetectorProcess() for _ in range(min(2 * cores, len(site.cameras)))]
    eyes = Eyes(None, site.detector, config.weights, embedder, processes)
    detectors = agents.detection.Detectors(sites, eyes)
    live = LiveState(site, detectors=detectors.names(site))
    history = LateHistory(config.database, config.data / "postgres")

    capture = agents.capture.Capture(
        topics=streams,
        cameras=known.cameras,
        tracks=known.tracks,
        open_source=lambda site, camera: open_source(site.resolve(camera.source), fps=camera.fps),
        clock_us=wall_clock_us,
        pool=capture_pool,
        rng=random.Random(),
    )
    sight = agents.detection.Sight(
        detectors=detectors,
        embedder=embedder,
        thresholds={site.name: site.thresholds},
        pool=pool,
    )
    agents.capture.attach(app, capture, sites)
    agents.detection.attach(app, streams, known.tracks, sight, lambda f: live.picture(f.camera, f.frame, f.at, f.jpeg))
    agents.identity.attach(app, streams, known.people, sites)
    agents.behaviour.attach(app, streams, known.occupancy, sites)
    agents.projection.attach(app, streams, known.cameras, known.state, live.apply)
    agents.archive.attach(app, streams, history.write_when_there)
    _attach_outside(app, config, site, live, history, known.cameras)

    async def close() -> None:
        await history.stop()
        await asyncio.to_thread(capture_pool.shutdown, cancel_futures=True)
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        for process in processes:
            process.close()

    app.after_agents.append(close)
    return app


class _Tables:
    """The changelog-backed tables of DESIGN section 2."""

    def __init__(self, app: faust.App, partitions: int) -> None:
        self.tracks = packed_table(
            app,
            "tracks",
            tracks.pack,
            tracks.unpack,
            partitions=partitions,
            by_site=False,
            help="Each camera's tracker.",
        )
        self.people = packed_table(
            app,
            "people",
            people.pack,
            people.unpack,
            partitions=partitions,
            by_site=True,
            help="Each site's identities.",
        )
        self.occupancy = packed_table(
            app,
            "occupancy",
            msgspec.msgpack.encode,
            msgspec.msgpack.Decoder(zones.ZoneState).decode,
            partitions=partitions,
            by_site=True,
            help="Who is in which zone.",
        )
        self.cameras = tables.cameras.attach(app, partitions=partitions)
        self.state = tables.state.attach(app, partitions=partitions)


def _attach_outside(
    app: faust.App,
    config: Config,
    site: Site,
    live: LiveState,
    history: LateHistory,
    cameras: PackedTable[tables.cameras.CameraStatus],
) -> None:
    """History and the API: they live and end with the worker."""

    class Outside(Service):
        """Starts when tables are there, stops with the app."""

        runner: web.AppRunner | None = None

        async def on_start(self) -> None:
            for status in cameras.values():
                if not status.online:
                    live.apply(tables.cameras.last_word(site.name, status))
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
            api = create_api(
                site=site, live=live, history=history, health=health, registry=CollectorRegistry(), hosts=hosts
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
    highwaters = await consumer.highwaters(*assigned) if assigned else {}
    lag = 0
    for tp, end in highwaters.items():
        committed = consumer._committed_offset.get(tp)
        if tp.topic in app.topics.acking_topics and committed is not None:
            lag = max(lag, end - committed)
    status = "ok" if assigned else "down"
    return {"status": status, "url": config.broker.partition("?")[0], "partitions": len(assigned), "lag": lag}


def read_site(config: Config) -> Site:
    """The site file, checked; raises SiteError, or InputError for a calibration that is too far off."""
    report = check(config.site, accept_bad=config.accept_bad_calibration)
    for warning in report.warnings:
        log.warning(warning)
    if not report.accepted:
        raise InputError("; ".join(report.refusals))
    return report.site


def check_port(config: Config) -> None:
    """Raise InputError when the API's address cannot be listened on, before anything has started."""
    try:
        with socket.create_server((config.host, config.port)):
            pass
    except OSError as error:
        raise InputError(
            f"port {config.port} on {config.host} cannot be listened on: {error.strerror or error}",
            remedy="end the other program, or choose another with --port",
        ) from error


async def _ensure_topics(app: faust.App, config: Config) -> None:
    await kafka_topics.ensure(
        config.broker,
        kafka_topics.plans(config.partitions),
        replication=app.conf.topic_replication_factor,
        changelogs={table.changelog_topic_name: config.partitions for table in app.tables.values()},
        client_options=KafkaSettings.from_env(os.environ).client_options(),
    )


def main() -> None:
    """Run one worker until it is told to stop; a mistake of the operator is one line and a non-zero exit."""
    # The vision pool has a thread per core: OpenCV's own threads on top only get in each other's way.
    cv2.setNumThreads(1)
    diagnostics.configure()
    try:
        config = Config.from_env(os.environ)
        config.data.mkdir(parents=True, exist_ok=True)
        check_port(config)
        if config.broker.startswith("log://"):
            preflight.check(config.broker)
        app = create_app(config, read_site(config))
        if config.broker.startswith("kafka://"):
            asyncio.run(_ensure_topics(app, config))
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
