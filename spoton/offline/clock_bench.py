"""Clocks that are off and cameras that were turned, on simulated floors: how well both are found, and how soon.

Four cameras around a floor, a detector's mistakes, people as they come. One camera's clock is off by a known time, in
the order in which frames arrive and sorted by what the clocks say; or that camera is turned halfway by a known angle
about its own axes, which moves its boxes by a homography. What nobody takes out is the clock's own error: it stands
beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton import adjustment, people
from spoton.events import CalibrationDrifted, DetectionEvent, PeopleDetected
from spoton.offline.fusion_data import Row, detected, load
from spoton.people_state import PeopleState
from spoton.sim.noise import usual_noise
from spoton.sim.scenario import Scenario
from spoton.sim.writing import write_simulation
from spoton.site import Pinhole, Site

Floats = NDArray[np.float64]

FLOORS = tuple(
    Scenario(seed=300 + k, people=count, floor_m=(20.0, 14.0), cameras=4, rig="ring", fps=fps)
    for k, (count, fps) in enumerate((count, fps) for count in (10, 20, 30) for fps in (5.0, 10.0))
)
SKEWS_S = (-1.0, -0.3, -0.1, 0.0, 0.1, 0.3, 1.0)
SECONDS = 60.0
TURN_DEGREES = 1.0
LEARN_S = 150.0
"""A camera stands for so long before it is turned: what is usual is learnt in its first two minutes."""
WATCHED_S = 120.0
"""And for so long after it."""
_CAMERA = 2


@dataclass(frozen=True, slots=True)
class Clock:
    """One run. found_s: what the clock was found to be off by; others_s: the most that another was; both at the end."""

    people: int
    fps: float
    live: bool
    late_s: float
    found_s: float
    others_s: float

    @property
    def error_s(self) -> float:
        """How far what was found is from the truth."""
        return abs(self.found_s - self.late_s)


@dataclass(frozen=True, slots=True)
class Turn:
    """One floor. after_s: the time from the turn to the alarm; None: there was none. wrong: alarms of cameras that
    stood, or before it.
    """

    people: int
    fps: float
    after_s: float | None
    wrong: int


def run(
    floors: Sequence[Scenario] = FLOORS,
    skews_s: Sequence[float] = SKEWS_S,
    seconds: float = SECONDS,
    learn_s: float = LEARN_S,
    watched_s: float = WATCHED_S,
) -> dict[str, Any]:
    """Every floor with every skew, live and sorted, and with a camera that is turned.

    ``clocks`` and ``turns`` hold one entry per run, as ``Clock`` and ``Turn``. seconds: how long clocks are watched;
    learn_s, watched_s: how long before and after the turn.
    """
    clocks, turns = [], []
    for floor in floors:
        site, happened = _simulated(floor, max(seconds, learn_s + watched_s))
        walked = _until(happened, seconds)
        for live in (True, False):
            for late_s in skews_s:
                state, _ = _followed(site, late(walked, _name(site), late_s, live=live))
                off_s = state.watch.skews.wanted_us / 1e6
                others_s = float(np.abs(np.delete(off_s, _CAMERA)).max())
                clocks.append(Clock(floor.people, floor.fps, live, late_s, float(off_s[_CAMERA]), others_s))
        at_us = round(learn_s * 1e6)
        stood = _until(happened, learn_s + watched_s)
        _, told = _followed(site, turned(stood, site, _name(site), TURN_DEGREES, at_us))
        right = [each.at for each in told if each.drifted and each.camera == _name(site) and each.at >= at_us]
        after_s = (right[0] - at_us) / 1e6 if right else None
        turns.append(Turn(floor.people, floor.fps, after_s, sum(each.drifted for each in told) - bool(right)))
    return {
        "clocks": [{**asdict(each), "error_s": round(each.error_s, 4)} for each in clocks],
        "turns": [asdict(each) for each in turns],
        "turn_degrees": TURN_DEGREES,
    }


def late(happened: Sequence[DetectionEvent], camera: str, late_s: float, *, live: bool) -> list[DetectionEvent]:
    """The same with one camera's clock late; in the order in which frames came, or sorted by what the clocks say."""
    late_us = round(1e6 * late_s)
    after = [msgspec.structs.replace(e, at=e.at + late_us) if e.camera == camera else e for e in happened]
    return after if live else sorted(after, key=lambda event: (event.at, event.camera, event.seq))


def turned(
    happened: Sequence[DetectionEvent], site: Site, camera: str, degrees: float, at_us: int
) -> list[DetectionEvent]:
    """The same with a camera that looks so much farther to the side from then on, without anybody having told."""
    pose, size_px = site.camera(camera).calibration, site.camera(camera).size_px
    assert isinstance(pose, Pinhole)
    assert size_px is not None
    after = adjustment.moved(pose, np.array([0.0, np.radians(degrees), 0, 0, 0, 0, 0]), size_px)
    assert isinstance(after, Pinhole)
    K = np.array(pose.K)
    H = K @ np.array(after.R) @ np.array(pose.R).T @ np.linalg.inv(K)
    return [
        msgspec.structs.replace(event, boxes_px=[tuple(box) for box in _seen_by(H, np.array(event.boxes_px)).tolist()])
        if isinstance(event, PeopleDetected) and event.camera == camera and event.at >= at_us and event.boxes_px
        else event
        for event in happened
    ]


def _seen_by(H: Floats, boxes_px: Floats) -> Floats:
    left, top, width, height = boxes_px.T
    ends = np.stack([(left + width / 2, top, 1.0 + 0 * left), (left + width / 2, top + height, 1.0 + 0 * left)])
    moved = H @ ends
    (x, high), (_, low) = moved[0, :2] / moved[0, 2], moved[1, :2] / moved[1, 2]
    return np.column_stack([x - width / 2, high, width, low - high])


def _simulated(scenario: Scenario, seconds: float) -> tuple[Site, list[DetectionEvent]]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "floor"
        write_simulation(scenario, folder, seconds, usual_noise())
        recording = load(Row("floor", str(folder), scenario.fps), folder)
    return recording.site, detected(recording)


def _until(happened: Sequence[DetectionEvent], seconds: float) -> list[DetectionEvent]:
    """What a floor that was simulated for so long would tell: a longer run begins like a shorter one."""
    return [event for event in happened if event.at < round(seconds * 1e6)]


def _name(site: Site) -> str:
    return sorted(camera.name for camera in site.cameras)[_CAMERA]


def _followed(site: Site, happened: Sequence[DetectionEvent]) -> tuple[PeopleState, list[CalibrationDrifted]]:
    state, view, told = people.initial(site), people.site_view(site), []
    for event in happened:
        decided, state = people.step(state, event, view)
        told += [each for each in decided if isinstance(each, CalibrationDrifted)]
    return state, told


def render(result: dict[str, Any], console: Console) -> None:
    """Clocks by how far off they are, and turns by floor."""
    title = "a clock that is off, seconds"
    table = Table("off by", "runs", "largest error", "median error", "another clock, at most", title=title)
    for late_s in sorted({each["late_s"] for each in result["clocks"]}):
        runs = [each for each in result["clocks"] if each["late_s"] == late_s]
        errors = [each["error_s"] for each in runs]
        others = max(each["others_s"] for each in runs)
        table.add_row(
            f"{late_s:g}", str(len(runs)), f"{max(errors):.3f}", f"{float(np.median(errors)):.3f}", f"{others:.3f}"
        )
    console.print(table)
    turns = Table("people", "fps", "told after", "wrong alarms", title=f"turned by {result['turn_degrees']:g}°")
    for each in result["turns"]:
        after = "not told" if each["after_s"] is None else f"{each['after_s']:.0f} s"
        turns.add_row(str(each["people"]), f"{each['fps']:g}", after, str(each["wrong"]))
    console.print(turns)
