"""The streams, and how facts are put on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import faust

from spoton import events
from spoton.engine.outgoing import Outgoing, all_sent
from tables.packed import partition_of, route_key

_key = lru_cache(65_536)(route_key)
"""Sites and cameras are few and come again with every fact."""


@dataclass(frozen=True, slots=True)
class Topics:
    """All streams: key ``site/camera`` for frames and detections, ``site`` for the rest.

    findings: identities and positions read as one, for who must not fold them side by side; inputs: detections and
    commands likewise. one_transaction: the
    broker writes what is sent in one turn of the event loop whole or not at all. partitions: of every topic.
    """

    app: faust.App
    frames: faust.TopicT
    detections: faust.TopicT
    identities: faust.TopicT
    positions: faust.TopicT
    behaviour: faust.TopicT
    commands: faust.TopicT
    findings: faust.TopicT
    inputs: faust.TopicT
    sources: faust.TopicT
    one_transaction: bool
    partitions: int

    async def publish(self, facts: Sequence[events.Event], keep: Callable[[], object]) -> None:
        """Put facts on their streams, in order, and keep the state that they led to; returns when the broker has both.

        Everything but frames is partitioned by site, so that one worker sees all that happens at a site.

        The embedded log writes what is appended in one turn of the event loop as one transaction: facts and state
        stand or fall together. Kafka does not, so there the facts must be safe before the state may know of them: a
        worker that dies in between decides them again.
        """
        producer = cast(Any, self.app.producer)
        generation = self.app.consumer_generation_id
        sent = await producer.append_all(self._records(producer, facts))
        if not self.one_transaction:
            await all_sent(sent)
            if self.app.consumer_generation_id != generation or self.app.rebalancing:
                # The partitions may be another's by now: its state counts. If they are ours, the input comes again.
                return
        keep()
        await all_sent(sent)

    def _records(self, producer: Any, facts: Sequence[events.Event]) -> list[Outgoing]:
        partitions: dict[tuple[str, str], tuple[str, int]] = {}
        records = []
        for fact in facts:
            stream, site = fact.stream, fact.site
            place = partitions.get((stream, site))
            if place is None:
                name = getattr(self, stream).get_topic_name()
                place = partitions[stream, site] = name, producer.key_partition(name, _key(site)).partition
            camera = getattr(fact, "camera", None) if stream == "detections" else None
            key = _key(f"{site}/{camera}" if camera else site)
            records.append(Outgoing(*place, key, events.encode(fact), fact.at // 1000))
        return records

    async def capture(self, captured: events.Captured) -> None:
        """Put a frame, or a change of its source, on ``frames``; returns when the broker has it."""
        key = f"{captured.site}/{captured.camera}"
        sent = await self.frames.send(
            key=key,
            value=events.encode_captured(captured),
            partition=partition_of(key, self.partitions),
            timestamp=captured.at / 1e6,
        )
        await asyncio.shield(sent)

    async def claim(self, key: str, claim: bytes) -> None:
        """Say who reads a camera; returns when the broker has it."""
        sent = await self.sources.send(key=key, value=claim, partition=partition_of(key, self.partitions))
        await asyncio.shield(sent)


def topics(app: faust.App, *, partitions: int, one_transaction: bool) -> Topics:
    """Declare all streams on the app."""

    def stream(*names: str, retention_s: float, compacting: bool = False) -> faust.TopicT:
        return app.topic(
            *names,
            key_type=str,
            key_serializer="json",
            value_type=bytes,
            value_serializer="raw",
            partitions=partitions,
            retention=retention_s,
            compacting=compacting,
            internal=True,
        )

    week_s = 7 * 24 * 3600.0
    return Topics(
        app=app,
        frames=stream("frames", retention_s=60.0),
        detections=stream("detections", retention_s=week_s),
        identities=stream("identities", retention_s=week_s),
        positions=stream("positions", retention_s=week_s),
        behaviour=stream("behaviour", retention_s=week_s),
        # For a week only where it is we who make the topic, the embedded log: history keeps every command.
        commands=stream("commands", retention_s=week_s),
        inputs=stream("detections", "commands", retention_s=week_s),
        findings=stream("identities", "positions", retention_s=week_s),
        sources=stream("sources", retention_s=week_s, compacting=True),
        one_transaction=one_transaction,
        partitions=partitions,
    )
