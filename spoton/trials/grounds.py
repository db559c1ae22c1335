"""One site of many cameras, made of simulated plazas that lie side by side, far enough apart to share nobody."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoton.events import FoundByCamera
from spoton.sim.plaza import Plaza
from spoton.sim.rig import View
from spoton.sim.site_text import zones
from spoton.site_file import parse
from spoton.trials.recording import Recording

CAMERAS_PER_PLAZA = 4
APART_M = 100.0
PERSON_M, SLIMNESS = 1.7, 0.35
"""Height of everybody, and the width of a box as a share of its height."""

Floats = NDArray[np.float64]


def grounds(
    cameras: int,
    seconds: float,
    folder: Path,
    *,
    people: int = 12,
    seed: int = 7,
    name: str = "grounds",
    camera_name: Callable[[int, str], str] = lambda index, name: name,
) -> Recording:
    """What ``cameras`` cameras find, four to a plaza of ``people`` persons each; writes ``folder/site.toml``.

    Boxes stand where the simulated walkers do, hidden or not, with the noise of a detector: 3 % of a box in place and
    size, 5 % missed. With 12 people a camera has about 10 of them in its picture. camera_name: may give a camera,
    counted from 0, another name.
    """
    plazas = [
        Plaza(seed + number, people=people, cameras=min(CAMERAS_PER_PLAZA, cameras - first))
        for number, first in enumerate(range(0, cameras, CAMERAS_PER_PLAZA))
    ]
    file = folder / "site.toml"
    file.write_text(site_text(plazas, name, camera_name))
    rng = np.random.default_rng(seed)
    frames = [tuple(_frame(plazas, n, rng)) for n in range(round(seconds * plazas[0].fps))]
    return Recording(parse(file.read_text(), str(file)), plazas[0].fps, tuple(frames), plazas[0].size_px)


def site_text(plazas: Sequence[Plaza], name: str, camera_name: Callable[[int, str], str]) -> str:
    """The site file: every plaza's cameras and zones, each plaza ``APART_M`` further east than the one before."""
    lines = ["[site]", f'name = "{name}"', "", "[floor]", f"size_m = [{APART_M * len(plazas)}, {APART_M}]"]
    lines += ["origin_m = [-5.0, -5.0]"]
    index = itertools.count()
    for number, plaza in enumerate(plazas):
        east_m = np.array([APART_M * number, 0.0, 0.0])
        for view in plaza.views:
            called = camera_name(next(index), f"{view.name}-{number}")
            lines += ["", "[[camera]]", f'name = "{called}"', f'source = "rtsp://127.0.0.1:1/{called}"']
            lines += [f"fps = {plaza.fps!r}", f"size_px = {json.dumps(view.size_px)}", "dist = [0.0, 0.0, 0.0, 0.0]"]
            pose = {"K": view.K, "R": view.R, "t": view.t - view.R @ east_m}
            lines += [f"{key} = {json.dumps(value.tolist())}" for key, value in pose.items()]
        for zone, polygon in zones(plaza):
            lines += ["", "[[zone]]", f'name = "{zone}-{number}"']
            lines += [f"polygon_m = {json.dumps((polygon + east_m[:2]).tolist())}"]
    return "\n".join(lines) + "\n"


def _frame(plazas: Sequence[Plaza], n: int, rng: np.random.Generator) -> Iterator[FoundByCamera]:
    for plaza in plazas:
        _, floor_m = plaza.truth(n)
        for view in plaza.views:
            boxes = _boxes(view, floor_m)
            boxes = boxes[rng.random(len(boxes)) >= 0.05]
            noisy = boxes + rng.normal(size=boxes.shape) * 0.03 * boxes[:, 2:3]
            scores = np.round(rng.uniform(0.6, 0.95, len(boxes)), 4)
            yield FoundByCamera(boxes_px=[tuple(box) for box in np.round(noisy, 2).tolist()], scores=scores.tolist())


def _boxes(view: View, floor_m: Floats) -> Floats:
    """Boxes (N, 4) left, top, width, height of those who stand in the picture from head to foot."""
    foot = np.column_stack((floor_m, np.zeros(len(floor_m))))
    head = foot + np.array([0.0, 0.0, PERSON_M])
    inside = view.sees(foot) & view.sees(head)
    foot_px, head_px = view.project(foot[inside])[0], view.project(head[inside])[0]
    height = foot_px[:, 1] - head_px[:, 1]
    return np.column_stack((foot_px[:, 0] - SLIMNESS * height / 2, head_px[:, 1], SLIMNESS * height, height))
