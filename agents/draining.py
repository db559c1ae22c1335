"""Taking everything that waits on a stream at once, and acknowledging it only when it is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import faust


def unacknowledged(stream: faust.StreamT[bytes]) -> AsyncIterator[faust.EventT[bytes]]:
    """The stream's events, each of which the reader acknowledges itself with ``stream.ack``."""
    events: AsyncIterator[faust.EventT[bytes]] = cast("faust.Stream[bytes]", stream).noack().events()
    return events


async def drained(
    stream: faust.StreamT[bytes], *, most: int, gather_s: float = 0.0
) -> AsyncIterator[list[faust.EventT[bytes]]]:
    """Yield lists of 1 to ``most`` waiting events, oldest first.

    They are acknowledged when the consumer asks for the next list: what it was given is then done with. Faust's own
    ``take`` waits out its whole time-out before it hands anything over; this hands over as soon as something is
    there, after letting more gather for ``gather_s``.
    """
    waiting: list[faust.EventT[bytes]] = []
    arrived = asyncio.Event()
    room = asyncio.Event()
    room.set()

    async def read() -> None:
        async for event in unacknowledged(stream):
            waiting.append(event)
            arrived.set()
            if len(waiting) >= most:
                room.clear()
                await room.wait()

    reader = asyncio.create_task(read(), name="drain")
    reader.add_done_callback(lambda _: arrived.set())
    try:
        while True:
            await arrived.wait()
            if reader.done():
                reader.result()
                return
            if gather_s:
                await asyncio.sleep(gather_s)
            arrived.clear()
            batch, waiting[:] = waiting[:], []
            room.set()
            if not batch:
                continue
            yield batch
            for event in batch:
                await stream.ack(event)
    finally:
        reader.cancel()


class InOrder:
    """Acknowledges events in the order in which they came, whatever the order in which they are dealt with.

    Faust commits the first unbroken run of acknowledged offsets, also one that begins after an event which is still
    being dealt with: that one would be lost with the worker.
    """

    def __init__(self) -> None:
        self._open: dict[object, deque[faust.EventT[bytes]]] = {}
        self._done: set[int] = set()

    def came(self, event: faust.EventT[bytes]) -> None:
        """An event was taken from the stream."""
        self._open.setdefault(event.message.tp, deque()).append(event)

    async def done(self, stream: faust.StreamT[bytes], event: faust.EventT[bytes]) -> None:
        """An event has been dealt with: acknowledge it and those after it, as far as all before it are done with."""
        waiting = self._open.get(event.message.tp)
        if waiting is None:
            return
        self._done.add(id(event))
        while waiting and id(waiting[0]) in self._done:
            first = waiting.popleft()
            self._done.discard(id(first))
            await stream.ack(first)

    def forget(self) -> None:
        """The partitions are given away: what is still open will come again, here or elsewhere."""
        self._open.clear()
        self._done.clear()
