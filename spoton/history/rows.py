"""From events to the rows of history."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from spoton import events

EVENT_COLUMNS = ("at", "id", "site", "stream", "type", "camera", "person", "seq", "body")
POSITION_COLUMNS = (
    "at", "site", "person", "number", "x_m", "y_m", "vx_m_s", "vy_m_s", "var_x_m2", "cov_m2", "var_y_m2",
    "zone", "cameras", "event",
)  # fmt: skip

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at_us: int) -> datetime:
    """Microseconds since 1970 UTC as a datetime, exact."""
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    """The reverse of ``timestamp``, exact."""
    return (at - EPOCH) // timedelta(microseconds=1)


def rows(batch: Sequence[bytes]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of ``events`` and of ``positions`` for events as they stand in the log, their bytes kept as they are.

    Changes of cameras make none: the addresses in them carry passwords, and history is shown to who may not know them.
    """
    archived: list[tuple[Any, ...]] = []
    located: list[tuple[Any, ...]] = []
    for body in batch:
        event = events.decode(body)
        if isinstance(event, events.CameraCommand):
            continue
        archived.append(
            (
                timestamp(event.at),
                uuid.UUID(event.id),
                event.site,
                event.stream,
                type(event).__name__,
                getattr(event, "camera", None),
                getattr(event, "person", None),
                event.seq,
                body.decode(),
            )
        )
        if isinstance(event, events.PeopleLocated):
            located.extend(_positions(event))
    return archived, located


def _positions(event: events.PeopleLocated) -> Iterator[tuple[Any, ...]]:
    for one in event.people:
        yield (
            timestamp(event.at),
            event.site,
            one.person,
            one.number,
            one.x_m,
            one.y_m,
            one.vx_m_s,
            one.vy_m_s,
            *one.cov_m2,
            one.zone,
            sorted({seen.camera for seen in one.seen}),
            uuid.UUID(event.id),
        )
