"""The API of one site as a process of its own, beside workers on Kafka: any number of them, each reads every stream.

Run it with ``python -m api.standalone``, settings from the environment (see ``spoton.config``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import structlog
import uvloop
from aiohttp import web
from aiokafka.structs import ConsumerRecord
from prometheus_client import CollectorRegistry

from api import checks
from api.access import LOOPBACK
from api.app import create_api
from api.health import Health
from spoton import __version__, diagnostics, events
from spoton.config import Config
from spoton.errors import SpotOnError
from spoton.history.late import LateHistory
from spoton.kafka.commands import follow_commands, record_correction, with_recorded_cameras
from spoton.kafka.partition import partition_of
from spoton.kafka.settings import KafkaSettings, servers
from spoton.kafka.tail import Settings, follow, partitions_of, read_whole, reader
from spoton.live.sites import RecordedSites
from spoton.live.state import LiveState
from spoton.offline.check import check
from spoton.running import supervisor
from spoton.site import Site
from tables.cameras import CameraStatus, changelog_status, last_word

STREAMS = ("detections", "identities", "positions", "behaviour")
FRAMES = "frames"
CAMERAS_CHANGELOG = "spoton-projection-cameras-changelog"
SEEN_BEFORE_S = 15.0
"""How much of the past is read at the start: people need their trails, cameras their rates."""

log = structlog.get_logger("api")


@dataclass(slots=True)
class Streams:
    """What this process follows. read: for each partition the offset that comes next."""

    site: str
    live: LiveState
    settings: Settings
    read: dict[Any, int] = field(default_factory=dict)

    async def seed(self) -> None:
        """Tell live state of cameras that said their last word long ago."""
        records, _ = await read_whole(self.settings, CAMERAS_CHANGELOG)
        newest: dict[bytes, CameraStatus | None] = {}
        for record in records:
            if self._ours(record):
                newest[record.key] = changelog_status(record.value)
        for status in newest.values():
            if status is not None and not status.online:
                self.live.apply(last_word(self.site, status))

    async def follow(self) -> None:
        """Feed live state, for ever; a broker that goes away is waited for."""
        while True:
            since_ms = round((time.time() - SEEN_BEFORE_S) * 1000)
            try:
                following = follow(
                    self.settings, (*STREAMS, FRAMES), since_ms=since_ms, first=self.read, wanted=self._wanted
                )
                async for records in following:
                    for record in records:
                        self._take(record)
            except SpotOnError as error:
                log.warning("the streams cannot be followed", error=str(error), retry_in_s=2)
                await asyncio.sleep(2.0)

    async def health(self) -> dict[str, Any]:
        """Whether the broker answers, and how many records of the streams wait to be read here."""
        async with reader(self.settings) as consumer:
            partitions = [tp for topic in STREAMS for tp in await partitions_of(consumer, topic)]
            ends = await consumer.end_offsets(partitions) if partitions else {}
        behind = [max(0, end - self.read[tp]) for tp, end in ends.items() if tp in self.read]
        return {
            "status": "ok",
            "url": ",".join(self.settings["bootstrap_servers"]),
            "partitions": len(partitions),
            "lag": max(behind, default=0),
        }

    def _wanted(self, topic: str, partitions: int) -> set[int]:
        """Where this site's records are: every partition that is read costs with every request."""
        if topic != FRAMES:
            return {partition_of(msgspec.json.encode(self.site), partitions)}
        return set(range(partitions))

    def _ours(self, record: ConsumerRecord) -> bool:
        key = record.key or b""
        return bool(key == f'"{self.site}"'.encode() or key.startswith(f'"{self.site}/'.encode()))

    def _take(self, record: ConsumerRecord) -> None:
        self.read[record.topic, record.partition] = record.offset + 1
        if not self._ours(record):
            return
        if record.topic != FRAMES:
            self.live.apply(events.decode(record.value))
            return
        captured = events.decode_captured(record.value)
        if isinstance(captured, events.FrameCaptured) and captured.jpeg:
            self.live.picture(captured.camera, captured.frame, captured.at, captured.jpeg)


async def serve(config: Config, kafka: KafkaSettings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve until ``stop`` is set; ``ready`` is told the page's address.

    Raises SpotOnError when the site file, the broker or the port cannot be used.
    """
    settings = {"bootstrap_servers": servers(config.broker), **kafka.client_options()}
    report = check(config.sites[0], accept_bad=config.accept_bad_calibration)
    sites, offsets = await with_recorded_cameras([report.site], settings)
    live = LiveState(sites[report.site.name])
    streams = Streams(report.site.name, live, settings)
    history = LateHistory(config.database, config.data / "postgres")
    await streams.seed()
    history.start()
    runner = web.AppRunner(
        _application(config, sites, live, streams, history), access_log=None, shutdown_timeout=3
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, config.host, config.port).start()
        ready("http://{}:{}/".format(*runner.addresses[0][:2]))
        await _until(
            stop,
            streams.follow(),
            follow_commands(sites, settings, offsets, lambda: _served(live, sites[report.site.name])),
        )
    finally:
        await runner.cleanup()
        await history.stop()


def _application(
    config: Config, sites: RecordedSites, live: LiveState, streams: Streams, history: LateHistory
) -> web.Application:
    health = Health(
        checks={
            "broker": streams.health,
            "database": checks.database(history),
            "redis": checks.redis(None),
            "gpu": checks.gpu(),
        },
        version=__version__,
    )
    return create_api(
        site=lambda: sites[streams.site],
        live=live,
        history=history,
        health=health,
        registry=CollectorRegistry(),
        record=partial(record_correction, settings=streams.settings),
        hosts=LOOPBACK if config.host in LOOPBACK else None,
    )


def _served(live: LiveState, site: Site) -> None:
    live.serve([camera.name for camera in site.cameras])


async def _until(stop: asyncio.Event, *endless: Any) -> None:
    """Run what never ends until told to stop; whichever fails ends it too, with its error."""
    stopping = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(one) for one in endless]
    try:
        done, _ = await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)


async def _main(environment: Mapping[str, str]) -> None:
    config = Config.from_env(environment)
    kafka = KafkaSettings.from_env(environment)
    config.data.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, kafka, stop, lambda page: log.info("spoton api is up", version=__version__, page=page))


def main() -> None:
    """Serve until told to stop; a mistake of the operator is one line and a non-zero exit."""
    diagnostics.configure()
    supervisor.end_with_supervisor()
    try:
        uvloop.run(_main(os.environ))
    except (SpotOnError, OSError) as error:
        print(f"spoton: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
