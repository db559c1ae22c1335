"""Agent ``detection``: finds and tracks people in the newest frame of every camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import faust
from faust.types import AgentT

from agents.draining import InOrder, unacknowledged
from agents.newest import Item, Newest
from agents.sight import Found, Sight
from agents.topics import Topics
from agents.trackers import Trackers
from spoton import events, tracks

Result = TypeVar("Result")

FINISH_S = 5.0
"""How long a worker that has to give cameras away waits for the frames that it is deciding on."""


def attach(
    app: faust.App,
    topics: Topics,
    trackers: Trackers,
    sight: Sight,
    show: Callable[[events.FrameCaptured], None],
) -> AgentT[bytes]:
    """Read ``frames``, decide tracks per camera, keep each camera's tracker.

    Cameras that share a detector are looked at as one batch; a camera with one of its own goes at its own pace.
    show: called with every frame that was looked at, for live pictures.
    """
    lanes = Lanes(topics, trackers, sight, show)

    @app.on_partitions_revoked.connect(weak=False)
    async def give_away(*_: Any, **__: Any) -> None:
        await lanes.give_away()

    async def detect(stream: faust.StreamT[bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            serving: list[asyncio.Task[None]] = []
            lanes.clear(group)
            async for item in unacknowledged(stream):
                captured = events.decode_captured(item.value)
                lane = sight.detectors.lane(captured)
                lanes.order.came(item)
                newest = lanes.find(lane)
                if newest is None:
                    newest = lanes.add(lane, sight.detectors.wait_s(captured))
                    serving.append(group.create_task(lanes.serve(newest, stream), name=f"detection-{lane}"))
                await newest.room()
                replaced = newest.put((captured, item))
                if replaced is not None:
                    lanes.order.done(stream, replaced[1])
            for task in serving:
                task.cancel()

    return app.agent(topics.frames, name="detection")(detect)


class Lanes:
    """Cameras that are looked at together go in one lane, each lane at its own pace."""

    def __init__(
        self, topics: Topics, trackers: Trackers, sight: Sight, show: Callable[[events.FrameCaptured], None]
    ) -> None:
        self._topics = topics
        self._trackers = trackers
        self._sight = sight
        self._show = show
        self._lanes: dict[str, Newest] = {}
        self._in_hand: set[asyncio.Task[Any]] = set()
        self._generation = 0
        self._group: asyncio.TaskGroup
        self.order = InOrder()

    def find(self, lane: str) -> Newest | None:
        """What waits in a lane; None where there is no such lane yet."""
        return self._lanes.get(lane)

    def add(self, lane: str, wait_s: float = 0.0) -> Newest:
        """Open a lane whose pictures wait that long for others."""
        self._lanes[lane] = Newest(wait_s)
        return self._lanes[lane]

    def clear(self, group: asyncio.TaskGroup) -> None:
        """Close all lanes; what is decided from now on is recorded by tasks of this group."""
        self._group = group
        self._lanes.clear()
        self.order.forget()

    async def give_away(self) -> None:
        """Let the frames that are being decided on finish, forget all others and every camera's tracker.

        Another worker may have these cameras next, or this one again: then they are read from table and facts.
        """
        self._generation += 1
        for newest in self._lanes.values():
            newest.clear()
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=FINISH_S)
        self.order.forget()
        self._trackers.forget()

    async def serve(self, newest: Newest, stream: faust.StreamT[bytes]) -> None:
        """Find people in a camera's next frame while it is decided what the last one means.

        And decide that while the broker takes in what came of the one before.
        """
        deciding: asyncio.Task[asyncio.Task[None]] | None = None
        while True:
            work = await newest.take()
            generation = self._generation
            frames = _frames(work)
            found = dict(zip(map(id, frames), await self._sight.find(frames), strict=True))
            recording = None if deciding is None else await deciding
            if generation == self._generation:
                deciding = self._begin(self._decide_after(recording, work, found, stream))

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = self._group.create_task(work)
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)
        return task

    async def _decide_after(
        self,
        recording: asyncio.Task[None] | None,
        work: Mapping[str, Sequence[Item]],
        found: Mapping[int, Found | None],
        stream: faust.StreamT[bytes],
    ) -> asyncio.Task[None]:
        """Decide what frames mean, and begin to record it once what was decided before is recorded."""
        generation = self._generation
        facts, states = await self._decide(work, found)
        if generation == self._generation:
            self._trackers.decided(states)
        if recording is not None:
            await asyncio.wait([recording])
        return self._begin(self._record(generation, work, facts, states, stream))

    async def _decide(
        self, work: Mapping[str, Sequence[Item]], found: Mapping[int, Found | None]
    ) -> tuple[list[events.DetectionEvent], dict[str, tracks.State]]:
        states: dict[str, tracks.State] = {}

        async def decide(key: str, items: Sequence[Item]) -> list[events.DetectionEvent]:
            state, facts = await self._trackers.get(key), []
            for captured, _ in items:
                given: tracks.Input | None = captured if isinstance(captured, events.SourceChanged) else None
                if isinstance(captured, events.FrameCaptured):
                    given = await self._sight.describe(captured, found[id(captured)], state)
                if given is not None:
                    decided, state = tracks.step(state, given, self._sight.thresholds(captured.site))
                    facts += decided
            states[key] = state
            return facts

        decided = await asyncio.gather(*(decide(key, items) for key, items in work.items()))
        return [fact for facts in decided for fact in facts], states

    async def _record(
        self,
        generation: int,
        work: Mapping[str, Sequence[Item]],
        facts: Sequence[events.DetectionEvent],
        states: Mapping[str, tracks.State],
        stream: faust.StreamT[bytes],
    ) -> None:
        if generation != self._generation:
            # The cameras are given away, and whoever has them next decides these frames.
            return
        await self._topics.publish(facts, keep=partial(self._trackers.keep, states))
        for frame in _frames(work):
            self._show(frame)
        for items in work.values():
            for _, item in items:
                self.order.done(stream, item)


def _frames(work: Mapping[str, Sequence[Item]]) -> list[events.FrameCaptured]:
    return [c for items in work.values() for c, _ in items if isinstance(c, events.FrameCaptured)]
