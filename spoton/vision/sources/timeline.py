"""When a frame was taken: exact time inside a file, UTC for a live camera, and thinning by time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction


def microseconds(ticks: int, tick_s: Fraction) -> int:
    """``ticks`` of ``tick_s`` seconds in whole microseconds, half rounded up; exact, without floating point."""
    span = ticks * tick_s * 1_000_000
    return (2 * span.numerator + span.denominator) // (2 * span.denominator)


class FileTime:
    """Microseconds since the first frame of a file, strictly increasing.

    A frame without a presentation time, or with one that does not go forward (as AVI writes for reordered frames),
    lies as many nominal frame durations after the last good one as its number says.
    """

    def __init__(self, tick_s: Fraction, rate: Fraction, *, constant_rate: bool = False) -> None:
        self._tick_s = tick_s
        self._period_s = 1 / rate
        self._constant_rate = constant_rate
        self._first_pts: int | None = None
        self._good = (0, 0)
        self._last_us = -1

    def at_us(self, number: int, pts: int | None) -> int:
        """Time of frame ``number`` whose presentation time is ``pts`` in ticks of the stream."""
        at_us = self._stamped(number, pts)
        if at_us is None or at_us <= self._last_us:
            good_number, good_us = self._good
            at_us = good_us + microseconds(number - good_number, self._period_s)
        else:
            self._good = (number, at_us)
        self._last_us = max(at_us, self._last_us + 1)
        return self._last_us

    def _stamped(self, number: int, pts: int | None) -> int | None:
        if pts is None or self._constant_rate:
            return None
        if self._first_pts is None:
            self._first_pts = pts - int(number * self._period_s / self._tick_s)
        return microseconds(pts - self._first_pts, self._tick_s)


class LiveTime:
    """UTC microseconds of live frames, strictly increasing.

    A frame can only arrive late, never early. So camera time is laid over the wall clock at the smallest delay
    seen within the last ``window_s``: jitter of the network does not reach the result, and a camera clock that runs
    fast or slow is followed. Anchored anew at the moment of arrival: when presentation times are missing, jump,
    or lag the wall clock by more than ``drift_s``. Frames that pile up while the connection opens share the first
    one's arrival and follow it microseconds apart, until the camera catches up.
    """

    wait_s = 0.0
    """How long to hold the last frame back: a live frame is due when it arrives."""

    def __init__(
        self,
        tick_s: Fraction,
        clock_us: Callable[[], int],
        *,
        trust_pts: bool = True,
        window_s: float = 10.0,
        drift_s: float = 2.0,
    ) -> None:
        self._tick_s = tick_s
        self._clock_us = clock_us
        self._trust_pts = trust_pts
        self._window_us = int(window_s * 1e6)
        self._drift_us = int(drift_s * 1e6)
        self._delays: deque[tuple[int, int]] = deque()
        self._last_media_us: int | None = None
        self._last_us = 0

    def at_us(self, pts: int | None) -> int:
        """UTC time of the frame with presentation time ``pts`` in ticks of the stream, arriving now."""
        now_us = self._clock_us()
        at_us = now_us if pts is None or not self._trust_pts else self._laid_over(now_us, pts)
        self._last_us = max(at_us, self._last_us + 1)
        return self._last_us

    def _laid_over(self, now_us: int, pts: int) -> int:
        media_us = microseconds(pts, self._tick_s)
        if self._jumped(now_us, media_us):
            self._delays.clear()
        self._last_media_us = media_us
        self._note(now_us, now_us - media_us)
        at_us = media_us + self._delays[0][1]
        if now_us - at_us > self._drift_us:
            self._delays.clear()
            self._note(now_us, now_us - media_us)
            return now_us
        return at_us

    def _jumped(self, now_us: int, media_us: int) -> bool:
        if self._last_media_us is None or not self._delays:
            return True
        ahead_us = media_us + self._delays[0][1] - now_us
        return media_us <= self._last_media_us or ahead_us > self._window_us or now_us < self._delays[-1][0]

    def _note(self, now_us: int, delay_us: int) -> None:
        while self._delays and self._delays[-1][1] >= delay_us:
            self._delays.pop()
        self._delays.append((now_us, delay_us))
        while self._delays[0][0] < now_us - self._window_us:
            self._delays.popleft()


class PlayoutTime:
    """UTC microseconds at which frames that come in whole segments (HLS) are due, strictly increasing.

    The first frame is due on arrival and each later one as much after it as their presentation times lie apart,
    which may be ahead of the wall clock: the reader waits ``wait_s``. Anchored anew at the moment of arrival when a
    frame is more than ``drift_s`` late, its time is missing, or it jumps by more than ``jump_s``.
    """

    def __init__(
        self, tick_s: Fraction, clock_us: Callable[[], int], *, drift_s: float = 0.5, jump_s: float = 30.0
    ) -> None:
        self._tick_s = tick_s
        self._clock_us = clock_us
        self._drift_us = int(drift_s * 1e6)
        self._jump_us = int(jump_s * 1e6)
        self._delay_us: int | None = None
        self._last_us = 0
        self.wait_s = 0.0

    def at_us(self, pts: int | None) -> int:
        """When the frame with presentation time ``pts`` in ticks of the stream is due."""
        now_us = self._clock_us()
        at_us = now_us
        if pts is not None:
            media_us = microseconds(pts, self._tick_s)
            if self._delay_us is not None:
                at_us = media_us + self._delay_us
            if not (at_us > self._last_us and -self._drift_us <= at_us - now_us <= self._jump_us):
                at_us = now_us
            self._delay_us = at_us - media_us
        self.wait_s = max(0, at_us - now_us) / 1e6
        self._last_us = max(at_us, self._last_us + 1)
        return self._last_us


class Thinning:
    """Keeps at most ``fps`` frames a second of a live camera, chosen by time; ``None`` keeps all."""

    def __init__(self, fps: float | None) -> None:
        self._period_us = 0 if fps is None else int(1e6 / fps)
        self._due_us = 0

    def keeps(self, at_us: int) -> bool:
        """Whether the frame at ``at_us`` is kept; a quarter period of jitter is forgiven."""
        if at_us < self._due_us - self._period_us // 4:
            return False
        self._due_us = max(self._due_us + self._period_us, at_us)
        return True
