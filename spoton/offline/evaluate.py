"""``spoton eval``: score a folder of tracks against a folder of truth, file by file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton.errors import InputError
from spoton.offline.mot_text import WORLD, FloorRows, read_boxes, read_floor
from spoton.offline.scores import Scores, floor_errors_m, score_boxes, score_floor

Floats = NDArray[np.float64]


def evaluate(gt_dir: Path, tracks_dir: Path, area: Path | None = None) -> dict[str, Any]:
    """Score every ``<camera>.txt`` and ``world.txt`` that both folders have.

    area: JSON file with a polygon ``[[x_m, y_m], ...]``; truth and output of ``world.txt`` outside it are not counted.

    Returns ``files`` (name -> scores; rates in percent; ``world.txt`` also has ``error_median_m``), ``mean`` over the
    cameras' files (counts are summed) and ``missing``, the truth that no tracks are there for. Raises InputError for
    folders without a common name and for lines that cannot be read.
    """
    names = _names(gt_dir)
    common = [name for name in names if (tracks_dir / name).is_file()]
    if not common:
        raise InputError(
            f"{tracks_dir} has no file named like one of {gt_dir} ({', '.join(names) or 'which is empty'})",
            remedy="name tracks as their truth: <camera>.txt, world.txt",
        )
    polygon = _polygon(area) if area is not None else None
    files: dict[str, dict[str, Any]] = {}
    cameras: list[Scores] = []
    for name in common:
        if name == WORLD:
            files[name] = _world(gt_dir / name, tracks_dir / name, polygon)
            continue
        scores = score_boxes(read_boxes(gt_dir / name), read_boxes(tracks_dir / name))
        cameras.append(scores)
        files[name] = _rounded(asdict(scores))
    mean = {"mean": _mean(cameras)} if cameras else {}
    return {"files": files, **mean, "missing": [name for name in names if name not in common]}


def render(result: dict[str, Any], console: Console) -> None:
    """Print the result of ``evaluate`` as a table."""
    columns = {
        "hota": "HOTA", "idf1": "IDF1", "mota": "MOTA", "id_switches": "switches", "false_positives": "false",
        "misses": "missed", "truth": "truth",
    }  # fmt: skip
    table = Table()
    table.add_column("file", no_wrap=True)
    for title in columns.values():
        table.add_column(title, justify="right")
    rows = list(result["files"].items())
    if "mean" in result and len([name for name in result["files"] if name != WORLD]) > 1:
        rows.append(("camera mean", result["mean"]))
    for name, scores in rows:
        values = (scores[column] for column in columns)
        table.add_row(name, *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values))
    console.print(table)
    if WORLD in result["files"] and result["files"][WORLD]["error_median_m"] is not None:
        console.print(f"{WORLD}: median floor error {result['files'][WORLD]['error_median_m']:.3f} m")
    for name in result["missing"]:
        console.print(f"no tracks for {name}")


def inside(polygon_m: Floats, points_m: Floats) -> NDArray[np.bool_]:
    """Which of the points (K, 2) lie in the polygon (V, 2), by the parity of edges crossed to their right."""
    start, end = polygon_m, np.roll(polygon_m, -1, axis=0)
    x, y = points_m[:, :1], points_m[:, 1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    at_x = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    odd: NDArray[np.bool_] = (crosses & (x < at_x)).sum(axis=1) % 2 == 1
    return odd


def _world(truth_file: Path, found_file: Path, polygon: Floats | None) -> dict[str, Any]:
    truth, found = read_floor(truth_file), read_floor(found_file)
    if polygon is not None:
        truth, found = _within(polygon, truth), _within(polygon, found)
    errors = floor_errors_m(truth, found)
    median = round(float(np.median(errors)), 4) if len(errors) else None
    return {**_rounded(asdict(score_floor(truth, found))), "error_median_m": median}


def _within(polygon: Floats, rows: FloorRows) -> FloorRows:
    return rows.only(inside(polygon, rows.floor_m))


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", remedy="give the folder that holds <camera>.txt or world.txt")
    return sorted(path.name for path in folder.glob("*.txt"))


def _polygon(path: Path) -> Floats:
    try:
        polygon = np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="write [[x_m, y_m], ...]") from error
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
        raise InputError(f"{path}: {polygon.tolist()} is no polygon", remedy="write [[x_m, y_m], ...], three at least")
    return polygon


def _mean(cameras: list[Scores]) -> dict[str, Any]:
    columns = {name: [getattr(scores, name) for scores in cameras] for name in asdict(cameras[0])}
    return _rounded({k: sum(v) / len(v) if isinstance(v[0], float) else sum(v) for k, v in columns.items()})


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
