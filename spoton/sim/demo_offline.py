"""The demo's site watched frame by frame, not in real time: every picture painted and looked at, or no pictures at all.

Tracks, identities and places come from the same code as live; what differs is only that nothing is ever skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.progress import Progress

from spoton import tracks
from spoton.offline.footage import Footage, OneFrame, from_video
from spoton.offline.track import Looked, happened
from spoton.sim.demo_score import Watched
from spoton.sim.floor import SimulatedFloor
from spoton.sim.noise import NoisyDetector, usual_noise
from spoton.sim.world import World
from spoton.site import CameraSite, Site
from spoton.vision.eyes import Eyes
from spoton.vision.protocols import Frame

SIMULATED = "simulated"
"""The name of the detector that looks at no pictures."""


@dataclass(slots=True, eq=False)
class EveryFrame:
    """A simulated camera that waits for its reader."""

    world: World
    camera: int
    total: int
    finite = True

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """The frames that come, painted as they are asked for; frame n is at n / fps seconds."""
        for n in range(start_index, self.total):
            if self.world.comes(n, self.camera):
                yield Frame(n, round(n * 1e6 / self.world.fps), self.world.picture(n, self.camera))

    def close(self) -> None:
        """Nothing is open."""


def watch(world: World, site: Site, frames: int, eyes: Eyes | None, progress: Progress) -> Watched:
    """What is found in every frame.

    eyes: what looks at the pictures; None for a simulated detector (``usual_noise``) that needs none.
    """
    if eyes is not None:
        footage = [
            from_video(site, camera, EveryFrame(world, k, frames), eyes) for k, camera in enumerate(site.cameras)
        ]
    else:
        assert isinstance(world, SimulatedFloor)
        footage = _detections(world, site, frames)
    watched = Watched()
    for event in happened(site, footage, progress, Looked()):
        watched.heard(event)
    return watched


def _detections(world: SimulatedFloor, site: Site, frames: int) -> list[Footage]:
    sizes = np.tile(np.array(world.size_px, dtype=np.float64), (len(world.views), 1))
    detector = NoisyDetector(usual_noise(), world.scenario.seed, sizes, max(1, world.people), world.fps)
    by_camera: list[list[OneFrame]] = [[] for _ in world.views]
    for n in range(frames):
        ids, sight = world.sight(n)
        found = detector.detect(sight.camera, sight.row, ids, sight.boxes_px, sight.visible)
        for k, camera in enumerate(site.cameras):
            if world.comes(n, k):
                mine = found.camera == k
                seen = _seen(site, camera, n, world, found.boxes_px[mine], found.scores[mine])
                by_camera[k].append((seen, None))
    return [Footage(camera, iter(seen), len(seen)) for camera, seen in zip(site.cameras, by_camera, strict=True)]


def _seen(
    site: Site, camera: CameraSite, n: int, world: World, boxes: np.ndarray, scores: np.ndarray
) -> tracks.FrameSeen:
    boxes_px, kept = tracks.quantise(boxes, scores, site.thresholds.low_score)
    return tracks.FrameSeen(
        site=site.name, camera=camera.name, frame=n, at=round(n * 1e6 / world.fps), session=1,
        size_px=camera.size_px or (1, 1), boxes_px=boxes_px, scores=kept, detector=SIMULATED,
    )  # fmt: skip
