"""A simulated floor of any size: everybody's place at any moment, and what each camera makes of it."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.sim.figure import Dress, joint_radii, joints_m, part_colours
from spoton.sim.layout import hall_layout
from spoton.sim.looks import looks_of
from spoton.sim.plaza import Instant
from spoton.sim.render import Renderer
from spoton.sim.rigs import views_of
from spoton.sim.scenario import LONGEST_SKEW_MS, Scenario
from spoton.sim.sight import Bodies, Lookout, Sight, worn_joints
from spoton.sim.throng import Throng, advance, first_throng, habits_of
from spoton.sim.trouble import lost_frames, skews_s
from spoton.sim.walkers import STEP_S, stride_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BEFORE_S = 2.0 + LONGEST_SKEW_MS / 1000
"""Frame 0 is this long after the world began, so that a clock that is late has something to see."""
KEPT_STEPS = 64
CHECKPOINT_STEPS = 300


class SimulatedFloor:
    """The floor of a scenario: frame ``n`` is the same for everyone who asks, in any order. Safe for threads.

    Everyone on the floor or in the passages behind its gates has a place in ``whole``; nobody is dropped.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.fps, self.people, self.size_px = scenario.fps, scenario.people, scenario.size_px
        self.layout = hall_layout(scenario.floor_m)
        self.views = views_of(scenario)
        width, depth = scenario.floor_m
        self.area_m = np.array([[0.0, 0.0], [width, 0.0], [width, depth], [0.0, depth]])
        self.skew_s = skews_s(scenario)
        self._habits = habits_of(scenario)
        self._steps: OrderedDict[int, Throng] = OrderedDict()
        self._steps[0] = first_throng(scenario, self._habits, self.layout)
        self._checkpoints: dict[int, Throng] = {0: self._steps[0]}
        self._lookout = Lookout(self.views, self.layout)
        self._bodies = _Wardrobe(scenario.seed)
        self._renderers: dict[int, Renderer] = {}
        self._lock = threading.RLock()

    def at(self, seconds: float) -> tuple[Instant, NDArray[np.bool_]]:
        """Everybody at a moment, also those who are away, and who is present (N,); 0 is the moment of frame 0."""
        step, share = divmod((seconds + BEFORE_S) / STEP_S + 1e-9, 1.0)
        share = 0.0 if share < 1e-6 else share
        with self._lock:
            now = self._crowd(int(step))
            later = self._crowd(int(step) + 1) if share else now
        same = (later.person == now.person) & later.present & now.present
        part = np.where(same, share, 0.0)
        turn = (later.heading - now.heading + np.pi) % (2 * np.pi) - np.pi
        speed = np.linalg.norm(now.velocity_mps, axis=1)
        speed_later = np.linalg.norm(later.velocity_mps, axis=1)
        instant = Instant(
            ids=now.person,
            floor_m=now.floor_m + part[:, None] * (later.floor_m - now.floor_m),
            heading=now.heading + part * turn,
            phase=now.phase + part * (later.phase - now.phase),
            stride_m=stride_m(speed + part * (speed_later - speed)),
        )
        return instant, now.present

    def truth(self, n: int) -> tuple[Ints, Floats]:
        """Ids (N,) and floor places (N, 2) in metres of those inside ``area_m`` at frame ``n``, by the true clock."""
        now, present = self.at(n / self.fps)
        inside = present & ((now.floor_m >= 0.0) & (now.floor_m <= self.layout.size_m)).all(axis=1)
        return now.ids[inside], now.floor_m[inside]

    def sight(self, n: int) -> tuple[Ints, Sight]:
        """What each camera sees in its own frame ``n``, which its clock may have taken early or late.

        Returns the persons (K,) beside the rows of the ``Sight``; its ``row`` is the walker's place, 0 to people - 1.
        """
        moments = {skew: self.at(n / self.fps + skew) for skew in dict.fromkeys(self.skew_s.tolist())}
        chosen = [moments[skew] for skew in self.skew_s.tolist()]
        sight = self._lookout.look([instant for instant, _ in chosen], self._bodies.of(chosen[0][0].ids))
        here = np.stack([present for _, present in chosen])[sight.camera, sight.row]
        ids = np.stack([instant.ids for instant, _ in chosen])[sight.camera, sight.row]
        # Somebody new takes a walker's place within the skew of two cameras only while away, and is not seen then.
        return ids[here], Sight(sight.camera[here], sight.row[here], sight.boxes_px[here], sight.visible[here])

    def picture(self, n: int, camera: int) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB picture that ``camera`` takes as its frame ``n``."""
        seconds = n / self.fps + float(self.skew_s[camera])
        now, present = self.at(seconds)
        here = np.flatnonzero(present)
        bodies = self._bodies.of(now.ids[here])
        joints = joints_m(now.floor_m[here], now.heading[here], now.phase[here], now.stride_m[here], bodies.height_m)
        radii = joint_radii(bodies.height_m, bodies.build)
        return self._renderer(camera).paint(joints, radii, self._bodies.dress(now.ids[here]), seconds, n)

    def prepare(self, camera: int) -> None:
        """Paint what stands still in ``camera``'s picture, so that the first picture is as fast as all others."""
        self._renderer(camera)

    def forget(self, camera: int) -> None:
        """Give back what ``prepare`` keeps for a camera."""
        with self._lock:
            self._renderers.pop(camera, None)

    def comes(self, n: int, camera: int) -> bool:
        """Whether frame ``n`` of ``camera`` ever arrives."""
        return self.scenario.dropout == 0.0 or not lost_frames(self.scenario, camera, n + 1)[n]

    def seeing(self, floor_m: Floats, height_m: float = 1.7) -> NDArray[np.bool_]:
        """(N, cameras): which cameras have a person at each floor point (N, 2) in the picture from foot to head."""
        foot = np.column_stack((floor_m, np.zeros(len(floor_m))))
        head = np.column_stack((floor_m, np.full(len(floor_m), height_m)))
        return np.stack([view.sees(foot) & view.sees(head) for view in self.views], axis=1)

    def url(self, camera: int, epoch_us: int | None = None) -> str:
        """The address under which ``open_simulated`` gives this camera of this floor."""
        url = f"sim://floor?camera={camera}&{self.scenario.query()}"
        return url if epoch_us is None else f"{url}&epoch_us={epoch_us}"

    def height_m(self, person: int) -> float:
        """How tall a person is."""
        return float(self._bodies.of(np.array([person])).height_m[0])

    def _renderer(self, camera: int) -> Renderer:
        if not 0 <= camera < len(self.views):
            raise InputError(f"camera = {camera}", remedy=f"this floor has cameras 0 to {len(self.views) - 1}")
        with self._lock:
            if camera not in self._renderers:
                self._renderers[camera] = Renderer(self.scenario.seed, camera, self.layout, self.views[camera])
            return self._renderers[camera]

    def _crowd(self, step: int) -> Throng:
        if step in self._steps:
            return self._steps[step]
        start = max(known for known in (*self._checkpoints, *self._steps) if known <= step)
        crowd = self._steps[start] if start in self._steps else self._checkpoints[start]
        for k in range(start + 1, step + 1):
            crowd = advance(crowd, self.scenario, self._habits, self.layout)
            self._steps[k] = crowd
            if k % CHECKPOINT_STEPS == 0:
                self._checkpoints[k] = crowd
            if len(self._steps) > KEPT_STEPS:
                self._steps.popitem(last=False)
        return crowd


class _Wardrobe:
    """Bodies and clothes by person, looked up many at once; persons count from 1 and nobody is asked for twice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._dress: list[Dress] = []
        self._height_m = self._build = np.zeros(0)
        self._worn = np.zeros((0, len(worn_joints(part_colours(looks_of(seed, 1))))), dtype=np.bool_)

    def of(self, persons: Ints) -> Bodies:
        self._meet(int(persons.max(initial=0)))
        return Bodies(self._height_m[persons - 1], self._build[persons - 1], self._worn[persons - 1])

    def dress(self, persons: Ints) -> list[Dress]:
        self._meet(int(persons.max(initial=0)))
        return [self._dress[person - 1] for person in persons.tolist()]

    def _meet(self, last: int) -> None:
        first = len(self._dress) + 1
        if last < first:
            return
        looks = [looks_of(self._seed, person) for person in range(first, last + 1)]
        dress = [part_colours(one) for one in looks]
        self._height_m = np.concatenate((self._height_m, [one.height_m for one in looks]))
        self._build = np.concatenate((self._build, [one.build for one in looks]))
        self._worn = np.concatenate((self._worn, [worn_joints(one) for one in dress]))
        self._dress += dress
