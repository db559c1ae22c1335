"""``spoton calibrate --refine``: from a recording of people, a site whose cameras agree; shown before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spoton import events, people
from spoton.errors import InputError
from spoton.events import DetectionEvent, PeopleDetected, PeopleLocated
from spoton.offline.footage import from_text
from spoton.offline.recordings import detection_files
from spoton.offline.track import Looked, tracked
from spoton.refinement import FootPoints, View, apart, disagreement, middles, pulled, refined
from spoton.site import Site

BLOCK_S = 10.0
"""Every second block of so many seconds is held out."""

_EDGE_PX = 3.0
_LEAST = 40
_BETTER = 0.95
"""What is left of a disagreement must be less than so much of it."""
_JOINED = 0.98
"""And at least so many foot points must still be joined across cameras."""
_FOOT_NOISE, _SIDE_NOISE, _PIXEL = 0.05, 0.03, 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """The site before and after, and distances between cameras on held-out blocks, by camera.

    joined_before, joined_after: held-out foot points that identities of each site join across cameras. shift_m: median
    distance by which people's places, of all cameras together, moved: cameras cannot tell where their common floor is.
    weak: cameras that were to be moved; moved: those of them that were, all others are as before.
    """

    before: Site
    after: Site
    rows: list[dict[str, Any]]
    joined_before: int
    joined_after: int
    shift_m: float
    weak: tuple[str, ...]
    moved: tuple[str, ...]


def events_of(path: Path) -> list[DetectionEvent]:
    """What cameras said, from the events of ``spoton track``, without what was decided from it then."""
    found: list[DetectionEvent] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    event = events.decode(line)
                except msgspec.ValidationError as error:
                    raise InputError(
                        f"{path}, line {number}: {error}", remedy="give events.jsonl of spoton track"
                    ) from error
                if isinstance(event, DetectionEvent):
                    found.append(event)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="give events.jsonl of spoton track") from error
    return found


def detections_of(site_path: Path, folder: Path, fps: float | None) -> list[DetectionEvent]:
    """What trackers make of a folder of detections."""
    site, files = detection_files(folder, site_path, None, fps)
    with Progress(disable=True) as progress:
        streams = [
            list(tracked(from_text(site.name, camera, Path(file), fps or 0.0), site.thresholds, progress, Looked()))
            for camera, file in files
        ]
    return sorted((event for stream in streams for event in stream), key=lambda one: (one.at, one.camera, one.seq))


def refine(site: Site, happened: Sequence[DetectionEvent], chosen: str | None) -> Refined:
    """Refine one camera against all others, or all that are weak against those that agree; two, against each other.

    What does not bring a camera nearer to the others on the held-out blocks as well is not done. Raises InputError
    when too few people are seen by several cameras.
    """
    names = sorted(camera.name for camera in site.cameras if camera.calibration is not None)
    if chosen is not None and chosen not in names:
        raise InputError(f"camera {chosen!r} has no calibration to refine", remedy=f"choose from: {', '.join(names)}")
    first = joined(site, happened)
    held = _held_out(first)
    if min((~held).sum(), held.sum()) < _LEAST:
        raise InputError(
            f"only {len(first.group)} foot points of people whom several cameras see",
            remedy="give a longer recording, or calibrate by points until the cameras see the same people",
        )
    views, learnt = _views(site, names), first.only(~held)
    if chosen is not None or len(names) == 2:
        free = [names.index(chosen)] if chosen else [0, 1]
        there = refined(learnt, views, free)
    else:
        free, there = pulled(learnt, views)
    moved = _proven(first.only(held), views, there, free)
    now = _with_views(site, names, [there[k] if k in moved else view for k, view in enumerate(views)])
    points = joined(now, happened) if moved else first
    if _held_out(points).sum() < _JOINED * held.sum():
        now, points, moved = site, first, []
    every = first.only(_held_out(first))
    before, after = (middles(every, _views(one, names)) for one in (site, now))
    shift = round(float(np.median(np.linalg.norm(after - before, axis=1))), 3)
    return Refined(
        site, now, _compared(first, site, now, names), int(held.sum()), int(_held_out(points).sum()), shift,
        tuple(names[k] for k in free), tuple(names[k] for k in sorted(moved)),
    )  # fmt: skip


def _proven(held: FootPoints, before: Sequence[View], after: Sequence[View], free: Sequence[int]) -> list[int]:
    """Which of the cameras ``free`` are nearer to the others on blocks that nothing was learnt from."""
    kept = list(free)
    while kept:
        views = [after[k] if k in kept else view for k, view in enumerate(before)]
        was, now = disagreement(held, before), disagreement(held, views)
        worse = [k for k in kept if now[k] > _BETTER * was[k]]
        if not worse:
            break
        kept = [k for k in kept if k not in worse]
    return kept


def joined(site: Site, happened: Sequence[DetectionEvent]) -> FootPoints:
    """The foot points of everyone whom several cameras see, as identities are decided on this site."""
    view, state = people.site_view(site), people.initial(site)
    seen: dict[tuple[str, int], PeopleDetected] = {}
    rows: list[tuple[int, int, float, float, float, float, int]] = []
    group = 0
    for event in [*happened, None]:
        if isinstance(event, PeopleDetected):
            seen[event.camera, event.frame] = event
        decided, state = people.flush(state, view) if event is None else people.step(state, event, view)
        for located in decided:
            if not isinstance(located, PeopleLocated):
                continue
            for person in located.people:
                feet = []
                for ref in person.seen:
                    frame = seen.get((ref.camera, located.frames.get(ref.camera, -1)))
                    if frame is not None and ref.track in frame.tracks:
                        foot = _foot(frame, ref.track, view.floors[ref.camera].size_px or frame.size_px)
                        if foot is not None:
                            feet.append((group, view.cameras.index(ref.camera), *foot, located.at))
                if len(feet) > 1:
                    rows += feet
                    group += 1
            for camera, number in located.frames.items():
                seen.pop((camera, number), None)
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return FootPoints(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:4], table[:, 4:6],
        table[:, 6].astype(np.int64),
    )  # fmt: skip


def _foot(frame: PeopleDetected, track: int, size_px: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """A foot point and its spread in pixels of the calibration; None where the feet may not show."""
    left, top, width, height = frame.boxes_px[frame.tracks.index(track)]
    cut = left < _EDGE_PX or left + width > frame.size_px[0] - _EDGE_PX or top + height > frame.size_px[1] - _EDGE_PX
    if cut or top < _EDGE_PX or width > 0.65 * height:
        return None
    sx, sy = size_px[0] / frame.size_px[0], size_px[1] / frame.size_px[1]
    across, down = _SIDE_NOISE * height + _PIXEL, _FOOT_NOISE * height + _PIXEL
    return (left + width / 2) * sx, (top + height) * sy, across * sx, down * sy


def _held_out(points: FootPoints) -> NDArray[np.bool_]:
    begin = int(points.at_us.min(initial=2**62))
    odd: NDArray[np.bool_] = ((points.at_us - begin) // round(BLOCK_S * 1e6)) % 2 == 1
    return odd


def _views(site: Site, names: Sequence[str]) -> list[View]:
    found = []
    for name in names:
        camera = site.camera(name)
        assert camera.calibration is not None
        if camera.size_px is None:
            raise InputError(f"camera {name!r} has no size_px", remedy="write its pictures' size in the site file")
        found.append(View(camera.calibration, camera.size_px))
    return found


def _with_views(site: Site, names: Sequence[str], views: Sequence[View]) -> Site:
    new = dict(zip(names, views, strict=True))
    cameras = [
        replace(camera, calibration=new[camera.name].calibration) if camera.name in new else camera
        for camera in site.cameras
    ]
    return replace(site, cameras=tuple(cameras))


def _compared(points: FootPoints, before: Site, after: Site, names: Sequence[str]) -> list[dict[str, Any]]:
    """Distances on the held-out blocks, of the pairs that the present site joins, by camera and over all."""
    held = points.only(_held_out(points))
    was, now = (apart(held, _views(site, names)).distance_m for site in (before, after))
    rows = []
    for camera, name in [*enumerate(names), (-1, "all")]:
        which = (held.camera == camera) | (camera < 0)
        which &= np.isfinite(was) & np.isfinite(now)
        row: dict[str, Any] = {"camera": name, "points": int(which.sum())}
        for key, values in (("before", was[which]), ("after", now[which])):
            row[key] = None if not len(values) else {
                "median_m": round(float(np.median(values)), 4), "rms_m": round(float(np.sqrt(np.mean(values**2))), 4),
                "p95_m": round(float(np.percentile(values, 95)), 4),
            }  # fmt: skip
        rows.append(row)
    return rows


def as_json(result: Refined) -> dict[str, Any]:
    """What was measured on held-out blocks."""
    return {
        "held_out": result.rows,
        "joined_before": result.joined_before,
        "joined_after": result.joined_after,
        "shift_m": result.shift_m,
        "weak": list(result.weak),
        "moved": list(result.moved),
    }


def render(result: Refined, console: Console) -> None:
    """Print before and after."""
    table = Table("camera", title="apart from the other cameras, held-out blocks, m", box=box.SIMPLE_HEAD)
    for heading in ("points", "median", "after", "rms", "after", "95 %", "after"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        cells = []
        for key in ("median_m", "rms_m", "p95_m"):
            cells += ["-" if row[side] is None else f"{row[side][key]:.3f}" for side in ("before", "after")]
        table.add_row(row["camera"], str(row["points"]), *cells)
    console.print(table)
    console.print(f"foot points joined across cameras: {result.joined_before} before, {result.joined_after} after")
    console.print(f"weak: {', '.join(result.weak) or 'none'}; moved: {', '.join(result.moved) or 'none'}")
    console.print(f"people's places moved by {result.shift_m:.3f} m (median)")
