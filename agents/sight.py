"""Looking at pictures: what a camera's detector and the embedder make of a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import structlog

from agents.detectors import Detectors
from spoton import events, tracks
from spoton.errors import ModelError, SpotOnError
from spoton.site import Site, Thresholds
from spoton.vision.device_picture import DevicePicture
from spoton.vision.jpegs import DeviceJpegs, decoded
from spoton.vision.looks import Tally, with_looks
from spoton.vision.protocols import Detections, Detector, Embedder, Picture

Result = TypeVar("Result")

log = structlog.get_logger("detection")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A decoded picture, who is in it, and what found them. picture: None where a camera found them by itself."""

    picture: Picture | DevicePicture | None
    detections: Detections
    detector: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What looks at pictures.

    embedders: by site. pool: threads; the models let others run meanwhile. looked: by site, what became of the boxes
    around people, counted here.
    """

    detectors: Detectors
    embedders: Mapping[str, Embedder]
    sites: Mapping[str, Site]
    pool: Executor
    looked: MutableMapping[str, Tally] = field(default_factory=dict)

    def thresholds(self, site: str) -> Thresholds:
        """What a site's tracks are decided by."""
        known = self.sites.get(site)
        return known.thresholds if known is not None else Thresholds()

    async def _run(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *args)

    async def find(self, frames: Sequence[events.FrameCaptured]) -> list[Found | None]:
        """Who is in each frame, in order; None for a frame that cannot be decoded or looked at."""
        found = [_found_by_camera(frame) for frame in frames]
        detectors = [self.detectors.of(frame) if found[row] is None else None for row, frame in enumerate(frames)]
        groups: dict[int, list[int]] = {}
        for row, detector in enumerate(detectors):
            if found[row] is None:
                groups.setdefault(id(detector), []).append(row)

        async def find_in(rows: Sequence[int], detector: Detector | None) -> None:
            if detector is None:
                return
            try:
                batch = await self._find(detector, [frames[row] for row in rows])
            except SpotOnError as error:
                before = [self.detectors.fall_back(frames[row], detector, error) for row in rows]
                for other in {id(one): one for one in before}.values():
                    await find_in([row for row, one in zip(rows, before, strict=True) if one is other], other)
                return
            for row, one in zip(rows, batch, strict=True):
                found[row] = one

        await asyncio.gather(*(find_in(rows, detectors[rows[0]]) for rows in groups.values()))
        return found

    async def _find(self, detector: Detector, frames: Sequence[events.FrameCaptured]) -> list[Found | None]:
        """One detector's frames, as one batch; a single frame is decoded and looked at in one thread.

        So is a batch that a GPU decodes. Raises what the detector raises.
        """
        jpegs = [frame.jpeg for frame in frames]
        on_device: DeviceJpegs | None = getattr(detector, "jpegs", None)
        if on_device is not None:
            return await self._run(lambda: _find_in(detector, on_device.pictures(jpegs)))
        if len(jpegs) == 1:
            return await self._run(lambda: _find_in(detector, [decoded(jpegs[0])]))
        pictures = await asyncio.gather(*(self._run(decoded, jpeg) for jpeg in jpegs))
        return await self._run(_find_in, detector, pictures)

    async def describe(
        self, frame: events.FrameCaptured, found: Found | None, state: tracks.State
    ) -> tracks.FrameSeen | None:
        """What the tracker is to decide on: what was found, with the looks that its state has use for.

        Where the embedder fails, places alone have to do.
        """
        if found is None:
            return None
        if found.picture is None:
            return self._seen(frame, found)
        try:
            seen, tally = await self._run(self._describe, frame, found, found.picture, state)
        except ModelError as error:
            log.error("embedder failed, the frame goes on without looks", camera=frame.camera, error=str(error))
            return self._seen(frame, found)
        self.looked[frame.site] = self.looked.get(frame.site, Tally()) + tally
        return seen

    def _describe(
        self, frame: events.FrameCaptured, found: Found, picture: Picture | DevicePicture, state: tracks.State
    ) -> tuple[tracks.FrameSeen, Tally]:
        thresholds, embedder = self.thresholds(frame.site), self.embedders[frame.site]
        return with_looks(self._seen(frame, found), picture, state, thresholds, embedder)

    def _seen(self, frame: events.FrameCaptured, found: Found) -> tracks.FrameSeen:
        found_px, scores = found.detections.boxes_px, found.detections.scores
        least_score = self.thresholds(frame.site).low_score
        return tracks.seen(frame, found_px, scores, detector=found.detector, least_score=least_score)


def _found_by_camera(frame: events.FrameCaptured) -> Found | None:
    if frame.found is None:
        return None
    boxes_px = np.asarray(frame.found.boxes_px, dtype=np.float64).reshape(-1, 4)
    detections = Detections(boxes_px, np.asarray(frame.found.scores, dtype=np.float64))
    return Found(None, detections, frame.found.detector)


def _find_in(detector: Detector, pictures: Sequence[Picture | DevicePicture | None]) -> list[Found | None]:
    """Who is in each picture, in order; None where there is none."""
    whole = [picture for picture in pictures if picture is not None]
    # Those on a device are for a detector that takes them, or it would not have them decoded there.
    found = iter(detector.detect(cast(list[Picture], whole)))
    return [None if picture is None else Found(picture, next(found), detector.name) for picture in pictures]
