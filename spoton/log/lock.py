"""One process owns a log; the operating system drops the lock when that process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from spoton.errors import LogError, LogLocked

_PID_WAIT_S = 0.2


class ProcessLock:
    """An exclusive ``flock`` on ``path`` with the owner's process id written inside."""

    def __init__(self, path: Path, *, subject: Path) -> None:
        self.path = path
        self.subject = subject
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LogLocked: another process (or another log of this process) holds it.
            LogError: the lock file cannot be opened or written.
        """
        try:
            self._descriptor = self._take()
        except OSError as error:
            raise LogError(
                f"the lock file {self.path} cannot be used: {error.strerror}", remedy="check the folder's permissions"
            ) from error

    def _take(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise LogLocked(
                f"the log {self.subject} is in use by process {owner}",
                remedy="an embedded log belongs to one process: stop that one, "
                "or run several workers on a kafka:// broker",
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _owner(descriptor: int) -> str:
    # The owner writes its pid just after it has locked, so an empty file is worth a short wait.
    deadline_s = time.monotonic() + _PID_WAIT_S
    while True:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if text or time.monotonic() > deadline_s:
            return text or "unknown"
        time.sleep(0.01)
