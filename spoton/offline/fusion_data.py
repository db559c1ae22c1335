"""The recordings that floor fusion is measured on, and what is done to them: one row of the table each.

WILDTRACK (Chavdarova et al., CVPR 2018), CMC (Ong et al., TPAMI 2022) and PETS 2009 S2.L1 (Ferryman and Shahrokni
2009), as text: boxes and truth per camera, people on the floor, calibration, and the area where truth is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton import site_file, tracks
from spoton.events import DetectionEvent
from spoton.offline.mot_text import WORLD, BoxRows, FloorRows, read_boxes, read_floor
from spoton.offline.site_import import imported
from spoton.site import Site
from spoton.zones import inside

Boxes = Mapping[str, BoxRows]

_SKEW_US = 200_000
_LOST = 0.2
_SEED = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a sequence, its frame rate, whether the true boxes are given, and what goes wrong.

    camera: which one, by place in the order of names, is ``dropped`` or ``skewed``. reach: IDF1 and MOTA to reach.
    """

    name: str
    sequence: str
    fps: float
    true_boxes: bool = False
    trouble: str = ""
    camera: int = 2
    reach: tuple[float, float] | None = None


ROWS = (
    Row("wildtrack, noisy", "wildtrack_train", 2.0, reach=(88.0, 86.0)),
    Row("wildtrack, true boxes", "wildtrack_train", 2.0, True, reach=(99.0, 99.0)),
    Row("cmc1", "cmc1", 4.0, reach=(99.6, 99.0)),
    Row("cmc2", "cmc2", 4.0, reach=(92.0, 95.0)),
    Row("pets09", "pets09_s2l1", 10.0, reach=(82.0, 80.0)),
    Row("true boxes, a camera dropped", "wildtrack_train", 2.0, True, "dropped"),
    Row("true boxes, a clock 200 ms off", "wildtrack_train", 2.0, True, "skewed"),
    Row("true boxes, 20 % of frames lost", "wildtrack_train", 2.0, True, "lost"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One row's data. lost: per camera the frames, from 1, that never came. skew_us: how far each clock is off."""

    row: Row
    site: Site
    boxes: Boxes
    truth: FloorRows
    area: list[tuple[float, float]]
    lost: Mapping[str, NDArray[np.int64]]
    skew_us: Mapping[str, int]


def is_there(row: Row, shared: Path) -> bool:
    """Whether the sequence of a row lies in the shared folder."""
    return (shared / "seqs" / row.sequence / "cameras.json").is_file()


def load(row: Row, shared: Path) -> Recording:
    """A row's data, with a site that was written as a site file and read back; InputError for what cannot be read."""
    folder = shared / "seqs" / row.sequence
    site = site_file.parse(site_file.dump(imported(folder, row.fps)), f"{row.sequence}.toml")
    names = sorted(camera.name for camera in site.cameras)
    hit = names[row.camera % len(names)]
    if row.trouble == "dropped":
        site = Site(site.name, tuple(camera for camera in site.cameras if camera.name != hit))
        names.remove(hit)
    source = folder / ("gt" if row.true_boxes else "det")
    boxes = {name: read_boxes(source / f"{name}.txt") for name in names}
    chance, lost = np.random.default_rng(_SEED), {}
    for name, rows in boxes.items() if row.trouble == "lost" else ():
        count = int(rows.frames.max(initial=0))
        lost[name] = 1 + np.flatnonzero(chance.random(count) < _LOST)
        boxes[name] = rows.only(~np.isin(rows.frames, lost[name]))
    area = [(float(x), float(y)) for x, y in json.loads((folder / "area.json").read_text(encoding="utf-8"))]
    truth = read_floor(folder / "gt" / WORLD)
    skew = {hit: _SKEW_US} if row.trouble == "skewed" else {}
    return Recording(row, site, boxes, truth.only(inside(truth.floor_m, area)), area, lost, skew)


def detected(recording: Recording) -> list[DetectionEvent]:
    """What every camera's tracker says of its boxes, in the order of time."""
    events: list[DetectionEvent] = []
    for camera in recording.site.cameras:
        rows, thresholds = recording.boxes[camera.name], recording.site.thresholds
        gone = set(recording.lost.get(camera.name, np.zeros(0)).tolist())
        state = tracks.initial()
        for frame in range(1, int(rows.frames.max(initial=0)) + 1):
            if frame in gone:
                continue
            here = rows.frames == frame
            boxes, scores = tracks.quantise(rows.boxes_px[here], rows.scores[here], thresholds.low_score)
            seen = tracks.FrameSeen(
                site=recording.site.name, camera=camera.name, frame=frame - 1, session=1,
                at=round((frame - 1) * 1e6 / recording.row.fps) + recording.skew_us.get(camera.name, 0),
                size_px=camera.size_px or (1, 1), boxes_px=boxes, scores=scores,
            )  # fmt: skip
            more, state = tracks.step(state, seen, thresholds)
            events += more
    return sorted(events, key=lambda event: (event.at, event.camera, event.seq))
