"""What the demo achieved: the events in its log against the exact truth of the simulated world."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton import events
from spoton.corrections import Merged, followed
from spoton.errors import SpotOnError
from spoton.explanation import chain
from spoton.log.reader import LogReader
from spoton.offline.mot_text import FloorRows
from spoton.offline.scores import floor_errors_m, score_floor
from spoton.sim.returns import returns
from spoton.sim.world import World

LONGEST_S = 600.0
"""Of a long run the last ten minutes are scored."""


@dataclass(slots=True)
class Watched:
    """What events told. frames: by camera those that were looked at; located: everyone's places, tick by tick; merged:
    who proved to be whom in the end, by number.
    """

    frames: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    located: list[events.PeopleLocated] = field(default_factory=list)
    detectors: set[str] = field(default_factory=set)
    merged: Merged = field(default_factory=dict)

    def heard(self, event: events.Event) -> None:
        """Take in one more event; those of one stream in order."""
        if isinstance(event, events.PeopleDetected):
            self.frames[event.camera].append(event.frame)
            self.detectors.add(event.detector)
        elif isinstance(event, events.PeopleLocated):
            self.located.append(event)
        elif isinstance(event, events.PersonsMerged | events.PersonSplit):
            self.merged = followed(self.merged, event)

    def in_the_end(self, number: int) -> int:
        """Whose number it is after all that was decided."""
        return chain(self.merged, number)[-1]


def score(plaza: World, log: Path, epoch_us: int) -> dict[str, Any]:
    """The figures of a demo that ran live, from its log; see ``scored``."""
    return scored(plaza, _read(log), epoch_us=epoch_us, mode="live")


def scored(plaza: World, watched: Watched, *, epoch_us: int, mode: str) -> dict[str, Any]:
    """The demo's figures, every frame counted from the first that a camera delivered to the last tick.

    epoch_us: event time of frame 0. mode: how it was watched. Truth is everyone on the floor whom at least one camera
    has in its picture from foot to head; found is everyone whom SpotOn placed where a camera can see them so, under the
    id that they had at that moment. ``idf1_afterwards`` is under the id that whoever reads the log finds there in the
    end, with everyone who proved to be another counted as them from their beginning. ``fps_per_camera`` is the slowest
    camera's, counted from its own first frame. ``rank1_after_return`` is the share of ``returns`` (see
    ``returns.Returns``) with the same id, None without any.

    Raises SpotOnError when nobody was located: there is nothing to score then.
    """
    frames, located = watched.frames, watched.located
    if not located or not frames:
        raise SpotOnError("the demo ran too short to score anything", remedy="give it 10 seconds or more")

    def frame_of(at_us: int) -> int:
        return round((at_us - epoch_us) * plaza.fps / 1e6)

    last = frame_of(located[-1].at)
    first = max(min(min(seen) for seen in frames.values()), last - round(LONGEST_S * plaza.fps))
    everyone = _truth(plaza, first, last)
    truth = everyone.only(np.any(plaza.seeing(everyone.floor_m), axis=1))
    found = _rows(
        [
            (frame_of(tick.at), one.number, one.x_m, one.y_m)
            for tick in located
            if first <= frame_of(tick.at)
            for one in tick.people
        ],
        plaza,
        first,
    )
    again = returns(everyone.only(_glimpsed(plaza, everyone)), truth, found, plaza.fps)
    scores = score_floor(truth, found)
    ids, where = np.unique(found.ids, return_inverse=True)
    settled = np.array([watched.in_the_end(number) for number in ids.tolist()], dtype=np.int64)
    afterwards = score_floor(truth, FloorRows(found.frames, settled[where], found.floor_m))
    errors_m = floor_errors_m(truth, found)
    duration_s = (last - first + 1) / plaza.fps
    rates = [_rate_fps(seen, first, last, plaza.fps) for seen in frames.values()]
    return {
        "idf1": round(scores.idf1, 2),
        "idf1_afterwards": round(afterwards.idf1, 2),
        "mota": round(scores.mota, 2),
        "floor_error_median_m": round(float(np.median(errors_m)), 3) if len(errors_m) else None,
        "fps_per_camera": round(min(rates), 2),
        "detector": ", ".join(sorted(watched.detectors)),
        "people": plaza.people,
        "hota": round(scores.hota, 2),
        "id_switches": scores.id_switches,
        "persons_true": len(np.unique(truth.ids)),
        "persons_found": len(np.unique(found.ids)),
        "cameras": len(frames),
        "seconds": round(duration_s, 1),
        "mode": mode,
        "rank1_after_return": None if again.rank1 is None else round(100 * again.rank1, 2),
        "returns": again.returns,
        "returns_unmatched": again.unmatched,
        "switches_on_return": again.switches_on_return,
        "switches_in_view": again.switches_in_view,
        "misses": scores.misses,
        "false_positives": scores.false_positives,
        "truth": scores.truth,
    }


def _rate_fps(seen: list[int], first: int, last: int, fps: float) -> float:
    """Frames looked at a second, from the camera's own first frame on."""
    counted = [n for n in seen if first <= n <= last]
    return len(counted) * fps / (last - min(counted) + 1) if counted else 0.0


def _read(log: Path) -> Watched:
    watched = Watched()
    with LogReader(log) as reader:
        for topic in ("detections", "identities", "positions"):
            for partition in range(reader.topic(topic).partitions):
                for record in reader.records(topic, partition):
                    watched.heard(events.decode(record.value or b""))
    return watched


def _truth(plaza: World, first: int, last: int) -> FloorRows:
    """Everyone on the floor, seen or not; frames counted from 1."""
    rows: list[tuple[int, int, float, float]] = []
    for n in range(first, last + 1):
        ids, floor_m = plaza.truth(n)
        rows.extend((n, int(i), x, y) for i, (x, y) in zip(ids, floor_m, strict=True))
    return _numbered(np.array(rows, dtype=np.float64).reshape(-1, 4), first)


def _glimpsed(plaza: World, rows: FloorRows) -> NDArray[np.bool_]:
    """(K,) of whom foot, middle or head is in some camera's picture."""
    ends = [np.column_stack((rows.floor_m, np.full(len(rows.floor_m), z))) for z in (0.0, 0.9, 1.75)]
    return np.asarray(np.any([view.sees(points) for view in plaza.views for points in ends], axis=0))


def _rows(rows: list[tuple[int, int, float, float]], plaza: World, first: int) -> FloorRows:
    """Rows on the floor and in some camera's picture; frames counted from 1."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    size_m = np.asarray(plaza.layout.size_m)
    table = table[np.all((table[:, 2:] >= 0) & (table[:, 2:] <= size_m), axis=1)]
    table = table[np.any(plaza.seeing(table[:, 2:]), axis=1)]
    return _numbered(table, first)


def _numbered(table: NDArray[np.float64], first: int) -> FloorRows:
    return FloorRows(
        frames=table[:, 0].astype(np.int64) - first + 1, ids=table[:, 1].astype(np.int64), floor_m=table[:, 2:]
    )


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as a small table."""
    table = Table(
        title=f"The site, {result['seconds']:g} s, {result['mode']}, against the exact truth", show_header=False
    )
    table.add_row("identity (IDF1)", f"{result['idf1']:.1f} %")
    table.add_row("identity afterwards", f"{result['idf1_afterwards']:.1f} %")
    table.add_row("accuracy (MOTA)", f"{result['mota']:.1f} %")
    if result["returns"]:
        again = f"{result['rank1_after_return']:.1f} % of {result['returns']}"
        table.add_row("the same id after leaving all views", again)
    error_m = result["floor_error_median_m"]
    table.add_row("median error on the floor", "no data" if error_m is None else f"{error_m:.2f} m")
    table.add_row("frames per second and camera", f"{result['fps_per_camera']:.1f} of 10, {result['cameras']} cameras")
    table.add_row("persons", f"{result['persons_found']} found, {result['persons_true']} true")
    table.add_row("detector", result["detector"])
    console.print(table)
