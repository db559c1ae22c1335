"""The plain peer of floor fusion: what anyone would write first, measured beside ours on the same detections.

Foot points of one frame, greedily clustered (nearest pairs first, within ``GATE_M``, at most one box per camera); a
Kalman filter of constant velocity per person; Hungarian assignment on the floor distance within ``GATE_M``. A track is
born of a cluster of at least two cameras and dies after ``PATIENCE_S`` unseen; it is listed while it is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoton import motion
from spoton.association import assign
from spoton.geometry import FloorView, foot_points
from spoton.offline.mot_text import BoxRows, FloorRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GATE_M = 1.0
PATIENCE_S = 1.0
_ACCEL_SIGMA = 1.0
_SIGMA_M = 0.2
_H = motion.position_of(2)


@dataclass(slots=True)
class _Tracks:
    ids: Ints
    mean: Floats
    cov: Floats
    unseen: Ints


def follow(boxes: Mapping[str, BoxRows], views: Mapping[str, FloorView], fps: float) -> FloorRows:
    """Everyone on the floor, frame by frame, from boxes per camera and how each camera sees the floor."""
    points = [_points(rows, views[name]) for name, rows in boxes.items()]
    last = max(int(rows.frames.max(initial=0)) for rows in boxes.values())
    tracks = _Tracks(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, 4, 4)), np.zeros(0, dtype=np.int64))
    F, Q = motion.constant_velocity(1.0 / fps, 2, _ACCEL_SIGMA)
    found: list[tuple[int, int, float, float]] = []
    next_id = 1
    for frame in range(1, last + 1):
        here = [floor_m[frames == frame] for frames, floor_m in points]
        camera = np.repeat(np.arange(len(here)), [len(each) for each in here])
        centres, counts = _clusters(np.concatenate(here), camera)
        tracks.mean, tracks.cov = motion.predict(tracks.mean, tracks.cov, F, Q)
        next_id = _turn(tracks, centres, counts, next_id, round(PATIENCE_S * fps))
        seen = tracks.unseen == 0
        places = zip(tracks.ids[seen].tolist(), tracks.mean[seen, :2].tolist(), strict=True)
        found += [(frame, person, x, y) for person, (x, y) in places]
    table = np.array(found, dtype=np.float64).reshape(-1, 4)
    return FloorRows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])


def _points(rows: BoxRows, view: FloorView) -> tuple[Ints, Floats]:
    floor = view.to_floor(foot_points(rows.boxes_px))
    return rows.frames[floor.valid], floor.floor_m[floor.valid]


def _clusters(floor_m: Floats, camera: Ints) -> tuple[Floats, Ints]:
    """Centres (K, 2) of clusters and how many cameras (K,) each has."""
    apart = np.linalg.norm(floor_m[:, None] - floor_m[None], axis=2)
    a, b = np.nonzero(np.triu((apart <= GATE_M) & (camera[:, None] != camera[None]), 1))
    cluster = np.arange(len(floor_m))
    for k in np.argsort(apart[a, b], kind="stable"):
        one, other = np.flatnonzero(cluster == cluster[a[k]]), np.flatnonzero(cluster == cluster[b[k]])
        if cluster[a[k]] != cluster[b[k]] and not set(camera[one].tolist()) & set(camera[other].tolist()):
            cluster[other] = cluster[one[0]]
    _, index, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    total = np.zeros((len(counts), 2))
    np.add.at(total, index, floor_m)
    return total / counts[:, None], counts


def _turn(tracks: _Tracks, centres: Floats, counts: Ints, next_id: int, patience: int) -> int:
    """Assign, correct, bury and give birth; returns the next free id."""
    apart = np.linalg.norm(tracks.mean[:, None, :2] - centres[None], axis=2)
    rows, columns = assign(apart, np.nextafter(GATE_M, np.inf))
    noise = np.broadcast_to(_SIGMA_M**2 * np.eye(2), (len(rows), 2, 2))
    tracks.mean[rows], tracks.cov[rows] = motion.update(
        tracks.mean[rows], tracks.cov[rows], centres[columns], noise, _H
    )
    tracks.unseen += 1
    tracks.unseen[rows] = 0
    free = np.ones(len(centres), dtype=np.bool_)
    free[columns] = False
    born = np.flatnonzero(free & (counts >= 2))
    mean, cov = np.zeros((len(born), 4)), np.zeros((len(born), 4, 4))
    mean[:, :2] = centres[born]
    cov[:] = np.diag([_SIGMA_M**2, _SIGMA_M**2, 1.0, 1.0])
    keep = tracks.unseen <= patience
    tracks.ids = np.concatenate([tracks.ids[keep], next_id + np.arange(len(born))])
    tracks.mean, tracks.cov = np.concatenate([tracks.mean[keep], mean]), np.concatenate([tracks.cov[keep], cov])
    tracks.unseen = np.concatenate([tracks.unseen[keep], np.zeros(len(born), dtype=np.int64)])
    return next_id + len(born)
