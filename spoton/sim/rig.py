"""The calibrated cameras that look at the plaza."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.sim.layout import Layout

Floats = NDArray[np.float64]

FOCAL_PER_WIDTH = 0.86
"""Focal length in picture widths: a horizontal view of 60 degrees."""
MOUNTS = (
    ("south-west", (0.035, 0.045), 5.0),
    ("north-east", (0.965, 0.955), 5.3),
    ("south-east", (0.965, 0.045), 4.7),
    ("north-west", (0.035, 0.955), 5.5),
    ("south", (0.5, 0.03), 5.0),
    ("north", (0.5, 0.97), 5.2),
    ("west", (0.03, 0.28), 4.8),
    ("east", (0.97, 0.72), 5.1),
)
"""Name, place as a share of the plaza's extent, height in metres; the first ``cameras`` of these are used."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A pinhole camera without distortion: x_camera = R x_world + t, picture = K x_camera.

    K: (3, 3); R: (3, 3), world to camera; t: (3,) metres; size_px: width, height.
    """

    name: str
    K: Floats
    R: Floats
    t: Floats
    size_px: tuple[int, int]

    def place_m(self) -> Floats:
        """(3,) the camera's own place in the world."""
        return -self.R.T @ self.t

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """Pixels (..., 2) and depth along the optical axis (...,) in metres of world points (..., 3)."""
        seen = points_m @ self.R.T + self.t
        depth = seen[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        px = np.stack(
            (self.K[0, 0] * seen[..., 0] / safe + self.K[0, 2], self.K[1, 1] * seen[..., 1] / safe + self.K[1, 2]),
            axis=-1,
        )
        return px, depth

    def sees(self, points_m: Floats, margin_px: float = 0.0) -> NDArray[np.bool_]:
        """Which of the (..., 3) world points fall into the picture, walls and people left out of account."""
        px, depth = self.project(points_m)
        width, height = self.size_px
        across = (px[..., 0] >= margin_px) & (px[..., 0] < width - margin_px)
        return (depth > 0.3) & across & (px[..., 1] >= margin_px) & (px[..., 1] < height - margin_px)


def look_at(name: str, place_m: Floats, target_m: Floats, size_px: tuple[int, int]) -> View:
    """The view from ``place_m`` with ``target_m`` in the middle of the picture and the horizon level."""
    forward = (target_m - place_m) / np.linalg.norm(target_m - place_m)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    width, height = size_px
    focal = FOCAL_PER_WIDTH * width
    K = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
    return View(name, K, R, -R @ place_m, size_px)


def camera_views(layout: Layout, cameras: int, size_px: tuple[int, int]) -> tuple[View, ...]:
    """The first ``cameras`` (1 to 8) cameras of the plaza, corners first, all looking in.

    Raises InputError for a number of cameras that the plaza has no place for.
    """
    if not 1 <= cameras <= len(MOUNTS):
        raise InputError(f"cameras = {cameras}", remedy=f"the plaza has places for 1 to {len(MOUNTS)}")
    extent = np.array(layout.size_m)
    centre = extent / 2
    views = []
    for name, share, height_m in MOUNTS[:cameras]:
        place = np.array([*(np.array(share) * extent), height_m])
        aim = centre + 0.04 * (centre - place[:2])
        views.append(look_at(name, place, np.array([*aim, 0.2]), size_px))
    return tuple(views)
