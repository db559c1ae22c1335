"""Table ``sources``: how far each camera's source has been read, for whichever worker reads on."""

from __future__ import annotations

import faust
import msgspec

from spoton import tracks
from tables.cameras import CameraStatus
from tables.packed import PackedTable, packed_table


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one source goes on.

    source: without its password. session: the last one there was. next_frame: the number that comes next. epoch,
    origin: event time, microseconds UTC, and number of a recording's first frame. at: event time of the last frame,
    0 before the first. ended: the recording was read to its end. period_us: from one frame to the next, 0 where it is
    not known.
    """

    source: str = ""
    session: int = 0
    next_frame: int = 0
    epoch: int = 0
    origin: int = 0
    at: int = 0
    ended: bool = False
    period_us: int = 0


def tracked(status: CameraStatus | None, tracker: tracks.State | None) -> SourceState | None:
    """What has become of a source's frames: where to go on when frames that nobody looked at are gone.

    None for a camera never heard of.
    """
    if status is None and tracker is None:
        return None
    status = status or CameraStatus(camera="")
    return SourceState(
        source=status.source,
        session=max(status.session, tracker.session if tracker is not None else 0),
        next_frame=max(status.last_frame, tracker.frame if tracker is not None else -1) + 1,
        epoch=status.epoch,
        origin=status.origin,
        at=0 if tracker is None else max(tracker.at, 0),
        ended=status.ended,
    )


def attach(app: faust.App, *, partitions: int) -> PackedTable[SourceState]:
    """Declare the table; key ``site/camera``."""
    decoder = msgspec.msgpack.Decoder(SourceState)
    return packed_table(
        app,
        "sources",
        msgspec.msgpack.encode,
        decoder.decode,
        partitions=partitions,
        by_site=False,
        help="How far each camera's source has been read.",
    )
