"""Recorded events to rows of text: every camera's tracks and everyone on the floor.

Written after the fact, a track may know its beginning: the boxes of the candidate that it started as are its own. Where
a track was not seen for at most ``BRIDGED_S`` between two boxes, the boxes between are on the straight line from one to
the other. Both are done offline only; live events never speak of the past.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spoton.events import PeopleDetected, PeopleLocated
from spoton.offline.mot_text import BoxRows, FloorRows

BRIDGED_S = 0.5


@dataclass(slots=True)
class CameraTracks:
    """One camera's boxes, gathered frame by frame."""

    started: set[int] = field(default_factory=set)
    frames: list[tuple[int, int]] = field(default_factory=list)
    """(frame from 0, event time) of every frame looked at."""
    boxes: list[tuple[int, int, float, float, float, float, float]] = field(default_factory=list)
    """(place in ``frames``, id, left, top, width, height, score)."""

    def add(self, event: PeopleDetected) -> None:
        """Take in the next frame."""
        place = len(self.frames)
        self.frames.append((event.frame, event.at))
        self.started.update(event.started)
        for box, score, track, candidate in zip(
            event.boxes_px, event.scores, event.tracks, event.tentative, strict=True
        ):
            if track or candidate:
                self.boxes.append((place, track or candidate, *box, score))

    def rows(self) -> BoxRows:
        """All boxes of tracks that started, frame numbers from 1."""
        table = np.array(self.boxes, dtype=np.float64).reshape(-1, 7)
        table = table[np.isin(table[:, 1], list(self.started))]
        table = table[np.lexsort((table[:, 0], table[:, 1]))]
        times = np.array(self.frames, dtype=np.int64).reshape(-1, 2)
        table = np.concatenate([table, _bridged(table, times[:, 1])])
        numbers = times[table[:, 0].astype(np.int64), 0] + 1
        return BoxRows(numbers, table[:, 1].astype(np.int64), table[:, 2:6], table[:, 6])


def _bridged(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The boxes between two that are further apart than one frame, and no further than ``BRIDGED_S``.

    table: (K, 7) rows as in ``CameraTracks.boxes``, by id, then frame. The score of a bridge is that of its lesser end.
    """
    place = table[:, 0].astype(np.int64)
    gap = (table[1:, 1] == table[:-1, 1]) & (np.diff(place) > 1) & (at[place[1:]] - at[place[:-1]] <= BRIDGED_S * 1e6)
    pieces = [np.zeros((0, 7))]
    for before in np.flatnonzero(gap):
        start, end = table[before], table[before + 1]
        between = np.arange(place[before] + 1, place[before + 1])
        share = (at[between] - at[place[before]]) / max(1, at[place[before + 1]] - at[place[before]])
        piece = start + share[:, None] * (end - start)
        piece[:, 0], piece[:, 6] = between, min(start[6], end[6])
        pieces.append(piece)
    return np.concatenate(pieces)


@dataclass(slots=True)
class FloorTracks:
    """Everyone on the floor, gathered tick by tick."""

    last_frame: int = 0
    places: list[tuple[int, int, float, float]] = field(default_factory=list)

    def add(self, event: PeopleLocated) -> None:
        """Take in the next tick; its frame is that which most of its cameras are at, or are past.

        Where one camera's clock is off, its frame of the same moment has another number.
        """
        frames = sorted(event.frames.values())
        frame = frames[len(frames) // 2] + 1 if frames else 0
        if frame <= self.last_frame:
            return
        self.last_frame = frame
        self.places.extend((frame, person.number, person.x_m, person.y_m) for person in event.people)

    def rows(self) -> FloorRows:
        """All places, frame numbers from 1, persons by their number."""
        table = np.array(self.places, dtype=np.float64).reshape(-1, 4)
        return FloorRows(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])
