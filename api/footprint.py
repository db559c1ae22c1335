"""The piece of floor that a camera sees, as a polygon for the map."""

from __future__ import annotations

import numpy as np

from spoton.errors import InputError
from spoton.geometry import FloorView, floor_view
from spoton.site import CameraSite, Point

COLUMNS, ROWS = 13, 60


def seen_floor(camera: CameraSite, size_px: tuple[int, int] | None, *, reach_m: float) -> dict[str, object] | None:
    """Where a camera stands and what it sees: ``position_m`` (x, y, z) or None, ``field_m`` [(x, y)...] or None.

    None for a camera that is not calibrated. size_px: of its pictures, where the site file does not say. reach_m: the
    field ends this far from the camera, or from the nearest floor it sees when its place is not known.
    """
    if camera.calibration is None:
        return None
    size = camera.size_px or size_px
    try:
        view = floor_view(camera.calibration, camera.size_px)
        if size is not None:
            view = view.scaled(size)
    except InputError:
        return None
    field = None if size is None else _field(view, size, reach_m)
    return {"position_m": view.position_m, "field_m": field}


def _field(view: FloorView, size_px: tuple[int, int], reach_m: float) -> list[Point] | None:
    """Walk up each picture column from the lower edge until the floor is too far away or ends at the horizon."""
    u, v = np.linspace(0, size_px[0], COLUMNS), np.linspace(size_px[1], 0, ROWS)
    grid = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1)
    floor = view.to_floor(grid.reshape(-1, 2))
    places, valid = floor.floor_m.reshape(COLUMNS, ROWS, 2), floor.valid.reshape(COLUMNS, ROWS)
    if view.position_m is not None:
        origin = np.array(view.position_m[:2])
    elif valid[COLUMNS // 2].any():
        origin = places[COLUMNS // 2][valid[COLUMNS // 2]][0]
    else:
        return None
    good = valid & (np.linalg.norm(places - origin, axis=2) <= reach_m)
    near, far = [], []
    for column in range(COLUMNS):
        rows = np.flatnonzero(good[column])
        if len(rows):
            near.append(places[column, rows[0]])
            far.append(places[column, rows[-1]])
    if len(near) < 2:
        return None
    return [(round(float(x), 3), round(float(y), 3)) for x, y in [*near, *far[::-1]]]
