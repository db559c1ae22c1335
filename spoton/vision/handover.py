"""The one place where a blocking frame source meets the event loop: a thread that reads, a bounded hand-over."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from spoton.vision.protocols import Frame, FrameSource


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """One frame handed over, and how many before it were dropped because nobody took them in time."""

    frame: Frame
    dropped: int


class Reading:
    """Reads one source in a daemon thread of its own until it ends, fails or is closed.

    At most ``room`` frames wait. A live source then loses the oldest, and the loss is counted; a finite one waits,
    so that nothing is lost. Make it, ``take`` from it and ``close`` it in the same event loop.
    """

    def __init__(self, open_: Callable[[], FrameSource], *, name: str, start_index: int = 0, room: int = 2) -> None:
        self._open = open_
        self._start_index = start_index
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._lock = threading.Condition()
        self._waiting: deque[Frame] = deque()
        self._dropped = 0
        self._ended = False
        self._closing = False
        self._source: FrameSource | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def finite(self) -> bool:
        """Whether the source that was opened ends by itself; False until it is open."""
        return self._source is not None and self._source.finite

    async def take(self) -> Delivered | None:
        """The next frame; None once the source has ended.

        Raises:
            SourceError: what the source failed with, after the frames before it.
        """
        while True:
            with self._lock:
                self._changed.clear()
                if self._waiting:
                    delivered = Delivered(self._waiting.popleft(), self._dropped)
                    self._dropped = 0
                    self._lock.notify()
                    return delivered
                if self._ended:
                    # Taken out, or error, traceback and this object would keep one another alive.
                    error, self._error = self._error, None
                    if error is not None:
                        raise error
                    return None
            await self._changed.wait()

    async def close(self) -> None:
        """Close the source and wait for its thread: at once for a source that delivers, else its read timeout."""
        with self._lock:
            self._closing = True
            self._waiting.clear()
            self._lock.notify()
            source = self._source
        if source is not None:
            source.close()
        while not self._ended:
            self._changed.clear()
            if not self._ended:
                await self._changed.wait()
        self._thread.join()

    def _run(self) -> None:
        try:
            source = self._open()
            with self._lock:
                self._source = source
                closing = self._closing
            if closing:
                source.close()
            for frame in source.frames(self._start_index):
                if not self._put(frame, wait=source.finite):
                    break
        except BaseException as error:
            self._error = error
        finally:
            if self._source is not None:
                self._source.close()
            self._ended = True
            self._wake()

    def _put(self, frame: Frame, *, wait: bool) -> bool:
        with self._lock:
            while wait and len(self._waiting) >= self._room and not self._closing:
                self._lock.wait()
            if self._closing:
                return False
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(frame)
        self._wake()
        return True

    def _wake(self) -> None:
        # A loop that is already closed has nobody left to wake.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._changed.set)
