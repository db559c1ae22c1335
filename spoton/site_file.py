"""The site file: TOML text to a checked ``Site`` and back. What each key means is in docs/site-file.md."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from spoton import geometry, zones
from spoton.errors import InputError, SiteError
from spoton.site import (
    Calibration,
    CameraSite,
    Floor,
    Homography,
    Pinhole,
    Point,
    PointPairs,
    Site,
    Thresholds,
    Zone,
)
from spoton.site_text import dump
from spoton.toml_table import Shown, Table, as_numbers

__all__ = ["RANGES", "dump", "parse"]

RANGES: Mapping[str, tuple[float, float, str]] = MappingProxyType({
    "high_score": (0.0, 1.0, "a score"),
    "low_score": (0.0, 1.0, "a score"),
    "confirm_s": (0.0, 60.0, "seconds"),
    "lost_after_s": (0.05, 600.0, "seconds"),
    "tick_hz": (0.1, 100.0, "ticks a second"),
    "late_s": (0.0, 60.0, "seconds"),
    "gate_m": (0.05, 50.0, "metres"),
    "leave_after_s": (0.1, 86_400.0, "seconds"),
    "appearance_gate": (0.0, 2.0, "a cosine distance"),
    "recognise_p": (0.5, 1.0, "a probability"),
    "look_again_s": (0.0, 3600.0, "seconds"),
    "max_reprojection_m": (0.001, 1000.0, "metres"),
    "warn_reprojection_m": (0.001, 1000.0, "metres"),
})  # fmt: skip
"""Smallest and largest value of each threshold, and what it counts."""

_CAMERA_KEYS = (
    "name", "source", "fps", "size_px", "detector", "loop",
    "K", "R", "t", "dist", "homography", "points", "check_points",
)  # fmt: skip
_POINTS_EXAMPLE = "[{ image_px = [640, 512], floor_m = [3.0, 1.5] }, ...]"
_ORTHONORMAL_WITHIN = 1e-3
_LARGEST_DIST = 1e6


def parse(text: str, file: str) -> Site:
    """Read a site file. file: its path, for messages and for what is relative to it.

    Raises SiteError for the first mistake, with file, key, value and remedy.
    """
    top = Table(file, "", _toml(text, file), ("site", "floor", "camera", "zone", "thresholds"))
    if "site" not in top:
        raise top.wrong("site", "is needed", 'write [site] and below it name = "plaza"')
    head = Table(file, "site", top.raw["site"], ("name", "detector", "embedder"))
    cameras = tuple(_camera(file, number, raw) for number, raw in enumerate(_tables(top, "camera"), start=1))
    if not cameras:
        raise top.wrong("camera", "is needed", 'write at least one [[camera]] and below it name = "north"')
    zoned = tuple(_zone(file, number, raw) for number, raw in enumerate(_tables(top, "zone"), start=1))
    _no_name_twice(file, "camera", [camera.name for camera in cameras])
    _no_name_twice(file, "zone", [zone.name for zone in zoned])
    site = Site(
        name=_name(head),
        cameras=cameras,
        floor=_floor(file, top.raw.get("floor", {})),
        zones=zoned,
        thresholds=_thresholds(file, top.raw.get("thresholds", {})),
        file=file,
    )
    return dataclasses.replace(
        site,
        detector=head.optional_text("detector", '"auto"') or site.detector,
        embedder=head.optional_text("embedder", '"histogram"') or site.embedder,
    )


def _toml(text: str, file: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).partition(" (at ")
        lines = text.splitlines() or [""]
        found = re.match(r"line (\d+), column (\d+)", place)
        line = int(found[1]) if found else len(lines)
        shown = lines[line - 1].strip() if line <= len(lines) else ""
        where = f"{problem} at column {found[2]}" if found else f"{problem} at the end of the file"
        raise SiteError(
            file, f"line {line}", shown, where, remedy="write TOML: key = value, text in quotation marks"
        ) from None


def _tables(top: Table, key: str) -> list[object]:
    given = top.raw.get(key, [])
    if not isinstance(given, list):
        raise top.wrong(key, "is one table where a list of them belongs", f"write [[{key}]], one for each")
    return given


def _name(table: Table) -> str:
    name = table.text("name", '"north"')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise table.wrong(
            "name", "is no plain name", "use up to 64 letters, digits, - and _, a letter or a digit first"
        )
    return name


def _no_name_twice(file: str, kind: str, names: list[str]) -> None:
    for number, name in enumerate(names, start=1):
        first = names.index(name) + 1
        if first < number:
            raise SiteError(
                file, f"{kind}[{number}].name", name, f"is the name of {kind}[{first}] too", remedy="give each its own"
            )


def _called(kind: str, number: int, raw: object) -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    return f'{kind} "{name}"' if isinstance(name, str) and re.fullmatch(r"[\w-]+", name) else f"{kind}[{number}]"


def _camera(file: str, number: int, raw: object) -> CameraSite:
    table = Table(file, _called("camera", number, raw), raw, _CAMERA_KEYS)
    name = _name(table)
    if name == "world":
        raise table.wrong("name", "is kept for the floor's own results (world.txt)", "choose another name")
    size_px = _size(table) if "size_px" in table else None
    calibration = _calibration(table, size_px)
    check_points = _points(table, "check_points", least=1) if "check_points" in table else None
    if check_points and calibration is None:
        raise table.wrong("check_points", "have nothing to check", "give K, R, t, or homography, or name them points")
    return CameraSite(
        name=name,
        source=table.optional_text("source", '"rtsp://192.168.1.20/stream1"') or "",
        fps=table.number("fps", 0.01, 1000.0, "frames a second"),
        size_px=size_px,
        calibration=calibration,
        detector=table.optional_text("detector", '"built-in"'),
        loop=table.flag("loop"),
        check_points=check_points,
    )


def _size(table: Table) -> tuple[int, int]:
    given = table.raw["size_px"]
    whole = isinstance(given, list) and all(isinstance(side, int) and not isinstance(side, bool) for side in given)
    if not whole or len(given) != 2 or not all(1 <= side <= 65_536 for side in given):
        raise table.wrong("size_px", "is no picture size", "write size_px = [1920, 1080], width and height in pixels")
    return given[0], given[1]


def _calibration(table: Table, size_px: tuple[int, int] | None) -> Calibration | None:
    """The one calibration of a camera, None where none is given; tried out, so that it surely fixes a floor."""
    pose = [key for key in ("K", "R", "t") if key in table]
    kinds = [*pose[:1], *(key for key in ("homography", "points") if key in table)]
    if len(kinds) > 1:
        raise table.wrong(
            kinds[1], f"is a second calibration beside {kinds[0]}", "keep one; known points beside it are check_points"
        )
    if "dist" in table and not pose:
        raise table.wrong("dist", "needs K, R and t beside it", "give them, or leave dist out")
    if not kinds:
        return None
    calibration: Calibration
    if pose:
        calibration = _pinhole(table)
    elif "homography" in table:
        calibration = Homography(table.matrix("homography"))
    else:
        calibration = _points(table, "points", least=4)
    try:
        geometry.floor_view(calibration, size_px)
    except InputError as error:
        key = "t" if pose else kinds[0]
        count = Shown(f"{len(table.raw[key])} pairs") if key == "points" else None
        raise table.wrong(key, error.problem, error.remedy, count) from None
    return calibration


def _pinhole(table: Table) -> Pinhole:
    K, R = table.matrix("K"), table.matrix("R")
    x, y, z = table.numbers("t", 3, "[0.0, 0.0, 5.0]")
    if K[0][0] <= 0 or K[1][1] <= 0 or K[1][0] != 0 or K[2] != (0.0, 0.0, 1.0):
        raise table.wrong("K", "is no camera matrix", "write K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels")
    rotation = np.array(R)
    if float(np.abs(rotation @ rotation.T - np.eye(3)).max()) > _ORTHONORMAL_WITHIN:
        raise table.wrong(
            "R", "is no rotation: its rows are not perpendicular, of length 1",
            "give the 3 by 3 rotation from world to camera (cv2.Rodrigues makes it from a rotation vector)",
        )  # fmt: skip
    if float(np.linalg.det(rotation)) < 0:
        raise table.wrong("R", "is a reflection, not a rotation", "check that no axis is flipped: det R must be +1")
    if "dist" not in table:
        return Pinhole(K, R, (x, y, z))
    dist = as_numbers(table.raw["dist"])
    if dist is None or len(dist) not in (0, 4, 5, 8) or any(abs(each) > _LARGEST_DIST for each in dist):
        raise table.wrong(
            "dist",
            "is no list of 4, 5 or 8 numbers up to a million",
            "give OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]]",
        )
    return Pinhole(K, R, (x, y, z), dist)


def _points(table: Table, key: str, *, least: int) -> PointPairs:
    image: list[Point] = []
    floor: list[Point] = []
    for number, raw in enumerate(table.items(key, f"{key} = {_POINTS_EXAMPLE}"), start=1):
        pair = Table(table.file, f"{table.path(key)}[{number}]", raw, ("image_px", "floor_m"))
        image.append(pair.point("image_px", "[640, 512]"))
        floor.append(pair.point("floor_m", "[3.0, 1.5]"))
    if len(image) < least:
        raise table.wrong(key, "are too few to fix the floor", "give four pairs or more", Shown(f"{len(image)} pairs"))
    return PointPairs(tuple(image), tuple(floor))


def _zone(file: str, number: int, raw: object) -> Zone:
    table = Table(file, _called("zone", number, raw), raw, ("name", "polygon_m"))
    example = "polygon_m = [[0, 0], [4, 0], [4, 3]]"
    corners: list[Point] = []
    for index, corner in enumerate(table.items("polygon_m", example), start=1):
        pair = as_numbers(corner, 2)
        if pair is None:
            key = f"polygon_m[{index}]"
            raise table.wrong(key, "is no point of two finite numbers", f"write {example}", corner)
        corners.append((pair[0], pair[1]))
    if len(corners) < 3:
        raise table.wrong("polygon_m", "has fewer than three corners", "give three or more")
    if len(set(corners)) < len(corners):
        twice = max(corners, key=corners.count)
        raise table.wrong("polygon_m", f"names the corner {list(twice)} twice", "name each once; it closes by itself")
    if crossing := zones.crossing_edges(corners):
        a, b = (f"{i + 1}-{(i + 1) % len(corners) + 1}" for i in crossing)
        raise table.wrong("polygon_m", f"crosses itself: edges {a} and {b} meet", "list the corners in order around it")
    return Zone(_name(table), tuple(corners))


def _floor(file: str, raw: object) -> Floor:
    table = Table(file, "floor", raw, ("size_m", "origin_m", "plan", "metres_per_pixel"))
    size_m = table.point("size_m", "[20.0, 15.0]") if "size_m" in table else None
    if size_m and min(size_m) <= 0:
        raise table.wrong("size_m", "is no size", "give width and height above zero, metres")
    plan = table.optional_text("plan", '"plan.png"')
    scale = table.number("metres_per_pixel", 1e-6, 1000.0, "metres")
    if plan and not (scale or size_m):
        raise table.wrong("metres_per_pixel", "is needed with a plan", "write metres_per_pixel = 0.02, or give size_m")
    if scale and not plan:
        raise table.wrong("metres_per_pixel", "has no plan to scale", 'write plan = "plan.png", or leave it out')
    origin_m = table.point("origin_m", "[0.0, 0.0]") if "origin_m" in table else Floor().origin_m
    return Floor(size_m=size_m, origin_m=origin_m, plan=plan, metres_per_pixel=scale)


def _thresholds(file: str, raw: object) -> Thresholds:
    table = Table(file, "thresholds", raw, tuple(RANGES))
    given = {key: table.number(key, low, high, unit) for key, (low, high, unit) in RANGES.items() if key in table}
    values = dataclasses.replace(Thresholds(), **given)  # type: ignore[arg-type]
    for low, high in (("low_score", "high_score"), ("warn_reprojection_m", "max_reprojection_m")):
        below, above = getattr(values, low), getattr(values, high)
        if below > above:
            key = low if low in table else high
            raise table.wrong(key, f"leaves {low} ({below:g}) above {high} ({above:g})", f"keep {low} at most {high}")
    return values
