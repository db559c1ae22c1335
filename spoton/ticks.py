"""Brings the frames of all cameras together into ticks of one site, by event time alone.

A tick starts at its oldest frame and holds at most one frame of each camera, none newer than ``window_us`` after its
start. It closes as soon as nothing more can join it: every camera has contributed, has gone on past its end, or is
offline; or the newest frame of the site is ``late_us`` ahead of its end. Cameras need no common phase, rate or start.

What a tick holds depends on the frames and their times, not on the order in which the cameras' streams arrive, as long
as no frame arrives after a frame that is ``late_us`` newer and no camera goes offline or comes back in between. A frame
that is later than that, older than the last closed tick, is counted in no tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from spoton.events import CameraOffline, CameraOnline, DetectionEvent, PeopleDetected
from spoton.site import Site

NEVER_US = -(2**62)

_MOST_TICKS_HZ = 10.0
_WINDOW = 0.9
_UNHEARD_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How ticks of a site are made. cameras: those that count, sorted by name."""

    cameras: tuple[str, ...]
    period_us: int
    window_us: int
    late_us: int
    patience_us: int


def rhythm(site: Site) -> Rhythm:
    """The rhythm of a site: only cameras with a calibration make ticks."""
    counting = [camera for camera in site.cameras if camera.calibration is not None]
    rates = [camera.fps for camera in counting if camera.fps]
    tick_hz = site.thresholds.tick_hz or min(_MOST_TICKS_HZ, max(rates, default=_MOST_TICKS_HZ))
    period_us = round(1e6 / tick_hz)
    late_us = round(site.thresholds.late_s * 1e6)
    return Rhythm(
        cameras=tuple(sorted(camera.name for camera in counting)),
        period_us=period_us,
        window_us=round(_WINDOW * period_us),
        late_us=late_us,
        patience_us=late_us + round(_UNHEARD_PATIENCE_S * 1e6),
    )


class CameraClock(msgspec.Struct, frozen=True, array_like=True):
    """How far one camera has come.

    seq: of its newest event. horizon_us: no frame of it can be older than this any more. due_us: when its next frame
    is wanted; frames long before that are more than the tick rate needs.
    """

    seq: int = 0
    horizon_us: int = NEVER_US
    online: bool = True
    due_us: int = NEVER_US


class Alignment(msgspec.Struct, frozen=True, array_like=True):
    """What has arrived and is in no tick yet.

    pending: frames by time and camera. first_us, newest_us: of all frames so far. closed_us: start of the last tick.
    """

    clocks: dict[str, CameraClock] = {}
    pending: tuple[PeopleDetected, ...] = ()
    first_us: int = -NEVER_US
    newest_us: int = NEVER_US
    closed_us: int = NEVER_US


@dataclass(frozen=True, slots=True)
class Tick:
    """The frames that are looked at together. at_us: time of the oldest; frames: by camera name."""

    at_us: int
    frames: tuple[PeopleDetected, ...]


def admit(alignment: Alignment, event: DetectionEvent, rhythm: Rhythm) -> Alignment:
    """Take in one event of a camera; the very same object comes back when the event was already seen."""
    clock = alignment.clocks.get(event.camera, CameraClock())
    if event.seq <= clock.seq:
        return alignment
    clock = msgspec.structs.replace(clock, seq=event.seq)
    if isinstance(event, CameraOnline):
        clock = msgspec.structs.replace(clock, online=True, horizon_us=max(clock.horizon_us, event.at))
    elif isinstance(event, CameraOffline):
        clock = msgspec.structs.replace(clock, online=False)
    elif isinstance(event, PeopleDetected) and event.camera in rhythm.cameras:
        return _admit_frame(alignment, clock, event, rhythm)
    return _with_clock(alignment, event.camera, clock)


def close(alignment: Alignment, rhythm: Rhythm, *, ended: bool = False) -> tuple[list[Tick], Alignment]:
    """All ticks that are complete, oldest first. ended: nothing will follow, so every pending frame finds its tick."""
    ticks: list[Tick] = []
    pending = list(alignment.pending)
    while pending:
        start_us = pending[0].at
        end_us = start_us + rhythm.window_us
        members: dict[str, PeopleDetected] = {}
        for frame in pending:
            if frame.at >= end_us:
                break
            members.setdefault(frame.camera, frame)
        if not ended and not _complete(alignment, members, end_us, rhythm):
            break
        ticks.append(Tick(start_us, tuple(members[camera] for camera in sorted(members))))
        pending = [frame for frame in pending if members.get(frame.camera) is not frame]
    if not ticks:
        return ticks, alignment
    return ticks, msgspec.structs.replace(alignment, pending=tuple(pending), closed_us=ticks[-1].at_us)


def silent(alignment: Alignment, rhythm: Rhythm) -> bool:
    """Every camera that counts is offline, or was never heard of and is given up; no tick waits for one then."""
    return all(_is_silent(alignment, camera, rhythm) for camera in rhythm.cameras)


def _admit_frame(
    alignment: Alignment, clock: CameraClock, frame: PeopleDetected, rhythm: Rhythm
) -> Alignment:
    """A frame moves its camera's horizon; it waits for its tick unless it is late or faster than the ticks."""
    behind = frame.at < clock.horizon_us or frame.at <= alignment.closed_us
    early = frame.at < clock.due_us - rhythm.period_us // 2
    due_us = clock.due_us
    pending = alignment.pending
    if not behind and not early:
        due_us = max(due_us + rhythm.period_us, frame.at + rhythm.period_us // 2)
        if clock.due_us == NEVER_US:
            due_us = frame.at + rhythm.period_us
        pending = tuple(sorted((*pending, frame), key=lambda each: (each.at, each.camera)))
    clock = msgspec.structs.replace(
        clock, online=True, horizon_us=max(clock.horizon_us, frame.at + 1), due_us=due_us
    )
    return msgspec.structs.replace(
        _with_clock(alignment, frame.camera, clock),
        pending=pending,
        first_us=min(alignment.first_us, frame.at),
        newest_us=max(alignment.newest_us, frame.at),
    )


def _complete(alignment: Alignment, members: Mapping[str, PeopleDetected], end_us: int, rhythm: Rhythm) -> bool:
    if alignment.newest_us - rhythm.late_us >= end_us:
        return True
    return all(
        camera in members or _nothing_before(alignment, camera, end_us, rhythm) for camera in rhythm.cameras
    )


def _nothing_before(alignment: Alignment, camera: str, end_us: int, rhythm: Rhythm) -> bool:
    clock = alignment.clocks.get(camera)
    return _is_silent(alignment, camera, rhythm) or (clock is not None and clock.horizon_us >= end_us)


def _is_silent(alignment: Alignment, camera: str, rhythm: Rhythm) -> bool:
    clock = alignment.clocks.get(camera)
    if clock is None:
        return alignment.newest_us - alignment.first_us > rhythm.patience_us
    return not clock.online


def _with_clock(alignment: Alignment, camera: str, clock: CameraClock) -> Alignment:
    return msgspec.structs.replace(alignment, clocks={**alignment.clocks, camera: clock})
