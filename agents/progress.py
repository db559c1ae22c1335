"""How far a camera has been read, and where whoever reads it next goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spoton.errors import SourceError
from spoton.site import CameraSite, Site
from spoton.vision.protocols import Frame
from spoton.vision.sources.address import parse_address, without_password
from tables.sources import SourceState

_HANDED_OVER_US = 60_000_000
"""Who read a camera longer ago than this reads it no more."""
_OVERLAP_US = 500_000
"""How long a worker may still read a camera that another one has begun to read: it looks five times a second."""
_USUAL_PERIOD_US = 100_000
_NEWS = 0.1


@dataclass(slots=True)
class Progress:
    """How far a camera has got: where it goes on.

    recorded: the source is a file or folder, which counts its time from its start. source: without its password.
    next_frame, session: the frame number that comes next, the last session there was. first: the session's first
    frame. epoch_us, origin: event time and number of a recording's first frame. at_us: event time of the last frame.
    ended: the recording was read to its end. period_us: time from one frame to the next, a running mean; 0 before the
    second.
    """

    recorded: bool
    source: str
    next_frame: int
    session: int
    epoch_us: int
    origin: int
    at_us: int
    ended: bool
    first: int = 0
    period_us: int = 0

    def arrived(self, frame: Frame, dropped: int, session: int) -> None:
        """A frame was handed over, with ``dropped`` ones lost just before it."""
        if session > self.session:
            self.session, self.first = session, frame.index - dropped
        elif frame.index >= self.next_frame and self.at_us:
            period_us = (self.epoch_us + frame.at_us - self.at_us) / (frame.index + 1 - self.next_frame)
            before_us = self.period_us or period_us
            self.period_us = round(before_us + _NEWS * (period_us - before_us))
        self.next_frame = frame.index + 1
        self.at_us = self.epoch_us + frame.at_us

    @property
    def offline_at_us(self) -> int:
        """When a recording went offline, on its own time: right after its last frame."""
        return self.at_us or self.epoch_us


def resumed(site: Site, camera: CameraSite, known: SourceState | None, *, now_us: int, shared: bool) -> Progress:
    """Where a camera goes on; another source than before begins with its first frame, numbers going on.

    shared: other workers may have read it until now, or may still do.
    """
    known = known or SourceState()
    source, recorded = without_password(camera.source), _is_recorded(site.resolve(camera.source))
    changed = known.source not in ("", source)
    # A looped file stands for a camera, and another file was never seen: they begin now.
    anew = recorded and (changed or camera.loop)
    next_frame = known.next_frame
    if shared and (camera.loop or not recorded) and 0 < now_us - known.at < _HANDED_OVER_US:
        # What is due until this worker reads keeps numbers of its own: none is given twice by two who read for a
        # moment side by side, and what nobody looked at shows as a gap.
        period_us = known.period_us or (1e6 / camera.fps if camera.fps else _USUAL_PERIOD_US)
        next_frame += math.ceil((now_us - known.at + _OVERLAP_US) / period_us)
    return Progress(
        recorded=recorded,
        source=source,
        next_frame=next_frame,
        session=known.session,
        epoch_us=now_us if anew else known.epoch if recorded else 0,
        origin=next_frame if anew else known.origin,
        at_us=0 if anew else known.at,
        ended=known.ended and not changed,
        period_us=known.period_us,
    )


def _is_recorded(source: str) -> bool:
    try:
        return parse_address(source).finite
    except SourceError:
        # A file that is not there yet; opening fails with the same error, where it is reported, and is tried again.
        return True
