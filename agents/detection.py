"""Agent ``detection``: finds and tracks people in the newest frame of every camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import faust
import numpy as np
import structlog
from faust.types import AgentT

from agents.draining import unacknowledged
from agents.topics import Topics
from spoton import events, tracks
from spoton.errors import ModelError
from spoton.site import Site, Thresholds
from spoton.vision.eyes import Eyes
from spoton.vision.looks import with_looks
from spoton.vision.protocols import Detections, Detector, Embedder, Picture
from tables.packed import PackedTable

Item = tuple[events.Captured, faust.EventT[bytes]]
Result = TypeVar("Result")

log = structlog.get_logger("detection")


class Newest:
    """What waits to be looked at: per camera the changes of its source in order, and of its frames the newest.

    Memory is bounded by the number of cameras, however far the detector falls behind; the tracker sees the gap in
    the frame numbers and records it.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Item]] = {}
        self._arrived = asyncio.Event()

    def put(self, item: Item) -> Item | None:
        """Add what was captured; returns the older frame that it replaces, if any."""
        captured = item[0]
        items = self._waiting.setdefault(f"{captured.site}/{captured.camera}", [])
        self._arrived.set()
        if items and isinstance(captured, events.FrameCaptured) and isinstance(items[-1][0], events.FrameCaptured):
            replaced, items[-1] = items[-1], item
            return replaced
        items.append(item)
        return None

    async def take(self) -> dict[str, list[Item]]:
        """Everything that waits, by camera; waits until there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        taken, self._waiting = self._waiting, {}
        return taken


class Detectors:
    """The detector of every camera, made when it is first asked for, and again when the pictures' size changes.

    Raises ModelError at once for weights that are missing, damaged or of an unknown kind.
    """

    def __init__(self, sites: Mapping[str, Site], eyes: Eyes) -> None:
        self._eyes = eyes
        self._cameras = {f"{site.name}/{camera.name}": camera for site in sites.values() for camera in site.cameras}
        self._made = {key: (one.size_px, eyes.detector(one, one.size_px)) for key, one in self._cameras.items()}

    def names(self, site: Site) -> dict[str, str]:
        """What looks at each camera of a site."""
        return {one.name: self._made[f"{site.name}/{one.name}"][1].name for one in site.cameras}

    def lane(self, captured: events.Captured) -> str:
        """Which work goes together: that of all cameras with the same shared detector, or of one camera."""
        key = f"{captured.site}/{captured.camera}"
        made = self._made.get(key)
        return f"shared by {id(made[1])}" if made is not None and made[1].shared else key

    def of(self, frame: events.FrameCaptured) -> Detector | None:
        """The detector for a frame; None when no site has its camera."""
        key = f"{frame.site}/{frame.camera}"
        if key not in self._made:
            return None
        size_px, detector = self._made[key]
        if size_px != frame.size_px and not detector.shared:
            detector = self._eyes.detector(self._cameras[key], frame.size_px)
            self._made[key] = frame.size_px, detector
        return detector


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A decoded picture, who is in it, and what found them."""

    picture: Picture
    detections: Detections
    detector: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What looks at pictures. pool: threads; the models let others run meanwhile."""

    detectors: Detectors
    embedder: Embedder
    thresholds: Mapping[str, Thresholds]
    pool: Executor

    async def _run(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *args)

    async def find(self, frames: Sequence[events.FrameCaptured]) -> list[Found | None]:
        """Who is in each frame, in order; None for a frame that cannot be decoded or looked at."""
        detectors = [self.detectors.of(frame) for frame in frames]
        groups: dict[int, list[int]] = {}
        for row, detector in enumerate(detectors):
            groups.setdefault(id(detector), []).append(row)
        found: list[Found | None] = [None] * len(frames)

        async def find_in(rows: Sequence[int]) -> None:
            detector = detectors[rows[0]]
            if detector is not None:
                batch = await self._find(detector, [frames[row] for row in rows])
                for row, one in zip(rows, batch, strict=True):
                    found[row] = one

        await asyncio.gather(*map(find_in, groups.values()))
        return found

    async def _find(self, detector: Detector, frames: Sequence[events.FrameCaptured]) -> list[Found | None]:
        """One detector's frames, as one batch; a single frame is decoded and looked at in one thread."""
        try:
            if len(frames) == 1:
                return [await self._run(_find_one, detector, frames[0])]
            decoded = await asyncio.gather(*(self._run(_decode, frame.jpeg) for frame in frames))
            pictures = {row: picture for row, picture in enumerate(decoded) if picture is not None}
            detections = await self._run(detector.detect, list(pictures.values()))
        except ModelError as error:
            log.error("detector failed, frames are recorded as skipped", detector=detector.name, error=str(error))
            return [None] * len(frames)
        found = {
            row: Found(picture, one, detector.name)
            for (row, picture), one in zip(pictures.items(), detections, strict=True)
        }
        return [found.get(row) for row in range(len(frames))]

    async def describe(
        self, frame: events.FrameCaptured, found: Found | None, state: tracks.State
    ) -> tracks.FrameSeen | None:
        """What the tracker is to decide on: what was found, with the looks that its state has use for."""
        return None if found is None else await self._run(self._describe, frame, found, state)

    def _describe(self, frame: events.FrameCaptured, found: Found, state: tracks.State) -> tracks.FrameSeen:
        boxes_px, scores = tracks.quantise(
            found.detections.boxes_px, found.detections.scores, self.thresholds[frame.site].low_score
        )
        seen = tracks.FrameSeen(
            site=frame.site,
            camera=frame.camera,
            frame=frame.frame,
            at=frame.at,
            session=frame.session,
            first=frame.first,
            epoch=frame.epoch,
            origin=frame.origin,
            source=frame.source,
            size_px=frame.size_px,
            boxes_px=boxes_px,
            scores=scores,
            detector=found.detector,
        )
        return with_looks(seen, found.picture, state, self.thresholds[frame.site], self.embedder)


def _find_one(detector: Detector, frame: events.FrameCaptured) -> Found | None:
    picture = _decode(frame.jpeg)
    return None if picture is None else Found(picture, detector.detect([picture])[0], detector.name)


def _decode(jpeg: bytes) -> Picture | None:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def attach(
    app: faust.App,
    topics: Topics,
    table: PackedTable[tracks.State],
    sight: Sight,
    show: Callable[[events.FrameCaptured], None],
) -> AgentT[bytes]:
    """Read ``frames``, decide tracks per camera, keep each camera's tracker in the table.

    Cameras that share a detector are looked at as one batch; a camera with one of its own goes at its own pace.
    show: called with every frame that was looked at, for live pictures.
    """

    async def detect(stream: faust.StreamT[bytes]) -> None:
        lanes: dict[str, Newest] = {}

        async def serve(newest: Newest) -> None:
            """Find people in a camera's next frame while it is still decided what the last one means."""
            deciding: asyncio.Task[None] | None = None
            try:
                while True:
                    work = await newest.take()
                    frames = _frames(work)
                    found = dict(zip(map(id, frames), await sight.find(frames), strict=True))
                    if deciding is not None:
                        await deciding
                    deciding = asyncio.create_task(finish(work, found))
            finally:
                if deciding is not None:
                    deciding.cancel()

        async def finish(work: Mapping[str, Sequence[Item]], found: Mapping[int, Found | None]) -> None:
            await _decide(work, found, topics, table, sight)
            for frame in _frames(work):
                show(frame)
            for items in work.values():
                for _, item in items:
                    await stream.ack(item)

        async with asyncio.TaskGroup() as group:
            serving: list[asyncio.Task[None]] = []
            async for item in unacknowledged(stream):
                captured = events.decode_captured(item.value)
                lane = sight.detectors.lane(captured)
                if lane not in lanes:
                    lanes[lane] = Newest()
                    serving.append(group.create_task(serve(lanes[lane]), name=f"detection-{lane}"))
                replaced = lanes[lane].put((captured, item))
                if replaced is not None:
                    await stream.ack(replaced[1])
            for task in serving:
                task.cancel()

    return app.agent(topics.frames, name="detection")(detect)


def _frames(work: Mapping[str, Sequence[Item]]) -> list[events.FrameCaptured]:
    return [c for items in work.values() for c, _ in items if isinstance(c, events.FrameCaptured)]


async def _decide(
    work: Mapping[str, Sequence[Item]],
    found: Mapping[int, Found | None],
    topics: Topics,
    table: PackedTable[tracks.State],
    sight: Sight,
) -> None:
    states: dict[str, tracks.State] = {}

    async def decide(key: str, items: Sequence[Item]) -> list[events.DetectionEvent]:
        state, facts = table.get(key, tracks.initial), []
        for captured, _ in items:
            given: tracks.Input | None = captured if isinstance(captured, events.SourceChanged) else None
            if isinstance(captured, events.FrameCaptured):
                given = await sight.describe(captured, found[id(captured)], state)
            if given is not None:
                decided, state = tracks.step(state, given, sight.thresholds[captured.site])
                facts += decided
        states[key] = state
        return facts

    decided = await asyncio.gather(*(decide(key, items) for key, items in work.items()))
    await topics.publish([fact for facts in decided for fact in facts], keep=partial(table.set_all, states))
