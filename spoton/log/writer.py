"""Group commit: one thread writes, and everything that waits is one transaction."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator

from spoton.errors import LogError
from spoton.log.store import Batch, Store

_GROUP_BYTES = 8 * 1024 * 1024
_TIDY_PAUSE_S = 0.05


class Writer:
    """The thread that owns the store.

    ``written`` gets the batches of one transaction after it is durable, ``failed`` the error that ended the
    thread; both are called on the writer's thread. Between transactions it removes what has expired, in short steps.
    """

    def __init__(
        self,
        store: Store,
        *,
        written: Callable[[list[Batch]], None],
        failed: Callable[[LogError], None],
        tidy_every_s: float = 10.0,
    ) -> None:
        self._store = store
        self._tidy_every_s = tidy_every_s
        self._written = written
        self._failed = failed
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._tidying: Iterator[None] = iter(())
        self._tidy_at_s = time.monotonic() + _TIDY_PAUSE_S
        self._thread = threading.Thread(target=self._run, name="spoton-log-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Queue a batch; returns at once."""
        self._queue.put(batch)

    def stop(self) -> None:
        """Write what is queued, then close the store; returns when the thread has ended."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except LogError as error:
            self._failed(error)
        except Exception as error:
            # A thread that died in silence would leave every sender waiting for ever.
            self._failed(LogError(f"the log's writer failed: {error!r}", remedy="report this with the log's output"))
            raise
        finally:
            self._store.close()

    def _turn(self) -> bool:
        group, more = self._gather()
        if group:
            self._store.write(group)
            self._written(group)
        if time.monotonic() >= self._tidy_at_s:
            self._tidy_step()
        return more

    def _gather(self) -> tuple[list[Batch], bool]:
        group: list[Batch] = []
        size = 0
        with contextlib.suppress(queue.Empty):
            wait_s = max(0.0, self._tidy_at_s - time.monotonic())
            batch = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            while batch is not None:
                group.append(batch)
                size += batch.size_bytes
                if size >= _GROUP_BYTES:
                    return group, True
                batch = self._queue.get_nowait()
            return group, False
        return group, True

    def _tidy_step(self) -> None:
        for _ in self._tidying:
            self._tidy_at_s = time.monotonic() + _TIDY_PAUSE_S
            return
        self._tidying = self._store.tidy(int(time.time() * 1000))
        self._tidy_at_s = time.monotonic() + self._tidy_every_s
