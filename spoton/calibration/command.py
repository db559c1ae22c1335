"""``spoton calibrate``: from points, from other programs' files, or in the browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from spoton import site_file
from spoton.calibration import imports, page, points_file, refine, report, rewrite
from spoton.calibration.draft import Draft, Size, as_given, by_points, lens_of
from spoton.calibration.imports import Imported
from spoton.calibration.still import still
from spoton.errors import InputError
from spoton.site import CameraSite, Site


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for. out: where the changed site file goes; ``write``: over itself; neither: only shown.

    imported: files of other programs. called: the camera's name in them, where it differs. unit: of lengths in them.
    """

    site: Path
    camera: str | None = None
    points: Path | None = None
    imported: Sequence[Path] = ()
    called: str | None = None
    unit: str | None = None
    method: str = "auto"
    tolerance_px: float | None = None
    picture: Path | None = None
    write: bool = False
    out: Path | None = None
    port: int = 8322
    refine: bool = False
    detections: Path | None = None
    events: Path | None = None
    fps: float | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A site file as it was read, and the camera in question."""

    path: Path
    text: str
    site: Site
    camera: CameraSite


def opened(path: Path, camera: str) -> Opened:
    """Read a site file for one of its cameras; InputError or SiteError where that cannot be."""
    text = rewrite.read(path)
    site = site_file.parse(text, str(path))
    names = [one.name for one in site.cameras]
    if camera not in names:
        raise InputError(f"{path} has no camera {camera!r}", remedy=f"choose from: {', '.join(names)}")
    return Opened(path, text, site, site.camera(camera))


def run(wishes: Wishes, console: Console) -> None:
    """Do what is asked for; a site file changes only on ``write``, or when the page's button is pressed."""
    if wishes.write and wishes.out:
        raise InputError("both --write and --out were given", remedy="give one of them")
    if wishes.refine:
        _from_people(wishes, console)
        return
    if wishes.camera is None:
        raise InputError("no camera was named", remedy="name one, as in: spoton calibrate north --site site.toml")
    here = opened(wishes.site, wishes.camera)
    found = None
    if wishes.imported:
        found = imports.read(wishes.imported, wishes.called or wishes.camera, wishes.unit)
    if wishes.points is None and (found is None or (found.pose is None and found.points is None)):
        _with_page(here, wishes, found, console)
    else:
        _without_page(here, wishes, found, console)


def _from_people(wishes: Wishes, console: Console) -> None:
    """Refine by a recording of people, show before and after, and write where asked to."""
    text = rewrite.read(wishes.site)
    site = site_file.parse(text, str(wishes.site))
    if (wishes.detections is None) == (wishes.events is None):
        raise InputError("--refine needs one recording", remedy="give --detections DIR --fps N, or --events FILE")
    if wishes.detections is not None:
        happened = refine.detections_of(wishes.site, wishes.detections, wishes.fps)
        tick_hz = site.thresholds.tick_hz or wishes.fps
        paced = replace(site, thresholds=replace(site.thresholds, tick_hz=tick_hz))
    else:
        assert wishes.events is not None
        happened, paced = refine.events_of(wishes.events), site
    result = refine.refine(paced, happened, wishes.camera)
    changed = {
        camera.name: camera
        for camera, old in zip(result.after.cameras, site.cameras, strict=True)
        if camera.calibration != old.calibration
    }
    after = rewrite.with_calibrations(text, str(wishes.site), changed)
    if wishes.as_json:
        print(json.dumps(refine.as_json(result)))
    else:
        refine.render(result, console)
    keep(Opened(wishes.site, text, site, site.cameras[0]), after, wishes, console)


def _with_page(here: Opened, wishes: Wishes, found: Imported | None, console: Console) -> None:
    """Serve the page until Ctrl-C."""
    if wishes.write or wishes.out or wishes.as_json:
        raise InputError(
            "--write, --out and --json belong to a calibration without a page", remedy="add --points or --import"
        )
    picture = still(here.site, here.camera, wishes.picture)
    desk = page.desk(here.path, here.text, here.site, here.camera, picture, found.intrinsics if found else None)

    def tell(address: str) -> None:
        console.print(f"Calibrate {here.camera.name} at {address} (Ctrl-C ends)", soft_wrap=True)

    asyncio.run(page.serve(desk, wishes.port, tell))


def _without_page(here: Opened, wishes: Wishes, found: Imported | None, console: Console) -> None:
    """Show before and after, and write where asked to."""
    draft = drafted(here, wishes, found)
    after = rewrite.with_calibrations(here.text, str(here.path), {draft.after.name: draft.after})
    if wishes.as_json:
        print(json.dumps({**report.as_json(draft), "difference": rewrite.difference(here.text, after, here.path.name)}))
    else:
        report.render(draft, console)
    keep(here, after, wishes, console)


def drafted(here: Opened, wishes: Wishes, found: Imported | None) -> Draft:
    """The calibration that points and imported files give."""
    camera = here.camera
    known = points_file.read(wishes.points) if wishes.points else None
    if found is None:
        if known is None:
            raise InputError(
                "nothing to calibrate by", remedy="give --points, --import, or leave both out for the page"
            )
        return by_points(
            camera, _size(here, wishes, None), known, lens_of(camera), wishes.method, wishes.tolerance_px
        )  # fmt: skip
    size_px = _size(here, wishes, found)
    if found.pose is not None:
        return as_given(camera, size_px, found.pose, known, _said(found))
    known = known or found.points
    if known is None:
        raise InputError(
            "the imported file knows the lens, but not where the camera stands",
            remedy="add --points FILE, or the file with rotation and translation",
        )
    return by_points(camera, size_px, known, found.intrinsics, wishes.method, wishes.tolerance_px)


def _said(found: Imported) -> str:
    return f"imported as {found.kind}" + (f": {found.note}" if found.note else "")


def _size(here: Opened, wishes: Wishes, found: Imported | None) -> Size:
    """Of the pictures that the new calibration speaks of: the import's, the camera's, or its picture's."""
    if found is not None and found.size_px is not None:
        return found.size_px
    if here.camera.size_px is not None:
        return here.camera.size_px
    picture = still(here.site, here.camera, wishes.picture)
    return picture.shape[1], picture.shape[0]


def keep(here: Opened, after: str, wishes: Wishes, console: Console) -> None:
    """Show what would change in the site file; put it into ``out`` or over the file, where asked to."""
    difference = rewrite.difference(here.text, after, here.path.name)
    if not wishes.as_json:
        console.print(Text(difference or f"{here.path} says this already"), soft_wrap=True)
    if wishes.out is not None:
        create(wishes.out, after)
    elif wishes.write and difference:
        rewrite.write(here.path, here.text, after)
    if wishes.as_json:
        return
    target = wishes.out or (here.path if wishes.write else None)
    said = f"{target} written" if target else "nothing written; add --write, or --out FILE"
    console.print(Text(said), soft_wrap=True)


def create(path: Path, text: str) -> None:
    """Write a new site file."""
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}", remedy="name a file in a folder that exists") from error
