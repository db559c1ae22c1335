"""Keeps one camera going: reads it in a thread of its own, and opens it again whenever it dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from spoton.errors import SourceError
from spoton.vision.handover import Reading
from spoton.vision.metronome import Metronome
from spoton.vision.protocols import Frame, FrameSource


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a dead camera is tried again: exponential, with full jitter.

    After the n-th failure in a row the wait is drawn evenly from 0 to ``initial_s * factor ** (n - 1)``, never above
    ``max_s``. A session that lasted ``steady_s`` starts the row anew.
    """

    initial_s: float = 0.5
    max_s: float = 30.0
    factor: float = 2.0
    steady_s: float = 60.0

    def wait_s(self, failures: int, rng: random.Random) -> float:
        """The wait after ``failures`` (1 or more) failures in a row, in seconds."""
        # The exponent is bounded so that a camera dead for a week does not overflow the power.
        return rng.uniform(0.0, min(self.max_s, self.initial_s * self.factor ** min(failures - 1, 64)))


@dataclass(frozen=True, slots=True)
class SourceUp:
    """The source delivers; its first frame follows. Sessions count from 1; ``at_us`` is the wall clock, UTC.

    ``size`` is that of the pictures, as people read it: 640x480.
    """

    session: int
    at_us: int
    size: str


@dataclass(frozen=True, slots=True, eq=False)
class FrameArrived:
    """One frame, and how many were dropped just before it because they were not taken in time."""

    frame: Frame
    session: int
    dropped: int


@dataclass(frozen=True, slots=True)
class SourceDown:
    """The source failed and is tried again after ``retry_in_s``; ``failures`` counts those in a row.

    ``session`` is the session that ended, or the last one before a failed attempt (0: there was none).
    """

    session: int
    at_us: int
    reason: str
    retry_in_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """A file or folder has been read to its end; nothing follows."""

    session: int
    at_us: int


Item = SourceUp | FrameArrived | SourceDown | SourceEnded


async def watch(
    camera: str,
    *,
    open_: Callable[[], FrameSource],
    clock_us: Callable[[], int],
    rng: random.Random,
    backoff: Backoff = Backoff(),
    start_index: int = 0,
    read_from: int | None = None,
    metronome: Metronome | None = None,
    loop: bool = False,
) -> AsyncGenerator[Item, None]:
    """Everything that happens to one camera, in order, for as long as it is iterated.

    A source that fails, and a live one that ends, is opened again after a wait; a finite one goes on with the frame
    after its last. Frame numbers grow across sessions; frames dropped because the consumer is slow (live sources
    only, two wait at most) leave a gap in them. Iterate it inside ``contextlib.aclosing``: closing or cancelling
    closes the source and waits for its thread.

    Args:
        camera: the camera's name, given to the thread.
        open_: makes the source; called in the reading thread, once per session.
        clock_us: UTC microseconds, for the items about the source.
        rng: draws the waits.
        backoff: how long the waits are.
        start_index: number of the first frame.
        read_from: the frame of a finite source that gets this number; left out, the one of that number.
        metronome: says when the frames of a finite source are due, the same one for all cameras that keep one pace;
            left out, they are handed over as quickly as they are taken.
        loop: begin a finite source anew when it ends, numbers and times going on.

    Raises:
        Exception: whatever is not a ``SourceError`` is a mistake in the program and is passed on.
    """
    course = _Course(start_index, start_index if read_from is None else read_from)
    session = failures = 0
    while True:
        began_s, delivering = _now_s(), False
        reading = Reading(open_, name=f"camera-{camera}", start_index=course.read_from)
        try:
            while (delivered := await reading.take()) is not None:
                frame = course.place(delivered.frame)
                if reading.finite and metronome is not None:
                    await metronome.due(camera, frame.at_us)
                if not delivering:
                    delivering, session = True, session + 1
                    yield SourceUp(session, clock_us(), _describe(frame))
                yield FrameArrived(frame, session, delivered.dropped)
            failure = "" if reading.finite else "the stream ended"
        except SourceError as error:
            failure = str(error)
        finally:
            await reading.close()
            if metronome is not None:
                metronome.failed(camera)
        if failure:
            failures = 1 if delivering and _now_s() - began_s >= backoff.steady_s else failures + 1
            retry_in_s = backoff.wait_s(failures, rng)
            yield SourceDown(session, clock_us(), failure, retry_in_s, failures)
            await asyncio.sleep(retry_in_s)
        elif loop and delivering:
            course.begin_anew()
        else:
            yield SourceEnded(session if delivering else session + 1, clock_us())
            return


class _Course:
    """Numbers and times that go on where the last session, or the last round of a loop, stopped."""

    def __init__(self, start_index: int, read_from: int) -> None:
        self._next_index = start_index
        self._ahead = start_index - read_from
        self._ahead_us = 0
        self._last_us = -1
        self._gap_us = 40_000

    @property
    def read_from(self) -> int:
        """The frame at which the source has to begin."""
        return self._next_index - self._ahead

    def place(self, frame: Frame) -> Frame:
        """``frame`` with its number and time on the whole course."""
        if self._ahead or self._ahead_us:
            frame = replace(frame, index=frame.index + self._ahead, at_us=frame.at_us + self._ahead_us)
        if frame.at_us > self._last_us >= 0:
            self._gap_us = frame.at_us - self._last_us
        self._next_index, self._last_us = frame.index + 1, frame.at_us
        return frame

    def begin_anew(self) -> None:
        """The next frame is the source's first one again."""
        self._ahead, self._ahead_us = self._next_index, self._last_us + self._gap_us


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _describe(frame: Frame) -> str:
    height, width = frame.picture.shape[:2]
    return f"{width}x{height}"
