"""Who reads which camera: said on the stream ``sources`` by whoever begins, so that two never go on side by side."""

from __future__ import annotations

from collections.abc import Callable

import faust
import msgspec
import structlog

from agents.draining import drained
from agents.topics import Topics

log = structlog.get_logger("capture")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A worker reads a camera (``site/camera``) from now on. at: its clock, microseconds UTC."""

    key: str
    worker: str
    at: int


class Claims:
    """What this worker has claimed, and what others claimed after it."""

    def __init__(self, worker: str, *, clock_us: Callable[[], int]) -> None:
        self._worker = worker
        self._clock_us = clock_us
        self._mine: dict[str, int] = {}
        self._lost: set[str] = set()
        self._topics: Topics | None = None

    def attach(self, app: faust.App, topics: Topics) -> None:
        """Read the claims of this worker's partitions."""
        self._topics = topics

        async def listen(stream: faust.StreamT[bytes]) -> None:
            async for batch in drained(stream, most=256):
                for item in batch:
                    self.heard(msgspec.json.decode(item.value, type=Claim))

        app.agent(topics.sources, name="claims")(listen)

    async def claim(self, key: str) -> None:
        """Say that this worker begins to read a camera."""
        assert self._topics is not None
        self._mine[key] = self._clock_us()
        claim = Claim(key=key, worker=self._worker, at=self._mine[key])
        await self._topics.claim(key, msgspec.json.encode(claim))

    def heard(self, claim: Claim) -> None:
        """Another worker's claim that is younger than this one's wins."""
        mine = self._mine.get(claim.key)
        if mine is not None and claim.worker != self._worker and claim.at > mine:
            log.warning("another worker reads this camera now", camera=claim.key, worker=claim.worker)
            self._lost.add(claim.key)

    def lost(self, key: str) -> bool:
        """Whether another worker has claimed a camera after this one did."""
        return key in self._lost

    def release(self, key: str) -> None:
        """This worker has nothing to do with a camera any more."""
        self._mine.pop(key, None)
        self._lost.discard(key)
