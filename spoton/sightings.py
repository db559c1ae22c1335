"""What one tick's boxes say about the floor: where each person seen by a camera stands, how tall, and how surely."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spoton.events import PeopleDetected
from spoton.geometry import FloorView, floor_view
from spoton.site import Site
from spoton.stance import Cameras, CameraView, camera_view, cameras, stand
from spoton.ticks import Rhythm, Tick, rhythm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_RIGS = 64


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
    rigs: dict[tuple[tuple[str, tuple[int, int]], ...], Cameras]
    calibrated: tuple[str, ...] = ()

    def camera(self, name: str, size_px: tuple[int, int]) -> CameraView:
        """How that camera sees the floor in pictures of that size; worked out once and kept."""
        key = (name, size_px)
        if key not in self.scaled:
            self.scaled[key] = camera_view(self.floors[name].scaled(size_px), size_px)
        return self.scaled[key]

    def of(self, frames: Sequence[PeopleDetected]) -> Cameras:
        """How the cameras of these frames see the floor, in the order of the frames; worked out once and kept."""
        key = tuple((frame.camera, frame.size_px) for frame in frames)
        rig = self.rigs.get(key)
        if rig is None:
            # Cameras come and go: what is kept is bounded.
            if len(self.rigs) >= _MOST_RIGS:
                self.rigs.clear()
            rig = self.rigs[key] = cameras([self.camera(*each) for each in key])
        return rig


def site_view(site: Site) -> SiteView:
    """Work out a site's geometry once. Raises InputError for a calibration that fixes no floor."""
    floors = {
        camera.name: floor_view(camera.calibration, camera.size_px)
        for camera in site.cameras
        if camera.calibration is not None
    }
    names = tuple(sorted(floors))
    calibrated = [repr((site.camera(name).calibration, site.camera(name).size_px)) for name in names]
    digests = tuple(hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in calibrated)
    return SiteView(site, rhythm(site), names, floors, {}, {}, digests)


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


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """All boxes of a tick's frames, by frame and row. frame: (B,) which frame, row: (B,) which of its boxes."""

    frame: Ints
    row: Ints
    boxes_px: Floats


def boxes(tick: Tick) -> Boxes:
    """Every box of a tick, also those that nobody is followed by."""
    counts = [len(frame.boxes_px) for frame in tick.frames]
    return Boxes(
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([np.arange(count) for count in counts]),
        np.array([box for frame in tick.frames for box in frame.boxes_px], dtype=np.float64).reshape(-1, 4),
    )


def sight(tick: Tick, found: Boxes, view: SiteView) -> Sightings:
    """Place the boxes of all frames of a tick on the floor. Boxes that have no place there are left out."""
    frames, seen_by = tick.frames, view.of(tick.frames)
    scores = np.array([score for frame in frames for score in frame.scores], dtype=np.float64)
    tracks = np.array([track for frame in frames for track in frame.tracks], dtype=np.int64)
    tentative = [frame.tentative or [0] * len(frame.tracks) for frame in frames]
    firm = tracks > 0
    tracks = np.where(firm, tracks, np.array([track for each in tentative for track in each], dtype=np.int64))
    strong = firm | (scores >= view.site.thresholds.high_score)
    rows = np.flatnonzero(strong & (found.boxes_px[:, 2:] > 0).all(axis=1))
    place, cov, valid = stand(found.boxes_px[rows], seen_by, found.frame[rows])
    rows, place, cov = rows[valid], place[valid], cov[valid]
    frame = found.frame[rows]
    camera = np.array([view.cameras.index(each.camera) for each in frames], dtype=np.int64)[frame]
    dt_s = np.array([(each.at - tick.at_us) / 1e6 for each in frames])[frame]
    looks, looks_by = _looks(tick, found.row[rows], camera, view)
    return Sightings(
        camera, tracks[rows], firm[rows], place, cov, seen_by.anchor_m[frame], dt_s, scores[rows], looks, looks_by
    )


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


