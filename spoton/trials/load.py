"""Feeds recorded detections to ``frames`` at their own pace, and watches what comes of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field

import msgspec
from aiokafka import AIOKafkaProducer

from spoton import events
from spoton.kafka import partition
from spoton.kafka.tail import Settings, follow
from spoton.trials.recording import Recording


def partition_of(route: str, partitions: int) -> int:
    """Where workers look for a camera or a site."""
    return partition.partition_of(msgspec.json.encode(route), partitions)


async def feed(recording: Recording, settings: Settings, partitions: int, epoch_us: int, *, first: int = 0) -> None:
    """Hand every frame over when it is due, from ``epoch_us`` on; returns when the broker has them all."""
    # A broker that is away for a while is waited for: a camera would be, too.
    producer = AIOKafkaProducer(acks="all", linger_ms=2, request_timeout_ms=120_000, **settings)
    await producer.start()
    sent = []
    try:
        for n in range(first, len(recording.frames)):
            due_s = recording.at_us(epoch_us, n) / 1e6 - time.time()
            if due_s > 0:
                await asyncio.sleep(due_s)
            for frame in recording.captured(epoch_us, n):
                key = f"{frame.site}/{frame.camera}"
                sent.append(
                    await producer.send(
                        "frames", events.encode_captured(frame), key=msgspec.json.encode(key),
                        partition=partition_of(key, partitions), timestamp_ms=frame.at // 1000,
                    )
                )  # fmt: skip
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


@dataclass(slots=True)
class Watch:
    """Sees what comes. arrived: monotonic seconds at which each camera's detections, or the site's positions, came."""

    settings: Settings
    site: str
    topics: tuple[str, ...] = ("detections", "positions")
    arrived: dict[str, list[float]] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever."""
        async for records in follow(self.settings, self.topics, since_ms=0):
            now_s = time.monotonic()
            for record in records:
                route = msgspec.json.decode(record.key, type=str)
                if route == self.site or route.startswith(f"{self.site}/"):
                    self.arrived.setdefault(route, []).append(now_s)

    def silence_s(self, since_s: float) -> float:
        """The longest that anything stayed away for, from ``since_s`` (monotonic) on."""
        longest = 0.0
        for seen in self.arrived.values():
            times = [since_s, *(at_s for at_s in seen if at_s > since_s)]
            longest = max(longest, *(later - earlier for earlier, later in itertools.pairwise(times)), 0.0)
        return longest
