"""How large, how many and how long: what producers, consumers and topics on Kafka are held to, in aiokafka's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST_VALUE_BYTES = 8 * 1024 * 1024
"""Most bytes that one record's value may have: a captured frame with its header."""

LARGEST_RECORD_BYTES = LARGEST_VALUE_BYTES + 64 * 1024
"""The same with key, headers and what Kafka puts around a batch."""

PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "linger_ms": 0,
    "max_batch_size": 256 * 1024,
    "max_request_size": LARGEST_RECORD_BYTES,
}

CONSUMER: Mapping[str, Any] = {
    "max_partition_fetch_bytes": LARGEST_RECORD_BYTES,
    # A fetch that waits for idle partitions holds up those that have just been read to their end.
    "fetch_max_wait_ms": 100,
}

PACE_S = 0.003
"""How long a reader that was given a few records lets more gather. Frames of many cameras come one by one, and every
request costs both sides more than what is in it."""

UNHURRIED_S = 0.2
"""The same for readers whom no live client waits for."""
