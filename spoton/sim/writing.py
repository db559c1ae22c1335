"""``spoton sim``: a simulated floor as a folder that every other command reads, written frame by frame.

``det/CAM.txt`` and ``gt/CAM.txt`` (MOTChallenge lines), ``gt/world.txt``, ``cameras.json``, ``area.json``,
``site.toml``, ``simulation.json`` with everything that was asked and drawn, and pictures when they are wanted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from spoton import site_file
from spoton.errors import InputError
from spoton.offline.recordings import CAMERAS
from spoton.sim.floor import SimulatedFloor
from spoton.sim.noise import Noise, NoisyDetector
from spoton.sim.pictures import KINDS, write_pictures
from spoton.sim.plan import plan_picture
from spoton.sim.scenario import Scenario
from spoton.sim.site_text import site_toml
from spoton.sim.trouble import lost_frames

Floats = NDArray[np.float64]

LEAST_VISIBLE = 0.2
"""Truth of whom less can be seen is written with a 0 in its seventh column: there, but not to be scored."""
_LARGEST_PLAN_M2 = 1000.0
_KEPT_CHARACTERS = 1 << 25
_DETECTION = "%d,-1,%.2f,%.2f,%.2f,%.2f,%.3f,-1,-1,-1\n"
_TRUTH = "%d,%d,%.2f,%.2f,%.2f,%.2f,%d,1,%.3f\n"
_PLACE = "%d,%d,%.4f,%.4f\n"


def write_simulation(
    scenario: Scenario,
    out: Path,
    seconds: float,
    noise: Noise | None,
    pictures: str = "none",
    progress: Callable[[str, int, int], None] = lambda part, done, total: None,
) -> dict[str, Any]:
    """Simulate ``seconds`` into the folder ``out`` and say how much there was and how fast it went.

    noise: the detector whose mistakes ``det`` has; None for everyone of whom ``LEAST_VISIBLE`` can be seen, exactly.
    pictures: ``none``, ``jpeg`` or ``video``. progress: called with what is being written, frames done, frames in all.

    Raises InputError for values out of range and for a folder that is not empty.
    """
    frames = round(seconds * scenario.fps) if 0 < seconds < 1e6 else 0
    if frames < 1:
        raise InputError(f"seconds = {seconds}", remedy="give a number above 0 that holds a frame at least")
    if pictures not in KINDS:
        raise InputError(f"pictures = {pictures!r}", remedy=f"choose from {', '.join(KINDS)}")
    _prepare(out)
    floor = SimulatedFloor(scenario)
    lost = np.stack([lost_frames(scenario, k, frames) for k in range(scenario.cameras)])
    began_s = time.perf_counter()
    counts = _write_text(floor, out, frames, noise, lost, progress)
    took_s = time.perf_counter() - began_s
    _write_site(floor, out, pictures)
    facts = {
        "scenario": asdict(scenario), "frames": frames, "noise": None if noise is None else msgspec.to_builtins(noise),
        "skew_ms": dict(zip(_names(floor), (1000 * floor.skew_s).round(3).tolist(), strict=True)),
        "lost_frames": {name: _stretches(row) for name, row in zip(_names(floor), lost, strict=True)},
        "height_m": {str(person): round(floor.height_m(person), 6) for person in range(1, counts["persons"] + 1)},
    }  # fmt: skip
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    (out / "simulation.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    if pictures != "none":
        write_pictures(floor, out, frames, pictures, lost, progress)
    return {
        "out": str(out), "cameras": scenario.cameras, "people": scenario.people, "frames": frames, **counts,
        "lost_frames": int(lost.sum()), "frames_per_second": round(frames / took_s, 2),
        "camera_frames_per_second": round(scenario.cameras * frames / took_s, 1),
        "seconds_with_pictures": round(time.perf_counter() - began_s, 1),
    }  # fmt: skip


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"--out = {str(out)!r} is not empty", remedy="name a new folder, or delete that one")
        for part in ("det", "gt"):
            (out / part).mkdir()
    except OSError as error:
        raise InputError(f"--out = {str(out)!r} cannot be written: {error}", remedy="name another folder") from error


@dataclass(slots=True, eq=False)
class _Files:
    """Text on its way to many files, so that memory stays bounded and no file has to be open for long."""

    pending: dict[Path, list[str]] = field(default_factory=dict)
    size: int = 0

    def add(self, path: Path, text: str) -> None:
        self.pending.setdefault(path, []).append(text)
        self.size += len(text)
        if self.size > _KEPT_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        for path, texts in self.pending.items():
            with path.open("a", encoding="ascii") as opened:
                opened.writelines(texts)
        self.pending = {}
        self.size = 0


def _write_text(
    floor: SimulatedFloor,
    out: Path,
    frames: int,
    noise: Noise | None,
    lost: NDArray[np.bool_],
    progress: Callable[[str, int, int], None],
) -> dict[str, int]:
    scenario, names = floor.scenario, _names(floor)
    files = _Files()
    sizes = np.tile(np.array(scenario.size_px, dtype=np.float64), (scenario.cameras, 1))
    detector = None
    if noise is not None:
        detector = NoisyDetector(noise, scenario.seed, sizes, max(1, scenario.people), scenario.fps)
    truth_rows = detections = persons = 0
    for path in (out / part / f"{name}.txt" for part in ("det", "gt") for name in names):
        files.add(path, "")
    for n in range(frames):
        ids, sight = floor.sight(n)
        count = len(ids)
        truth = np.column_stack(
            (np.full(count, n + 1), ids, sight.boxes_px, sight.visible >= LEAST_VISIBLE, sight.visible)
        )
        _add(files, out / "gt", names, _TRUTH, sight.camera, truth)
        if detector is not None:
            found = detector.detect(sight.camera, sight.row, ids, sight.boxes_px, sight.visible)
            camera, boxes, scores = found.camera, found.boxes_px, found.scores
        else:
            shown = sight.visible >= LEAST_VISIBLE
            camera, boxes, scores = sight.camera[shown], sight.boxes_px[shown], np.ones(int(shown.sum()))
        came = ~lost[camera, n]
        table = np.column_stack((np.full(len(camera), n + 1), boxes, scores))[came]
        _add(files, out / "det", names, _DETECTION, camera[came], table)
        people, places = floor.truth(n)
        _add_lines(
            files, out / "gt" / "world.txt", _PLACE, np.column_stack((np.full(len(people), n + 1), people, places))
        )
        truth_rows, detections = truth_rows + count, detections + int(came.sum())
        persons = max(persons, int(ids.max(initial=0)), int(people.max(initial=0)))
        progress("text", n + 1, frames)
    files.flush()
    return {"persons": persons, "truth_boxes": truth_rows, "detections": detections}


def _add(files: _Files, folder: Path, names: list[str], line: str, camera: NDArray[np.int64], table: Floats) -> None:
    ends = np.searchsorted(camera, np.arange(len(names) + 1))
    for k, name in enumerate(names):
        if ends[k + 1] > ends[k]:
            _add_lines(files, folder / f"{name}.txt", line, table[ends[k] : ends[k + 1]])


def _add_lines(files: _Files, path: Path, line: str, table: Floats) -> None:
    # One formatting operation for all lines: several times as fast as one a line.
    files.add(path, (line * len(table)) % tuple(table.ravel().tolist()))


def _write_site(floor: SimulatedFloor, out: Path, pictures: str) -> None:
    cameras = {
        view.name: {
            "size": list(view.size_px), "K": view.K.tolist(), "dist": [0.0] * 5, "R": view.R.tolist(),
            "t": view.t.tolist(),
        }
        for view in floor.views
    }  # fmt: skip
    (out / CAMERAS).write_text(json.dumps(cameras, indent=1) + "\n", encoding="utf-8")
    (out / "area.json").write_text(json.dumps(floor.area_m.tolist()) + "\n", encoding="utf-8")
    width, depth = floor.layout.size_m
    plan = "plan.png" if width * depth <= _LARGEST_PLAN_M2 else None
    if plan is not None:
        cv2.imwrite(str(out / plan), cv2.cvtColor(plan_picture(floor), cv2.COLOR_RGB2BGR))
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", out.resolve().name).strip("-_")[:64] or "floor"
    sources = {"none": None, "jpeg": [f"pictures/{one}" for one in _names(floor)],
               "video": [f"video/{one}.mp4" for one in _names(floor)]}[pictures]  # fmt: skip
    text = site_toml(floor, name=name, plan=plan, sources=sources)
    site_file.parse(text, str(out / "site.toml"))
    (out / "site.toml").write_text(text, encoding="utf-8")


def _names(floor: SimulatedFloor) -> list[str]:
    return [view.name for view in floor.views]


def _stretches(lost: NDArray[np.bool_]) -> list[list[int]]:
    """First and last frame, from 1, of every stretch of lost ones."""
    edges = np.flatnonzero(np.diff(np.r_[0, lost.astype(np.int8), 0]))
    return [[int(first) + 1, int(end)] for first, end in edges.reshape(-1, 2)]
