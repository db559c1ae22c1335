"""Recorded detections of the simulated plaza, and what an undisturbed run makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spoton import events, people, tracks, zones
from spoton.events import FoundByCamera, FrameCaptured
from spoton.sim.plaza import Plaza
from spoton.site import Site

SEEN = 0.4
"""How much of a person must be visible to be detected."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What cameras of one site found by themselves, at one rate. frames: by frame number, then by camera."""

    site: Site
    fps: float
    frames: tuple[tuple[FoundByCamera, ...], ...]
    size_px: tuple[int, int]

    @property
    def cameras(self) -> list[str]:
        """The cameras' names, in the order of the frames."""
        return [camera.name for camera in self.site.cameras]

    def at_us(self, epoch_us: int, frame: int) -> int:
        """Event time of a frame."""
        return epoch_us + round(frame * 1e6 / self.fps)

    def captured(self, epoch_us: int, frame: int) -> Iterator[FrameCaptured]:
        """One frame of every camera, as capture hands it on."""
        for camera, found in zip(self.cameras, self.frames[frame], strict=True):
            yield FrameCaptured(
                site=self.site.name,
                camera=camera,
                frame=frame,
                at=self.at_us(epoch_us, frame),
                session=1,
                epoch=epoch_us,
                size_px=self.size_px,
                found=found,
            )


def record(plaza: Plaza, site: Site, seconds: float, seed: int = 1) -> Recording:
    """What the plaza's cameras would find, with noise: 3 % of a box in place and size, 5 % missed."""
    rng = np.random.default_rng(seed)
    frames = []
    for n in range(round(seconds * plaza.fps)):
        found = []
        for k in range(len(site.cameras)):
            _, boxes, visible = plaza.boxes(n, k)
            boxes = boxes[(visible >= SEEN) & (rng.random(len(boxes)) >= 0.05)]
            noisy = boxes + rng.normal(size=boxes.shape) * 0.03 * boxes[:, 2:3]
            scores = np.round(rng.uniform(0.6, 0.95, len(boxes)), 4)
            found.append(
                FoundByCamera(boxes_px=[tuple(box) for box in np.round(noisy, 2).tolist()], scores=scores.tolist())
            )
        frames.append(tuple(found))
    return Recording(site, plaza.fps, tuple(frames), plaza.size_px)


def undisturbed(recording: Recording, epoch_us: int) -> list[events.Event]:
    """Every fact that follows from a recording when nothing goes wrong: the same pure functions, in order."""
    site = recording.site
    view = people.site_view(site)
    trackers = {camera: tracks.initial() for camera in recording.cameras}
    known, presence = people.initial(view), zones.ZoneState()
    facts: list[events.Event] = []
    for n in range(len(recording.frames)):
        for frame in recording.captured(epoch_us, n):
            detected, trackers[frame.camera] = tracks.step(
                trackers[frame.camera], seen(frame, site.thresholds.low_score), site.thresholds
            )
            for fact in detected:
                decided, known = people.step(known, fact, view)
                facts += [fact, *decided]
                for one in decided:
                    if not isinstance(one, zones.Input):
                        continue
                    moved, presence = zones.step(presence, one, site.zones)
                    facts += moved
    return facts


def seen(frame: FrameCaptured, low_score: float) -> tracks.FrameSeen:
    """The frame as the tracker gets it."""
    assert frame.found is not None
    boxes_px = np.asarray(frame.found.boxes_px, dtype=np.float64).reshape(-1, 4)
    scores = np.asarray(frame.found.scores, dtype=np.float64)
    return tracks.seen(frame, boxes_px, scores, detector=frame.found.detector, least_score=low_score)
