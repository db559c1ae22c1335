"""A record on its way to a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple


class Outgoing(NamedTuple):
    """Key and value as bytes; ``timestamp_ms`` is milliseconds since 1970."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    timestamp_ms: int


async def all_sent(sent: Sequence[asyncio.Future[Any]]) -> None:
    """Wait until the broker has all of it; raises what went wrong."""
    # Not gathered: an agent that is stopped while it waits must not take back what is already on its way.
    for one in sent:
        if not one.done():
            await asyncio.wait([one])
        one.result()
