"""What one tick's boxes say about the floor: where each person seen by a camera stands, how tall, and how surely."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spoton.events import PeopleDetected
from spoton.geometry import FloorView, floor_view
from spoton.site import Site
from spoton.stance import CameraView, camera_view, stand
from spoton.ticks import Rhythm, Tick, rhythm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

@dataclass(frozen=True, slots=True, eq=False)
class SiteView:
    """All that is worked out once per site. cameras: those with a calibration, sorted by name.

    calibrated: for each a text that changes with its calibration.
    """

    site: Site
    rhythm: Rhythm
    cameras: tuple[str, ...]
    floors: Mapping[str, FloorView]
    scaled: dict[tuple[str, tuple[int, int]], CameraView]
    calibrated: tuple[str, ...] = ()

    def camera(self, name: str, size_px: tuple[int, int]) -> CameraView:
        """How that camera sees the floor in pictures of that size; worked out once and kept."""
        key = (name, size_px)
        if key not in self.scaled:
            self.scaled[key] = camera_view(self.floors[name].scaled(size_px), size_px)
        return self.scaled[key]


def site_view(site: Site) -> SiteView:
    """Work out a site's geometry once. Raises InputError for a calibration that fixes no floor."""
    floors = {
        camera.name: floor_view(camera.calibration, camera.size_px)
        for camera in site.cameras
        if camera.calibration is not None
    }
    cameras = tuple(sorted(floors))
    calibrated = [repr((site.camera(name).calibration, site.camera(name).size_px)) for name in cameras]
    digests = tuple(hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in calibrated)
    return SiteView(site, rhythm(site), cameras, floors, {}, digests)


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Every usable box of one tick, by camera and row.

    camera: (M,) index into the view's cameras. track: (M,) also that of a candidate, 0: none; firm: (M,) it is a track.
    place_m: (M, 3) x, y and height. cov_m2: (M, 3, 3). anchor_m: (M, 2) its camera's. dt_s: (M,) its frame's time after
    the tick's. look: (M, D) unit rows, zero where not described. looks_by: the model of the looks.
    """

    camera: Ints
    track: Ints
    firm: Bools
    place_m: Floats
    cov_m2: Floats
    anchor_m: Floats
    dt_s: Floats
    score: Floats
    look: Floats
    looks_by: str

    def __len__(self) -> int:
        return len(self.camera)


def with_places(sightings: Sightings, place_m: Floats, cov_m2: Floats) -> Sightings:
    """The same sightings elsewhere."""
    return replace(sightings, place_m=place_m, cov_m2=cov_m2)


def sight(tick: Tick, view: SiteView) -> Sightings:
    """Place the boxes of all frames of a tick on the floor. Boxes that have no place there are left out."""
    parts = [_frame_sightings(frame, tick.at_us, view) for frame in tick.frames]
    camera, track, firm, place, cov, anchor, dt_s, score, rows = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    looks, looks_by = _looks(tick, rows, camera, view)
    return Sightings(camera, track, firm, place, cov, anchor, dt_s, score, looks, looks_by)


def _frame_sightings(
    frame: PeopleDetected, tick_us: int, view: SiteView
) -> tuple[Ints, Ints, Bools, Floats, Floats, Floats, Floats, Floats, Ints]:
    boxes = np.array(frame.boxes_px, dtype=np.float64).reshape(-1, 4)
    scores = np.array(frame.scores, dtype=np.float64)
    tracks = np.array(frame.tracks, dtype=np.int64)
    firm = tracks > 0
    candidates = np.array(frame.tentative, dtype=np.int64)
    tracks = np.where(firm, tracks, candidates) if len(candidates) else tracks
    strong = firm | (scores >= view.site.thresholds.high_score)
    rows = np.flatnonzero(strong & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    camera = view.camera(frame.camera, frame.size_px)
    floor, cov, valid = stand(boxes[rows], camera)
    rows, floor, cov = rows[valid], floor[valid], cov[valid]
    index = view.cameras.index(frame.camera)
    dt_s = (frame.at - tick_us) / 1e6
    return (
        np.full(len(rows), index), tracks[rows], firm[rows], floor, cov,
        np.tile(camera.anchor_m, (len(rows), 1)), np.full(len(rows), dt_s), scores[rows], rows,
    )  # fmt: skip


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


