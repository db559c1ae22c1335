"""The simulated world: everybody's place at any frame, and what each camera makes of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.sim.figure import Dress, joint_radii, joints_m, part_colours
from spoton.sim.layout import plaza_layout
from spoton.sim.looks import Looks, looks_of
from spoton.sim.render import Renderer
from spoton.sim.rig import camera_views
from spoton.sim.visibility import seen_boxes
from spoton.sim.walkers import STEP_S, Crowd, advance, first_crowd, stride_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEPT_STEPS = 600
CHECKPOINT_STEPS = 300
KEPT_LOOKS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Instant:
    """Everybody present at one moment. ids: (N,); floor_m: (N, 2); heading, phase: (N,) radians; stride_m: (N,)."""

    ids: Ints
    floor_m: Floats
    heading: Floats
    phase: Floats
    stride_m: Floats


class Plaza:
    """The simulated plaza: frame ``n`` is the same for everyone who asks with the same seed, in any order.

    The world begins at frame 0 with ``people`` persons numbered from 1; who comes later gets a new number. Safe to use
    from several threads.

    Raises InputError for a number of people, cameras, pixels or frames per second out of range.
    """

    def __init__(
        self, seed: int, people: int = 12, cameras: int = 4, fps: float = 10.0, size_px: tuple[int, int] = (640, 480)
    ) -> None:
        if not 0 <= people <= 60:
            raise InputError(f"people = {people}", remedy="the plaza holds 0 to 60")
        if not 0.5 <= fps <= 60:
            raise InputError(f"fps = {fps}", remedy="choose 0.5 to 60 frames per second")
        if seed < 0:
            raise InputError(f"seed = {seed}", remedy="choose 0 or a positive number")
        if not all(64 <= side <= 4096 for side in size_px):
            raise InputError(f"size_px = {size_px}", remedy="choose 64 to 4096 pixels for width and height")
        self.seed, self.people, self.fps, self.size_px = seed, people, fps, size_px
        self.layout = plaza_layout()
        self.views = camera_views(self.layout, cameras, size_px)
        width, depth = self.layout.size_m
        self.area_m = np.array([[0.0, 0.0], [width, 0.0], [width, depth], [0.0, depth]])
        self._discs_m = self.layout.discs_m()
        self._steps: OrderedDict[int, Crowd] = OrderedDict({0: first_crowd(seed, people, self.layout)})
        self._checkpoints: dict[int, Crowd] = {0: self._steps[0]}
        self._renderers: dict[int, Renderer] = {}
        self._wardrobe: dict[int, tuple[Looks, Dress]] = {}
        self._lock = threading.Lock()

    def instant(self, n: int) -> Instant:
        """Where everybody is at frame ``n`` (0-based), between simulation steps by interpolation."""
        if n < 0:
            raise InputError(f"frame = {n}", remedy="frames count from 0")
        step, share = divmod(n / self.fps / STEP_S + 1e-9, 1.0)
        share = 0.0 if share < 1e-6 else share
        with self._lock:
            now = self._crowd(int(step))
            later = self._crowd(int(step) + 1) if share else now
        here = np.flatnonzero(now.present)
        same = (later.person == now.person) & later.present
        part = np.where(same, share, 0.0)[here]
        turn = (later.heading - now.heading + np.pi) % (2 * np.pi) - np.pi
        speed = np.linalg.norm(now.velocity_mps, axis=1)
        speed_later = np.linalg.norm(later.velocity_mps, axis=1)
        return Instant(
            ids=now.person[here],
            floor_m=now.floor_m[here] + part[:, None] * (later.floor_m - now.floor_m)[here],
            heading=now.heading[here] + part * turn[here],
            phase=now.phase[here] + part * (later.phase - now.phase)[here],
            stride_m=stride_m(speed[here] + part * (speed_later - speed)[here]),
        )

    def truth(self, n: int) -> tuple[Ints, Floats]:
        """Ids (N,) and floor places (N, 2) in metres of those inside ``area_m`` at frame ``n``."""
        now = self.instant(n)
        inside = ((now.floor_m >= 0.0) & (now.floor_m <= self.layout.size_m)).all(axis=1)
        return now.ids[inside], now.floor_m[inside]

    def boxes(self, n: int, camera: int) -> tuple[Ints, Floats, Floats]:
        """Ids (N,), boxes (N, 4) left, top, width, height in pixels and visible fractions (N,) in one camera.

        A box holds the whole figure, hidden parts included, clipped to the picture; the fraction is the share of the
        figure's whole silhouette that can be seen in the picture, neither hidden nor outside it.
        """
        now = self.instant(n)
        joints, radii, dress = self._bodies(now)
        rows, boxes_px, visible = seen_boxes(self._renderer(camera), joints, radii, dress)
        return now.ids[rows], boxes_px, visible

    def picture(self, n: int, camera: int) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB picture that ``camera`` takes at frame ``n``."""
        joints, radii, dress = self._bodies(self.instant(n))
        return self._renderer(camera).paint(joints, radii, dress, n / self.fps, n)

    def prepare(self, camera: int) -> None:
        """Paint what stands still in ``camera``'s picture, so that the first picture is as fast as all others."""
        self._renderer(camera)

    def seeing(self, floor_m: Floats, height_m: float = 1.7) -> NDArray[np.bool_]:
        """(N, cameras): which cameras have a person at each floor point (N, 2) in the picture from foot to head."""
        foot = np.column_stack((floor_m, np.zeros(len(floor_m))))
        head = np.column_stack((floor_m, np.full(len(floor_m), height_m)))
        return np.stack([view.sees(foot) & view.sees(head) for view in self.views], axis=1)

    def comes(self, n: int, camera: int) -> bool:
        """Every frame of the plaza's cameras arrives."""
        return True

    def url(self, camera: int, epoch_us: int | None = None) -> str:
        """The address under which ``open_simulated`` gives this camera of this plaza."""
        width, height = self.size_px
        url = f"sim://plaza?camera={camera}&seed={self.seed}&people={self.people}&fps={self.fps:g}"
        url += f"&cameras={len(self.views)}"
        if (width, height) != (640, 480):
            url += f"&width={width}&height={height}"
        return url if epoch_us is None else f"{url}&epoch_us={epoch_us}"

    def _bodies(self, now: Instant) -> tuple[Floats, Floats, list[Dress]]:
        people = [self._person(int(person)) for person in now.ids]
        heights = np.array([looks.height_m for looks, _ in people])
        builds = np.array([looks.build for looks, _ in people])
        joints = joints_m(now.floor_m, now.heading, now.phase, now.stride_m, heights)
        return joints, joint_radii(heights, builds), [dress for _, dress in people]

    def _person(self, person: int) -> tuple[Looks, Dress]:
        known = self._wardrobe.get(person)
        if known is None:
            if len(self._wardrobe) >= KEPT_LOOKS:
                self._wardrobe.clear()
            looks = looks_of(self.seed, person)
            known = self._wardrobe[person] = (looks, part_colours(looks))
        return known

    def _renderer(self, camera: int) -> Renderer:
        if not 0 <= camera < len(self.views):
            raise InputError(f"camera = {camera}", remedy=f"this plaza has cameras 0 to {len(self.views) - 1}")
        with self._lock:
            if camera not in self._renderers:
                self._renderers[camera] = Renderer(self.seed, camera, self.layout, self.views[camera])
            return self._renderers[camera]

    def _crowd(self, step: int) -> Crowd:
        if step in self._steps:
            return self._steps[step]
        start = max(known for known in (*self._checkpoints, *self._steps) if known <= step)
        crowd = self._steps[start] if start in self._steps else self._checkpoints[start]
        for k in range(start + 1, step + 1):
            crowd = advance(crowd, self.seed, self.layout, self._discs_m)
            self._steps[k] = crowd
            if k % CHECKPOINT_STEPS == 0:
                self._checkpoints[k] = crowd
            if len(self._steps) > KEPT_STEPS:
                self._steps.popitem(last=False)
        return crowd
