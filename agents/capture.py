"""Capture: reads every camera of the sites, stamps and packs its pictures, and keeps it going."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import cv2
import structlog

from agents.progress import Progress, resumed
from agents.topics import Topics
from spoton import events
from spoton.site import CameraSite, Site
from spoton.vision.metronome import Metronome
from spoton.vision.protocols import Frame, FrameSource, Picture
from spoton.vision.reconnect import Backoff, FrameArrived, Item, SourceDown, SourceEnded, SourceUp, watch
from tables.sources import SourceState

JPEG_QUALITY = 90

log = structlog.get_logger("capture")


async def _forget(key: str, state: SourceState) -> None:
    """Where what was tracked tells how far a camera has got, it need not be noted."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What reading cameras needs. open_source: makes a camera's source; clock_us: the wall clock, UTC.

    known: where a camera (``site/camera``) goes on, None for one never read. claim: told before a camera is read.
    note: told how far a camera has got; returns when that is safe. pool: threads that write pictures as JPEG,
    not shared with those that wait for detectors. backoff: how long a camera waits before it is tried again.
    """

    topics: Topics
    known: Callable[[str], SourceState | None]
    open_source: Callable[[Site, CameraSite], FrameSource]
    clock_us: Callable[[], int]
    pool: Executor
    rng: random.Random
    note: Callable[[str, SourceState], Awaitable[None]] = _forget
    claim: Callable[[str], Awaitable[None]] | None = None
    backoff: Backoff = field(default_factory=Backoff)

    async def run(self, site: Site) -> None:
        """Read all cameras of a site until cancelled; one camera's trouble is its own."""
        async with asyncio.TaskGroup() as group:
            for name, reading in self.readings(site, site.cameras).items():
                group.create_task(reading, name=f"capture-{name}")

    def readings(self, site: Site, cameras: Iterable[CameraSite]) -> dict[str, Coroutine[Any, Any, None]]:
        """For each of the cameras, by name, what reads it until cancelled or until its recording ends."""
        now_us = self.clock_us()
        wanted = tuple(cameras)
        progress = {
            camera.name: resumed(
                site, camera, self.known(f"{site.name}/{camera.name}"), now_us=now_us, shared=self.claim is not None
            )
            for camera in wanted
        }
        # Recordings of one site keep one common time base, across restarts too.
        base_us = min((one.epoch_us for one in progress.values() if one.epoch_us and not one.ended), default=now_us)
        for one in progress.values():
            if one.recorded and not one.epoch_us:
                one.epoch_us = base_us
        read = []
        for camera in wanted:
            if progress[camera.name].ended and not camera.loop:
                log.warning(
                    "video was read to its end before; to read it again give it loop = true, or start with a new "
                    "data folder",
                    camera=camera.name,
                    source=progress[camera.name].source,
                )
            else:
                read.append(camera)
        metronomes = _metronomes({camera.name: progress[camera.name] for camera in read})
        return {
            camera.name: self._camera(
                site, camera, progress[camera.name], metronomes.get(progress[camera.name].epoch_us)
            )
            for camera in read
        }

    async def _camera(self, site: Site, camera: CameraSite, progress: Progress, metronome: Metronome | None) -> None:
        """Read one camera until its recording ends; a mistake made while doing so ends neither it nor the others."""
        failures = 0
        if self.claim is not None:
            await self.claim(f"{site.name}/{camera.name}")
        while True:
            began_s = asyncio.get_running_loop().time()
            try:
                await self._follow(site, camera, progress, metronome)
                return
            except Exception as error:
                lasted_s = asyncio.get_running_loop().time() - began_s
                failures = 1 if lasted_s >= self.backoff.steady_s else failures + 1
                retry_in_s = self.backoff.wait_s(failures, self.rng)
                log.exception("reading a camera failed", camera=camera.name, retry_in_s=retry_in_s)
                at_us = progress.offline_at_us if progress.recorded else self.clock_us()
                reason = f"{type(error).__name__}: {error}"
                await self._offline(site, camera, progress, at_us, progress.session, reason, retry_in_s=retry_in_s)
                await asyncio.sleep(retry_in_s)
                if camera.loop and progress.recorded:
                    # It begins with its first frame again, in its own time.
                    progress.origin, progress.epoch_us = progress.next_frame, self.clock_us()
                    metronome = Metronome([camera.name])

    async def _follow(self, site: Site, camera: CameraSite, progress: Progress, metronome: Metronome | None) -> None:
        before = progress.session
        watching = watch(
            camera.name,
            open_=lambda: self.open_source(site, camera),
            clock_us=self.clock_us,
            rng=random.Random(self.rng.random()),
            backoff=self.backoff,
            start_index=progress.next_frame,
            read_from=progress.next_frame - progress.origin if progress.recorded else None,
            metronome=metronome,
            loop=camera.loop,
        )
        async with aclosing(watching) as items:
            async for item in items:
                await self._hand_over(site, camera, progress, item, before + item.session)

    async def _hand_over(self, site: Site, camera: CameraSite, progress: Progress, item: Item, session: int) -> None:
        match item:
            case FrameArrived(frame=frame, dropped=dropped):
                progress.arrived(frame, dropped, session)
                captured = await self._captured(site, camera, progress, frame)
                # A recording may give the same frame again, which the tracker knows by its time; what another frame
                # must never have is a number that was given already.
                again = progress.recorded and not camera.loop
                if not again:
                    await self._note(site, camera, progress)
                await self.topics.capture(captured)
                if again:
                    await self._note(site, camera, progress)
            case SourceUp(size=size):
                log.info("camera online", camera=camera.name, session=session, source=progress.source, size=size)
            case SourceDown(at_us=at_us, reason=reason, retry_in_s=retry_in_s):
                log.warning("camera offline", camera=camera.name, reason=reason, retry_in_s=retry_in_s)
                at_us = progress.offline_at_us if progress.recorded else at_us
                await self._offline(site, camera, progress, at_us, session, reason, retry_in_s=retry_in_s)
            case SourceEnded():
                log.info("video read to its end", camera=camera.name, source=progress.source)
                at_us = progress.offline_at_us
                await self._offline(site, camera, progress, at_us, session, "read to its end", ended=True)

    async def _captured(self, site: Site, camera: CameraSite, progress: Progress, frame: Frame) -> events.FrameCaptured:
        jpeg = await asyncio.get_running_loop().run_in_executor(self.pool, _encode, frame.picture)
        return events.FrameCaptured(
            site=site.name,
            camera=camera.name,
            frame=frame.index,
            at=progress.at_us,
            epoch=progress.epoch_us,
            origin=progress.origin,
            source=progress.source,
            session=progress.session,
            first=progress.first,
            size_px=(frame.picture.shape[1], frame.picture.shape[0]),
            jpeg=jpeg,
        )

    async def _offline(
        self,
        site: Site,
        camera: CameraSite,
        progress: Progress,
        at_us: int,
        session: int,
        reason: str,
        *,
        retry_in_s: float | None = None,
        ended: bool = False,
    ) -> None:
        changed = events.SourceChanged(
            site=site.name,
            camera=camera.name,
            at=at_us,
            session=session,
            online=False,
            ended=ended,
            reason=reason,
            retry_in_s=retry_in_s,
        )
        await self.topics.capture(changed)
        if ended:
            progress.ended, progress.session = True, session
        await self._note(site, camera, progress)

    async def _note(self, site: Site, camera: CameraSite, progress: Progress) -> None:
        state = SourceState(
            source=progress.source,
            session=progress.session,
            next_frame=progress.next_frame,
            epoch=progress.epoch_us,
            origin=progress.origin,
            at=progress.at_us,
            ended=progress.ended,
            period_us=progress.period_us,
        )
        await self.note(f"{site.name}/{camera.name}", state)


def _metronomes(progress: Mapping[str, Progress]) -> dict[int, Metronome]:
    """One for all recordings of the same epoch."""
    cameras: dict[int, list[str]] = {}
    for name, one in progress.items():
        if one.recorded:
            cameras.setdefault(one.epoch_us, []).append(name)
    return {epoch_us: Metronome(names) for epoch_us, names in cameras.items()}


def _encode(picture: Picture) -> bytes:
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return jpeg.tobytes()
