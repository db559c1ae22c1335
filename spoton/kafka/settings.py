"""What producers and consumers on Kafka are set to, in aiokafka's terms."""

from __future__ import annotations

from typing import Any

LARGEST_FRAME_BYTES = 8 * 1024 * 1024
LARGEST_RECORD_BYTES = LARGEST_FRAME_BYTES + 64 * 1024

PRODUCER: dict[str, Any] = {
    "acks": "all",
    "linger_ms": 5,
    "max_batch_size": 256 * 1024,
    "max_request_size": LARGEST_RECORD_BYTES,
}

CONSUMER: dict[str, Any] = {
    "max_partition_fetch_bytes": LARGEST_RECORD_BYTES,
    "fetch_max_wait_ms": 100,
}
