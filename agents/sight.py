"""Looking at pictures: which detector looks at which camera, and what it and the embedder make of a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
import structlog

from spoton import events, tracks
from spoton.errors import ModelError
from spoton.site import CameraSite, Site, Thresholds
from spoton.vision.eyes import Eyes
from spoton.vision.looks import Tally, with_looks
from spoton.vision.protocols import Detections, Detector, Embedder, Picture

Result = TypeVar("Result")

log = structlog.get_logger("detection")


class Detectors:
    """The detector of every camera, made when it is first asked for, and again when camera or picture size changes.

    eyes: by site. Raises ModelError at once for weights that are missing, damaged or of an unknown kind.
    """

    def __init__(self, sites: Mapping[str, Site], eyes: Mapping[str, Eyes]) -> None:
        self._eyes = eyes
        self._sites = sites
        self._made: dict[str, tuple[CameraSite, tuple[int, int] | None, Detector]] = {}
        self._find_themselves: set[str] = set()
        for site in sites.values():
            for camera in site.cameras:
                self._make(site.name, camera, camera.size_px)

    def names(self, site: Site) -> dict[str, str]:
        """What looks at each camera of a site, of those that have a detector already."""
        keys = {one.name: f"{site.name}/{one.name}" for one in site.cameras}
        return {name: self._made[key][2].name for name, key in keys.items() if key in self._made}

    def lane(self, captured: events.Captured) -> str:
        """Which work goes together: that of all cameras with the same shared detector, or of one camera."""
        key = f"{captured.site}/{captured.camera}"
        if isinstance(captured, events.FrameCaptured) and captured.found is not None:
            self._find_themselves.add(key)
        if key in self._find_themselves:
            return "found by cameras"
        camera = self._camera(captured.site, captured.camera)
        if key not in self._made and camera is not None:
            try:
                self._make(captured.site, camera, camera.size_px)
            except ModelError as error:
                log.error("no detector", camera=captured.camera, error=str(error))
        made = self._made.get(key)
        return f"shared by {id(made[2])}" if made is not None and made[2].shared else key

    def of(self, frame: events.FrameCaptured) -> Detector | None:
        """The detector for a frame; None when no site has its camera, or none can be made for it."""
        key = f"{frame.site}/{frame.camera}"
        camera = self._camera(frame.site, frame.camera)
        if camera is None:
            self._made.pop(key, None)
            return None
        made = self._made.get(key)
        if made is None or made[0] is not camera or (made[1] != frame.size_px and not made[2].shared):
            try:
                return self._make(frame.site, camera, frame.size_px)
            except ModelError as error:
                # The camera goes on with what looked at it so far.
                log.error("no detector", camera=frame.camera, error=str(error))
        return made[2] if made is not None else None

    def _make(self, site: str, camera: CameraSite, size_px: tuple[int, int] | None) -> Detector:
        detector = self._eyes[site].detector(camera, size_px)
        self._made[f"{site}/{camera.name}"] = camera, size_px, detector
        return detector

    def _camera(self, site: str, name: str) -> CameraSite | None:
        known = self._sites.get(site)
        return next((one for one in known.cameras if one.name == name), None) if known is not None else None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A decoded picture, who is in it, and what found them. picture: None where a camera found them by itself."""

    picture: Picture | None
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
        self, frame: events.FrameCaptured, found: Found, picture: Picture, state: tracks.State
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


def _find_one(detector: Detector, frame: events.FrameCaptured) -> Found | None:
    picture = _decode(frame.jpeg)
    return None if picture is None else Found(picture, detector.detect([picture])[0], detector.name)


def _decode(jpeg: bytes) -> Picture | None:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
