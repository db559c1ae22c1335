"""Ends a worker that was away for too long, or that does not get on: its supervisor starts it anew.

After a pause that was longer than the broker waits for a sign of life (a suspended machine, SIGSTOP, a swap storm, a
blocked event loop) the partitions are another worker's. What this one still holds it must not write any more, so it
ends at once. A consumer that stands still although there is work, or whose agent failed, does not mend itself either.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import faust
from faust.transport.consumer import Consumer
from faust.types import AgentT
from faust.types.tuples import TP
from mode import Service

from spoton.running.supervisor import FAILED, FENCED, STALLED

BEAT_S = 0.25


class Progress:
    """How far every partition has been dealt with, and since when it has not moved although there is work."""

    def __init__(self) -> None:
        self._seen: dict[TP, tuple[int, float]] = {}

    def stalled(self, positions: dict[TP, tuple[int, int]], now_s: float) -> dict[TP, float]:
        """For each partition whose position is behind its end: for how long it has not moved, seconds.

        positions: partition to (next offset to deal with, offset after the newest record).
        """
        found = {}
        for tp, (position, end) in positions.items():
            before = self._seen.get(tp)
            if before is None or before[0] != position or position >= end:
                self._seen[tp] = position, now_s
            else:
                found[tp] = now_s - before[1]
        for tp in set(self._seen) - set(positions):
            del self._seen[tp]
        return found


def attach(
    app: faust.App, *, session_s: float, stall_s: float = 60.0, end: Callable[[int], None] = os._exit
) -> Progress:
    """Watch the app from a thread and from its own loop.

    session_s: how long the broker waits for a sign of life. stall_s: how long a partition with work may stand still.
    """
    progress = Progress()
    beat = [time.monotonic()]

    def watch(stopped: threading.Event) -> None:
        before_s = time.monotonic()
        while not stopped.wait(BEAT_S):
            now_s = time.monotonic()
            if now_s - before_s > session_s:
                _say(f"this worker was suspended for {now_s - before_s:.1f} s: others have its work, it starts anew")
                end(FENCED)
            if now_s - beat[0] > session_s:
                _say(f"the event loop has not turned for {now_s - beat[0]:.1f} s: others have its work, it starts anew")
                end(FENCED)
            before_s = now_s

    class Watchdog(Service):
        """Beats while the loop turns, and looks at what the consumer has dealt with."""

        async def on_start(self) -> None:
            self.ended = threading.Event()
            beat[0] = time.monotonic()
            threading.Thread(target=watch, args=(self.ended,), name="watchdog", daemon=True).start()

        @Service.task
        async def _beat(self) -> None:
            while not self.should_stop:
                beat[0] = time.monotonic()
                await self.sleep(BEAT_S)

        @Service.task
        async def _look(self) -> None:
            while not self.should_stop:
                await self.sleep(5.0)
                positions = {} if app.rebalancing else restored(app) if app.in_recovery else _positions(app)
                still = progress.stalled(positions, time.monotonic())
                worst = max(still, key=lambda tp: still[tp], default=None)
                if worst is not None and still[worst] > stall_s:
                    _say(f"{worst.topic} {worst.partition} has stood still for {still[worst]:.0f} s, it starts anew")
                    end(STALLED)

        async def on_stop(self) -> None:
            self.ended.set()

    async def failed(agent: AgentT[bytes], error: BaseException) -> None:
        # Faust would start the agent again, but what it had taken would stay undone, and its partition's commits with
        # it. A new process begins at what is committed.
        _say(f"agent {agent.name} failed, it starts anew: {type(error).__name__}: {error}")
        end(FAILED)

    for agent in app.agents.values():
        cast(Any, agent)._on_error = failed
    app.service(Watchdog)
    return progress


def _positions(app: faust.App) -> dict[TP, tuple[int, int]]:
    """What is acknowledged and what there is, of every partition that agents read."""
    consumer = cast(Consumer, app.consumer)
    positions: dict[TP, tuple[int, int]] = {}
    for tp in consumer.assignment():
        end = consumer.highwater(tp)
        done = consumer._committed_offset.get(tp)
        if tp.topic in app.topics.acking_topics and end is not None and done is not None:
            positions[tp] = done, end
    return positions


def restored(app: faust.App) -> dict[TP, tuple[int, int]]:
    """How far tables are restored, and how far that goes, of every changelog partition."""
    recovery = cast(Any, app.tables).recovery
    # Faust holds the newest record's offset, and that of the last one restored.
    return {tp: (recovery.active_offsets[tp], end) for tp, end in recovery.active_highwaters.items()}


def lag(app: faust.App) -> dict[Any, int]:
    """Records that each partition's reader lies behind its end."""
    return {tp: max(0, end - done) for tp, (done, end) in _positions(app).items()}


def _say(what: str) -> None:
    print(f"spoton: {what}", file=sys.stderr, flush=True)
