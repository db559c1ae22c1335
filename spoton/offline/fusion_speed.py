"""How long a tick of floor fusion takes: a made-up floor with many cameras and people, at one density."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spoton import people
from spoton.events import PeopleDetected, PeopleLocated, event_id
from spoton.geometry import floor_view
from spoton.site import CameraSite, Pinhole, Site
from spoton.stance import camera_view, cameras, expected_boxes

Floats = NDArray[np.float64]

FLOOR_M2 = 12.0
"""Floor for each person."""
FPS = 10.0
_SIZE_PX = (1280, 720)
_FOCAL_PX = 900.0
_HIGH_M = 6.0
_STEEP = 0.75
_MISSED, _JITTER = 0.1, 0.03


def measure(cameras: int, persons: int, ticks: int, seed: int = 1) -> dict[str, float]:
    """Processor time of all steps of a tick (median, ms), boxes a tick, people listed, and bytes of the state."""
    site, side_m = _site(cameras, persons)
    view, state = people.site_view(site), people.initial(site)
    spent, took, listed, boxes = 0.0, [], [], 0
    for frames in _frames(site, side_m, persons, ticks, np.random.default_rng(seed)):
        boxes += sum(len(frame.boxes_px) for frame in frames)
        for frame in frames:
            start = time.process_time()
            decided, state = people.step(state, frame, view)
            spent += time.process_time() - start
            for event in decided:
                if isinstance(event, PeopleLocated):
                    took.append(1e3 * spent)
                    listed.append(len(event.people))
                    spent = 0.0
    settled = took[len(took) // 4 :]
    return {
        "cameras": cameras,
        "people": persons,
        "boxes_a_tick": round(boxes / ticks, 1),
        "listed": listed[-1],
        "ms_median": round(statistics.median(settled), 2),
        "state_kb": round(len(people.pack(state)) / 1e3, 1),
    }


def _site(cameras: int, persons: int) -> tuple[Site, float]:
    side_m = float(np.sqrt(FLOOR_M2 * persons))
    across = int(np.ceil(np.sqrt(cameras)))
    rows = int(np.ceil(cameras / across))
    places = [((k % across + 0.5) / across * side_m, (k // across + 0.5) / rows * side_m) for k in range(cameras)]
    return Site("grid", tuple(_camera(k, *place, side_m) for k, place in enumerate(places))), side_m


def _camera(number: int, x_m: float, y_m: float, side_m: float) -> CameraSite:
    turn = 2.4 * number
    aim = np.array([np.cos(turn), np.sin(turn), -_STEEP])
    eye = np.array([x_m - 9.0 * aim[0], y_m - 9.0 * aim[1], _HIGH_M])
    forward = aim / np.linalg.norm(aim)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    t = (-R @ eye).tolist()
    K = ((_FOCAL_PX, 0.0, _SIZE_PX[0] / 2), (0.0, _FOCAL_PX, _SIZE_PX[1] / 2), (0.0, 0.0, 1.0))
    a, b, c = ((float(x), float(y), float(z)) for x, y, z in R)
    return CameraSite(f"c{number:02}", fps=FPS, size_px=_SIZE_PX, calibration=Pinhole(K, (a, b, c), (t[0], t[1], t[2])))


def _frames(
    site: Site, side_m: float, persons: int, ticks: int, chance: np.random.Generator
) -> Iterator[list[PeopleDetected]]:
    """All cameras' frames, tick by tick: people walk straight, turn round at the edge, and are seen with errors."""
    place, course = chance.uniform(0.0, side_m, (persons, 2)), chance.uniform(-np.pi, np.pi, persons)
    velocity = np.column_stack([np.cos(course), np.sin(course)]) * chance.uniform(0.5, 1.5, (persons, 1))
    views = {
        camera.name: cameras([camera_view(floor_view(camera.calibration, camera.size_px), _SIZE_PX)])
        for camera in site.cameras
        if camera.calibration is not None
    }
    for n in range(ticks):
        place = place + velocity / FPS
        velocity = np.where((place < 0) | (place > side_m), -velocity, velocity)
        frames = []
        for name, view in views.items():
            boxes, shows = expected_boxes(place, view, np.zeros(persons, dtype=np.int64))
            rows = np.flatnonzero(shows & (chance.random(persons) >= _MISSED))
            seen = boxes[rows] + _JITTER * boxes[rows, 3:] * chance.normal(size=(len(rows), 4))
            at, seq = round(n * 1e6 / FPS), n + 1
            frames.append(
                PeopleDetected(
                    id=event_id("detections", f"{site.name}/{name}", seq, at), at=at, site=site.name, seq=seq,
                    camera=name, frame=n, size_px=_SIZE_PX, boxes_px=[tuple(box) for box in seen.tolist()],
                    scores=[0.9] * len(rows), tracks=(rows + 1).tolist(),
                )
            )  # fmt: skip
        yield frames
