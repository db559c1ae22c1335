"""Which detector looks at which camera, and what takes its place when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import structlog

from spoton import events
from spoton.errors import SpotOnError
from spoton.site import CameraSite, Site
from spoton.vision.detector_state import DetectorNow
from spoton.vision.eyes import Eyes
from spoton.vision.protocols import Detector

GPU_WAIT_S = 0.005
"""How long a picture waits for those of other cameras where a GPU looks at them in one run."""

log = structlog.get_logger("detection")


@dataclass(frozen=True, slots=True, eq=False)
class _Looking:
    """What looks at a camera. camera: as it was when that was made. before: of another kind, what did so before."""

    camera: CameraSite
    size_px: tuple[int, int] | None
    detector: Detector
    before: Detector | None = None


class Detectors:
    """The detector of every camera, made when it is first asked for, and again when camera or picture size changes.

    A detector whose weights have to be read is made in a thread; until it is there, and when it cannot be made, the
    camera goes on with the one it has. eyes: by site. Raises ModelError at once for weights that are missing, damaged
    or of an unknown kind.
    """

    def __init__(self, sites: Mapping[str, Site], eyes: Mapping[str, Eyes], pool: Executor) -> None:
        self._eyes = eyes
        self._sites = sites
        self._pool = pool
        self._looking: dict[str, _Looking] = {}
        self._making: dict[str, tuple[CameraSite, Future[Detector]]] = {}
        self._refused: dict[str, CameraSite] = {}
        self._failures: dict[str, int] = {}
        self._find_themselves: set[str] = set()
        for site in sites.values():
            for camera in site.cameras:
                made = self._eyes[site.name].detector(camera, camera.size_px)
                self._looking[f"{site.name}/{camera.name}"] = _Looking(camera, camera.size_px, made)

    def names(self, site: Site) -> dict[str, str]:
        """What looks at each camera of a site, of those that have a detector already."""
        keys = {one.name: f"{site.name}/{one.name}" for one in site.cameras}
        return {name: self._looking[key].detector.name for name, key in keys.items() if key in self._looking}

    def now(self) -> list[DetectorNow]:
        """How each detector is doing, by name; those of one name count as one."""
        by_name: dict[str, list[Detector]] = {}
        for looking in self._looking.values():
            by_name.setdefault(looking.detector.name, []).append(looking.detector)
        for name in self._failures:
            by_name.setdefault(name, [])
        return [DetectorNow.of(name, some, self._failures.get(name, 0)) for name, some in sorted(by_name.items())]

    def lane(self, captured: events.Captured) -> str:
        """Which work goes together: that of all cameras with the same shared detector, or of one camera."""
        key = f"{captured.site}/{captured.camera}"
        if isinstance(captured, events.FrameCaptured) and captured.found is not None:
            self._find_themselves.add(key)
        if key in self._find_themselves:
            return "found by cameras"
        camera = self._camera(captured.site, captured.camera)
        if key not in self._looking and camera is not None:
            self._renew(key, captured.site, camera, camera.size_px)
        looking = self._looking.get(key)
        return f"shared by {id(looking.detector)}" if looking is not None and looking.detector.shared else key

    def wait_s(self, captured: events.Captured) -> float:
        """How long a picture may wait for others, to be looked at in one run with them."""
        looking = self._looking.get(f"{captured.site}/{captured.camera}")
        if looking is None or not looking.detector.shared:
            return 0.0
        wished_ms = self._eyes[captured.site].inference.batch_wait_ms
        if wished_ms is not None:
            return wished_ms / 1000
        return GPU_WAIT_S if getattr(looking.detector, "on_gpu", False) else 0.0

    def of(self, frame: events.FrameCaptured) -> Detector | None:
        """The detector for a frame; None when no site has its camera, or there is none for it yet."""
        key = f"{frame.site}/{frame.camera}"
        camera = self._camera(frame.site, frame.camera)
        if camera is None:
            for known in (self._looking, self._making, self._refused):
                known.pop(key, None)
            return None
        looking = self._looking.get(key)
        fits = looking is not None and (looking.size_px == frame.size_px or looking.detector.shared)
        if looking is None or looking.camera is not camera or not fits:
            self._renew(key, frame.site, camera, frame.size_px)
            looking = self._looking.get(key)
        return looking.detector if looking is not None else None

    def fall_back(self, frame: events.FrameCaptured, failed: Detector, error: SpotOnError) -> Detector | None:
        """What looks at a frame whose detector failed: the one before it, from now on; None where there is none."""
        key = f"{frame.site}/{frame.camera}"
        self._failures[failed.name] = self._failures.get(failed.name, 0) + 1
        looking = self._looking.get(key)
        if looking is not None and looking.detector is not failed:
            return looking.detector
        if looking is None or looking.before is None:
            log.error(
                "detector failed, frames are recorded as skipped",
                camera=frame.camera, detector=failed.name, error=str(error),
            )  # fmt: skip
            return None
        log.error(
            "detector failed, the camera goes on with the previous one",
            camera=frame.camera, detector=failed.name, previous=looking.before.name, error=str(error),
        )  # fmt: skip
        self._looking[key] = replace(looking, detector=looking.before, before=None)
        return looking.before

    def _renew(self, key: str, site: str, camera: CameraSite, size_px: tuple[int, int] | None) -> None:
        """Put another detector in place, now or when it has been made; once only where it cannot be."""
        if self._refused.get(key) is camera:
            return
        eyes = self._eyes[site]
        making = self._making.get(key)
        if making is not None and making[0] is camera:
            if making[1].done():
                del self._making[key]
                self._take(key, camera, size_px, making[1])
            return
        future: Future[Detector]
        if eyes.at_hand(camera):
            future = Future()
            try:
                future.set_result(eyes.detector(camera, size_px))
            except SpotOnError as error:
                future.set_exception(error)
            self._take(key, camera, size_px, future)
        else:
            self._making[key] = camera, self._pool.submit(eyes.detector, camera, size_px)

    def _take(self, key: str, camera: CameraSite, size_px: tuple[int, int] | None, made: Future[Detector]) -> None:
        before = self._looking.get(key)
        try:
            detector = made.result()
        except Exception as error:
            self._refused[key] = camera
            goes_on = {} if before is None else {"goes_on_with": before.detector.name}
            log.error("no detector", camera=camera.name, error=str(error), **goes_on)
            return
        self._refused.pop(key, None)
        if before is None:
            self._looking[key] = _Looking(camera, size_px, detector)
            return
        other = before.detector is not detector and before.detector.name != detector.name
        if other:
            log.info("another detector", camera=camera.name, detector=detector.name, previous=before.detector.name)
        self._looking[key] = _Looking(camera, size_px, detector, before.detector if other else before.before)

    def _camera(self, site: str, name: str) -> CameraSite | None:
        known = self._sites.get(site)
        cameras: Sequence[CameraSite] = known.cameras if known is not None else ()
        return next((one for one in cameras if one.name == name), None)
