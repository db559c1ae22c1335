"""A record on its way to a broker."""

from __future__ import annotations

from typing import NamedTuple


class Outgoing(NamedTuple):
    """Key and value as bytes; ``timestamp_ms`` is milliseconds since 1970."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    timestamp_ms: int
