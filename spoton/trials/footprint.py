"""What processes have used, as the system counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psutil


def processor_s(pids: Iterable[int]) -> float:
    """Processor seconds, user and system; what has ended counts as none."""
    return sum(_of(pid, _processor_s) for pid in pids)


def resident_bytes(pids: Iterable[int]) -> float:
    """Resident memory; what has ended counts as none."""
    return sum(_of(pid, _resident_bytes) for pid in pids)


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _resident_bytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss)


def _of(pid: int, what: Callable[[psutil.Process], float]) -> float:
    try:
        return what(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return 0.0
