"""What operators changed while workers run: read whole at the start, followed from then on, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from spoton import corrections, events, roster
from spoton.errors import InputError, SpotOnError
from spoton.kafka.partition import partition_of
from spoton.kafka.tail import Settings, follow, partitions_of, read_whole, reader, unreachable
from spoton.live.sites import RecordedSites
from spoton.roster import Roster
from spoton.site import Site

TOPIC = "commands"
_TRIES = 3
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


async def apply_cameras(site: Site, settings: Settings, *, at: int, by: str, why: str) -> list[events.CameraCommand]:
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


async def record_correction(wish: events.Correction, settings: Settings) -> events.Correction:
    """Record an operator's correction as the next command of its site; returns it as recorded.

    Raises BrokerError when no broker answers, InputError when no worker has made the topics yet, or when others record
    commands faster than this.
    """
    for _ in range(_TRIES):
        fact = corrections.numbered(wish, await _newest_seq(wish.site, settings) + 1)
        await _record([fact], settings)
        if (await _commands(wish.site, settings)).get(fact.seq) == fact:
            return fact
    raise InputError("others give commands at the same time", remedy="try again")


async def _commands(site: str, settings: Settings) -> dict[int, events.AnyEvent]:
    """All commands of a site by number; of two with one number the first counts, everywhere."""
    found: dict[int, events.AnyEvent] = {}
    for record in (await read_whole(settings, TOPIC))[0]:
        fact = events.decode(record.value)
        if fact.site == site:
            found.setdefault(fact.seq, fact)
    return found


async def _newest_seq(site: str, settings: Settings) -> int:
    return max(await _commands(site, settings), default=0)


async def _record(facts: Sequence[events.CommandEvent], settings: Settings) -> None:
    async with reader(settings) as consumer:
        partitions = len(await partitions_of(consumer, TOPIC))
        if not partitions:
            raise InputError("no worker has run on this broker yet", remedy="start one: its topics come with it")
    producer = AIOKafkaProducer(acks="all", **settings)
    try:
        await producer.start()
        for fact in facts:
            # A site's are in one partition, in order: two operators notice each other by their place in the sequence,
            # and who tells the site's people apart reads them beside what its cameras see.
            key = msgspec.json.encode(fact.site)
            await producer.send_and_wait(TOPIC, events.encode(fact), key=key, partition=partition_of(key, partitions))
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from error
    finally:
        await producer.stop()
