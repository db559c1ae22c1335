"""A simulated camera as a live frame source: ``sim://plaza?camera=0&seed=7&people=12&fps=10&cameras=4``.

``sim://floor`` is a floor of any size, its query a ``Scenario``: ``sim://floor?camera=0&floor=60x40&people=100&rig=grid``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

from spoton.errors import InputError, SourceError
from spoton.sim.floor import SimulatedFloor
from spoton.sim.plaza import Plaza
from spoton.sim.scenario import from_values
from spoton.sim.world import World
from spoton.vision.protocols import Frame

DEFAULTS = {"camera": 0, "seed": 7, "people": 12, "fps": 10.0, "cameras": 4, "width": 640, "height": 480}
MICROSECONDS = 1_000_000


class SimulatedCamera:
    """One camera of a simulated site, read live: frame n is due at ``epoch_us + round(n * 1e6 / fps)``.

    Like a real camera it never lags: a reader that is more than one frame late gets the newest frame, and the index
    jumps. ``skipped`` counts the frames left out. All cameras with one epoch show the same world at the same index.
    """

    finite = False

    def __init__(
        self,
        plaza: World,
        camera: int,
        *,
        clock_us: Callable[[], int],
        epoch_us: int | None = None,
        wait_s: Callable[[float], object] | None = None,
    ) -> None:
        """Without ``epoch_us`` frame 0 is due when reading begins; ``wait_s`` replaces the wait for the next frame."""
        self.epoch_us = epoch_us
        self.skipped = 0
        self._plaza, self._camera, self._clock_us = plaza, camera, clock_us
        self._closed = threading.Event()
        self._wait_s = wait_s if wait_s is not None else self._closed.wait
        plaza.prepare(camera)

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """Frames as they fall due, from the one due now or ``start_index``, whichever is later, until ``close``."""
        if self.epoch_us is None:
            self.epoch_us = self._clock_us()
        n = max(start_index, self._newest_due(), 0)
        while self._waited_for(n):
            if self._plaza.comes(n, self._camera):
                yield Frame(n, self.due_us(n), self._plaza.picture(n, self._camera))
            newest = self._newest_due()
            if newest > n + 1:
                self.skipped += newest - n - 1
            n = max(n + 1, newest)

    def due_us(self, n: int) -> int:
        """When frame ``n`` is taken, microseconds UTC; an InputError before reading began without a given epoch."""
        if self.epoch_us is None:
            raise InputError("the simulated camera has no epoch yet", remedy="start reading, or give epoch_us")
        return self.epoch_us + round(n * MICROSECONDS / self._plaza.fps)

    def close(self) -> None:
        """End ``frames``, also while it waits in another thread."""
        self._closed.set()

    def _newest_due(self) -> int:
        now_us = self._clock_us()
        n = int((now_us - self.due_us(0)) * self._plaza.fps // MICROSECONDS)
        return n + 1 if self.due_us(n + 1) <= now_us else n

    def _waited_for(self, n: int) -> bool:
        while not self._closed.is_set():
            left_us = self.due_us(n) - self._clock_us()
            if left_us <= 0:
                return True
            self._wait_s(left_us / MICROSECONDS)
        return False


def open_simulated(
    url: str, *, clock_us: Callable[[], int], wait_s: Callable[[float], object] | None = None
) -> SimulatedCamera:
    """The camera that a ``sim://plaza`` or ``sim://floor`` URL names, its background painted and ready to read.

    Query keys of a floor, all optional: camera, epoch_us, and those of ``scenario.from_values``. Of the plaza: camera,
    seed, people, fps, cameras, width, height, epoch_us. ``epoch_us`` is the UTC microsecond of frame 0, which all
    cameras of one site share; without it frame 0 is due when reading begins by ``clock_us``.

    Raises SourceError for another host, an unknown key or a value that is no number or out of range.
    """
    parts = urlsplit(url)
    if parts.scheme != "sim" or parts.netloc not in ("plaza", "floor"):
        raise SourceError(f"{url}: no such simulated site", remedy="write sim://plaza?camera=0&seed=7")
    if parts.netloc == "floor":
        return _floor_camera(url, dict(parse_qsl(parts.query, keep_blank_values=True)), clock_us, wait_s)
    values: dict[str, float] = dict(DEFAULTS)
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key not in (*DEFAULTS, "epoch_us"):
            known = ", ".join((*DEFAULTS, "epoch_us"))
            raise SourceError(f"{url}: unknown key {key!r}", remedy=f"use {known}")
        try:
            values[key] = float(text) if key == "fps" else int(text)
        except ValueError:
            raise SourceError(f"{url}: {key} = {text!r} is not a number", remedy=f"write {key} as a number") from None
    size_px = int(values["width"]), int(values["height"])
    epoch_us = int(values["epoch_us"]) if "epoch_us" in values else None
    try:
        plaza = Plaza(int(values["seed"]), int(values["people"]), int(values["cameras"]), values["fps"], size_px)
        return SimulatedCamera(plaza, int(values["camera"]), clock_us=clock_us, epoch_us=epoch_us, wait_s=wait_s)
    except InputError as error:
        raise SourceError(f"{url}: {error.problem}", remedy=error.remedy) from error


def _floor_camera(
    url: str, given: dict[str, str], clock_us: Callable[[], int], wait_s: Callable[[float], object] | None
) -> SimulatedCamera:
    numbers: dict[str, int | None] = {"camera": 0, "epoch_us": None}
    for key in numbers.keys() & given.keys():
        text = given.pop(key)
        try:
            numbers[key] = int(text)
        except ValueError:
            raise SourceError(f"{url}: {key} = {text!r} is not a number", remedy=f"write {key} as a number") from None
    try:
        floor = SimulatedFloor(from_values(given))
        return SimulatedCamera(
            floor, numbers["camera"] or 0, clock_us=clock_us, epoch_us=numbers["epoch_us"], wait_s=wait_s
        )
    except InputError as error:
        raise SourceError(f"{url}: {error.problem}", remedy=error.remedy) from error
