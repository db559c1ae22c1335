"""Taking everything that waits on a stream at once, and acknowledging it only when it is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast

import faust

from agents.keeping import Keeper
from spoton.engine.batches import BatchConsumer


def unacknowledged(stream: faust.StreamT[bytes]) -> AsyncIterator[faust.EventT[bytes]]:
    """The stream's events, each of which the reader acknowledges itself with ``stream.ack``."""
    events: AsyncIterator[faust.EventT[bytes]] = cast("faust.Stream[bytes]", stream).noack().events()
    return events


async def drained(
    stream: faust.StreamT[bytes], *, most: int, gather_s: float = 0.0, keeper: Keeper[Any] | None = None
) -> AsyncIterator[list[faust.EventT[bytes]]]:
    """Yield lists of 1 to ``most`` waiting events, oldest first.

    They are acknowledged when the consumer asks for the next list: what it was given is then done with; or, with a
    ``keeper``, when that has written the state that they led to. Faust's own
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
            async with asyncio.timeout_at(None if keeper is None else keeper.due_s):
                waiting = [await queue.get()]
        except TimeoutError:
            assert keeper is not None
            await keeper.settle()
            continue
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
        if keeper is None:
            consumer.acknowledge(batch)
        else:
            await keeper.done(batch)


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

    def done(self, stream: faust.StreamT[bytes], event: faust.EventT[bytes]) -> None:
        """An event has been dealt with: acknowledge it and those after it, as far as all before it are done with."""
        waiting = self._open.get(event.message.tp)
        if waiting is None:
            return
        self._done.add(id(event))
        while waiting and id(waiting[0]) in self._done:
            first = waiting.popleft()
            self._done.discard(id(first))
            cast(BatchConsumer, stream.app.consumer).acknowledge([first])

    def forget(self) -> None:
        """The partitions are given away: what is still open will come again, here or elsewhere."""
        self._open.clear()
        self._done.clear()
