"""``spoton site import``: a site file from the cameras of a multi-camera data set, and from nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from spoton import site_file
from spoton.errors import InputError
from spoton.offline.cameras_json import read_cameras
from spoton.offline.recordings import CAMERAS
from spoton.site import Site


def imported(folder: Path, fps: float) -> Site:
    """The site of ``cameras.json`` in a folder, named like the folder; every threshold keeps its default.

    Raises InputError for a file that cannot be read and a frame rate that is none.
    """
    if not 0 < fps <= 1000:
        raise InputError(f"frames per second are {fps}", remedy="say how fast they were recorded, as in --fps 10")
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-_")[:64] or "site"
    return Site(name, read_cameras(folder / CAMERAS, fps))


def write(folder: Path, fps: float, out: Path) -> Site:
    """Write the folder's site file to ``out``, read it back and return what was read."""
    text = site_file.dump(imported(folder, fps))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error}", remedy="name a file in a folder that exists") from error
    return site_file.parse(text, str(out))
