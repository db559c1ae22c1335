"""What agents know between two batches: in memory at once, in the table no more often than it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import faust

from spoton.engine.batches import BatchConsumer
from spoton.engine.outgoing import all_sent
from tables.packed import PackedTable

State = TypeVar("State")

EVERY_S = 1.0


class Keeper(Generic[State]):
    """The states of one agent's keys, and the events that led to them.

    A whole site's state is large, and batches are many. So it is written at most every ``every_s``, and what was read
    is acknowledged only then: whoever goes on from the table reads again what it does not cover, and decides it again
    with the same ids. That is right only for an agent whose input always comes in the same order.

    every_s: 0 where the broker writes facts and state as one; then both happen with every batch.
    """

    def __init__(self, app: faust.App, table: PackedTable[State], every_s: float = EVERY_S) -> None:
        self._app = app
        self._table = table
        self._every_s = every_s
        self._states: dict[str, State] = {}
        self._changed: set[str] = set()
        self._open: list[faust.EventT[bytes]] = []
        self.due_s: float | None = None
        if every_s:

            @app.on_partitions_revoked.connect(weak=False)
            async def give_away(*_: Any, **__: Any) -> None:
                self.forget()

    def get(self, key: str, initial: Callable[[], State]) -> State:
        """The state under ``key``, or the initial one when there is none."""
        if not self._every_s:
            return self._table.get(key, initial)
        if key not in self._states:
            self._states[key] = self._table.get(key, initial)
        return self._states[key]

    def keep(self, states: Mapping[str, State]) -> None:
        """These are the states from now on; their facts are safe."""
        if not self._every_s:
            self._table.set_all(states)
            return
        self._states.update(states)
        self._changed.update(states)

    async def done(self, batch: Sequence[faust.EventT[bytes]]) -> None:
        """A batch is dealt with: acknowledge it, now or with the table's next writing, which ``due_s`` tells."""
        self._open += batch
        now_s = asyncio.get_running_loop().time()
        if self.due_s is None:
            self.due_s = now_s + self._every_s
        if now_s >= self.due_s:
            await self.settle()

    async def settle(self) -> None:
        """Write what has changed and, once the changelog has it, acknowledge what led to it."""
        waiting, self._open, self.due_s = self._open, [], None
        generation = self._app.consumer_generation_id
        ours = not self._every_s or not self._app.rebalancing
        # Where the partitions may be another's by now, its state counts; if they are ours, the input comes again.
        if ours and waiting and waiting[-1].message.generation_id == generation:
            sent = self._table.set_all({key: self._states[key] for key in self._changed})
            self._changed.clear()
            await all_sent(sent)
            # Of events of partitions that are given away meanwhile this changes nothing.
            cast(BatchConsumer, self._app.consumer).acknowledge(waiting)

    def forget(self) -> None:
        """Keys may have been another worker's meanwhile: begin from the table again."""
        self._states.clear()
        self._changed.clear()
        self._open, self.due_s = [], None
