"""Tsai's camera model, as the PETS recordings have it, to OpenCV's.

R. Y. Tsai, A versatile camera calibration technique, IEEE J. Robotics and Automation 3(4), 1987. Its distortion goes
from the picture to the straight ray, OpenCV's the other way, so the latter's coefficients are fitted to the former.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.adjustment import matrix3
from spoton.errors import InputError
from spoton.site import Pinhole

Floats = NDArray[np.float64]

MOST_LOST_PX = 0.5
"""The most that OpenCV's model may differ from Tsai's anywhere in the picture."""

_GRID = 25


@dataclass(frozen=True, slots=True)
class Tsai:
    """dpx, dpy: size of a pixel, mm. focal: mm. kappa1: 1/mm^2. cx, cy: px. sx: stretch of the columns.

    shift: Tx, Ty, Tz in world units. turn_rad: Rx, Ry, Rz; R = Rz Ry Rx.
    """

    size_px: tuple[int, int]
    dpx: float
    dpy: float
    focal: float
    kappa1: float
    cx: float
    cy: float
    sx: float
    shift: tuple[float, float, float]
    turn_rad: tuple[float, float, float]


def to_pinhole(tsai: Tsai, unit_m: float) -> tuple[Pinhole, float]:
    """The same camera in OpenCV's model, and the most that a pixel of the picture differs between both.

    unit_m: metres of one unit of ``shift``. Raises InputError when the models differ by more than ``MOST_LOST_PX``.
    """
    fx, fy = tsai.focal * tsai.sx / tsai.dpx, tsai.focal / tsai.dpy
    K = np.array([[fx, 0.0, tsai.cx], [0.0, fy, tsai.cy], [0.0, 0.0, 1.0]])
    width, height = tsai.size_px
    corners = np.stack(np.meshgrid(np.linspace(0, width, _GRID), np.linspace(0, height, _GRID)), axis=-1).reshape(-1, 2)
    bent = (corners - [tsai.cx, tsai.cy]) / [fx, fy]
    r2 = (bent**2).sum(axis=1)
    # kappa1 is per square millimetre on the sensor; bent rays are in focal lengths.
    straight = bent * (1.0 + tsai.kappa1 * tsai.focal**2 * r2)[:, None]
    dist = _radial(straight, bent)
    s = (straight**2).sum(axis=1)
    model = straight * (1.0 + s * (dist[0] + s * (dist[1] + s * dist[2])))[:, None]
    lost = float(np.abs((model - bent) * [fx, fy]).max())
    if not lost <= MOST_LOST_PX:
        raise InputError(
            f"kappa1 = {tsai.kappa1:g} bends the picture by {lost:.2g} px more than OpenCV's model can",
            remedy="check kappa1 and focal, or calibrate with points",
        )
    x, y, z = (value * unit_m for value in tsai.shift)
    return Pinhole(matrix3(K), matrix3(_turned(tsai.turn_rad)), (x, y, z), (*dist[:2], 0.0, 0.0, dist[2])), lost


def _radial(straight: Floats, bent: Floats) -> tuple[float, float, float]:
    """k1, k2, k3 that bend straight rays most nearly as they are."""
    s = (straight**2).sum(axis=1)
    rows = (straight[:, :, None] * np.stack([s, s**2, s**3], axis=1)[:, None, :]).reshape(-1, 3)
    k1, k2, k3 = np.linalg.lstsq(rows, (bent - straight).ravel(), rcond=None)[0].tolist()
    return k1, k2, k3


def _turned(turn_rad: tuple[float, float, float]) -> Floats:
    (ca, cb, cg), (sa, sb, sg) = np.cos(turn_rad), np.sin(turn_rad)
    return np.array(
        [
            [cb * cg, cg * sa * sb - ca * sg, sa * sg + ca * cg * sb],
            [cb * sg, sa * sb * sg + ca * cg, ca * sb * sg - cg * sa],
            [-sb, cb * sa, ca * cb],
        ]
    )
