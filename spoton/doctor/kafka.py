"""Kafka: can it be reached, which brokers and topics are there, and does its newest record lie in our future."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from spoton.doctor.finding import Finding, reason
from spoton.kafka import settings

SUBJECT = "broker"
TIMEOUT_S = 3.0
STREAMS = ("frames", "detections", "identities", "positions", "behaviour")


@dataclass(frozen=True, slots=True)
class Seen:
    """What Kafka told.

    version: of its protocol between brokers, such as ``3.9-IV0``; empty where the broker keeps it to itself, as from
    4.0 on. records: of each topic of ours, still kept. newest_ms: time of the newest of them, Unix.
    """

    brokers: int
    version: str
    cluster: str
    partitions: Mapping[str, int]
    replicas: Mapping[str, int]
    leaderless: Sequence[str]
    records: Mapping[str, int]
    newest_ms: int | None


async def check(url: str, options: Mapping[str, Any] = {}) -> tuple[Finding, float | None]:
    """The finding, and by how many seconds the newest record lies in this machine's future; None where it does not.

    options: how a cluster with TLS or SASL is spoken to, as ``KafkaSettings.client_options`` gives them.
    """
    servers = settings.servers(url)
    refused = await _reach(servers)
    if len(refused) == len(servers):
        return Finding(SUBJECT, "fault", "; ".join(refused), "start Kafka, open its port, or correct --broker"), None
    try:
        seen = await look(servers, options=options)
    except (KafkaError, TimeoutError) as error:
        return Finding(
            SUBJECT, "fault", f"{', '.join(servers)} listens but does not answer as Kafka ({type(error).__name__})",
            "see the broker's log: is it a TLS listener, or is advertised.listeners an address not reached from here?",
        ), None  # fmt: skip
    ahead_s = 0.0 if seen.newest_ms is None else seen.newest_ms / 1e3 - time.time()
    return judge(servers, refused, seen), ahead_s if ahead_s > 0.0 else None


def judge(servers: Sequence[str], refused: Sequence[str], seen: Seen) -> Finding:
    """The finding for what was seen; pure."""
    topics = ", ".join(
        f"{name} {count}p{'' if name not in seen.records else f' {seen.records[name]} records'}"
        for name, count in sorted(seen.partitions.items())
    )
    brokers = f"{seen.brokers} broker{'s' * (seen.brokers != 1)}"
    version = f", version {seen.version}" if seen.version else ""
    told = f"topics: {topics}" if topics else "none of our topics yet, they are made at the first start"
    found = f"{', '.join(servers)}: {brokers}{version}, cluster {seen.cluster}; {told}"
    if seen.leaderless:
        return Finding(
            SUBJECT, "fault", f"{found}; without a leader: {', '.join(seen.leaderless)}", "start the missing brokers"
        )
    counts = {seen.partitions[name] for name in STREAMS if name in seen.partitions}
    if len(counts) > 1:
        return Finding(
            SUBJECT, "fault", f"{found}; the streams differ in partitions",
            "every stream needs the same number (SPOTON_PARTITIONS): make the odd ones anew",
        )  # fmt: skip
    if refused:
        return Finding(SUBJECT, "warning", f"{found}; {'; '.join(refused)}", "start it, or strike it from --broker")
    lonely = [name for name, copies in seen.replicas.items() if copies < min(2, seen.brokers)]
    if lonely:
        return Finding(
            SUBJECT, "warning", f"{found}; only one copy of {', '.join(sorted(lonely))}",
            "raise their replication factor, or a broker's end takes them along",
        )  # fmt: skip
    return Finding(SUBJECT, "ok", found)


async def look(
    servers: Sequence[str], streams: Sequence[str] = STREAMS, options: Mapping[str, Any] = {}
) -> Seen:
    """Ask the cluster; the newest record is looked for in ``streams``. Raises KafkaError, TimeoutError."""
    async with _admin(servers, options) as admin:
        cluster = await admin.describe_cluster()
        version = await _version(admin, int(cluster["brokers"][0]["node_id"]))
        described = [one for one in await admin.describe_topics() if _ours(one["topic"])]
    partitions = {one["topic"]: len(one["partitions"]) for one in described}
    replicas = {
        one["topic"]: min((len(part["replicas"]) for part in one["partitions"]), default=0) for one in described
    }
    leaderless = [
        f"{one['topic']}-{part['partition']}" for one in described for part in one["partitions"] if part["leader"] < 0
    ]
    records: dict[str, int] = {}
    newest_ms: int | None = None
    if partitions and not leaderless:
        records, newest_ms = await _records(servers, partitions, streams, options)
    return Seen(
        brokers=len(cluster["brokers"]),
        version=version,
        cluster=str(cluster.get("cluster_id") or "without a name"),
        partitions=partitions,
        replicas=replicas,
        leaderless=leaderless,
        records=records,
        newest_ms=newest_ms,
    )


async def _version(admin: AIOKafkaAdminClient, broker: int) -> str:
    wanted = "inter.broker.protocol.version"
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker), {wanted: None})])
    entries = [
        entry for answer in answers for one in answer.to_object()["resources"] for entry in one["config_entries"]
    ]
    return next((str(entry["config_value"]) for entry in entries if entry["config_names"] == wanted), "")


def _ours(topic: str) -> bool:
    return topic in STREAMS or topic.startswith("spoton-")


async def _reach(servers: Sequence[str]) -> list[str]:
    """A line for every server that cannot be connected to."""

    async def one(server: str) -> str:
        host, _, port = server.rpartition(":")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), TIMEOUT_S)
        except TimeoutError:
            return f"{server}: no answer within {TIMEOUT_S:g} s"
        except OSError as error:
            return f"{server}: {reason(error)}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return ""

    return [line for line in await asyncio.gather(*map(one, servers)) if line]


@contextlib.asynccontextmanager
async def _admin(servers: Sequence[str], options: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers), request_timeout_ms=int(TIMEOUT_S * 1000), **options)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _records(
    servers: Sequence[str], partitions: Mapping[str, int], streams: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, int], int | None]:
    """How many records each topic keeps, and the time of the newest one of all."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(servers), request_timeout_ms=int(TIMEOUT_S * 1000), enable_auto_commit=False,
        **options,
    )  # fmt: skip
    await consumer.start()
    try:
        every = [TopicPartition(name, number) for name, count in partitions.items() for number in range(count)]
        first, end = await asyncio.gather(consumer.beginning_offsets(every), consumer.end_offsets(every))
        records = dict.fromkeys(partitions, 0)
        for one in every:
            records[one.topic] += end[one] - first[one]
        filled = [one for one in every if end[one] > first[one] and one.topic in streams]
        return records, await _newest_ms(consumer, filled, end)
    finally:
        await consumer.stop()


async def _newest_ms(
    consumer: AIOKafkaConsumer, filled: Sequence[TopicPartition], end: Mapping[TopicPartition, int]
) -> int | None:
    if not filled:
        return None
    consumer.assign(list(filled))
    for one in filled:
        consumer.seek(one, end[one] - 1)
    batches = await consumer.getmany(timeout_ms=1000)
    return max((record.timestamp for batch in batches.values() for record in batch), default=None)
