"""History that may come later: live tracking does not wait for a database, and what is written waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from spoton.errors import HistoryError
from spoton.history.embedded import EmbeddedPostgres
from spoton.history.history import History

log = structlog.get_logger("history")


class LateHistory:
    """Connects in the background and keeps trying; until then questions raise HistoryError and writes wait.

    url: of the database; empty: start the embedded PostgreSQL in ``folder``.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._server: EmbeddedPostgres | None = None
        self._history: History | None = None
        self._there = asyncio.Event()
        self._why = "still starting"
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._connecting = asyncio.create_task(self._connect(), name="history")

    async def stop(self) -> None:
        """Close connections, and the embedded server when nobody else uses it."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._history is not None:
            await self._history.close()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def _connect(self) -> None:
        wait_s = 0.5
        while True:
            try:
                if not self._url and self._server is None:
                    self._server = await asyncio.to_thread(EmbeddedPostgres, self._folder)
                url = self._url or self._server.url if self._server is not None else self._url
                self._history = await History.connect(url)
                self._there.set()
                log.info("history is there", database=self._url.split("@")[-1] or "embedded PostgreSQL")
                return
            except HistoryError as error:
                self._why = str(error)
                log.warning("no history yet", retry_in_s=wait_s, error=self._why)
                await asyncio.sleep(wait_s)
                wait_s = min(15.0, wait_s * 2)

    async def write_when_there(self, batch: Sequence[bytes]) -> None:
        """Bring events in; returns when they are."""
        await self._there.wait()
        assert self._history is not None
        await self._history.write_when_there(batch)

    def _ask(self, question: Callable[[History], Awaitable[Any]]) -> Awaitable[Any]:
        if self._history is None:
            raise HistoryError(f"no history yet: {self._why}", remedy="try again in a few seconds")
        return question(self._history)

    async def ping(self) -> float:
        """As ``History.ping``."""
        return float(await self._ask(lambda history: history.ping()))

    async def persons(self, site: str, **bounds: Any) -> list[dict[str, Any]]:
        """As ``History.persons``."""
        found: list[dict[str, Any]] = await self._ask(lambda history: history.persons(site, **bounds))
        return found

    async def trajectory(self, site: str, person: str, **bounds: Any) -> list[dict[str, Any]]:
        """As ``History.trajectory``."""
        found: list[dict[str, Any]] = await self._ask(lambda history: history.trajectory(site, person, **bounds))
        return found

    async def correctable(self, site: str, event: str) -> str | None:
        """As ``History.correctable``."""
        found: str | None = await self._ask(lambda history: history.correctable(site, event))
        return found

    async def lineage(self, site: str, person: str) -> list[str]:
        """As ``History.lineage``."""
        found: list[str] = await self._ask(lambda history: history.lineage(site, person))
        return found

    async def events(self, site: str, **bounds: Any) -> tuple[list[str], str | None]:
        """As ``History.events``."""
        found: tuple[list[str], str | None] = await self._ask(lambda history: history.events(site, **bounds))
        return found
