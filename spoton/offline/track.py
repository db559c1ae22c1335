"""``spoton track``: follow people through recorded videos or detections, offline and deterministic."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spoton import people, tracks
from spoton.errors import InputError
from spoton.events import DetectionEvent, Event, PeopleDetected, PeopleLocated, SourceChanged, encode
from spoton.offline.footage import Footage, from_text, from_video
from spoton.offline.mot_text import WORLD, write_boxes, write_floor
from spoton.offline.recordings import detection_files, videos
from spoton.offline.trajectories import CameraTracks, FloorTracks
from spoton.site import Site, Thresholds
from spoton.vision.choose import make_embedder
from spoton.vision.eyes import Eyes
from spoton.vision.looks import Tally, with_looks
from spoton.vision.sources import open_source

EVENTS = "events.jsonl"
"""All events of the run, one JSON object a line: replaying them gives the tracks again."""


def run(
    inputs: Sequence[str],
    *,
    out: Path,
    site_file: Path | None,
    detections_dir: Path | None,
    cameras_file: Path | None,
    weights: str | None,
    weights_dir: Path,
    fps: float | None,
    as_json: bool = False,
) -> None:
    """Track every camera, and everyone on the floor where cameras are calibrated.

    inputs: video files or folders of pictures; with a site file they are its cameras, by name or by source, and
    without inputs all its recorded sources are taken. detections_dir: ``<camera>.txt`` instead of pictures.
    cameras_file: calibration for them; left out, ``cameras.json`` beside ``detections_dir`` where there is one.
    fps: of detections and picture folders. as_json: say what was found as one JSON object.

    Writes ``<camera>.txt`` per camera, ``world.txt`` where a camera is calibrated, and ``events.jsonl`` into ``out``.
    Raises InputError, SiteError, SourceError or ModelError.
    """
    if detections_dir is not None and inputs:
        raise InputError("both videos and --detections were given", remedy="give one of them")
    if detections_dir is not None:
        site, files = detection_files(detections_dir, site_file, cameras_file, fps)
        footage = [from_text(site.name, camera, Path(file), fps or 0.0) for camera, file in files]
    else:
        site, files = videos(inputs, site_file, fps)
        embedder = make_embedder(site.embedder, weights_dir=weights_dir)
        eyes = Eyes(weights, site.detector, weights_dir, embedder)
        footage = [from_video(site, camera, open_source(file, fps=fps), eyes) for camera, file in files]
    out.mkdir(parents=True, exist_ok=True)
    boxes = {each.camera.name: CameraTracks() for each in footage}
    floor = FloorTracks()
    looked = Looked()
    with _progress() as progress, (out / EVENTS).open("wb") as record:
        for event in happened(site, footage, progress, looked):
            record.write(encode(event) + b"\n")
            if isinstance(event, PeopleDetected):
                boxes[event.camera].add(event)
            elif isinstance(event, PeopleLocated):
                floor.add(event)
    _write(out, boxes, floor if _is_calibrated(site) else None, looked.tally, as_json=as_json)


@dataclass(slots=True)
class Looked:
    """What became of the confident boxes of a run so far."""

    tally: Tally = field(default_factory=Tally)


def _is_calibrated(site: Site) -> bool:
    return any(camera.calibration is not None for camera in site.cameras)


def happened(site: Site, footage: Sequence[Footage], progress: Progress, looked: Looked) -> Iterator[Event]:
    """Every event of the run: those of all cameras in order of time, each followed by what it means for the site."""
    streams = [tracked(each, site.thresholds, progress, looked) for each in footage]
    state = people.initial(site)
    floor = people.site_view(site) if _is_calibrated(site) else None
    for event in heapq.merge(*streams, key=lambda one: (one.at, one.camera, one.seq)):
        yield event
        if floor is not None:
            decided, state = people.step(state, event, floor)
            yield from decided
    if floor is not None:
        yield from people.flush(state, floor)[0]


def tracked(
    footage: Footage, thresholds: Thresholds, progress: Progress, looked: Looked
) -> Iterator[DetectionEvent]:
    """One camera's events, to its end."""
    task = progress.add_task(footage.camera.name, total=footage.total)
    state = tracks.initial()
    seen: tracks.FrameSeen | None = None
    for seen, picture in footage.frames:
        if picture is not None and footage.embedder is not None:
            seen, tally = with_looks(seen, picture, state, thresholds, footage.embedder)
            looked.tally += tally
        decided, state = tracks.step(state, seen, thresholds)
        yield from decided
        progress.advance(task)
    if seen is not None:
        ended = SourceChanged(
            site=seen.site, camera=seen.camera, at=seen.at, session=seen.session, online=False, ended=True, reason="end"
        )
        yield from tracks.step(state, ended, thresholds)[0]


def _write(
    out: Path, boxes: Mapping[str, CameraTracks], floor: FloorTracks | None, tally: Tally, *, as_json: bool
) -> None:
    console = Console(quiet=as_json)
    told: dict[str, Any] = {"cameras": {}, "looks": {**tally.counts(), "saved": tally.saved}}
    for name, camera in boxes.items():
        path = out / f"{name}.txt"
        write_boxes(path, camera.rows())
        told["cameras"][name] = {"tracks": len(camera.started), "frames": len(camera.frames)}
        console.print(f"{path}: {len(camera.started)} tracks in {len(camera.frames)} frames", soft_wrap=True)
    if floor is not None:
        rows = floor.rows()
        write_floor(out / WORLD, rows)
        told["people"] = len(set(rows.ids.tolist()))
        console.print(f"{out / WORLD}: {told['people']} people", soft_wrap=True)
    if tally.boxes:
        console.print(f"looks: {tally}", soft_wrap=True)
    if as_json:
        print(json.dumps(told))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
