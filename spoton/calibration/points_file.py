"""Matching points as text: CSV with ``px_x,px_y,x_m,y_m``, or TOML with ``points`` as a site file has them."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError
from spoton.site import PointPairs
from spoton.toml_table import Table

COLUMNS = ("px_x", "px_y", "x_m", "y_m")


def read(path: Path) -> PointPairs:
    """The pairs of a file, in its order; InputError or SiteError naming file, line or key, and value."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy=f"give CSV with {','.join(COLUMNS)}") from error
    return _toml(path, text) if path.suffix.lower() == ".toml" else _csv(path, text)


def _csv(path: Path, text: str) -> PointPairs:
    rows: list[tuple[float, ...]] = []
    order = list(range(4))
    for number, cells in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), start=1):
        if not cells or not "".join(cells).strip() or cells[0].lstrip().startswith("#"):
            continue
        names = [cell.strip() for cell in cells]
        if not rows and set(COLUMNS) <= set(names):
            order = [names.index(column) for column in COLUMNS]
            continue
        try:
            row = tuple(float(names[at]) for at in order)
        except (ValueError, IndexError):
            row = ()
        if not row or not all(map(math.isfinite, row)):
            raise InputError(
                f"{path}, line {number}: {','.join(cells)!r} is no point pair", remedy=f"write {','.join(COLUMNS)}"
            )
        rows.append(row)
    return PointPairs(tuple((row[0], row[1]) for row in rows), tuple((row[2], row[3]) for row in rows))


def _toml(path: Path, text: str) -> PointPairs:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{path} is no TOML: {error}", remedy="write points = [{ image_px = [..], floor_m = [..] }]"
        ) from error
    table = Table(str(path), "", raw, ("points",))
    pairs = [
        Table(str(path), f"points[{number}]", one, ("image_px", "floor_m"))
        for number, one in enumerate(table.items("points", "points = [{ image_px = [..], floor_m = [..] }]"), start=1)
    ]
    return PointPairs(
        tuple(pair.point("image_px", "[640, 512]") for pair in pairs),
        tuple(pair.point("floor_m", "[3.0, 1.5]") for pair in pairs),
    )


def arrays(pairs: PointPairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels (N, 2) and metres (N, 2)."""
    image, floor = np.array(pairs.image_px, dtype=np.float64), np.array(pairs.floor_m, dtype=np.float64)
    return image.reshape(-1, 2), floor.reshape(-1, 2)
