"""One process a role, each started again when it ends by itself, stalls or was fenced off.

A role's process gets a pipe as standard input: when the supervisor dies, however it dies, the pipe closes and the role
ends too, so that nothing goes on unwatched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

FENCED, STALLED, FAILED = 75, 76, 77
"""Exit codes of a worker that was away for longer than its session lasts, that does not get on, whose agent failed."""
REASONS: Mapping[int, str] = {FENCED: "fenced", STALLED: "stalled", FAILED: "failed"}

STOP_S = 20.0
_FIRST_WAIT_S, _LONGEST_WAIT_S, _STEADY_S = 0.5, 15.0, 60.0

log = structlog.get_logger("supervisor")


@dataclass(slots=True)
class Child:
    """One role: how to start it, and how it has been doing."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    began_s: float = 0.0
    due_s: float = 0.0
    failures: int = 0
    restarts: Counter[str] = field(default_factory=Counter)


def run(children: Sequence[Child]) -> int:
    """Keep all children running until SIGTERM or SIGINT; returns the exit code for the whole.

    A child that cannot start at all (exit code 1 before it ever held for a second) ends everything: its message says
    what is wrong, and trying again would not mend it.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    code = 0
    try:
        while not stopping.is_set():
            for child in children:
                code = _tend(child)
                if code:
                    stopping.set()
                    break
            stopping.wait(0.1)
    finally:
        _stop(children)
    return code


def _tend(child: Child) -> int:
    now_s = time.monotonic()
    if child.process is None:
        if now_s >= child.due_s:
            _start(child)
        return 0
    ended = child.process.poll()
    if ended is None:
        return 0
    lasted_s = now_s - child.began_s
    child.process = None
    if ended == 1 and not child.restarts and lasted_s < _STEADY_S and child.failures == 0:
        return 1
    reason = REASONS.get(ended, "crashed")
    child.restarts[reason] += 1
    child.failures = 1 if lasted_s >= _STEADY_S else child.failures + 1
    wait_s = 0.0 if reason == "fenced" else min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(child.failures - 1, 8))
    child.due_s = now_s + wait_s
    log.warning("a role ended and is started again", role=child.name, exit=ended, reason=reason, retry_in_s=wait_s)
    return 0


def _start(child: Child) -> None:
    restarts = ",".join(f"{reason}={count}" for reason, count in sorted(child.restarts.items()))
    child.began_s = time.monotonic()
    child.process = subprocess.Popen(
        child.command, env={**child.environment, "SPOTON_RESTARTS": restarts, "SPOTON_SUPERVISED": "1"},
        stdin=subprocess.PIPE,
    )  # fmt: skip


def _stop(children: Sequence[Child]) -> None:
    alive = [child.process for child in children if child.process is not None]
    for process in alive:
        process.terminate()
    until_s = time.monotonic() + STOP_S
    for process in alive:
        try:
            process.wait(max(0.1, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_with_supervisor() -> None:
    """End this process at once when its standard input closes, if a supervisor started it."""
    if os.environ.get("SPOTON_SUPERVISED") == "1":
        threading.Thread(target=_wait_for_end, name="supervised", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)
