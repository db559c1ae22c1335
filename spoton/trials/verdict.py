"""What a trial has shown: which frames were accounted for, what was said twice, whose identity changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psutil

from spoton import events
from spoton.trials.cluster import Cluster
from spoton.trials.recording import Recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial.

    events_in: frames fed. lost: frames in neither PeopleDetected nor FramesSkipped. duplicated: frames detected twice,
    and places in a sequence taken twice. ids_changed: boxes whose track, and tracks whose person, is another than in an
    undisturbed run. None: not measured in this trial. recovery_s: how long findings
    stayed away at most; for a database that was away, how long after its return the archive had caught up. skipped:
    frames in FramesSkipped. largest_mb: resident memory of the largest worker process at the end.
    """

    fault: str
    events_in: int
    lost: int | None
    duplicated: int
    ids_changed: int | None
    recovery_s: float
    skipped: int
    largest_mb: float


def accounted_frames(archived: Iterable[events.AnyEvent]) -> Counter[tuple[str, int]]:
    """How often each frame (camera, number) is detected or said to have been skipped."""
    frames: Counter[tuple[str, int]] = Counter()
    for fact in archived:
        if isinstance(fact, events.PeopleDetected):
            frames[fact.camera, fact.frame] += 1
        elif isinstance(fact, events.FramesSkipped):
            frames.update((fact.camera, frame) for frame in range(fact.first, fact.last + 1))
    return frames


def judged(
    name: str,
    recording: Recording,
    archived: list[events.AnyEvent],
    expected: list[events.Event],
    recovery_s: float,
    largest_mb: float,
) -> Outcome:
    """What the archive holds beside what was fed, and beside what an undisturbed run would have recorded."""
    fed = {(camera, frame) for camera in recording.cameras for frame in range(len(recording.frames))}
    accounted = accounted_frames(archived)
    places = Counter(
        (fact.stream, getattr(fact, "camera", "") if fact.stream == "detections" else "", fact.seq)
        for fact in archived
    )
    ids_changed = _differing(_tracks(archived), _tracks(expected))
    ids_changed += _differing(_persons(archived), _persons(expected))
    return Outcome(
        fault=name,
        events_in=len(fed),
        lost=len(fed - set(accounted)),
        duplicated=sum(count - 1 for count in (*accounted.values(), *places.values()) if count > 1),
        ids_changed=ids_changed,
        recovery_s=round(recovery_s, 1),
        skipped=sum(f.last - f.first + 1 for f in archived if isinstance(f, events.FramesSkipped)),
        largest_mb=round(largest_mb, 1),
    )


def _tracks(facts: Iterable[Any]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(f.camera, f.frame): tuple(f.tracks) for f in facts if isinstance(f, events.PeopleDetected)}


def _persons(facts: Iterable[Any]) -> dict[tuple[str, int], str]:
    return {(f.camera, f.track): f.person for f in facts if isinstance(f, events.TrackAssigned)}


def _differing(found: dict[Any, Any], expected: dict[Any, Any]) -> int:
    return len([key for key in {*found, *expected} if found.get(key) != expected.get(key)])


def largest_mb(cluster: Cluster) -> float:
    """Resident memory of the largest process of a cluster's workers, megabytes."""
    sizes: list[int] = [0]
    for worker in cluster.running:
        for pid in worker.pids():
            try:
                sizes.append(psutil.Process(pid).memory_info().rss)
            except psutil.NoSuchProcess:
                continue
    return float(max(sizes)) / 1e6
