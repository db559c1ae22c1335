"""What lies where a site file points: files, folders and the floor plan on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from spoton.errors import SourceError
from spoton.site import Site
from spoton.vision.sources import open_source
from spoton.vision.sources.address import Kind, parse_address

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """pictures: width, height of the first picture by camera, live cameras left out.

    unreadable: what is wrong with a camera's source. plan_px: size of the plan, None where it is no picture.
    """

    pictures: Mapping[str, Size] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    plan_px: Size | None = None


def look(site: Site) -> Found:
    """Open what the site names, but for live cameras, which are not contacted."""
    pictures: dict[str, Size] = {}
    unreadable: dict[str, str] = {}
    for camera in site.cameras:
        if not camera.source:
            continue
        try:
            address = parse_address(site.resolve(camera.source))
            if address.kind in (Kind.FILE, Kind.FOLDER):
                pictures[camera.name] = _first_picture(address.target, camera.fps)
        except SourceError as error:
            unreadable[camera.name] = str(error)
    return Found(pictures, unreadable, _picture_size(site.resolve(site.floor.plan)) if site.floor.plan else None)


def _first_picture(target: str, fps: float | None) -> Size:
    with closing(open_source(target, fps=fps)) as source:
        first = next(source.frames(), None)
    if first is None:
        raise SourceError(f"source {target!r} holds no picture", remedy="give one that does")
    return first.picture.shape[1], first.picture.shape[0]


def _picture_size(path: str) -> Size | None:
    try:
        data = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
    except OSError:
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    return None if picture is None else (picture.shape[1], picture.shape[0])
