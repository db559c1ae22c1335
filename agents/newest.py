"""What waits to be looked at: of every camera's pictures the newest, everything else in order."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import islice

import faust

from spoton import events

MOST_WAITING = 1024
"""What may wait for one detector, beside one picture of each camera."""

LEAST_SHARE, SHARES = 8, 4
"""Cameras that find people by themselves are dealt with in so many shares, none smaller than that."""

MOST_TAKEN = 256
"""So many of them are taken at once, if no camera has more: while the broker takes in what is decided of a backlog, the
next is decided."""

GATHER_S = 0.004
"""How long fewer than the least share wait for more."""

Item = tuple[events.Captured, faust.EventT[bytes]]


class Newest:
    """What waits to be looked at: per camera the changes of its source in order, and of its pictures the newest.

    Memory is bounded by the number of cameras, however far the detector falls behind; the tracker sees the gap in
    the frame numbers and records it. What a camera found by itself costs no detector: it is never left out, but waited
    for with ``room``.

    wait_s: how long pictures wait for those of the cameras that usually come with them.
    """

    def __init__(self, wait_s: float = 0.0) -> None:
        self._wait_s = wait_s
        self._usual: set[str] = set()
        self._more = asyncio.Event()
        self._waiting: dict[str, list[Item]] = {}
        self._count = 0
        self._has_pictures = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def put(self, item: Item) -> Item | None:
        """Add what was captured; returns the older frame that it replaces, if any."""
        captured = item[0]
        items = self._waiting.setdefault(f"{captured.site}/{captured.camera}", [])
        self._arrived.set()
        self._more.set()
        self._has_pictures = self._has_pictures or _is_picture(captured)
        if items and _is_picture(captured) and _is_picture(items[-1][0]):
            replaced, items[-1] = items[-1], item
            return replaced
        items.append(item)
        self._count += 1
        if self._count >= MOST_WAITING:
            self._room.clear()
        return None

    async def room(self) -> None:
        """Wait until what is there has been taken, if it is much."""
        await self._room.wait()

    async def take(self) -> dict[str, list[Item]]:
        """What waits, by camera; waits until there is something.

        Pictures come all together, as one batch for the detector. Of cameras that find people by themselves a share
        comes, those that have waited longest: what is decided of it goes on its way while the next is decided.
        """
        await self._arrived.wait()
        if not self._has_pictures and len(self._waiting) < LEAST_SHARE and self._count < MOST_TAKEN:
            # Every share costs requests to the broker, here and for all who read what comes of it.
            await asyncio.sleep(GATHER_S)
            await self._arrived.wait()
        if self._has_pictures and self._wait_s > 0:
            await self._others()
            await self._arrived.wait()
        share = len(self._waiting)
        if not self._has_pictures:
            share = max(LEAST_SHARE, share // SHARES)
        taken = self._take(share) if self._has_pictures else self._take(share, MOST_TAKEN)
        self._count = sum(map(len, self._waiting.values()))
        if not self._waiting:
            self._arrived.clear()
            self._has_pictures = False
        if self._count < MOST_WAITING:
            self._room.set()
        return taken

    def _take(self, cameras: int, most: int | None = None) -> dict[str, list[Item]]:
        taken: dict[str, list[Item]] = {}
        for key in list(islice(self._waiting, cameras)):
            items = self._waiting.pop(key)
            taken[key] = items[:most]
            if most is not None and len(items) > most:
                self._waiting[key] = items[most:]
            if most is not None and (most := most - len(taken[key])) <= 0:
                break
        return taken

    async def _others(self) -> None:
        """Wait for the cameras that came last time, until the time for it is over."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._wait_s
        while not self._usual <= self._waiting.keys() and (left_s := until_s - loop.time()) > 0:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), left_s)
        self._usual = set(self._waiting)

    def clear(self) -> None:
        """Forget what waits: another worker's matter now."""
        self._waiting, self._count = {}, 0
        self._has_pictures = False
        self._arrived.clear()
        self._room.set()


def _is_picture(captured: events.Captured) -> bool:
    return isinstance(captured, events.FrameCaptured) and captured.found is None
