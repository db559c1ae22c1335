"""Many cameras' views of the floor as one: every point is taken through the view of its own camera, all at once.

What ``spoton.geometry`` and ``spoton.lens`` say of one camera holds here row by row. A site's tick has few points of
each of many cameras: camera by camera, most of the time would go into beginning anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.geometry import HORIZON_MARGIN_PX, FloorView
from spoton.lens import Bools, Floats, finite, to_pixels, to_rays

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """C cameras. ``of`` in the methods: (N,) which camera each point is of.

    floor_from_plane, plane_from_floor: (C, 3, 3). rise: (C, 3), zero where it is not known; posed: (C,) where it is.
    K (C, 3, 3), dist (C, 8), limit_r (C,): lenses; a homography's plane is the picture itself. lift: (C, 3) rise on the
    floor. nearest: (C,) least depth that lies before the camera. bent: whether any lens has distortion.
    """

    floor_from_plane: Floats
    plane_from_floor: Floats
    rise: Floats
    posed: Bools
    K: Floats
    dist: Floats
    limit_r: Floats
    lift: Floats
    nearest: Floats
    bent: bool

    def __len__(self) -> int:
        return len(self.posed)

    def rays(self, points_px: Floats, of: Ints) -> tuple[Floats, Floats, Bools]:
        """Pixels (N, 2) in each view's plane, with the derivative (N, 2, 2), and whether they are there, (N,)."""
        return to_rays(points_px, self.K[of], self.dist[of] if self.bent else None, self.limit_r[of])

    def at_height(self, points_px: Floats, of: Ints, height_m: float) -> tuple[Floats, Floats, Floats, Bools]:
        """Below points seen at ``height_m``: the floor (N, 2), its derivatives by pixel (N, 2, 2) and height (N, 2).

        The line of sight d meets that height where G d, scaled by s, less the height times G rise has weight 1; G takes
        the view's plane to the floor.
        """
        rays, by_pixel, ok = self.rays(points_px, of)
        G, lift = self.floor_from_plane[of], self.lift[of]
        aim = turned(G[:, :, :2], rays) + G[:, :, 2]
        fall = (G[:, 2, :2, None] * by_pixel).sum(axis=1)
        level = 1.0 + height_m * lift[:, 2]
        valid = ok & (aim[:, 2] > HORIZON_MARGIN_PX * np.hypot(fall[:, 0], fall[:, 1])) & (level > 0)
        depth = np.where(valid, aim[:, 2], 1.0)
        ground = aim[:, :2] / depth[:, None]
        scale = level / depth
        slope = scale[:, None, None] * (G[:, :2, :2] - ground[:, :, None] * G[:, 2, None, :2]) @ by_pixel
        return level[:, None] * ground - height_m * lift[:, :2], slope, ground * lift[:, 2:] - lift[:, :2], valid

    def to_image(self, floor_m: Floats, of: Ints, height_m: float = 0.0) -> tuple[Floats, Bools]:
        """Floor points (N, 2), lifted by ``height_m``, to pixels (N, 2), as ``FloorView.to_image`` of each camera."""
        P = self.plane_from_floor[of]
        there = turned(P[:, :, :2], floor_m) + P[:, :, 2]
        known = np.ones(len(floor_m), dtype=np.bool_)
        if height_m != 0.0:
            there += height_m * self.rise[of]
            known = self.posed[of]
        depth = there[:, 2]
        front = known & (depth > self.nearest[of]) & finite(there)
        plane = np.where(front[:, None], there[:, :2] / np.where(front, depth, 1.0)[:, None], 0.0)
        pixels, ok = to_pixels(plane, self.K[of], self.dist[of] if self.bent else None, self.limit_r[of])
        valid = front & ok
        return np.where(valid[:, None], pixels, 0.0), valid


def together(views: Sequence[FloorView]) -> Views:
    """One or more cameras' views as one, in the order given."""
    lenses = [view.lens for view in views]
    rise = np.array([np.zeros(3) if view.rise is None else view.rise for view in views])
    G = np.array([view.floor_from_plane for view in views])
    P = np.array([view.plane_from_floor for view in views])
    dist = np.array([np.zeros(8) if lens is None else lens.dist for lens in lenses])
    return Views(
        floor_from_plane=G,
        plane_from_floor=P,
        rise=rise,
        posed=np.array([view.rise is not None for view in views]),
        K=np.array([np.eye(3) if lens is None else lens.K for lens in lenses]),
        dist=dist,
        limit_r=np.array([np.inf if lens is None else lens.limit_r for lens in lenses]),
        lift=turned(G, rise),
        nearest=1e-9 * np.linalg.norm(P, axis=(1, 2)),
        bent=bool(dist.any()),
    )


def turned(matrices: Floats, vectors: Floats) -> Floats:
    """Each matrix (N, i, j) times its vector (N, j): (N, i)."""
    product: Floats = (matrices @ vectors[:, :, None])[:, :, 0]
    return product
