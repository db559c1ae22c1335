"""Taking everything that waits on a stream at once, and acknowledging it only when it is done."""

from __future__ import annotations

import asyncio
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
