"""One camera as it is now: its health, its newest boxes, its newest pictures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spoton.events import CameraOffline, CameraOnline, FramesSkipped, PeopleDetected
from spoton.live.messages import CameraNow

FPS_WINDOW_US = 5_000_000
PICTURES_KEPT = 16
LOOKED_AT_KEPT = 64
SHOW_UNSEEN_AFTER_US = 1_000_000
"""Pictures newer by this than the last one looked at are shown all the same: the detector is slow or not there."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as JPEG. frame: number in its source; at: event time, microseconds UTC."""

    frame: int
    at: int
    jpeg: bytes


class CameraFeed:
    """Folds the events of one camera. Bounded: keeps one set of boxes and at most 17 pictures."""

    def __init__(self, name: str, detector: str = "") -> None:
        self.name = name
        self.detector = detector
        self.status = "waiting"
        self.reason = ""
        self.frames = 0
        self.frames_skipped = 0
        self.newest: PeopleDetected | None = None
        self._arrived_us: int | None = None
        self._size_px: tuple[int, int] | None = None
        self._recent_at: deque[int] = deque()
        self._newest_key: tuple[int, int] | None = None
        self._looked_at: deque[tuple[int, int]] = deque(maxlen=LOOKED_AT_KEPT)
        self._pending: deque[Picture] = deque(maxlen=PICTURES_KEPT)
        self._shown: Picture | None = None

    def detected(self, event: PeopleDetected, now_us: int) -> None:
        """A frame was looked at."""
        self.newest = event
        self.frames += 1
        self.detector = event.detector or self.detector
        self.status, self.reason = "online", ""
        self._size_px = event.size_px
        self._arrived_us = now_us
        if self._recent_at and event.at < self._recent_at[-1]:
            self._recent_at.clear()
        self._recent_at.append(event.at)
        while self._recent_at[0] < event.at - FPS_WINDOW_US:
            self._recent_at.popleft()
        self._newest_key = (event.frame, event.at)
        self._looked_at.append(self._newest_key)
        self._promote(event)

    def skipped(self, event: FramesSkipped) -> None:
        """Frames were left out."""
        self.frames_skipped += event.last - event.first + 1

    def online(self, event: CameraOnline) -> None:
        """The camera delivers."""
        self.status, self.reason = "online", ""
        self._size_px = event.size_px
        self._recent_at.clear()

    def offline(self, event: CameraOffline) -> None:
        """The camera is gone; its boxes with it, its last picture stays."""
        self.status, self.reason = ("ended" if event.ended else "offline"), event.reason
        self.newest = None
        self._recent_at.clear()

    def picture(self, picture: Picture) -> None:
        """The newest picture; it is shown once its boxes are known, so that both belong together."""
        if (picture.frame, picture.at) not in self._looked_at:
            self._pending.append(picture)
        elif self._shown is None or picture.at > self._shown.at:
            self._shown = picture

    def shown(self) -> Picture | None:
        """The newest picture whose boxes are known, or the newest at all when looking falls behind by a second."""
        if not self._pending:
            return self._shown
        if self._shown is None or self._pending[-1].at - self._shown.at > SHOW_UNSEEN_AFTER_US:
            return self._pending[-1]
        return self._shown

    def fps(self, now_us: int) -> float | None:
        """Frames looked at per second of event time, over the last 5 s; 0 when none arrived for 5 s."""
        if self._arrived_us is None:
            return None
        if now_us - self._arrived_us > FPS_WINDOW_US:
            return 0.0
        if len(self._recent_at) < 2:
            return None
        return round((len(self._recent_at) - 1) * 1e6 / max(1, self._recent_at[-1] - self._recent_at[0]), 2)

    def now(self, now_us: int) -> CameraNow:
        """Its health at clock time ``now_us``."""
        newest, arrived = self.newest, self._arrived_us
        frame, at = self._newest_key or (None, None)
        return CameraNow(
            name=self.name,
            status=self.status,
            reason=self.reason,
            detector=self.detector,
            fps=self.fps(now_us),
            frame=frame,
            at=at,
            size_px=self._size_px,
            frames=self.frames,
            frames_skipped=self.frames_skipped,
            people=0 if newest is None else sum(1 for track in newest.tracks if track),
            has_picture=self.shown() is not None,
            last_frame_age_s=None if arrived is None else round((now_us - arrived) / 1e6, 3),
            lag_s=None if arrived is None or at is None else round((arrived - at) / 1e6, 3),
        )

    def _promote(self, event: PeopleDetected) -> None:
        while self._pending and self._pending[0].at <= event.at:
            picture = self._pending.popleft()
            if (picture.frame, picture.at) == (event.frame, event.at):
                self._shown = picture
