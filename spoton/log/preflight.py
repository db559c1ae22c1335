"""Find out before anything starts whether a log can be used."""

from __future__ import annotations

from spoton.log.lock import ProcessLock
from spoton.log.settings import LogSettings
from spoton.log.store import Store


def check(url: str) -> None:
    """Open the log of a ``log://`` URL and close it again; makes it if it does not exist.

    A command calls this before it hands over to Faust, which would wrap these errors in its own traceback.

    Raises:
        InputError: the URL is not that of a log.
        LogLocked: another process owns it.
        LogCorrupt, LogFull, LogError: its file cannot be used.
    """
    settings = LogSettings.from_url(url)
    settings.make_folder()
    lock = ProcessLock(settings.folder / "log.lock", subject=settings.file)
    lock.acquire()
    try:
        Store(settings.file, sync=settings.sync).close()
    finally:
        lock.release()
