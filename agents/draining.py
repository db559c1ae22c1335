"""Taking everything that waits on a stream at once, and acknowledging it only when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import faust

from spoton.engine.batches import BatchConsumer


def unacknowledged(stream: faust.StreamT[bytes]) -> AsyncIterator[faust.EventT[bytes]]:
    """The stream's events, each of which the reader acknowledges itself with ``stream.ack``."""
    events: AsyncIterator[faust.EventT[bytes]] = cast("faust.Stream[bytes]", stream).noack().events()
    return events


async def drained(
    stream: faust.StreamT[bytes], *, most: int, gather_s: float = 0.0
) -> AsyncIterator[list[faust.EventT[bytes]]]:
    """Yield lists of 1 to ``most`` waiting events, oldest first.

    They are acknowledged when the consumer asks for the next list: what it was given is then done with. Faust's own
    ``take`` waits out its whole time-out before it hands anything over, and its streams give the loop away before
    every single event; this takes from the stream's queue whatever is there, after letting more gather for
    ``gather_s``. Events of a partition that a rebalance has taken away meanwhile are dropped: they come to its new
    owner, or again to us.
    """
    source = cast("faust.Stream[bytes]", stream)
    source._finalized = True
    await source.maybe_start()
    app, queue = source.app, cast(Any, source.channel).queue
    consumer = cast(BatchConsumer, app.consumer)
    while True:
        try:
            waiting = [await queue.get()]
        except StopAsyncIteration:
            return
        if gather_s:
            await asyncio.sleep(gather_s)
        # Not one by one through ``get_nowait``, which asks each time whether the partition's fetching may go on.
        waiting += [queue._queue.popleft() for _ in range(min(most - 1, queue.qsize()))]
        queue.maybe_endorse_pressure_drop()
        generation = app.consumer_generation_id
        if not app.flow_control.is_active():
            continue
        batch = [event for event in waiting if event.message.generation_id == generation]
        if not batch:
            continue
        yield batch
        consumer.acknowledge(batch)
