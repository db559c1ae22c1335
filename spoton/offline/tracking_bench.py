"""Tracking inside one camera, measured beside SORT, ByteTrack, OC-SORT and BoT-SORT in the same run.

All get the same detections as arrays, and are scored on what they said when the frame was new: nothing is filled in
afterwards. Each goes through a sequence alone, as it would in use, and they take turns for several rounds. Sequences:
MOT17-02, -05, -11 (Milan et al. 2016), TUD-Stadtmitte (Andriluka et al. 2010), PETS 2009 S2.L1 view 1 (Ferryman and
Shahrokni 2009). Crowds are synthetic.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spoton.errors import InputError
from spoton.events import PeopleDetected
from spoton.offline.mot_text import BoxRows, read_boxes
from spoton.offline.peers import OURS, PEERS, followers, peers_version
from spoton.offline.scores import Scores, score_boxes
from spoton.offline.trajectories import CameraTracks

Floats = NDArray[np.float64]

SEQUENCES = {"MOT17-02": 30.0, "MOT17-05": 14.0, "MOT17-11": 30.0, "TUD-Stadtmitte": 25.0, "pets09_s2l1": 10.0}
"""Folder below ``seqs`` and its frames per second."""
THINNED_FPS = (10.0, 5.0, 2.0)
CROWDS = (50, 100, 200, 500)
_SPEED_PEER = "botsort"
_CROWD_FRAMES, _CROWD_WARM_UP = 80, 20
_ROUNDS = 3
"""How often speed is measured; scores are those of the first round, and all are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One camera's detections and truth. frames: boxes (N, 4), scores (N,) per frame; truth's frames are from 1."""

    fps: float
    frames: Sequence[tuple[Floats, Floats]]
    truth: BoxRows

    def only(self, kept: NDArray[np.intp]) -> list[tuple[int, Floats, Floats]]:
        """(event time in microseconds, boxes, scores) of the frames ``kept``, at the times they were taken."""
        return [(1_000_000 + round(k * 1e6 / self.fps), *self.frames[k]) for k in kept.tolist()]

    def truth_of(self, kept: NDArray[np.intp]) -> BoxRows:
        """The truth of the frames ``kept``, numbered anew from 1."""
        rows = self.truth.only(np.isin(self.truth.frames - 1, kept))
        return BoxRows(np.searchsorted(kept, rows.frames - 1) + 1, rows.ids, rows.boxes_px, rows.scores)


def run(
    shared: Path,
    *,
    sequences: Mapping[str, float] = SEQUENCES,
    crowds: Sequence[int] = CROWDS,
    thinned_fps: Sequence[float] = THINNED_FPS,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Scores and milliseconds of ours and every peer.

    shared: the folder with ``seqs``. sequences: folders there and their frames per second; each must have one camera
    with truth. crowds: numbers of synthetic people that speed is measured at. progress: called with what is next.

    The result has ``peers`` (release), ``sequences`` per name: ``fps``, ``frames``, ``trackers`` (per name ``hota``,
    ``idf1``, ``mota``, ``id_switches``, ``ms_median``), ``best_peer`` (the highest of each score), ``times_botsort``
    (our median over BoT-SORT's) and ``as_written`` (our scores with beginnings and short gaps filled in, as ``spoton
    track`` writes); ``mean`` over sequences, likewise; ``thinned``: per frame rate and for frames dropped by chance,
    the mean IDF1 per tracker; ``crowd``: per number of people ``ms_median`` per tracker, ``times_botsort`` and
    ``us_per_person``. Raises InputError when a sequence or the peers are missing.
    """
    recorded = {name: _read(shared / "seqs" / name, fps) for name, fps in sequences.items()}
    measured = {}
    for name, one in recorded.items():
        progress(name)
        measured[name] = _sequence(one)
    thinned = {}
    for fps in thinned_fps:
        progress(f"{fps:g} fps")
        kept = {name: np.arange(0, len(one.frames), max(1, round(one.fps / fps))) for name, one in recorded.items()}
        thinned[f"{fps:g} fps"] = _thinned(recorded, kept, timed=False)
    progress("half of the frames dropped")
    rng = np.random.default_rng(0)
    kept = {name: np.flatnonzero(rng.random(len(one.frames)) < 0.5) for name, one in recorded.items()}
    thinned["half of the frames dropped"] = _thinned(recorded, kept, timed=True)
    crowd = {}
    for people in crowds:
        progress(f"{people} people")
        crowd[str(people)] = _crowd(people)
    return {
        "peers": peers_version(), "sequences": measured, "mean": _mean(measured), "thinned": thinned, "crowd": crowd
    }  # fmt: skip


def parse_sequences(given: Iterable[str]) -> dict[str, float]:
    """``NAME=FPS`` each; InputError names the one that is not."""
    sequences = {}
    for one in given:
        name, _, fps = one.partition("=")
        try:
            sequences[name] = float(fps)
        except ValueError:
            sequences[name] = 0.0
        if not name or not 0 < sequences[name] <= 1000:
            raise InputError(f"sequence {one!r} is not NAME=FPS", remedy="as in --sequence MOT17-02=30")
    return sequences


def _read(folder: Path, fps: float) -> Recorded:
    names = sorted(path.name for path in (folder / "gt").glob("*.txt") if (folder / "det" / path.name).is_file())
    if len(names) != 1:
        raise InputError(
            f"{folder} has {len(names)} cameras with det/<camera>.txt and gt/<camera>.txt, and one is needed",
            remedy="point SPOTON_SHARED to the folder with seqs",
        )
    found, truth = read_boxes(folder / "det" / names[0]), read_boxes(folder / "gt" / names[0])
    last = int(max(found.frames.max(initial=0), truth.frames.max(initial=0)))
    order = np.argsort(found.frames, kind="stable")
    ends = np.searchsorted(found.frames[order], np.arange(1, last + 2))
    rows = [order[ends[k] : ends[k + 1]] for k in range(last)]
    return Recorded(fps, [(found.boxes_px[which], found.scores[which]) for which in rows], truth)


def _follow(
    frames: Sequence[tuple[int, Floats, Floats]], fps: float, *, timed: bool, rounds: int = 1
) -> tuple[dict[str, BoxRows], dict[str, list[float]], CameraTracks]:
    """What every tracker said of the frames, its seconds per frame, and our events gathered as offline."""
    said: dict[str, list[Floats]] = {}
    taken_s: dict[str, list[float]] = {}
    gathered = CameraTracks()
    for turn in range(rounds):
        for name, tracker in followers(fps, timed=timed).items():
            results = []
            for index, (at_us, boxes_px, scores) in enumerate(frames):
                start = time.perf_counter()
                results.append(tracker.feed(index, at_us, boxes_px, scores))
                taken_s.setdefault(name, []).append(time.perf_counter() - start)
            if turn == 0:
                tables = [np.zeros((0, 7))]
                for index, rows in enumerate(map(tracker.rows, results)):
                    tables.append(np.column_stack([np.full(len(rows), index + 1.0), rows]))
                said[name] = tables
                for event in results:
                    if isinstance(event, PeopleDetected):
                        gathered.add(event)
    return {name: _rows(np.concatenate(tables)) for name, tables in said.items()}, taken_s, gathered


def _rows(table: Floats) -> BoxRows:
    return BoxRows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:6], table[:, 6])


def _sequence(one: Recorded) -> dict[str, Any]:
    said, taken_s, gathered = _follow(one.only(np.arange(len(one.frames))), one.fps, timed=False, rounds=_ROUNDS)
    scores = {name: _columns(score_boxes(one.truth, rows)) for name, rows in said.items()}
    trackers = {name: scores[name] | {"ms_median": _ms(taken_s[name])} for name in said}
    return {
        "fps": one.fps,
        "frames": len(one.frames),
        "trackers": trackers,
        "best_peer": {score: max(scores[peer][score] for peer in PEERS) for score in ("hota", "idf1", "mota")},
        "times_botsort": _times(taken_s),
        "as_written": _columns(score_boxes(one.truth, gathered.rows())),
    }


def _thinned(
    recorded: Mapping[str, Recorded], kept: Mapping[str, NDArray[np.intp]], *, timed: bool
) -> dict[str, float]:
    """Mean IDF1 per tracker on the frames ``kept`` of every sequence."""
    idf1: dict[str, list[float]] = {}
    for name, one in recorded.items():
        fps = one.fps * len(kept[name]) / len(one.frames)
        for tracker, rows in _follow(one.only(kept[name]), fps, timed=timed)[0].items():
            idf1.setdefault(tracker, []).append(score_boxes(one.truth_of(kept[name]), rows).idf1)
    return {tracker: round(statistics.fmean(values), 2) for tracker, values in idf1.items()}


def _crowd(people: int) -> dict[str, Any]:
    """``people`` walk straight on through a picture of 3840x2160 at 30 fps, 5 % of the boxes missing."""
    rng = np.random.default_rng(people)
    height = rng.uniform(60, 160, people)
    place, speed = rng.uniform((0, 0), (3840, 2160), (people, 2)), rng.uniform(-0.8, 0.8, (people, 2))
    frames = []
    for index in range(_CROWD_FRAMES):
        centre = place + speed * height[:, None] * index / 30.0
        boxes = np.column_stack([centre, 0.4 * height, height])
        boxes += rng.normal(0.0, 0.01, boxes.shape) * height[:, None]
        seen = rng.random(people) > 0.05
        frames.append((1_000_000 + round(index * 1e6 / 30.0), boxes[seen], rng.uniform(0.3, 0.95, people)[seen]))
    taken_s = _follow(frames, 30.0, timed=False, rounds=_ROUNDS)[1]
    taken_s = {name: [s for k, s in enumerate(t) if k % _CROWD_FRAMES >= _CROWD_WARM_UP] for name, t in taken_s.items()}
    return {
        "ms_median": {name: _ms(taken) for name, taken in taken_s.items()},
        "times_botsort": _times(taken_s),
        "us_per_person": round(1e3 * _ms(taken_s[OURS]) / people, 2),
    }


def _mean(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    every = list(measured.values())
    return {
        "trackers": {name: _mean_of([one["trackers"][name] for one in every]) for name in (OURS, *PEERS)},
        "best_peer": _mean_of([one["best_peer"] for one in every]),
        "times_botsort": round(statistics.fmean(one["times_botsort"] for one in every), 3),
        "as_written": _mean_of([one["as_written"] for one in every]),
    }


def _mean_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {column: round(statistics.fmean(row[column] for row in rows), 3) for column in rows[0]}


def _columns(scores: Scores) -> dict[str, Any]:
    rates = {name: round(getattr(scores, name), 2) for name in ("hota", "idf1", "mota")}
    return rates | {"id_switches": scores.id_switches}


def _ms(taken_s: Sequence[float]) -> float:
    return round(1e3 * statistics.median(taken_s), 3)


def _times(taken_s: Mapping[str, Sequence[float]]) -> float:
    return round(statistics.median(taken_s[OURS]) / statistics.median(taken_s[_SPEED_PEER]), 3)


def render(result: dict[str, Any], console: Console) -> None:
    """The figures as three tables: sequences, thinned sequences, crowds."""
    names = (OURS, *PEERS)
    table = Table(title=f"peers: trackers {result['peers']}, at their defaults")
    for title in ("sequence", "tracker", "HOTA", "IDF1", "MOTA", "switches", "ms a frame", "times BoT-SORT"):
        table.add_column(title, justify="left" if title in ("sequence", "tracker") else "right")
    for place, one in [*result["sequences"].items(), ("mean", result["mean"])]:
        for name in names:
            of = one["trackers"][name]
            table.add_row(
                place if name == OURS else "", name, *(f"{of[score]:.1f}" for score in ("hota", "idf1", "mota")),
                f"{of['id_switches']:g}", f"{of['ms_median']:.2f}",
                f"{one['times_botsort']:.2f}" if name == OURS else "",
            )  # fmt: skip
    console.print(table)
    table = Table("IDF1, mean", *names)
    for rate, idf1 in result["thinned"].items():
        table.add_row(rate, *(f"{idf1[name]:.1f}" for name in names))
    console.print(table)
    table = Table("people", *(f"{name}, ms" for name in names), "times BoT-SORT", "µs a person")
    for people, one in result["crowd"].items():
        milliseconds = (f"{one['ms_median'][name]:.2f}" for name in names)
        table.add_row(people, *milliseconds, f"{one['times_botsort']:.2f}", f"{one['us_per_person']:.1f}")
    console.print(table)
