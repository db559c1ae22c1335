"""What SQLite reports, as one of SpotOn's own errors."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spoton.errors import LogCorrupt, LogError, LogFull

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FULL_BELOW_BYTES = 1 << 20


@contextmanager
def named_faults(file: Path) -> Iterator[None]:
    """Turn any ``sqlite3.Error`` of the block into ``LogFull``, ``LogCorrupt`` or ``LogError`` about ``file``."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_log_error(error, file) from error


def as_log_error(error: sqlite3.Error, file: Path) -> LogError:
    """The error to raise for ``error``: full disk, damaged file, or anything else."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and _cannot_grow(file.parent)):
        return LogFull(
            f"no space left for the log {file}",
            remedy="free disk space and start again; everything that was acknowledged is kept",
        )
    if primary in _DAMAGED:
        return damaged(file, str(error))
    return LogError(f"the log {file} failed: {error}", remedy="check the disk and the folder's permissions")


def damaged(file: Path, detail: str) -> LogCorrupt:
    """The error for a damaged file."""
    return LogCorrupt(
        f"the log {file} is damaged ({detail})",
        remedy="move its folder away and start afresh; LogReader still reads the undamaged records",
    )


def _cannot_grow(folder: Path) -> bool:
    # SQLite says "disk I/O error" where a quota or a file size limit stops a write.
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        return True
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _FULL_BELOW_BYTES
