"""What one tick's boxes say about the floor: where each person seen by a camera stands, and how surely.

A box gives two independent places. Its foot, the middle of the lower edge, is the better one, unless the picture's edge
or something in front hides the feet; then the head, on a plane ``HEAD_M`` above the floor, still tells the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton.events import PeopleDetected
from spoton.geometry import FloorView, floor_view
from spoton.site import Site
from spoton.ticks import Rhythm, Tick, rhythm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HEAD_M = 1.7
"""Usual height of a standing person; the spread of heights is part of the uncertainty of a head's place."""

_FOOT_NOISE = 0.04
_HEAD_NOISE = 0.075
_SIDE_NOISE = 0.03
_CALIBRATION_M = 0.1
_EDGE_PX = 2.0
_HIDDEN_BELOW = 0.72
_WIDEST = 0.65
_SLIMNESS = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """One camera at one picture size. head: the same view of the plane ``HEAD_M`` above the floor."""

    foot: FloorView
    head: FloorView | None
    size_px: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class SiteView:
    """All that is worked out once per site. cameras: those with a calibration, sorted by name."""

    site: Site
    rhythm: Rhythm
    cameras: tuple[str, ...]
    floors: Mapping[str, FloorView]
    scaled: dict[tuple[str, tuple[int, int]], CameraView]

    def camera(self, name: str, size_px: tuple[int, int]) -> CameraView:
        """How that camera sees the floor in pictures of that size; worked out once and kept."""
        key = (name, size_px)
        if key not in self.scaled:
            foot = self.floors[name].scaled(size_px)
            self.scaled[key] = CameraView(foot, lifted(foot, HEAD_M), size_px)
        return self.scaled[key]


def site_view(site: Site) -> SiteView:
    """Work out a site's geometry once. Raises InputError for a calibration that fixes no floor."""
    floors = {
        camera.name: floor_view(camera.calibration, camera.size_px)
        for camera in site.cameras
        if camera.calibration is not None
    }
    return SiteView(site, rhythm(site), tuple(sorted(floors)), floors, {})


def lifted(view: FloorView, height_m: float) -> FloorView | None:
    """The same camera's view of the plane ``height_m`` above the floor; None where the pose is not known."""
    if view.rise is None or view.position_m is None or view.position_m[2] < height_m + 0.1:
        return None
    plane_from_floor = view.plane_from_floor.copy()
    plane_from_floor[:, 2] += height_m * view.rise
    floor_from_plane = np.asarray(np.linalg.inv(plane_from_floor), dtype=np.float64)
    return FloorView(view.size_px, view.lens, floor_from_plane, plane_from_floor, view.rise, view.position_m)


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Every usable box of one tick, by camera and row.

    camera: (M,) index into the view's cameras. track: (M,) also that of a candidate, 0: none; firm: (M,) it is a track.
    floor_m: (M, 2). cov_m2: (M, 2, 2). dt_s: (M,) its
    frame's time after the tick's. look: (M, D) unit rows, zero where not described. looks_by: the model of the looks.
    """

    camera: Ints
    track: Ints
    firm: Bools
    floor_m: Floats
    cov_m2: Floats
    dt_s: Floats
    score: Floats
    look: Floats
    looks_by: str

    def __len__(self) -> int:
        return len(self.camera)


def sight(tick: Tick, view: SiteView) -> Sightings:
    """Place the boxes of all frames of a tick on the floor. Boxes that have no place there are left out."""
    parts = [_frame_sightings(frame, tick.at_us, view) for frame in tick.frames]
    camera, track, firm, floor, cov, dt_s, score, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    looks, looks_by = _looks(tick, rows, camera, view)
    return Sightings(camera, track, firm, floor, cov, dt_s, score, looks, looks_by)


def _frame_sightings(
    frame: PeopleDetected, tick_us: int, view: SiteView
) -> tuple[Ints, Ints, Bools, Floats, Floats, Floats, Floats, Ints]:
    boxes = np.array(frame.boxes_px, dtype=np.float64).reshape(-1, 4)
    scores = np.array(frame.scores, dtype=np.float64)
    tracks = np.array(frame.tracks, dtype=np.int64)
    firm = tracks > 0
    candidates = np.array(frame.tentative, dtype=np.int64)
    tracks = np.where(firm, tracks, candidates) if len(candidates) else tracks
    strong = firm | (scores >= view.site.thresholds.high_score)
    rows = np.flatnonzero(strong & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    floor, cov, valid = place(boxes[rows], view.camera(frame.camera, frame.size_px))
    rows, floor, cov = rows[valid], floor[valid], cov[valid]
    index = view.cameras.index(frame.camera)
    dt_s = (frame.at - tick_us) / 1e6
    return (
        np.full(len(rows), index), tracks[rows], firm[rows], floor, cov, np.full(len(rows), dt_s), scores[rows], rows,
    )  # fmt: skip


def place(boxes_px: Floats, camera: CameraView) -> tuple[Floats, Floats, Bools]:
    """Boxes (N, 4) to places on the floor (N, 2) metres, their covariance (N, 2, 2) and whether they have one (N,)."""
    left, top, width, height = boxes_px.T
    middle = left + width / 2.0
    foot_px = np.column_stack([middle, top + height])
    across = _SIDE_NOISE * height + 1.0 + np.where(width > _WIDEST * height, 0.25 * width, 0.0)
    cut = (left < _EDGE_PX) | (left + width > camera.size_px[0] - _EDGE_PX)
    across = across + np.where(cut, 0.25 * width, 0.0)
    foot = camera.foot.to_floor(foot_px, np.column_stack([across, _FOOT_NOISE * height + 1.0]))
    floor, cov, valid = foot.floor_m.copy(), foot.cov_m2.copy(), foot.valid.copy()
    hidden = _hidden(boxes_px, foot_px, floor, camera)
    if camera.head is not None and len(hidden):
        head_px = np.column_stack([middle, top])[hidden]
        sigma_px = np.column_stack([across, _HEAD_NOISE * height + 1.0])[hidden]
        head = camera.head.to_floor(head_px, sigma_px)
        hidden = hidden[head.valid]
        floor[hidden], cov[hidden] = head.floor_m[head.valid], head.cov_m2[head.valid]
        valid[hidden] = True
    return floor, cov + _CALIBRATION_M**2 * np.eye(2), valid


def _hidden(boxes_px: Floats, foot_px: Floats, floor_m: Floats, camera: CameraView) -> Ints:
    """Rows of boxes whose feet are hidden: cut by the picture's edge, or too short for someone who stands there."""
    top_px, height = boxes_px[:, 1], boxes_px[:, 3]
    head_px, seen = camera.foot.to_image(floor_m, HEAD_M)
    expected = np.where(seen, np.abs(foot_px[:, 1] - head_px[:, 1]), 0.0)
    hidden = (height < _HIDDEN_BELOW * expected) | (foot_px[:, 1] > camera.size_px[1] - _EDGE_PX)
    return np.flatnonzero(hidden & (top_px > _EDGE_PX))


def expected_boxes(floor_m: Floats, camera: CameraView) -> tuple[Floats, Bools]:
    """Where a standing person on each floor point (N, 2) would be in the picture: boxes (N, 4), and whether it shows.

    It shows when the feet are inside the picture and so is most of the body.
    """
    foot, seen = camera.foot.to_image(floor_m)
    head, high = camera.foot.to_image(floor_m, HEAD_M)
    head = np.where(high[:, None], head, foot - np.array([0.0, 1.0]))
    height = np.abs(foot[:, 1] - head[:, 1])
    boxes = np.column_stack([foot[:, 0] - _SLIMNESS * height / 2, head[:, 1], _SLIMNESS * height, height])
    width_px, height_px = camera.size_px
    inside = (foot[:, 0] > 0.02 * width_px) & (foot[:, 0] < 0.98 * width_px) & (foot[:, 1] < 0.98 * height_px)
    inside &= head[:, 1] > -0.3 * height
    return boxes, seen & inside & (height > 0.03 * height_px)


def _looks(tick: Tick, rows: Ints, camera: Ints, view: SiteView) -> tuple[Floats, str]:
    """The looks of the sightings, (M, D); only those of the model that the first described box was described by."""
    described = [(frame, each) for frame in tick.frames for each in frame.embeddings]
    if not described:
        return np.zeros((len(rows), 0)), ""
    model, dim = described[0][1].model, len(described[0][1].data) // 2
    at = {(int(c), int(r)): m for m, (c, r) in enumerate(zip(camera, rows, strict=True))}
    looks = np.zeros((len(rows), dim))
    for frame, each in described:
        m = at.get((view.cameras.index(frame.camera), each.row))
        if m is not None and each.model == model and len(each.data) == 2 * dim:
            looks[m] = np.frombuffer(each.data, dtype="<f2").astype(np.float64)
    return looks, model


