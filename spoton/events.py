"""Every fact that SpotOn records: frozen, versioned, with an id that the same input always gives again.

Times (``at``) are int64 microseconds UTC taken from the frame. Events travel as JSON, one object each, told apart by
``type``; what a camera hands to the detection stage (``FrameCaptured``, ``SourceChanged``) travels as MessagePack and
is never archived.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import msgspec

Box = tuple[float, float, float, float]


def event_id(stream: str, key: str, seq: int, at_us: int) -> str:
    """The id of an event, as a UUID in text form: BLAKE2b over stream, partition key, sequence and event time.

    The time is part of it so that a site which starts again with an empty log cannot collide with its own past.
    """
    digest = hashlib.blake2b(f"{stream}\0{key}\0{seq}\0{at_us}".encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all events share.

    v: schema version of this event's type. id: see ``event_id``. at: event time, microseconds UTC.
    seq: counts up by one per stream and partition key, from 1.
    """

    stream: ClassVar[str]
    version: ClassVar[int] = 1

    id: str
    at: int
    site: str
    seq: int
    v: int = 1


class TrackRef(msgspec.Struct, frozen=True, array_like=True):
    """A track inside one camera."""

    camera: str
    track: int


# --- frames: from a camera to the detection stage ---------------------------------------------------------------


class FoundByCamera(msgspec.Struct, frozen=True, kw_only=True):
    """Everyone whom a camera found in one frame by itself: boxes_px left, top, width, height; scores in [0, 1]."""

    boxes_px: list[Box]
    scores: list[float]
    detector: str = "camera"


class FrameCaptured(msgspec.Struct, frozen=True, kw_only=True, tag="FrameCaptured"):
    """One picture. frame: 0-based number in its source; session: counts the connections to the source, from 1.

    first: number of the session's first frame. epoch: event time of a file's first frame, microseconds UTC; 0 for a
    live source. origin: the number that a file's first frame has. source: where it comes from, without a password.
    found: what a camera that detects by itself found, instead of a picture; ``jpeg`` is empty then.
    """

    site: str
    camera: str
    frame: int
    at: int
    session: int
    first: int = 0
    epoch: int = 0
    origin: int = 0
    source: str = ""
    size_px: tuple[int, int]
    jpeg: bytes = b""
    found: FoundByCamera | None = None


class SourceChanged(msgspec.Struct, frozen=True, kw_only=True, tag="SourceChanged"):
    """A source came up, went down or ended (``ended``: a file was read to its end)."""

    site: str
    camera: str
    at: int
    session: int
    online: bool
    ended: bool = False
    reason: str = ""
    retry_in_s: float | None = None


Captured: TypeAlias = FrameCaptured | SourceChanged


# --- detections: key camera -------------------------------------------------------------------------------------


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """What a detected person looks like. row: index into the boxes; data: little-endian float16, unit length."""

    row: int
    model: str
    data: bytes


class PeopleDetected(Event, frozen=True, kw_only=True):
    """Everyone found in one frame, with the track each box belongs to (0: none yet).

    boxes_px: left, top, width, height, in hundredths of a pixel exact; scores in [0, 1], four digits.
    started, lost, ended: tracks whose life changed with this frame. detector: what found them.
    tentative: per box the candidate, not yet a track, that it belongs to (0: none); a candidate keeps its number when
    it starts. dropped: candidates given up.
    """

    stream: ClassVar[str] = "detections"

    camera: str
    frame: int
    size_px: tuple[int, int]
    boxes_px: list[Box]
    scores: list[float]
    tracks: list[int]
    started: list[int] = []
    lost: list[int] = []
    ended: list[int] = []
    tentative: list[int] = []
    dropped: list[int] = []
    embeddings: list[Embedding] = []
    detector: str = ""


class FramesSkipped(Event, frozen=True, kw_only=True):
    """Frames ``first`` to ``last`` were captured, or due, and never looked at."""

    stream: ClassVar[str] = "detections"

    camera: str
    first: int
    last: int


class CameraOnline(Event, frozen=True, kw_only=True):
    """A camera delivers pictures. epoch: event time of a file's first frame, or of a live session's first frame.

    origin: the number that a file's first frame has. source: where the pictures come from, without a password.
    """

    stream: ClassVar[str] = "detections"

    camera: str
    session: int
    size_px: tuple[int, int]
    epoch: int
    origin: int = 0
    source: str = ""


class CameraOffline(Event, frozen=True, kw_only=True):
    """A camera stopped delivering. ended: its file was read to the end, nothing will follow."""

    stream: ClassVar[str] = "detections"

    camera: str
    session: int
    reason: str
    ended: bool = False


# --- identities: key site ---------------------------------------------------------------------------------------


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an identity was decided: what was measured beside the bound it was held against.

    distance_m / gate_m: on the floor. mahalanobis / mahalanobis_gate: squared, chi-square with 2 degrees of freedom.
    appearance / appearance_gate: distance of looks in [0, 2], 1 less their weighted cosine. gap_s: time since
    the person was last seen. walk / walk_gate: by how many standard deviations the gap differs from the usual walking
    time of that way.
    probability: in [0, 1], how likely that is among all that was possible. by: what decided. Of an operator's
    correction: command, the id of their wish; who it was and why, in their words.
    """

    distance_m: float | None = None
    gate_m: float | None = None
    mahalanobis: float | None = None
    mahalanobis_gate: float | None = None
    appearance: float | None = None
    appearance_gate: float | None = None
    gap_s: float | None = None
    walk: float | None = None
    walk_gate: float | None = None
    probability: float | None = None
    by: str = ""
    command: str = ""
    who: str = ""
    why: str = ""


class PersonAppeared(Event, frozen=True, kw_only=True):
    """A new identity. person: unique for all time; number: the short form people read, unique in one log."""

    stream: ClassVar[str] = "identities"

    person: str
    number: int
    x_m: float
    y_m: float
    seen: list[TrackRef]


class PersonReturned(Event, frozen=True, kw_only=True):
    """Somebody who had left is there again, under the identity from before."""

    stream: ClassVar[str] = "identities"

    person: str
    number: int
    x_m: float
    y_m: float
    seen: list[TrackRef]
    evidence: Evidence


class TrackAssigned(Event, frozen=True, kw_only=True):
    """From now on this track is this person."""

    stream: ClassVar[str] = "identities"

    person: str
    camera: str
    track: int
    evidence: Evidence


class PersonHandedOver(Event, frozen=True, kw_only=True):
    """A person went on from what one camera sees to what another sees."""

    stream: ClassVar[str] = "identities"

    person: str
    from_camera: str
    to_camera: str
    track: int
    evidence: Evidence


class PersonsMerged(Event, frozen=True, kw_only=True):
    """Two identities were one person: ``merged`` is ``person`` from now on.

    tracks: those that were ``merged``'s. reverses: id of the PersonSplit that this takes back, empty for none.
    """

    stream: ClassVar[str] = "identities"

    person: str
    merged: str
    evidence: Evidence
    tracks: list[TrackRef] = []
    reverses: str = ""


class PersonSplit(Event, frozen=True, kw_only=True):
    """One identity was two people: these tracks are ``new_person`` from now on.

    reverses: id of the PersonsMerged that this takes back, empty for none; ``new_person`` is then who was merged.
    """

    stream: ClassVar[str] = "identities"

    person: str
    new_person: str
    number: int
    tracks: list[TrackRef]
    evidence: Evidence
    reverses: str = ""


class TrackReassigned(Event, frozen=True, kw_only=True):
    """A track was taken for ``from_person`` (empty: nobody) and is ``person`` from now on.

    number: of ``person``. reverses: id of the TrackReassigned that this takes back, empty for none.
    """

    stream: ClassVar[str] = "identities"

    person: str
    number: int
    from_person: str
    camera: str
    track: int
    evidence: Evidence
    reverses: str = ""


class CorrectionRefused(Event, frozen=True, kw_only=True):
    """An operator's correction was not carried out. command: its id; reason: what speaks against it."""

    stream: ClassVar[str] = "identities"

    command: str
    reason: str
    remedy: str = ""


class PersonLeft(Event, frozen=True, kw_only=True):
    """A person was not seen for the site's ``leave_after_s``, or the last recording ended. last_at: when seen last."""

    stream: ClassVar[str] = "identities"

    person: str
    x_m: float
    y_m: float
    last_at: int


class ClockSkewed(Event, frozen=True, kw_only=True):
    """A camera's clock differs from the others'. skew_s: late is positive; sigma_s: its standard deviation.

    compensated_s: what is taken off the camera's times from now on; told again when it has changed by 50 ms.
    """

    stream: ClassVar[str] = "identities"

    camera: str
    skew_s: float
    sigma_s: float
    compensated_s: float


class CalibrationDrifted(Event, frozen=True, kw_only=True):
    """A camera puts people elsewhere than when it was calibrated, or (``drifted`` false) no longer does.

    moved_m: how far, against the other cameras; sigma_m: its standard error.
    """

    stream: ClassVar[str] = "identities"

    camera: str
    drifted: bool
    moved_m: float
    sigma_m: float


# --- positions: key site ----------------------------------------------------------------------------------------


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """One person at one tick. cov_m2: variance of x, covariance, variance of y. seen: empty when only predicted."""

    person: str
    number: int
    x_m: float
    y_m: float
    vx_m_s: float
    vy_m_s: float
    cov_m2: tuple[float, float, float]
    seen: list[TrackRef]
    zone: str | None = None


class PeopleLocated(Event, frozen=True, kw_only=True):
    """Everyone on the floor at one tick. frames: which frame of each camera made the tick."""

    stream: ClassVar[str] = "positions"

    tick: int
    frames: dict[str, int]
    people: list[Located]


# --- behaviour: key site ----------------------------------------------------------------------------------------


class ZoneEntered(Event, frozen=True, kw_only=True):
    """A person is inside a zone from now on."""

    stream: ClassVar[str] = "behaviour"

    person: str
    zone: str


class ZoneLeft(Event, frozen=True, kw_only=True):
    """A person is outside a zone again, after ``stayed_s``."""

    stream: ClassVar[str] = "behaviour"

    person: str
    zone: str
    stayed_s: float


# --- commands: key site -----------------------------------------------------------------------------------------


class Command(Event, frozen=True, kw_only=True):
    """What an operator decided. by: who; why: for what reason, in their words."""

    stream: ClassVar[str] = "commands"

    by: str
    why: str = ""


class CameraAdded(Command, frozen=True, kw_only=True):
    """From now on this camera is watched, as the definition says; one of that name before is replaced.

    definition: its ``[[camera]]`` table of a site file, TOML.
    """

    camera: str
    definition: str


class CameraRemoved(Command, frozen=True, kw_only=True):
    """From now on this camera is not watched any more."""

    camera: str


class MergeRequested(Command, frozen=True, kw_only=True):
    """``merged`` is ``person``. reverses: id of the PersonSplit that this takes back, empty for none.

    As of every correction, ``at`` is the event time from which it holds.
    """

    person: str
    merged: str
    reverses: str = ""


class SplitRequested(Command, frozen=True, kw_only=True):
    """These tracks are not ``person`` but somebody else.

    reverses: id of the PersonsMerged that this takes back; the tracks are then ``new_person`` again.
    """

    person: str
    tracks: list[TrackRef]
    new_person: str = ""
    reverses: str = ""


class ReassignmentRequested(Command, frozen=True, kw_only=True):
    """This track is ``person``. reverses: id of the TrackReassigned that this takes back, empty for none."""

    person: str
    camera: str
    track: int
    reverses: str = ""


DetectionEvent: TypeAlias = PeopleDetected | FramesSkipped | CameraOnline | CameraOffline
IdentityEvent: TypeAlias = (
    PersonAppeared | PersonReturned | TrackAssigned | PersonHandedOver | PersonsMerged | PersonSplit | PersonLeft
    | TrackReassigned | CorrectionRefused | ClockSkewed | CalibrationDrifted
)
PositionEvent: TypeAlias = PeopleLocated
BehaviourEvent: TypeAlias = ZoneEntered | ZoneLeft
Correction: TypeAlias = MergeRequested | SplitRequested | ReassignmentRequested
CameraCommand: TypeAlias = CameraAdded | CameraRemoved
CommandEvent: TypeAlias = CameraCommand | Correction
AnyEvent: TypeAlias = DetectionEvent | IdentityEvent | PositionEvent | BehaviourEvent | CommandEvent

EVENT_TYPES: tuple[type[Event], ...] = (
    PeopleDetected, FramesSkipped, CameraOnline, CameraOffline,
    PersonAppeared, PersonReturned, TrackAssigned, PersonHandedOver, PersonsMerged, PersonSplit, PersonLeft,
    TrackReassigned, CorrectionRefused, ClockSkewed, CalibrationDrifted,
    PeopleLocated,
    ZoneEntered, ZoneLeft,
    CameraAdded, CameraRemoved, MergeRequested, SplitRequested, ReassignmentRequested,
)  # fmt: skip

Upcaster: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, version) -> the same fact in the next version's shape. Empty while every type is in its first version."""


class _Head(msgspec.Struct):
    type: str
    v: int = 1


_encoder = msgspec.json.Encoder()
_head_decoder = msgspec.json.Decoder(_Head)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_captured_encoder = msgspec.msgpack.Encoder()
_captured_decoder: msgspec.msgpack.Decoder[Captured] = msgspec.msgpack.Decoder(Captured)
_versions = {t.__name__: t.version for t in EVENT_TYPES}


def encode(event: Event) -> bytes:
    """The event as one JSON object; the same event always gives the same bytes."""
    return _encoder.encode(event)


def decode(data: bytes, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> AnyEvent:
    """Read an event of any version so far.

    Raises msgspec.ValidationError when the bytes are no event, or one of a later version than this program knows.
    """
    try:
        event = _event_decoder.decode(data)
    except msgspec.ValidationError:
        pass  # no event, or one whose shape has changed since
    else:
        if event.v == event.version:
            return event
    head = _head_decoder.decode(data)
    newest = _versions.get(head.type)
    if newest is None:
        raise msgspec.ValidationError(f"unknown event type {head.type!r}")
    if head.v == newest:
        return _event_decoder.decode(data)
    raw = msgspec.json.decode(data)
    while raw["v"] < newest:
        before = raw["v"]
        raw = upcasters[head.type, before](raw)
        raw["v"] = before + 1
    if raw["v"] > newest:
        raise msgspec.ValidationError(f"{head.type} version {head.v} is newer than this program ({newest})")
    upcast: AnyEvent = msgspec.convert(raw, AnyEvent)
    return upcast


def encode_captured(captured: Captured) -> bytes:
    """A captured frame or a change of its source as MessagePack."""
    return _captured_encoder.encode(captured)


def decode_captured(data: bytes) -> Captured:
    """The reverse of ``encode_captured``; raises msgspec.ValidationError on anything else."""
    return _captured_decoder.decode(data)


def json_schemas() -> dict[str, dict[str, Any]]:
    """One JSON Schema (2020-12) per event type, by name."""
    schemas = {}
    for event_type in EVENT_TYPES:
        schema = msgspec.json.schema(event_type)
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        schema["title"] = event_type.__name__
        schemas[event_type.__name__] = schema
    return schemas
