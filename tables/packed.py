"""A Faust table whose values are packed bytes.

Faust writes table values as JSON, so bytes go in as base64. A value changed in place would never reach the changelog:
``PackedTable`` only knows whole values.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

import faust
import msgspec

from spoton.kafka import partition
from spoton.kafka.sizes import LARGEST_RECORD_BYTES

State = TypeVar("State")


class PackedTable(Generic[State]):
    """Typed pack/unpack around one table; unpacks a value once, however often it is read."""

    def __init__(
        self, table: faust.Table[str, str], pack: Callable[[State], bytes], unpack: Callable[[bytes], State]
    ) -> None:
        self._table = table
        self._pack = pack
        self._unpack = unpack
        self._read: dict[str, tuple[str, State]] = {}

    @property
    def name(self) -> str:
        """The table's name."""
        return str(self._table.name)

    def get(self, key: str, initial: Callable[[], State]) -> State:
        """The value under ``key``, or the initial one when there is none."""
        state = self.find(key)
        # A state may be empty and so count as false: only None means that there is none.
        return initial() if state is None else state

    def find(self, key: str) -> State | None:
        """The value under ``key``; None when there is none."""
        packed = self._table.get(key)
        if packed is None:
            self._read.pop(key, None)
            return None
        known = self._read.get(key)
        # A rebalance may have put another worker's value there: the packed text tells.
        if known is not None and known[0] == packed:
            return known[1]
        state = self._unpack(base64.b64decode(packed))
        self._read[key] = (packed, state)
        return state

    def set(self, key: str, state: State) -> None:
        """Put the whole value, in the table and its changelog."""
        packed = base64.b64encode(self._pack(state)).decode()
        self._table[key] = packed
        self._read[key] = (packed, state)

    def set_all(self, states: Mapping[str, State]) -> list[asyncio.Future[Any]]:
        """Put several whole values; what is returned is done when the changelog has them."""
        sent = []
        for key, state in states.items():
            self.set(key, state)
            sent.append(cast(RoutedTable, self._table).sent)
        return sent

    def remove(self, key: str) -> None:
        """Take the value out; a key that is not there is fine."""
        self._read.pop(key, None)
        self._table.pop(key, None)

    def values(self) -> Iterator[State]:
        """All values this worker holds."""
        return (state for _, state in self.items())

    def items(self) -> Iterator[tuple[str, State]]:
        """All keys this worker holds, with their values."""
        for key in list(self._table.keys()):
            state = self.find(key)
            if state is not None:
                yield key, state


class RoutedTable(faust.Table[str, str]):
    """A table that puts a key's changelog into the partition its source topic has for the same camera or site."""

    route_by_site = False
    sent: asyncio.Future[Any]
    """The newest record of the changelog: done when the broker has it."""

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """Put a change on its way."""
        self.sent = cast("asyncio.Future[Any]", super().send_changelog(*args, **kwargs))
        return self.sent

    def partition_for_key(self, key: str) -> int:
        """The changelog partition of ``key`` (``site/...``), whichever stream's event is being worked on."""
        route = key.split("/", 1)[0] if self.route_by_site else key
        return partition_of(route, self.partitions or 1)


def route_key(route: str) -> bytes:
    """A message key as Faust's JSON codec writes it, so that topics and changelogs hash alike."""
    return msgspec.json.encode(route)


def partition_of(route: str, partitions: int) -> int:
    """The partition of a site or camera among ``partitions``, as Kafka's default partitioner chooses it."""
    return partition.partition_of(route_key(route), partitions)


def unpacked(value: bytes | None) -> bytes | None:
    """The packed state in a changelog record; None where there is none any more."""
    text = None if value is None else msgspec.json.decode(value, type=str | None)
    return None if text is None else base64.b64decode(text)


def packed_table(
    app: faust.App,
    name: str,
    pack: Callable[[State], bytes],
    unpack: Callable[[bytes], State],
    *,
    partitions: int,
    by_site: bool,
    help: str,
) -> PackedTable[State]:
    """Declare a table on the app; keys are ``site`` or ``site/...``.

    by_site: its source topic is partitioned by site (all but ``frames``, which is partitioned by camera).
    """
    table = RoutedTable(
        app, name=name, key_type=str, value_type=str, partitions=partitions, help=help,
        # A whole site's state is one record, which Kafka would refuse from 1 MB on.
        extra_topic_configs={"max.message.bytes": str(LARGEST_RECORD_BYTES)},
    )  # fmt: skip
    table.route_by_site = by_site
    app.tables.add(table)
    return PackedTable(table, pack, unpack)
