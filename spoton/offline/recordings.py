"""Which recordings belong to which camera: from arguments, a site file, or a folder of detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spoton import site_file
from spoton.errors import InputError
from spoton.offline.cameras_json import read_cameras
from spoton.offline.mot_text import WORLD
from spoton.site import CameraSite, Site

CAMERAS = "cameras.json"

Recording = tuple[CameraSite, str]
"""A camera, and the video, picture folder or text file that was recorded of it."""


def detection_files(
    folder: Path, site_path: Path | None, cameras_path: Path | None, fps: float | None
) -> tuple[Site, list[Recording]]:
    """Every ``<camera>.txt`` of a folder, with the calibration that the site file or ``cameras.json`` has for it.

    Ticks on the floor are as fast as the frames. Raises InputError, or SiteError from the site file.
    """
    files = sorted(path for path in folder.glob("*.txt") if path.name != WORLD) if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder} holds no <camera>.txt", remedy="give a folder with lines frame,-1,x,y,w,h,conf")
    if fps is None or not 0 < fps <= 1000:
        raise InputError(
            f"frames per second of detections are {fps}", remedy="say how fast they were recorded, as in --fps 10"
        )
    if site_path is not None:
        site = read_site(site_path)
    else:
        beside = folder.resolve().parent / CAMERAS
        if cameras_path is None and beside.is_file():
            cameras_path = beside
        site = Site("offline", read_cameras(cameras_path) if cameras_path is not None else ())
    known = {camera.name: camera for camera in site.cameras}
    cameras = [replace(known.get(path.stem, CameraSite(path.stem)), fps=fps) for path in files]
    thresholds = replace(site.thresholds, tick_hz=site.thresholds.tick_hz or fps)
    site = replace(site, cameras=tuple(cameras), thresholds=thresholds)
    return site, list(zip(cameras, map(str, files), strict=True))


def videos(inputs: Sequence[str], site_path: Path | None, fps: float | None) -> tuple[Site, list[Recording]]:
    """Videos and picture folders by camera: without a site file each is a camera of its own, named like the file.

    With a site file an input is the camera of that name or of that source; without inputs every camera of the site is
    taken. Raises InputError, or SiteError from the site file.
    """
    if site_path is None:
        if not inputs:
            raise InputError("nothing to track", remedy="give a video, a folder of pictures, --detections or --site")
        found = [(CameraSite(Path(given).stem, source=given, fps=fps), given) for given in inputs]
        site = Site("offline", tuple(camera for camera, _ in found))
    else:
        site = read_site(site_path)
        chosen = [(_camera_of(site, site_path, given), given) for given in inputs]
        found = chosen or [(camera, site.resolve(camera.source)) for camera in site.cameras]
        found = [(replace(camera, fps=fps or camera.fps), given) for camera, given in found]
        site = replace(site, cameras=tuple(camera for camera, _ in found))
    names = [camera.name for camera, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two inputs are camera {name!r}", remedy="rename one file: tracks go to <name>.txt")
    return site, found


def read_site(path: Path) -> Site:
    """The site file; InputError when it cannot be read, SiteError for a mistake in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="give the path of a site file (TOML)") from error
    return site_file.parse(text, str(path))


def _camera_of(site: Site, site_path: Path, given: str) -> CameraSite:
    for camera in site.cameras:
        if camera.name == Path(given).stem or _same(site.resolve(camera.source), given):
            return camera
    names = ", ".join(camera.name for camera in site.cameras)
    raise InputError(f"{given} is no camera of {site_path}", remedy=f"name the file like one of: {names}")


def _same(source: str, given: str) -> bool:
    return bool(source) and "://" not in source and Path(source).resolve() == Path(given).resolve()
