"""Table ``cameras``: how each camera is doing, and where its source goes on after a restart."""

from __future__ import annotations

import faust
import msgspec

from spoton.events import AnyEvent, CameraOffline, CameraOnline, FramesSkipped, PeopleDetected
from tables.packed import PackedTable, packed_table, unpacked


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One camera, as its own events tell. last_frame: -1 before the first.

    epoch, origin: event time and number of the first frame of a file. source: as the site file had it, without a
    password.
    """

    camera: str
    seq: int = 0
    online: bool = False
    session: int = 0
    epoch: int = 0
    origin: int = 0
    source: str = ""
    last_frame: int = -1
    last_at: int = 0
    frames: int = 0
    skipped: int = 0
    ended: bool = False
    reason: str = ""
    detector: str = ""


def evolve(status: CameraStatus, event: AnyEvent) -> CameraStatus:
    """Fold one event of the camera in; an event seen before changes nothing."""
    if event.seq <= status.seq:
        return status
    change = msgspec.structs.replace
    match event:
        case PeopleDetected():
            return change(
                status,
                seq=event.seq,
                last_frame=event.frame,
                last_at=event.at,
                frames=status.frames + 1,
                detector=event.detector,
            )
        case FramesSkipped():
            return change(status, seq=event.seq, skipped=status.skipped + event.last - event.first + 1)
        case CameraOnline():
            return change(
                status,
                seq=event.seq,
                online=True,
                session=event.session,
                epoch=event.epoch,
                origin=event.origin,
                source=event.source,
                ended=False,
                reason="",
            )
        case CameraOffline():
            return change(status, seq=event.seq, online=False, ended=event.ended, reason=event.reason)
        case _:
            return status


def last_word(site: str, status: CameraStatus) -> CameraOffline:
    """What a camera that is offline said last, for who starts without having heard it."""
    return CameraOffline(
        id="",
        at=status.last_at,
        site=site,
        seq=status.seq,
        camera=status.camera,
        session=status.session,
        reason=status.reason,
        ended=status.ended,
    )


def changelog_status(value: bytes | None) -> CameraStatus | None:
    """A camera's status out of a record of this table's changelog; None for one that was taken out."""
    packed = unpacked(value)
    return None if packed is None else msgspec.msgpack.decode(packed, type=CameraStatus)


def attach(app: faust.App, *, partitions: int) -> PackedTable[CameraStatus]:
    """Declare the table; key ``site/camera``."""
    decoder = msgspec.msgpack.Decoder(CameraStatus)
    return packed_table(
        app,
        "cameras",
        msgspec.msgpack.encode,
        decoder.decode,
        partitions=partitions,
        by_site=True,
        help="How each camera is doing.",
    )
