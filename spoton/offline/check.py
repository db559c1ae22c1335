"""``spoton check``: is a site file fit to run with, and how good are its calibrations?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spoton.geometry import FloorView, floor_view
from spoton.offline.found import Found, Size, look
from spoton.offline.recordings import read_site
from spoton.site import CameraSite, Homography, Pinhole, PointPairs, Site, Thresholds
from spoton.vision.sources.address import without_password

_GRID = 24
_SAME_PROPORTIONS = 0.01
_SAME_EXTENT = 0.05
_USUAL_CAMERA_HEIGHT_M = (0.3, 150.0)


@dataclass(frozen=True, slots=True)
class Reprojection:
    """How far known points fall from where a calibration puts them: root mean square, and the worst one.

    worst_point: number of the worst on the floor, from 1.
    """

    points: int
    rms_px: float
    worst_px: float
    rms_m: float
    worst_m: float
    worst_point: int


@dataclass(frozen=True, slots=True)
class CameraReport:
    """One camera. reprojection: None where nothing is known to check by. sees_floor: part of the picture, 0 to 1."""

    name: str
    source: str
    calibration: str
    reprojection: Reprojection | None
    sees_floor: float | None
    position_m: tuple[float, float, float] | None
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A whole site file. site_warnings, site_refusals: what concerns no single camera."""

    site: Site
    cameras: tuple[CameraReport, ...]
    site_warnings: tuple[str, ...]
    site_refusals: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything worth a look, one line each."""
        return self.site_warnings + tuple(chain.from_iterable(camera.warnings for camera in self.cameras))

    @property
    def refusals(self) -> tuple[str, ...]:
        """Everything that must be mended before the site can run, one line each."""
        return self.site_refusals + tuple(chain.from_iterable(camera.refusals for camera in self.cameras))

    @property
    def accepted(self) -> bool:
        """Nothing stands against running this site."""
        return not self.refusals


def check(path: Path, *, accept_bad: bool = False) -> CheckReport:
    """Read a site file and everything it points to that lies on this machine; live cameras are not contacted.

    accept_bad: a reprojection error above the site's bound is a warning only. Raises SiteError for a mistake in the
    file, InputError when it cannot be read.
    """
    site = read_site(path)
    return examine(site, look(site), accept_bad=accept_bad)


def examine(site: Site, found: Found, *, accept_bad: bool = False) -> CheckReport:
    """Judge a site by what it says and what was found; pure."""
    warnings, refusals = _plan(site, found)
    if all(camera.calibration is None for camera in site.cameras):
        warnings.append(f"{site.file}: no camera is calibrated: people get no place on the floor; give points")
    warnings += [f'{site.file}: zone "{name}" lies outside the floor (size_m, origin_m)' for name in _zones_off(site)]
    cameras = tuple(_camera(camera, site, found, accept_bad=accept_bad) for camera in site.cameras)
    return CheckReport(site, cameras, tuple(warnings), tuple(refusals))


def reprojection(view: FloorView, pairs: PointPairs) -> Reprojection:
    """The error of a view at known points."""
    image_px, floor_m = view.residuals(np.array(pairs.image_px), np.array(pairs.floor_m))
    return Reprojection(
        points=len(image_px),
        rms_px=float(np.sqrt(np.mean(image_px**2))),
        worst_px=float(image_px.max()),
        rms_m=float(np.sqrt(np.mean(floor_m**2))),
        worst_m=float(floor_m.max()),
        worst_point=int(floor_m.argmax()) + 1,
    )


def _camera(camera: CameraSite, site: Site, found: Found, *, accept_bad: bool) -> CameraReport:
    called = f'{site.file}: camera "{camera.name}"'
    warnings: list[str] = []
    refusals: list[str] = []
    if camera.name in found.unreadable:
        refusals.append(f"{called}: {found.unreadable[camera.name]}")
    elif not camera.source:
        refusals.append(f"{called} has no source; write source = with a file, a folder, rtsp:// or /dev/video0")
    calibration, error, sees, position = "none", None, None, None
    if camera.calibration is not None:
        view = floor_view(camera.calibration, camera.size_px)
        calibration, position = _kind(camera), view.position_m
        pairs, key = _known_points(camera)
        if pairs is not None:
            error = reprojection(view, pairs)
            far, bad = _judged(error, f"{called}.{key}", site.thresholds)
            warnings += far
            (warnings if accept_bad else refusals).extend(bad)
            if isinstance(camera.calibration, PointPairs) and key == "points" and error.points == 4:
                warnings.append(f"{called}: four pairs always fit exactly, so they prove nothing; give more points")
        picture_px = found.pictures.get(camera.name)
        warnings += [f"{called}{doubt}" for doubt in _doubts(camera, view, picture_px)]
        sees = _sees_floor(view, camera.size_px or picture_px)
        if sees == 0.0:
            refusals.append(f"{called} sees no floor: every pixel lies above the horizon; check R, t or the points")
    shown = without_password(camera.source)
    return CameraReport(camera.name, shown, calibration, error, sees, position, tuple(warnings), tuple(refusals))


def _kind(camera: CameraSite) -> str:
    match camera.calibration:
        case Pinhole():
            return "K, R, t"
        case Homography():
            return "homography"
        case PointPairs(image_px=image_px):
            return f"{len(image_px)} points"
    return "none"


def _known_points(camera: CameraSite) -> tuple[PointPairs | None, str]:
    """What the calibration can be held against: points it did not use where there are any, else its own."""
    if camera.check_points is not None:
        return camera.check_points, "check_points"
    return (camera.calibration if isinstance(camera.calibration, PointPairs) else None), "points"


def _judged(error: Reprojection, key: str, thresholds: Thresholds) -> tuple[list[str], list[str]]:
    """(warnings, refusals) of a reprojection error."""
    most, much = thresholds.max_reprojection_m, thresholds.warn_reprojection_m
    if not np.isfinite(error.worst_m):
        return [], [f"{key}[{error.worst_point}] lies above the horizon of this calibration; check both"]
    said = f"{key}: reprojection error {error.rms_m:.2f} m ({error.rms_px:.1f} px)"
    worst = f"worst is {key.rpartition('.')[2]}[{error.worst_point}] with {error.worst_m:.2f} m"
    if error.rms_m > most:
        return [], [f"{said} is above max_reprojection_m = {most:g}, {worst}; measure the points again"]
    if error.rms_m > much:
        return [f"{said} is above warn_reprojection_m = {much:g}, {worst}"], []
    if error.worst_m > much:
        return [f"{key}[{error.worst_point}] is {error.worst_m:.2f} m off ({error.rms_m:.2f} m over all); check it"], []
    return [], []


def _doubts(camera: CameraSite, view: FloorView, picture_px: Size | None) -> list[str]:
    """What looks like a mistake of units or of picture size, as ends of a sentence about the camera."""
    doubts = []
    low, high = _USUAL_CAMERA_HEIGHT_M
    if view.position_m is not None and not low <= view.position_m[2] <= high:
        doubts.append(f" stands {view.position_m[2]:.4g} m above the floor: are all lengths in metres?")
    size_px = camera.size_px or picture_px
    if camera.size_px and picture_px:
        ratio = camera.size_px[0] * picture_px[1] / (camera.size_px[1] * picture_px[0])
        if abs(ratio - 1.0) > _SAME_PROPORTIONS:
            made, got = (f"{width}x{height}" for width, height in (camera.size_px, picture_px))
            doubts.append(f": calibrated at {made}, its pictures are {got}, of other proportions")
    if size_px is not None:
        doubts += [f": {odd}; is size_px what it was calibrated at?" for odd in _off_picture(camera, size_px)]
    return doubts


def _off_picture(camera: CameraSite, size_px: Size) -> list[str]:
    """What of a calibration does not fit a picture of this size."""
    picture = f"{size_px[0]}x{size_px[1]}"
    match camera.calibration:
        case Pinhole(K=K):
            if any(not 0.25 <= K[axis][2] / size_px[axis] <= 0.75 for axis in (0, 1)):
                return [f"the principal point ({K[0][2]:.0f}, {K[1][2]:.0f}) lies far from the middle of {picture}"]
        case PointPairs(image_px=image_px):
            for number, (u, v) in enumerate(image_px, start=1):
                if not (0 <= u <= size_px[0] and 0 <= v <= size_px[1]):
                    return [f"points[{number}] at ({u:g}, {v:g}) lies outside the picture, {picture}"]
    return []


def _sees_floor(view: FloorView, size_px: Size | None) -> float | None:
    """The part of the picture that shows the floor, where the way to the floor and back ends where it began."""
    if size_px is None:
        return None
    width, height = size_px
    across, down = (np.arange(_GRID) + 0.5) / _GRID * width, (np.arange(_GRID) + 0.5) / _GRID * height
    points = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    floor = view.to_floor(points)
    back, seen = view.to_image(floor.floor_m)
    return float(np.mean(floor.valid & seen & (np.abs(back - points) < 0.1).all(axis=1)))


def _plan(site: Site, found: Found) -> tuple[list[str], list[str]]:
    """(warnings, refusals) about the floor plan."""
    floor = site.floor
    if floor.plan is None:
        return [], []
    if found.plan_px is None:
        where = site.resolve(floor.plan)
        return [], [f"{site.file}: floor.plan = {floor.plan!r}: {where} is no picture that can be read; give one"]
    if floor.metres_per_pixel and floor.size_m:
        drawn = [side * floor.metres_per_pixel for side in found.plan_px]
        if any(abs(a - b) > _SAME_EXTENT * b for a, b in zip(drawn, floor.size_m, strict=True)):
            said = f"{floor.size_m[0]:g} x {floor.size_m[1]:g} m"
            return [f"{site.file}: floor.plan is {drawn[0]:g} x {drawn[1]:g} m at its scale, size_m says {said}"], []
    return [], []


def _zones_off(site: Site) -> list[str]:
    """Zones with no corner on the floor that the site gives."""
    if site.floor.size_m is None:
        return []
    low = np.array(site.floor.origin_m)
    high = low + site.floor.size_m
    corners = {zone.name: np.array(zone.polygon_m) for zone in site.zones}
    return [name for name, xy in corners.items() if (xy < low).all(axis=0).any() or (xy > high).all(axis=0).any()]


def render(report: CheckReport, console: Console) -> None:
    """Print a report: a table of the cameras, then every warning and refusal on a line of its own."""
    table = Table(title=f"site {report.site.name}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("camera", "calibration"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    for heading in ("error m\n(worst)", "error px\n(worst)", "sees\nfloor", "stands\nat m"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for camera in report.cameras:
        verdict = "refused" if camera.refusals else "warning" if camera.warnings else "ok"
        style = {"refused": "red", "warning": "yellow", "ok": "green"}[verdict]
        sees = "-" if camera.sees_floor is None else f"{camera.sees_floor:.0%}"
        place = "-" if camera.position_m is None else ", ".join(f"{side:.1f}" for side in camera.position_m)
        cells = (camera.name, camera.calibration, *_figures(camera), sees, place)
        table.add_row(*map(Text, cells), Text(verdict, style=style))
    console.print(table)
    for lines, style in ((report.warnings, "yellow"), (report.refusals, "red")):
        for line in lines:
            console.print(Text(f"{'warning' if style == 'yellow' else 'refused'}: {line}", style=style), soft_wrap=True)
    if report.accepted:
        console.print(Text(f"{report.site.file}: fit to run"), soft_wrap=True)


def _figures(camera: CameraReport) -> tuple[str, str]:
    error = camera.reprojection
    if error is None:
        return ("-", "-") if camera.calibration == "none" else ("no check points", "-")
    return f"{error.rms_m:.3f} ({error.worst_m:.3f})", f"{error.rms_px:.2f} ({error.worst_px:.2f})"
