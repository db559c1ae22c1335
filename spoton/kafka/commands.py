"""What operators changed while workers run: read whole at the start, followed from then on, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from spoton import events, roster
from spoton.errors import InputError, SpotOnError
from spoton.kafka.tail import Settings, follow, partitions_of, read_whole, reader, unreachable
from spoton.live.sites import RecordedSites
from spoton.roster import Roster
from spoton.site import Site

TOPIC = "commands"
Offsets = Mapping[TopicPartition, int]

log = structlog.get_logger("commands")


async def with_recorded_cameras(sites: Iterable[Site], settings: Settings) -> tuple[RecordedSites, Offsets]:
    """The sites as their files and all commands so far have it, and where the commands that follow begin.

    Raises BrokerError when no broker answers.
    """
    made = RecordedSites(sites)
    records, offsets = await read_whole(settings, TOPIC)
    for record in records:
        made.heard(events.decode(record.value))
    made.tell_differences()
    return made, offsets


async def follow_commands(
    sites: RecordedSites, settings: Settings, offsets: Offsets, changed: Callable[[], None] = lambda: None
) -> None:
    """Take every command in as it is given, for ever; ``changed`` is called after each batch."""
    while True:
        try:
            async for records in follow(settings, [TOPIC], first=offsets):
                for record in records:
                    sites.heard(events.decode(record.value))
                changed()
        except SpotOnError as error:
            log.warning("commands cannot be followed", error=str(error), retry_in_s=5)
            await asyncio.sleep(5.0)


async def apply_cameras(site: Site, settings: Settings, *, at: int, by: str, why: str) -> list[events.CommandEvent]:
    """Record what makes the cameras of running workers those of a site file; returns the facts, none if they agree.

    at: microseconds UTC. Raises BrokerError when no broker answers, InputError when no worker has made the topics yet.
    """
    records, _ = await read_whole(settings, TOPIC)
    known = Roster()
    for record in records:
        fact = events.decode(record.value)
        if fact.site == site.name and isinstance(fact, events.CommandEvent):
            known = roster.evolve(known, fact)
    decided = roster.decide(known, site, at=at, by=by, why=why)
    if decided:
        await _record(decided, settings)
    return decided


async def _record(facts: list[events.CommandEvent], settings: Settings) -> None:
    async with reader(settings) as consumer:
        if not await partitions_of(consumer, TOPIC):
            raise InputError("no worker has run on this broker yet", remedy="start one: its topics come with it")
    producer = AIOKafkaProducer(acks="all", **settings)
    try:
        await producer.start()
        for fact in facts:
            # One partition, in order: its place in the sequence is what makes two operators notice each other.
            await producer.send_and_wait(TOPIC, events.encode(fact), key=fact.site.encode(), partition=0)
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from error
    finally:
        await producer.stop()
