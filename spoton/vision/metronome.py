"""When the frames of recordings are due: all recordings that share a time base keep one pace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Metronome:
    """Holds frames of recordings back until they are due.

    Time begins to run when each of the named cameras has asked for its first frame or has been said to fail, and
    begins at the earliest of those frames: however long a camera takes to open or to get to the frame it goes on
    with, equal times of two recordings are due at the same moment. A camera that joins or comes back later has its
    frames due at once until it has caught up.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._awaited = set(cameras)
        self._begun = asyncio.Event()
        self._first_us: int | None = None
        self._zero_s: float | None = None

    async def due(self, camera: str, at_us: int) -> None:
        """Return when a camera's frame is due; at_us: its time in the recording, microseconds."""
        if self._zero_s is None:
            self._first_us = at_us if self._first_us is None else min(at_us, self._first_us)
            self.failed(camera)
            await self._begun.wait()
        assert self._zero_s is not None
        await asyncio.sleep(max(0.0, self._zero_s + at_us / 1e6 - _now_s()))

    def failed(self, camera: str) -> None:
        """Do not wait for this camera (any longer)."""
        self._awaited.discard(camera)
        if self._zero_s is None and self._first_us is not None and not self._awaited:
            self._zero_s = _now_s() - self._first_us / 1e6
            self._begun.set()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
