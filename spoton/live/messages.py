"""What live clients are told: one frozen value per message, and how a message is narrowed to what a client wants.

Times (``at``, ``sent``) are microseconds UTC: event time, and when the message left. ``seq`` counts published messages.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from spoton.events import AnyEvent, Box, TrackRef

PROTOCOL = 1
"""Version of the live protocol; a client refuses a higher one than it knows."""


class PersonNow(msgspec.Struct, frozen=True, kw_only=True):
    """One person on the floor. seen: empty when only predicted. trail_m: (at, x, y) oldest first, in snapshots only.

    previous_ids: other identities that proved to be this person, since this process started.
    """

    person: str
    number: int
    at: int
    x_m: float
    y_m: float
    vx_m_s: float = 0.0
    vy_m_s: float = 0.0
    cov_m2: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seen: list[TrackRef] = []
    zone: str | None = None
    previous_ids: list[str] = []
    trail_m: list[tuple[int, float, float]] | msgspec.UnsetType = msgspec.UNSET


class BoxNow(msgspec.Struct, frozen=True, kw_only=True):
    """One followed person in a picture. box_px: left, top, width, height. person, number: None before identified."""

    track: int
    person: str | None
    number: int | None
    box_px: Box
    score: float


class CameraBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """Who is where in one picture of a camera, and how the camera is doing (see ``CameraNow``).

    has_picture: a picture of the camera can be fetched, this one or one close to it.
    """

    frame: int
    at: int
    size_px: tuple[int, int]
    fps: float | None
    frames_skipped: int
    has_picture: bool
    boxes: list[BoxNow]


class CameraNow(msgspec.Struct, frozen=True, kw_only=True):
    """How a camera is doing.

    status: ``waiting`` before its first event, ``online``, ``offline`` (reason says why), ``ended`` (file read to its
    end). fps: frames looked at per second over the last 5 s, None when there are too few to measure. frames,
    frames_skipped: since this process started. people: followed in the newest frame. last_frame_age_s: since the
    newest frame arrived here; lag_s: how old that frame was then.
    """

    name: str
    status: str
    reason: str
    detector: str
    fps: float | None
    frame: int | None
    at: int | None
    size_px: tuple[int, int] | None
    frames: int
    frames_skipped: int
    people: int
    has_picture: bool
    last_frame_age_s: float | None
    lag_s: float | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """Everything at once. reason: ``connected``, ``subscribed``, or ``fell_behind`` when messages were left out."""

    seq: int
    at: int
    sent: int
    reason: str
    persons: list[PersonNow]
    cameras: list[CameraNow]
    boxes: dict[str, CameraBoxes]


class Tracking(msgspec.Struct, frozen=True, kw_only=True, tag="tracking", omit_defaults=True):
    """What moved. persons: everyone on the floor at one tick; cameras: newest boxes by camera; either may be absent."""

    seq: int
    at: int
    sent: int
    persons: list[PersonNow] | None = None
    cameras: dict[str, CameraBoxes] | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True, tag="identity"):
    """A decision about who is who, as the event itself."""

    seq: int
    at: int
    sent: int
    event: AnyEvent


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, tag="behaviour"):
    """What somebody did, as the event itself."""

    seq: int
    at: int
    sent: int
    event: AnyEvent


class CameraChanged(msgspec.Struct, frozen=True, kw_only=True, tag="camera"):
    """A camera came or went."""

    seq: int
    at: int
    sent: int
    camera: CameraNow


LiveMessage: TypeAlias = Snapshot | Tracking | Identity | Behaviour | CameraChanged


class Interest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants to hear of; empty: everything.

    cameras: boxes and health of these, and people that one of them sees. zones: people inside one of these.
    Identity and behaviour messages always come: ids cannot be followed without them.
    """

    cameras: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.cameras or self.zones)

    def camera(self, name: str) -> bool:
        """True when the client wants this camera."""
        return not self.cameras or name in self.cameras

    def person(self, one: PersonNow) -> bool:
        """True when the client wants this person, where they are now."""
        if self.cameras and not any(seen.camera in self.cameras for seen in one.seen):
            return False
        return not self.zones or one.zone in self.zones


def narrow(message: LiveMessage, interest: Interest) -> LiveMessage | None:
    """The part of a message that a client wants; None when nothing of it is left."""
    if not interest:
        return message
    match message:
        case Snapshot():
            return msgspec.structs.replace(
                message,
                persons=[one for one in message.persons if interest.person(one)],
                cameras=[camera for camera in message.cameras if interest.camera(camera.name)],
                boxes={name: boxes for name, boxes in message.boxes.items() if interest.camera(name)},
            )
        case Tracking():
            return _narrow_tracking(message, interest)
        case CameraChanged():
            return message if interest.camera(message.camera.name) else None
        case _:
            return message


def _narrow_tracking(message: Tracking, interest: Interest) -> Tracking | None:
    persons, cameras = message.persons, message.cameras
    if persons is not None:
        persons = [one for one in persons if interest.person(one)]
    if cameras is not None:
        cameras = {name: boxes for name, boxes in cameras.items() if interest.camera(name)} or None
    if persons is None and cameras is None:
        return None
    return msgspec.structs.replace(message, persons=persons, cameras=cameras)
