"""What each role brings to an app: its agents, its tables, and what they work with."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import faust
import msgspec
import structlog

import agents.archive
import agents.behaviour
import agents.capture
import agents.detection
import agents.detectors
import agents.identity
import agents.projection
import agents.reading
import agents.sight
import tables.cameras
import tables.sources
import tables.state
from agents.claims import Claims
from agents.topics import Topics
from agents.trackers import Facts, Trackers
from spoton import events, people, tracks, zones
from spoton.config import Config
from spoton.engine.outgoing import all_sent
from spoton.live.sites import Sites
from spoton.site import CameraSite, Site
from spoton.vision.apart import DetectorProcess
from spoton.vision.choose import make_embedder
from spoton.vision.eyes import Eyes
from spoton.vision.looks import Tally
from spoton.vision.protocols import Detector
from spoton.vision.sources import open_source, wall_clock_us
from tables.packed import PackedTable, packed_table, partition_of

log = structlog.get_logger("worker")

Write = agents.archive.Write


@dataclass(slots=True)
class Worker:
    """One app and what its roles share.

    after_agents: closed, in order, when all agents have ended. looked: by site, what became of boxes around people.
    """

    app: faust.App
    config: Config
    sites: Sites
    topics: Topics
    after_agents: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    looked: dict[str, Tally] = field(default_factory=dict)


def capture(worker: Worker, known: Callable[[str], tables.sources.SourceState | None]) -> None:
    """Read every camera of the sites in this process; ``known`` tells where each goes on."""
    capturing = agents.capture.Capture(**_capturing(worker), known=known)
    agents.reading.attach(worker.app, capturing, worker.sites)


def shared_capture(worker: Worker) -> None:
    """Read the cameras whose partition this worker has; others read the rest, and take over where this one ends."""
    table = tables.sources.attach(worker.app, partitions=worker.config.partitions)
    claims = Claims(f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}", clock_us=wall_clock_us)
    claims.attach(worker.app, worker.topics)

    async def note(key: str, state: tables.sources.SourceState) -> None:
        await all_sent(table.set_all({key: state}))

    capturing = agents.capture.Capture(**_capturing(worker), known=table.find, note=note, claim=claims.claim)

    def owns(key: str) -> bool | None:
        app = worker.app
        if app.rebalancing or app.consumer is None:
            return None
        topic = worker.topics.sources.get_topic_name()
        partition = partition_of(key, worker.config.partitions)
        mine = any(tp.topic == topic and tp.partition == partition for tp in app.consumer.assignment())
        if not mine:
            claims.release(key)
        return mine and not claims.lost(key)

    agents.reading.attach(worker.app, capturing, worker.sites, owns)


def _capturing(worker: Worker) -> dict[str, Any]:
    # Of its own: threads that wait for a detector must not keep the next pictures waiting too.
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="capture")

    async def close() -> None:
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    worker.after_agents.append(close)

    def opened(site: Site, camera: CameraSite) -> Any:
        return open_source(site.resolve(camera.source), fps=camera.fps)

    return {
        "topics": worker.topics,
        "open_source": opened,
        "clock_us": wall_clock_us,
        "pool": pool,
        "rng": random.Random(),
    }


def detection(
    worker: Worker, show: Callable[[events.FrameCaptured], None], facts: Facts | None = None
) -> tuple[agents.detectors.Detectors, PackedTable[tracks.State]]:
    """Detect and track. facts: where the table may lag behind what was recorded, how to read that."""
    config, sites = worker.config, worker.sites
    table = packed_table(
        worker.app,
        "tracks",
        tracks.pack,
        tracks.unpack,
        partitions=config.partitions,
        by_site=False,
        help="Each camera's tracker.",
    )
    cores = os.cpu_count() or 2
    pool = ThreadPoolExecutor(max_workers=2 * cores, thread_name_prefix="vision")
    made = {spec: make_embedder(spec, weights_dir=config.weights) for spec in {one.embedder for one in sites.values()}}
    embedders = {name: made[site.embedder] for name, site in sites.items()}
    cameras = sum(len(site.cameras) for site in sites.values())
    processes = [DetectorProcess() for _ in range(min(2 * cores, max(1, cameras)))]
    shared: dict[str, Detector] = {}
    eyes = {
        name: Eyes(None, site.detector, config.weights, embedders[name], processes, shared, inference=config.inference)
        for name, site in sites.items()
    }
    detectors = agents.detectors.Detectors(sites, eyes, pool)
    sight = agents.sight.Sight(detectors=detectors, embedders=embedders, sites=sites, pool=pool, looked=worker.looked)

    async def close() -> None:
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        for process in processes:
            process.close()

    worker.after_agents.append(close)
    agents.detection.attach(worker.app, worker.topics, Trackers(table, facts), sight, show)
    return detectors, table


def identity(worker: Worker) -> None:
    """Tell who is who and where."""
    table = packed_table(
        worker.app,
        "people",
        people.pack,
        people.unpack,
        partitions=worker.config.partitions,
        by_site=True,
        help="Each site's identities.",
    )
    agents.identity.attach(worker.app, worker.topics, table, worker.sites)


def behaviour(worker: Worker) -> None:
    """Tell who enters and leaves a zone."""
    table = packed_table(
        worker.app,
        "occupancy",
        msgspec.msgpack.encode,
        msgspec.msgpack.Decoder(zones.ZoneState).decode,
        partitions=worker.config.partitions,
        by_site=True,
        help="Who is in which zone.",
    )
    agents.behaviour.attach(worker.app, worker.topics, table, worker.sites)


def projection(
    worker: Worker, show: Callable[[events.AnyEvent], None] = lambda event: None
) -> PackedTable[tables.cameras.CameraStatus]:
    """Keep the tables ``cameras`` and ``state``; ``show`` is called with every event."""
    cameras = tables.cameras.attach(worker.app, partitions=worker.config.partitions)
    state = tables.state.attach(worker.app, partitions=worker.config.partitions)
    agents.projection.attach(worker.app, worker.topics, cameras, state, show)
    return cameras


def archive(worker: Worker, write: Write) -> None:
    """Bring every event into history."""
    agents.archive.attach(worker.app, worker.topics, write)
