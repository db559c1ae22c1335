"""The exact truth about a stretch of the simulated world, written in the formats that ``spoton eval`` reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spoton.sim.plaza import Plaza

MIN_VISIBLE = 0.2


def write_truth(plaza: Plaza, folder: Path, frames: Iterable[int], *, min_visible: float = MIN_VISIBLE) -> None:
    """Write ``folder/gt/<camera>.txt`` and ``folder/gt/world.txt`` for these frame indices (0-based, ascending).

    Camera files: ``frame,id,x,y,w,h,1,-1,-1,-1``, pixels, whole-figure boxes clipped to the picture, of people of whom
    at least ``min_visible`` can be seen. World file: ``frame,person,x_m,y_m`` of everybody inside the plaza. Frames in
    files count from 1: index n is frame n + 1. Ids are the same in all files.
    """
    target = folder / "gt"
    target.mkdir(parents=True, exist_ok=True)
    cameras: list[list[str]] = [[] for _ in plaza.views]
    world: list[str] = []
    for n in frames:
        for rows, camera in zip(cameras, range(len(plaza.views)), strict=True):
            for person, box, visible in zip(*plaza.boxes(n, camera), strict=True):
                if visible >= min_visible:
                    x, y, w, h = box
                    rows.append(f"{n + 1},{person},{x:.2f},{y:.2f},{w:.2f},{h:.2f},1,-1,-1,-1\n")
        world.extend(f"{n + 1},{person},{x:.4f},{y:.4f}\n" for person, (x, y) in zip(*plaza.truth(n), strict=True))
    for view, rows in zip(plaza.views, cameras, strict=True):
        (target / f"{view.name}.txt").write_text("".join(rows), encoding="utf-8")
    (target / "world.txt").write_text("".join(world), encoding="utf-8")
