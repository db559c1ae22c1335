"""The embedded log: can it be opened, and who has it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from spoton.doctor.finding import Finding
from spoton.errors import LogLocked
from spoton.log import preflight
from spoton.log.reader import LogReader
from spoton.log.settings import LogSettings

SUBJECT = "broker"


def check(url: str) -> Finding:
    """Look at the log of a ``log://`` URL; makes nothing that is not there.

    Raises InputError, LogError as ``spoton.log.preflight.check``.
    """
    settings = LogSettings.from_url(url)
    if not settings.file.exists():
        return _to_be(settings)
    try:
        preflight.check(url)
    except LogLocked as locked:
        return Finding(SUBJECT, "warning", f"{locked.problem}{_program(settings)}; {_held(settings)}", locked.remedy)
    return Finding(SUBJECT, "ok", f"embedded log {settings.file} can be opened; {_held(settings)}")


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _to_be(settings: LogSettings) -> Finding:
    above = existing(settings.folder)
    if not os.access(above, os.W_OK | os.X_OK):
        return Finding(
            SUBJECT, "fault", f"the log folder {settings.folder} cannot be made: {above} cannot be written",
            "name a folder that this user can write",
        )  # fmt: skip
    return Finding(SUBJECT, "ok", f"no log in {settings.folder} yet; it can be made at the first start")


def _held(settings: LogSettings) -> str:
    """How much the log holds, read beside its owner."""
    with LogReader(settings.folder) as reader:
        topics = reader.topics()
        bounds = [reader.bounds(topic, number) for topic in topics for number in range(topic.partitions)]
    records = sum(end - first for first, end in bounds)
    return f"{len(topics)} topics, {records} records, {settings.file.stat().st_size / 1e6:.1f} MB"


def _program(settings: LogSettings) -> str:
    """What the owner of the lock is, where this user may see it."""
    try:
        pid = int((settings.folder / "log.lock").read_text())
        return f" ({' '.join(psutil.Process(pid).cmdline())[:80]})"
    except (OSError, ValueError, psutil.Error):
        return ""
