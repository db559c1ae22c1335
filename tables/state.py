"""Table ``state``: where each person is now, one row a person while they are here."""

from __future__ import annotations

import faust
import msgspec

from spoton.events import AnyEvent, Located, PeopleLocated, PersonLeft, PersonsMerged, PersonSplit
from spoton.live.departed import Departed
from tables.packed import PackedTable, packed_table


class PersonState(msgspec.Struct, frozen=True, kw_only=True):
    """A person's newest place. at: event time of it, microseconds UTC."""

    site: str
    person: str
    number: int
    at: int
    x_m: float
    y_m: float
    vx_m_s: float
    vy_m_s: float
    zone: str | None = None
    cameras: list[str] = []


def key(site: str, person: str) -> str:
    """The table key of a person."""
    return f"{site}/{person}"


def of(site: str, at: int, located: Located) -> PersonState:
    """The row that a position makes."""
    return PersonState(
        site=site,
        person=located.person,
        number=located.number,
        at=at,
        x_m=located.x_m,
        y_m=located.y_m,
        vx_m_s=located.vx_m_s,
        vy_m_s=located.vy_m_s,
        zone=located.zone,
        cameras=sorted({seen.camera for seen in located.seen}),
    )


def fold(table: PackedTable[PersonState], departed: Departed, event: AnyEvent, *, every_s: float = 1.0) -> None:
    """Put what the event says into the table; each person's row is written at most every ``every_s`` of event time.

    The event streams hold every position: the table only has to be fresh enough to start from. departed: remembers
    who is gone, since identities and positions come on streams of their own.
    """
    match event:
        case PeopleLocated():
            for located in (one for one in event.people if not departed.gone(one.person, event.at)):
                row = table.find(key(event.site, located.person))
                if row is None or event.at - row.at >= every_s * 1_000_000 or row.zone != located.zone:
                    table.set(key(event.site, located.person), of(event.site, event.at, located))
        case PersonLeft():
            departed.note(event.person, event.at)
            table.remove(key(event.site, event.person))
        case PersonsMerged():
            departed.note(event.merged, event.at)
            table.remove(key(event.site, event.merged))
        case PersonSplit():
            departed.back(event.new_person)
        case _:
            pass


def attach(app: faust.App, *, partitions: int) -> PackedTable[PersonState]:
    """Declare the table; key ``site/person``."""
    decoder = msgspec.msgpack.Decoder(PersonState)
    return packed_table(
        app,
        "state",
        msgspec.msgpack.encode,
        decoder.decode,
        partitions=partitions,
        by_site=True,
        help="Where each person is now.",
    )
