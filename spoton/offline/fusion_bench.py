"""Floor fusion measured on real recordings beside two peers on the same boxes, and timed on a made-up floor.

One setting for everything: a sequence's site file holds its cameras and frame rate only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from spoton import people
from spoton.association import assign
from spoton.events import DetectionEvent, PeopleLocated
from spoton.geometry import floor_view
from spoton.offline import fusion_speed, looks_fusion, plain_fusion
from spoton.offline.fusion_data import ROWS, Recording, Row, detected, is_there, load
from spoton.offline.mot_text import FloorRows
from spoton.offline.recordings import CAMERAS
from spoton.offline.scores import GATE_M, floor_errors_m, score_floor
from spoton.offline.tracking_bench import parse_sequences
from spoton.offline.trajectories import FloorTracks
from spoton.site import Site
from spoton.zones import inside

_AWAY_S = 1.0

SIZES = ((7, 40), (8, 75), (16, 150), (32, 300))
"""Cameras and people of the made-up floor; the last three have the same density of both."""


def run(
    shared: Path,
    *,
    rows: Sequence[Row] = ROWS,
    sizes: Sequence[tuple[int, int]] = SIZES,
    ticks: int = 60,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Scores within ``GATE_M`` inside each sequence's area, for ours and the peers, and milliseconds a tick.

    shared: the folder with ``seqs`` (and ``data`` for the embeddings). Rows whose sequence is not there are named under
    ``missing``. ``rows`` has per row ``ours``, ``plain`` and, where embeddings exist, ``looks``; ``speed`` has one
    entry per made-up floor. progress: called with each part's name before it is measured.
    """
    results: dict[str, Any] = {}
    for row in rows:
        if is_there(row, shared):
            progress(row.name)
            results[row.name] = _row(load(row, shared), shared)
    speed = []
    for cameras, persons in sizes:
        progress(f"{cameras} cameras, {persons} people")
        speed.append(fusion_speed.measure(cameras, persons, ticks))
    missing = sorted({row.sequence for row in rows if not is_there(row, shared)})
    return {"gate_m": GATE_M, "rows": results, "speed": speed, "missing": missing}


def parse_rows(given: Sequence[str]) -> list[Row]:
    """Rows of ``NAME=FPS`` each: a folder below ``seqs``, or any by its path. Raises InputError for another form."""
    rows = []
    for name, fps in parse_sequences(given).items():
        here = Path(name)
        folder = str(here.resolve()) if (here / CAMERAS).is_file() else name
        rows.append(Row(name, folder, fps))
    return rows


def follow(site: Site, events: Sequence[DetectionEvent]) -> tuple[FloorRows, list[float]]:
    """Everyone on the floor as live, tick by tick, and each tick's processor time in ms."""
    view, state, floor = people.site_view(site), people.initial(site), FloorTracks()
    took, spent = [], 0.0
    for event in [*events, None]:
        start = time.process_time()
        decided, state = people.flush(state, view) if event is None else people.step(state, event, view)
        spent += time.process_time() - start
        for each in decided:
            if isinstance(each, PeopleLocated):
                floor.add(each)
                took.append(1e3 * spent)
                spent = 0.0
    return floor.rows(), took


def _row(recording: Recording, shared: Path) -> dict[str, Any]:
    row, site = recording.row, recording.site
    found, took = follow(site, detected(recording))
    views = {
        camera.name: floor_view(camera.calibration, camera.size_px)
        for camera in site.cameras
        if camera.calibration is not None
    }
    high = site.thresholds.high_score
    confident = {name: rows.only(rows.scores >= high) for name, rows in recording.boxes.items()}
    result = {
        "reach": row.reach,
        "ours": _scores(recording, found) | {"ms_a_tick": round(statistics.median(took), 2)},
        "plain": _scores(recording, plain_fusion.follow(confident, views, row.fps)),
    }
    files = {name: looks_fusion.embeddings(shared, row.sequence, name) for name in views}
    if not row.true_boxes and all(path.is_file() for path in files.values()):
        result["looks"] = _scores(recording, looks_fusion.follow(site, files, views, row.fps))
    return result


def _scores(recording: Recording, found: FloorRows) -> dict[str, Any]:
    found = found.only(inside(found.floor_m, recording.area))
    scores, errors = score_floor(recording.truth, found), floor_errors_m(recording.truth, found)
    by_visit = score_floor(recording.truth, visits(found, round(_AWAY_S * recording.row.fps)))
    return {
        "idf1": round(scores.idf1, 2),
        "idf1_by_visit": round(by_visit.idf1, 2),
        "mota": round(scores.mota, 2),
        "hota": round(scores.hota, 2),
        "id_switches": scores.id_switches,
        "fragmentations": fragmentations(recording.truth, found),
        "false_positives": scores.false_positives,
        "misses": scores.misses,
        "truth": scores.truth,
        "error_median_m": round(float(np.median(errors)), 3) if len(errors) else None,
        "error_p95_m": round(float(np.percentile(errors, 95)), 3) if len(errors) else None,
    }


def visits(found: FloorRows, gap: int) -> FloorRows:
    """The same with a new id for whoever comes back to the area after more than ``gap`` frames.

    Truth of PETS has one too: it was drawn in one view, and whoever left it and came back is someone new.
    """
    order = np.lexsort((found.frames, found.ids))
    ids, frames = found.ids[order], found.frames[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (np.diff(ids) != 0) | (np.diff(frames) > gap)
    renamed = np.empty(len(order), dtype=np.int64)
    renamed[order] = np.cumsum(begins)
    return FloorRows(found.frames, renamed, found.floor_m)


def fragmentations(truth: FloorRows, found: FloorRows) -> int:
    """How often someone who was found is found again after a while in which they were there and were not."""
    interrupted: dict[int, bool] = {}
    count = 0
    for frame in np.unique(truth.frames):
        rows, columns = truth.frames == frame, found.frames == frame
        apart = np.linalg.norm(truth.floor_m[rows][:, None] - found.floor_m[columns][None], axis=2)
        seen = set(assign(apart, np.nextafter(GATE_M, np.inf))[0].tolist())
        for k, person in enumerate(truth.ids[rows].tolist()):
            if k in seen:
                count += interrupted.get(person, False)
                interrupted[person] = False
            elif person in interrupted:
                interrupted[person] = True
    return count


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as two tables."""
    columns = ("IDF1", "by visit", "MOTA", "HOTA", "switches", "fragments", "error m", "95 %", "ms a tick")
    table = Table("who", *columns, title=f"on the floor, within {result['gate_m']:g} m")
    for name, row in result["rows"].items():
        table.add_section()
        table.add_row(f"[bold]{name}")
        for who in ("ours", "plain", "looks"):
            if who in row:
                table.add_row(who, *_cells(row[who]))
        if row["reach"]:
            table.add_row("reach", f"{row['reach'][0]:g}", "", f"{row['reach'][1]:g}")
    console.print(table)
    speed = Table("cameras", "people", "boxes a tick", "ms a tick", "µs a box", "state, kB", title="made-up floor")
    for one in result["speed"]:
        each_us = 1e3 * one["ms_median"] / max(1.0, one["boxes_a_tick"])
        speed.add_row(
            str(one["cameras"]), str(one["people"]), f"{one['boxes_a_tick']:.0f}", f"{one['ms_median']:.1f}",
            f"{each_us:.1f}", f"{one['state_kb']:.0f}",
        )  # fmt: skip
    if result["speed"]:
        console.print(speed)
    for name in result["missing"]:
        console.print(f"{name}: not there, not measured")


def _cells(scores: dict[str, Any]) -> list[str]:
    cells = [f"{scores[key]:.1f}" for key in ("idf1", "idf1_by_visit", "mota", "hota")]
    cells += [str(scores["id_switches"]), str(scores["fragmentations"])]
    cells += ["" if scores[key] is None else f"{scores[key]:.2f}" for key in ("error_median_m", "error_p95_m")]
    return [*cells, f"{scores['ms_a_tick']:.1f}" if "ms_a_tick" in scores else ""]
