"""Disk, open files, memory and cores, against what the site's cameras need.

What one process with all roles takes was measured with 1, 4 and 12 recorded cameras and the built-in detector: 22, 31
and 39 open files; 162, 202 and 295 MB, and up to 95 MB for each detector process.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from spoton.doctor.broker import existing
from spoton.doctor.finding import Finding
from spoton.errors import SpotOnError
from spoton.log.reader import LogReader
from spoton.log.record import Topic
from spoton.log.settings import LogSettings

FILES_BASE = 256
"""For the process itself (19 measured), the broker's and the database's connections, and live clients."""
FILES_PER_CAMERA = 8
"""3 measured: the source and two pipes; the rest is for sources that come again before the old one is gone."""
MEMORY_BASE = 150_000_000
MEMORY_PER_CAMERA = 13_000_000
MEMORY_PER_DETECTOR = 95_000_000
FREE_TO_START = 2_000_000_000
"""A new database takes 45 MB and may keep 1 GB of write-ahead log (PostgreSQL's max_wal_size) beside its rows."""
SLOW_SYNC_MS = 50.0
"""Half of the 100 ms that a frame has until a live client sees it."""
_SYNCS = 15
_SYNC_BYTES = 64 * 1024
_SYNC_S = 1.0
_PROJECTED_FROM_S = 3600.0


def files(cameras: int) -> Finding:
    """The limit of open files against what the cameras need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = FILES_BASE + FILES_PER_CAMERA * cameras
    unlimited = resource.RLIM_INFINITY
    found = (
        f"{'any number of' if soft == unlimited else soft} open files allowed, {need} wanted for {_cameras(cameras)}"
    )
    if soft == unlimited or soft >= need:
        return Finding("open files", "ok", found)
    can = hard == unlimited or hard >= need
    remedy = f"ulimit -n {need}" if can else f"raise the hard limit, which is {hard}, too"
    return Finding(
        "open files", "fault", found, f"{remedy}; for a service LimitNOFILE={need}, in compose ulimits: nofile: {need}"
    )


def memory(cameras: int) -> Finding:
    """Memory that is free, and cores, against what the cameras need in one process with the built-in detector."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detectors = min(2 * cores, cameras)
    need = MEMORY_BASE + MEMORY_PER_CAMERA * cameras + MEMORY_PER_DETECTOR * detectors
    free, share = psutil.virtual_memory().available, _cgroup_left()
    bound = " left of this container's limit" if share is not None and share < free else " free"
    left = min(free, share) if share is not None else free
    found = f"{left / 1e9:.1f} GB{bound}, about {need / 1e9:.1f} GB wanted for {_cameras(cameras)}; {cores} cores"
    if left < need:
        return Finding(
            "memory", "warning", found, "add memory, raise the container's limit, or spread the roles over workers"
        )
    return Finding("memory", "ok", found)


def disk(data: Path, broker: str) -> Finding:
    """Free space at the data folder, and how long it takes until written bytes are safe. Blocking."""
    folder = existing(data)
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    week = week_of_log(broker) if broker.startswith("log://") else None
    need = max(FREE_TO_START, week or 0)
    why = "for a week of the log at the rate so far" if week and week >= need else "to start with"
    found = f"{free / 1e9:.1f} GB free at {folder}, {need / 1e9:.1f} GB wanted {why}"
    if free < need:
        return Finding("disk", "fault", found, "free some space, or name a folder on a larger disk with --data")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("disk", "fault", f"{folder} cannot be written", "give this user the right, or choose --data")
    sync_ms = _sync_ms(folder)
    found += f"; {_SYNC_BYTES // 1024} KB are safe after {sync_ms:.1f} ms (median)"
    if sync_ms > SLOW_SYNC_MS:
        return Finding(
            "disk", "warning", found, "use a local SSD; a log:// broker with ?sync=normal waits less and risks more"
        )
    return Finding("disk", "ok", found)


def _sync_ms(folder: Path) -> float:
    """Median time of a write with fsync, of a few."""
    took_ms: list[float] = []
    until_s = time.monotonic() + _SYNC_S
    with tempfile.TemporaryFile(dir=folder) as file:
        while len(took_ms) < _SYNCS and (not took_ms or time.monotonic() < until_s):
            began_s = time.perf_counter()
            file.write(bytes(_SYNC_BYTES))
            file.flush()
            os.fsync(file.fileno())
            took_ms.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(took_ms)


def week_of_log(url: str) -> int | None:
    """Bytes that the log still grows by until its retention is reached; None where it holds too little to say."""
    try:
        settings = LogSettings.from_url(url)
        with LogReader(settings.folder) as reader:
            times_ms = [at_ms for topic in reader.topics() if not topic.compacting for at_ms in _ends_ms(reader, topic)]
    except SpotOnError:
        return None
    span_s = (max(times_ms) - min(times_ms)) / 1e3 if times_ms else 0.0
    if span_s < _PROJECTED_FROM_S:
        return None
    size = settings.file.stat().st_size
    return max(0, round(size / span_s * settings.retention_s) - size)


def _ends_ms(reader: LogReader, topic: Topic) -> list[int]:
    """Times of the oldest and the newest record of each partition."""
    found = []
    for number in range(topic.partitions):
        first, end = reader.bounds(topic, number)
        for offset in {first, end - 1} if end > first else ():
            found += [record.timestamp_ms for record in reader.page(topic, number, offset, 1).records]
    return found


def _cgroup_left() -> int | None:
    """Bytes that this container may still take; None without a limit."""
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = (Path("/sys/fs/cgroup") / most).read_text().strip()
            taken = int((Path("/sys/fs/cgroup") / used).read_text())
        except (OSError, ValueError):
            continue
        return int(limit) - taken if limit.isdecimal() and int(limit) < 1 << 60 else None
    return None


def _cameras(count: int) -> str:
    return f"{count} camera{'' if count == 1 else 's'}"
