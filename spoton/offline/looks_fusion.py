"""The peer that goes by looks alone: tracks of single cameras, joined into people by their embeddings.

Every camera is tracked for itself. A track's look is the mean of its embeddings; in each frame the tracks of a camera
that nobody has yet are assigned (Hungarian) to the people whom no other track of that camera shows, by cosine distance,
and whoever is beyond ``GATE`` from all is someone new. A person stands where the mean of their tracks' feet is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton import tracks
from spoton.association import assign
from spoton.geometry import FloorView, foot_points
from spoton.offline.mot_text import FloorRows
from spoton.site import Site

Floats = NDArray[np.float64]

GATE = 0.4
_MEMORY = 0.9
_COLUMNS = 5 + 128


def embeddings(shared: Path, sequence: str, camera: str) -> Path:
    """Where the embeddings of a CMC sequence's camera would lie."""
    return shared / "data" / "cmc" / sequence.upper() / "fairmot_det_emb" / f"{camera}.npz"


def follow(site: Site, files: Mapping[str, Path], views: Mapping[str, FloorView], fps: float) -> FloorRows:
    """Everyone on the floor, frame by frame. files: per camera boxes (corners), scores and embeddings by frame."""
    seen = {name: _tracked(site, name, path, fps) for name, path in files.items()}
    looks: list[Floats] = []
    whose: dict[tuple[str, int], int] = {}
    found: list[tuple[int, int, float, float]] = []
    for frame in range(1, 1 + max(len(each) for each in seen.values())):
        feet: dict[int, list[Floats]] = {}
        for name, frames in seen.items():
            ids, boxes, look = frames[frame - 1] if frame <= len(frames) else (np.zeros(0, int), np.zeros((0, 4)), None)
            if look is None or not len(ids):
                continue
            _join(name, ids.tolist(), look, looks, whose)
            floor = views[name].to_floor(foot_points(boxes))
            for k in np.flatnonzero(floor.valid).tolist():
                feet.setdefault(whose[name, int(ids[k])], []).append(floor.floor_m[k])
        found += [(frame, person + 1, *np.mean(points, axis=0).tolist()) for person, points in sorted(feet.items())]
    table = np.array(found, dtype=np.float64).reshape(-1, 4)
    return FloorRows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])


def _join(
    camera: str, ids: list[int], look: Floats, looks: list[Floats], whose: dict[tuple[str, int], int]
) -> None:
    new = [k for k, track in enumerate(ids) if (camera, track) not in whose]
    taken = {whose[camera, track] for track in ids if (camera, track) in whose}
    free = [person for person in range(len(looks)) if person not in taken]
    if new and free:
        known = np.stack([looks[person] for person in free])
        rows, columns = assign(1.0 - known @ look[new].T, GATE)
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True):
            whose[camera, ids[new[c]]] = free[r]
    for k, track in enumerate(ids):
        if (camera, track) not in whose:
            whose[camera, track] = len(looks)
            looks.append(look[k])
        person = whose[camera, track]
        mixed = _MEMORY * looks[person] + (1.0 - _MEMORY) * look[k]
        looks[person] = mixed / np.linalg.norm(mixed)


def _tracked(site: Site, name: str, path: Path, fps: float) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
    """Per frame: ids of the camera's tracks (K,), their boxes (K, 4) and unit looks (K, D)."""
    camera = site.camera(name)
    state, frames = tracks.initial(), []
    with np.load(path) as table:
        for n in range(len(table.files)):
            rows = table[str(n)].astype(np.float64)
            rows = rows if rows.size else np.zeros((0, _COLUMNS))
            corners, scores, look = rows[:, :4], rows[:, 4], rows[:, 5:]
            boxes = np.round(np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), 2)
            frame = tracks.FrameSeen(
                site=site.name, camera=name, frame=n, at=round(n * 1e6 / fps), session=1,
                size_px=camera.size_px or (1, 1), boxes_px=boxes, scores=np.round(scores, 4),
            )  # fmt: skip
            events, state = tracks.step(state, frame, site.thresholds)
            ids = np.array(events[-1].tracks, dtype=np.int64)  # type: ignore[union-attr]
            firm = ids > 0
            unit = look[firm] / np.maximum(np.linalg.norm(look[firm], axis=1, keepdims=True), 1e-9)
            frames.append((ids[firm], boxes[firm], unit))
    return frames
