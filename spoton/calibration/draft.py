"""One camera's calibration before and after: what the command prints and the page draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoton import adjustment
from spoton.calibration.fit import CLICK_SIGMA_PX, Fit, Intrinsics, fit
from spoton.errors import InputError
from spoton.geometry import FloorView, Residuals, floor_view
from spoton.site import Calibration, CameraSite, Homography, Pinhole, PointPairs

Floats = NDArray[np.float64]
Size = tuple[int, int]

METHODS = ("auto", "homography", "pose")


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A new calibration of a camera beside the present one.

    before, after: the camera in the site file. size_px: of the pictures that ``after`` speaks of. image_px, floor_m:
    the known points, (N, 2) each, none where the calibration was imported whole. fitted: how ``after`` follows from
    them. residuals_before, residuals_after: at those points; None without a calibration before. note: what was lost or
    assumed.
    """

    before: CameraSite
    after: CameraSite
    size_px: Size
    view: FloorView
    image_px: Floats
    floor_m: Floats
    fitted: Fit | None
    residuals_before: Residuals | None
    residuals_after: Residuals
    note: str = ""


def lens_of(camera: CameraSite) -> Intrinsics | None:
    """The lens that a camera's present calibration knows."""
    present = camera.calibration
    return Intrinsics(present.K, present.dist) if isinstance(present, Pinhole) else None


def by_points(
    camera: CameraSite,
    size_px: Size,
    pairs: PointPairs,
    lens: Intrinsics | None,
    method: str = "auto",
    tolerance_px: float | None = None,
) -> Draft:
    """A camera calibrated by known points.

    lens: what is known of it. method: ``homography``; ``pose``, which needs the lens; ``auto``: a pose where there is a
    lens. Raises InputError where ``fit`` does, and for a method that is not known or cannot be.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is not known", remedy=f"choose from: {', '.join(METHODS)}")
    if method == "pose" and lens is None:
        raise InputError(
            f"a pose of {camera.name!r} needs its lens", remedy="import a file with camera_matrix, or fit a homography"
        )
    image, floor = np.array(pairs.image_px).reshape(-1, 2), np.array(pairs.floor_m).reshape(-1, 2)
    fitted = fit(image, floor, size_px, None if method == "homography" else lens, tolerance_px)
    calibration: Calibration = fitted.calibration
    if isinstance(calibration, Homography):
        calibration = _pairs(image[fitted.used], floor[fitted.used])
    after = replace(camera, calibration=calibration, size_px=size_px)
    return Draft(
        camera, after, size_px, fitted.view, image, floor, fitted, _before(camera, size_px, image, floor),
        fitted.residuals,
    )  # fmt: skip


def as_given(
    camera: CameraSite, size_px: Size, calibration: Calibration, known: PointPairs | None = None, note: str = ""
) -> Draft:
    """A camera with a calibration that comes whole, held against known points where there are any."""
    view = floor_view(calibration, size_px)
    image = np.array(known.image_px if known else ()).reshape(-1, 2)
    floor = np.array(known.floor_m if known else ()).reshape(-1, 2)
    after = replace(camera, calibration=calibration, size_px=size_px)
    return Draft(
        camera, after, size_px, view, image, floor, None, _before(camera, size_px, image, floor),
        view.residuals(image, floor), note,
    )  # fmt: skip


def present_view(camera: CameraSite, size_px: Size) -> FloorView | None:
    """How the camera sees the floor by its present calibration, in pictures of that size."""
    if camera.calibration is None:
        return None
    return floor_view(camera.calibration, camera.size_px or size_px).scaled(size_px)


def uncertainty(draft: Draft, points_px: Floats) -> list[dict[str, Any] | None]:
    """Where pixels (N, 2) lie on the floor and the ellipse that holds them with 95 %; None above the horizon.

    A pixel counts as known like the clicks that made the calibration; what these leave open of it is added.
    """
    fitted = draft.fitted
    calibration = draft.after.calibration if fitted is None else fitted.calibration
    assert calibration is not None
    sigma = CLICK_SIGMA_PX if fitted is None or fitted.sigma_px is None else max(fitted.sigma_px, CLICK_SIGMA_PX)
    spread = None if fitted is None else fitted.spread
    places, cov, valid = adjustment.floor_covariance(
        draft.view, calibration, draft.size_px, np.asarray(points_px, dtype=np.float64).reshape(-1, 2), sigma, spread
    )
    found: list[dict[str, Any] | None] = []
    for place, one, ok in zip(places, cov, valid, strict=True):
        if not ok or not np.isfinite(one).all():
            found.append(None)
            continue
        long, short, angle = adjustment.ellipse(one)
        found.append(
            {"floor_m": [float(place[0]), float(place[1])], "long_m": long, "short_m": short, "angle_rad": angle}
        )
    return found


def _before(camera: CameraSite, size_px: Size, image: Floats, floor: Floats) -> Residuals | None:
    view = present_view(camera, size_px)
    return None if view is None else view.residuals(image, floor)


def _pairs(image: Floats, floor: Floats) -> PointPairs:
    return PointPairs(tuple((float(x), float(y)) for x, y in image), tuple((float(x), float(y)) for x, y in floor))
