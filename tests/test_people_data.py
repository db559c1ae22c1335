"""Identities and places on real sequences, where the shared data are there (see SPOTON_SHARED)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from spoton import people, tracks
from spoton.events import DetectionEvent, PeopleLocated
from spoton.offline.mot_text import FloorRows
from spoton.offline.scores import score_floor
from spoton.site import CameraSite, Matrix3, Pinhole, Site
from spoton.zones import inside

SEQS = Path(os.environ.get("SPOTON_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "seqs"


def matrix(rows: list[list[float]]) -> Matrix3:
    a, b, c = ((float(x), float(y), float(z)) for x, y, z in rows)
    return a, b, c


def site_of(folder: Path, fps: float) -> Site:
    cameras = []
    for name, each in json.loads((folder / "cameras.json").read_text()).items():
        x, y, z = np.ravel(each["t"]).tolist()
        pinhole = Pinhole(matrix(each["K"]), matrix(each["R"]), (x, y, z), tuple(each["dist"]))
        cameras.append(CameraSite(name, fps=fps, size_px=tuple(each["size"]), calibration=pinhole))
    return Site(folder.name, tuple(cameras))


def detected(folder: Path, site: Site, fps: float) -> list[DetectionEvent]:
    events: list[DetectionEvent] = []
    for camera in site.cameras:
        rows = np.loadtxt(folder / "det" / f"{camera.name}.txt", delimiter=",", ndmin=2)
        state = tracks.initial()
        for n in range(int(rows[:, 0].max())):
            here = rows[rows[:, 0] == n + 1]
            boxes, scores = tracks.quantise(here[:, 2:6], here[:, 6])
            assert camera.size_px is not None
            seen = tracks.FrameSeen(
                site=site.name, camera=camera.name, frame=n, at=round(n * 1e6 / fps), session=1,
                size_px=camera.size_px, boxes_px=boxes, scores=scores,
            )  # fmt: skip
            more, state = tracks.step(state, seen, site.thresholds)
            events += more
    return sorted(events, key=lambda event: (event.at, event.camera, event.seq))


def located(site: Site, events: list[DetectionEvent]) -> FloorRows:
    view, state, rows = people.site_view(site), people.initial(site), []
    decided = []
    for event in events:
        more, state = people.step(state, event, view)
        decided += more
    for tick in decided + people.flush(state, view)[0]:
        if isinstance(tick, PeopleLocated):
            frame = max(tick.frames.values()) + 1
            rows += [(frame, each.number, each.x_m, each.y_m) for each in tick.people]
    return floor_rows(np.array(rows, dtype=np.float64).reshape(-1, 4))


def floor_rows(table: np.ndarray) -> FloorRows:
    return FloorRows(frames=table[:, 0].astype(np.int64), ids=table[:, 1].astype(np.int64), floor_m=table[:, 2:])


def within(rows: FloorRows, area: list[tuple[float, float]]) -> FloorRows:
    keep = inside(rows.floor_m, area)
    return FloorRows(frames=rows.frames[keep], ids=rows.ids[keep], floor_m=rows.floor_m[keep])


@pytest.mark.skipif(not SEQS.is_dir(), reason=f"no sequences in {SEQS}; set SPOTON_SHARED to the shared data")
@pytest.mark.parametrize(
    ("name", "fps", "idf1_above", "mota_above"),
    [
        pytest.param("cmc1", 4.0, 99.0, 99.0, id="three people in a room"),
        pytest.param("cmc2", 4.0, 97.0, 98.0, id="ten people in the same room"),
        pytest.param("wildtrack_train", 2.0, 89.0, 91.0, id="two dozen on a plaza, two frames a second"),
    ],
)
def test_people_are_told_apart_by_place_alone(
    name: str, fps: float, idf1_above: float, mota_above: float
) -> None:
    folder = SEQS / name
    site = site_of(folder, fps)
    area = [(float(x), float(y)) for x, y in json.loads((folder / "area.json").read_text())]
    truth = within(floor_rows(np.loadtxt(folder / "gt" / "world.txt", delimiter=",")), area)
    scores = score_floor(truth, within(located(site, detected(folder, site, fps)), area))
    assert scores.idf1 > idf1_above
    assert scores.mota > mota_above
