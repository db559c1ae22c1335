"""Calibrated cameras from ``cameras.json``: K, dist, R and t by camera name, as multi-camera data sets have them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from spoton.errors import InputError
from spoton.site import CameraSite, Matrix3, Pinhole


class _Entry(msgspec.Struct, frozen=True):
    size: tuple[int, int]
    K: Matrix3
    R: Matrix3
    t: tuple[float, float, float]
    dist: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)


def read_cameras(path: Path, fps: float | None = None) -> tuple[CameraSite, ...]:
    """The cameras of the file by name, each with picture size, pinhole calibration and ``fps``.

    ``{"name": {"size": [w, h], "K": 3x3, "dist": [5], "R": 3x3, "t": [3]}}``: OpenCV's model, world to camera, metres,
    floor at z = 0. Raises InputError naming file and key.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", remedy='write {"camera": {"size": [w, h], "K": ..., "R": ..., "t": ...}}'
        ) from error
    return tuple(
        CameraSite(name, fps=fps, size_px=entry.size, calibration=Pinhole(entry.K, entry.R, entry.t, entry.dist))
        for name, entry in sorted(entries.items())
    )
