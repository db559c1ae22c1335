"""From matching points to a calibration: a robust fit, then least squares on the points that agree."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spoton import homography
from spoton.adjustment import matrix3, spread_of
from spoton.errors import InputError
from spoton.geometry import FloorView, Residuals, floor_view
from spoton.lens import lens
from spoton.site import Homography, Matrix3, Pinhole

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLICK_SIGMA_PX = 1.0
"""How surely a person clicks a point, where the points themselves cannot tell."""

_LEAST_TOLERANCE_PX = 3.0
_TOLERANCE_OF_WIDTH = 1 / 250
_LEAST_AGREEING = 5
_ROUNDS = 10
_CONFIDENCE = 0.9999
_TRIALS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Intrinsics:
    """A lens: OpenCV's camera matrix and 0, 4, 5 or 8 distortion coefficients."""

    K: Matrix3
    dist: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A calibration from N matching points, and how well it is known.

    used: (N,) the points that agree; the others were left out. residuals: of all N points. sigma_px: spread of the used
    points in one direction of the picture, None where there are no more of them than the fit needs. spread: (P, P),
    covariance of the calibration's small changes (see ``spoton.adjustment``), on clicks of 1 px where ``sigma_px`` is
    None. tolerance_px: farthest from its place that a point counts as agreeing.
    """

    calibration: Pinhole | Homography
    view: FloorView
    size_px: tuple[int, int]
    image_px: Floats
    floor_m: Floats
    used: Bools
    residuals: Residuals
    sigma_px: float | None
    spread: Floats
    tolerance_px: float

    @property
    def rms_px(self) -> float:
        """Root mean square residual of the used points in the picture."""
        return float(np.sqrt(np.mean(self.residuals.image_px[self.used] ** 2)))

    @property
    def rms_m(self) -> float:
        """The same on the floor, metres."""
        return float(np.sqrt(np.mean(self.residuals.floor_m[self.used] ** 2)))


def usual_tolerance_px(size_px: tuple[int, int]) -> float:
    """How far a click may miss: 3 px, or 1/250 of the picture's width where that is more."""
    return max(_LEAST_TOLERANCE_PX, size_px[0] * _TOLERANCE_OF_WIDTH)


def fit(
    image_px: Floats,
    floor_m: Floats,
    size_px: tuple[int, int],
    intrinsics: Intrinsics | None = None,
    tolerance_px: float | None = None,
) -> Fit:
    """The calibration that most of the points (N, 2) and (N, 2) agree on.

    Without ``intrinsics`` a homography; with them the full pose of a camera with that lens. First RANSAC (Fischler and
    Bolles, 1981, as OpenCV has it) finds the points that agree within ``tolerance_px``, then least squares in the
    picture is run on those alone until the set stands. With fewer than six points none can be told to be wrong: all
    are used. Raises InputError when points are degenerate, contradict each other, or fewer than half agree.
    """
    image, floor = _checked(image_px, floor_m)
    tolerance = usual_tolerance_px(size_px) if tolerance_px is None else tolerance_px
    if not tolerance > 0:
        raise InputError(f"tolerance_px is {tolerance:g}", remedy="give pixels above zero")
    used = np.ones(len(image), dtype=np.bool_)
    if len(image) > _LEAST_AGREEING:
        used = _agreeing(image, floor, intrinsics, tolerance)
    for _ in range(_ROUNDS):
        calibration = _least_squares(image[used], floor[used], intrinsics)
        view = floor_view(calibration, size_px)
        residuals = view.residuals(image, floor)
        if len(image) <= _LEAST_AGREEING:
            break
        near = residuals.image_px <= tolerance
        _enough(near, tolerance)
        if (near == used).all():
            break
        used = near
    excess = 2 * int(used.sum()) - (8 if intrinsics is None else 6)
    sigma = float(np.sqrt(np.sum(residuals.image_px[used] ** 2) / excess)) if excess > 0 else None
    # Points that agree to a hundredth of a pixel by chance do not make clicks that sure.
    spread = spread_of(calibration, size_px, floor[used], max(sigma or CLICK_SIGMA_PX, 0.05), focal=False)
    return Fit(calibration, view, size_px, image, floor, used, residuals, sigma, spread, tolerance)


def _checked(image_px: Floats, floor_m: Floats) -> tuple[Floats, Floats]:
    image, floor = (np.asarray(each, dtype=np.float64).reshape(-1, 2) for each in (image_px, floor_m))
    if len(image) != len(floor):
        raise InputError(
            f"{len(image)} image points beside {len(floor)} floor points", remedy="give as many of the one as the other"
        )
    if len(image) < 4:
        raise InputError(f"{len(image)} point pairs are too few", remedy="give four, better eight or more")
    if not (np.isfinite(image).all() and np.isfinite(floor).all()):
        raise InputError("a point is not finite", remedy="give finite numbers")
    return image, floor


def _enough(near: Bools, tolerance: float) -> None:
    if near.sum() < max(_LEAST_AGREEING, (len(near) + 1) // 2):
        raise InputError(
            f"only {int(near.sum())} of the {len(near)} point pairs agree within {tolerance:g} px",
            remedy="check that picture and floor points are listed in one order and in metres, or allow more pixels",
        )


def _rays(image: Floats, intrinsics: Intrinsics) -> Floats:
    rays, _, ok = lens(intrinsics.K, intrinsics.dist).to_rays(image)
    if not ok.all():
        wrong = int(np.flatnonzero(~ok)[0]) + 1
        raise InputError(
            f"point {wrong} lies where the distortion folds the picture over", remedy="check dist, or leave it out"
        )
    return rays


def _agreeing(image: Floats, floor: Floats, intrinsics: Intrinsics | None, tolerance: float) -> Bools:
    """The largest set of points that one homography takes to within the tolerance."""
    target, reach = image, tolerance
    if intrinsics is not None:
        target, reach = _rays(image, intrinsics), tolerance / intrinsics.K[0][0]
    # Centred and scaled, as OpenCV compares in single precision.
    centre, scale = target.mean(axis=0), 1000.0 / max(float(np.ptp(target)), 1e-9)
    spread = max(float(np.ptp(floor)), 1e-9)
    _, mask = cv2.findHomography(
        (floor - floor.mean(axis=0)) / spread, (target - centre) * scale, cv2.RANSAC, reach * scale,
        maxIters=_TRIALS, confidence=_CONFIDENCE,
    )  # fmt: skip
    near = np.zeros(len(image), dtype=np.bool_) if mask is None else mask.ravel().astype(np.bool_)
    _enough(near, tolerance)
    return near


def _least_squares(image: Floats, floor: Floats, intrinsics: Intrinsics | None) -> Pinhole | Homography:
    H = homography.fit(image if intrinsics is None else _rays(image, intrinsics), floor)
    return Homography(matrix3(H)) if intrinsics is None else _pose(image, floor, intrinsics)


def _pose(image: Floats, floor: Floats, intrinsics: Intrinsics) -> Pinhole:
    """The pose of a camera from points of one plane: IPPE (Collins and Bartoli, 2014), then Levenberg-Marquardt."""
    world = np.column_stack([floor, np.zeros(len(floor))])
    # IPPE wants the plane's points around its origin.
    middle = np.append(floor.mean(axis=0), 0.0)
    K, dist = np.array(intrinsics.K), np.array(intrinsics.dist or (0.0,) * 5)
    found, turns, shifts, errors = cv2.solvePnPGeneric(
        world - middle, _rays(image, intrinsics), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise InputError("no pose puts these points where they are", remedy="check K, and the order of the points")
    best = int(np.argmin(np.ravel(errors)))
    turn, shift = cv2.solvePnPRefineLM(
        world - middle, image, K, dist, turns[best], shifts[best],
        (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14),
    )  # fmt: skip
    R = cv2.Rodrigues(turn)[0]
    x, y, z = (shift.ravel() - R @ middle).tolist()
    return Pinhole(matrix3(K), matrix3(R), (x, y, z), tuple(map(float, dist)))
