"""Tracks, detections and truth as text: MOTChallenge lines per camera, and people on the floor in ``world.txt``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton.errors import InputError

WORLD = "world.txt"
"""The one file of a folder that speaks of the floor."""

_BOX_LINE = "frame,id,x,y,w,h[,conf,...]"
_FLOOR_LINE = "frame,person,x_m,y_m"


@dataclass(frozen=True, slots=True, eq=False)
class BoxRows:
    """One camera's boxes, in the order of the file.

    frames: (K,) from 1. ids: (K,), -1 for detections. boxes_px: (K, 4) left, top, width, height. scores: (K,), 1 where
    the file has none.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes_px: NDArray[np.float64]
    scores: NDArray[np.float64]

    def only(self, which: NDArray[np.bool_]) -> BoxRows:
        """The rows where ``which`` (K,) is True."""
        return BoxRows(self.frames[which], self.ids[which], self.boxes_px[which], self.scores[which])


@dataclass(frozen=True, slots=True, eq=False)
class FloorRows:
    """People on the floor. frames: (K,) from 1. ids: (K,) persons. floor_m: (K, 2)."""

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    floor_m: NDArray[np.float64]

    def only(self, which: NDArray[np.bool_]) -> FloorRows:
        """The rows where ``which`` (K,) is True."""
        return FloorRows(self.frames[which], self.ids[which], self.floor_m[which])


def read_boxes(path: Path) -> BoxRows:
    """Read ``frame,id,x,y,w,h,conf,...``; columns after the seventh are not looked at.

    Raises InputError naming file, line and value of the first line that is no box, and of an id that one frame has
    twice.
    """
    frames, ids, numbers = _read(path, least=6, most=7, form=_BOX_LINE)
    _check(path, frames, ids, numbers[:, 2:4] < 0, "width or height is negative", _BOX_LINE)
    return BoxRows(frames, ids, numbers[:, :4], np.where(np.isnan(numbers[:, 4]), 1.0, numbers[:, 4]))


def read_floor(path: Path) -> FloorRows:
    """Read ``frame,person,x_m,y_m``. Raises InputError as ``read_boxes`` does."""
    frames, ids, numbers = _read(path, least=4, most=4, form=_FLOOR_LINE)
    _check(path, frames, ids, np.zeros((len(frames), 1), dtype=np.bool_), "", _FLOOR_LINE)
    return FloorRows(frames, ids, numbers[:, :2])


def write_boxes(path: Path, rows: BoxRows) -> None:
    """Write MOTChallenge lines by frame, then id: pixels to 0.01, scores to four digits."""
    order = np.lexsort((rows.ids, rows.frames))
    lines = [
        f"{rows.frames[k]},{rows.ids[k]},{_comma(rows.boxes_px[k], 2)},{rows.scores[k]:.4g},-1,-1,-1" for k in order
    ]
    _write(path, lines)


def write_floor(path: Path, rows: FloorRows) -> None:
    """Write ``frame,person,x_m,y_m`` by frame, then person: millimetres."""
    order = np.lexsort((rows.ids, rows.frames))
    _write(path, [f"{rows.frames[k]},{rows.ids[k]},{_comma(rows.floor_m[k], 3)}" for k in order])


def _comma(numbers: NDArray[np.float64], digits: int) -> str:
    return ",".join(f"{number:.{digits}f}" for number in numbers.tolist())


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _read(
    path: Path, *, least: int, most: int, form: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Frames, ids and the numbers after them (K, most - 2), nan where a line ends early; blank lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", remedy=f"give a text file with lines {form}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        values = _numbers(line.split(","), least, most)
        if values is None or values[0] < 1 or values[0] % 1 or values[1] % 1:
            raise InputError(f"{path}: line {number}: {line!r} is not {form}", remedy="correct or remove this line")
        rows.append(values)
    table = np.array(rows, dtype=np.float64).reshape(-1, most)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:]


def _numbers(fields: Sequence[str], least: int, most: int) -> list[float] | None:
    if len(fields) < least:
        return None
    try:
        values = [float(field) for field in fields[:most]]
    except ValueError:
        return None
    if not all(map(math.isfinite, values)):
        return None
    return values + [math.nan] * (most - len(values))


def _check(
    path: Path, frames: NDArray[np.int64], ids: NDArray[np.int64], wrong: NDArray[np.bool_], problem: str, form: str
) -> None:
    """Refuse values that are out of range, and an id that is twice in one frame."""
    for k in np.flatnonzero(wrong.any(axis=1)):
        raise InputError(f"{path}: frame {frames[k]}, id {ids[k]}: {problem}", remedy=f"lines are {form}")
    known = ids >= 0
    pairs, counts = np.unique(np.stack([frames[known], ids[known]]), axis=1, return_counts=True)
    for frame, number in pairs[:, counts > 1].T:
        raise InputError(f"{path}: frame {frame} has id {number} twice", remedy="an id can be in one place at a time")
