"""The Faust transport ``log:///folder``: agents and tables on the embedded log, no broker to run.

Faust finds it through the entry point ``faust.transports``; where the package is not installed, call ``register()``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport import base
from faust.transport.drivers import TRANSPORTS
from mode.utils.times import want_seconds

from spoton.log.consumer import Consumer
from spoton.log.log import Log
from spoton.log.producer import Producer
from spoton.log.settings import LogSettings

Assignor = PartitionAssignor
"""Faust's own assignor serves both engines: this consumer hands it every changelog partition as active."""


class Conductor(base.Conductor):
    """Faust's conductor; a changed subscription costs nothing here, so it is taken up within a second."""

    _resubscribe_sleep_lock_seconds = 1.0


class Transport(base.Transport):
    """One log per app, opened by whichever of producer and consumer starts first, closed with the producer."""

    Consumer = Consumer
    Producer = Producer
    Conductor = Conductor
    driver_version = "spoton-log"

    def __init__(self, url: list[Any], app: Any, loop: Any = None) -> None:
        super().__init__(url, app, loop)
        self.settings = LogSettings.from_url(str(url[0]))
        self._log: Log | None = None

    @property
    def log(self) -> Log | None:
        """The log while it is open."""
        return self._log

    async def open_log(self) -> Log:
        """Open the log once; later calls give the same one.

        Raises:
            LogLocked: another process owns it.
            LogCorrupt, LogFull, LogError: its file cannot be used.
        """
        if self._log is None:
            log = Log(self.settings)
            await log.open()
            self._log = log
        return self._log

    async def close_log(self) -> None:
        """Close the log if it is open."""
        log, self._log = self._log, None
        if log is not None:
            await log.close()

    def declare_used(self, log: Log, topics: Iterable[str]) -> None:
        """Make topics that are used before anyone declared them, as the app describes them."""
        described = {name: channel for channel in self.app.topics for name in channel.topics}
        for topic in topics:
            if log.partitions(topic) is None or topic in described:
                channel = described.get(topic)
                log.declare(
                    topic,
                    getattr(channel, "partitions", None) or self.app.conf.topic_partitions,
                    retention_s=want_seconds(channel.retention) if channel and channel.retention else None,
                    compacting=bool(channel and channel.compacting),
                )


def register() -> None:
    """Make ``log://`` known to Faust without the installed entry point."""
    TRANSPORTS.aliases["log"] = "spoton.log.transport:Transport"
