"""What showing or scoring a simulated site needs of it: the plaza is one, a floor of a scenario another."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spoton.sim.layout import Layout
from spoton.sim.rig import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class World(Protocol):
    """A simulated site: frame ``n`` (from 0) is the same for everyone who asks."""

    layout: Layout
    views: tuple[View, ...]
    fps: float
    people: int

    def truth(self, n: int) -> tuple[Ints, Floats]:
        """Ids (N,) and floor places (N, 2) in metres of those on the floor at frame ``n``."""

    def picture(self, n: int, camera: int) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB picture that ``camera`` takes at frame ``n``."""

    def prepare(self, camera: int) -> None:
        """Paint what stands still in ``camera``'s picture."""

    def comes(self, n: int, camera: int) -> bool:
        """Whether frame ``n`` of ``camera`` ever arrives."""

    def seeing(self, floor_m: Floats) -> NDArray[np.bool_]:
        """(N, cameras): which cameras have a person at each floor point (N, 2) in the picture from foot to head."""

    def url(self, camera: int, epoch_us: int | None = None) -> str:
        """The address under which ``open_simulated`` gives this camera of this site."""
