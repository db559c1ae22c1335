"""The topics on Kafka: made before any worker subscribes, and checked where they exist."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, for_code  # type: ignore[import-untyped]

from spoton.errors import BrokerError
from spoton.kafka.tail import FRAME_BYTES, Settings, unreachable

WEEK_MS = 7 * 24 * 3600 * 1000
_ALREADY_THERE = 36
_LEADERS_S = 10.0


@dataclass(frozen=True, slots=True)
class Topic:
    """How a topic must be. retention_ms: None where only the newest record of each key is kept (compaction)."""

    name: str
    partitions: int
    retention_ms: int | None = WEEK_MS
    largest_bytes: int = 1024 * 1024

    def configs(self) -> dict[str, str]:
        """What the broker is told."""
        kept = {"cleanup.policy": "compact"} if self.retention_ms is None else {"retention.ms": str(self.retention_ms)}
        return {**kept, "max.message.bytes": str(self.largest_bytes)}


def all_topics(partitions: int) -> tuple[Topic, ...]:
    """Every topic that workers read or write, changelogs too."""
    changelogs = (
        "capture-sources", "detection-tracks", "identity-people", "behaviour-occupancy", "projection-cameras",
        "projection-state",
    )  # fmt: skip
    return (
        Topic("frames", partitions, 60_000, FRAME_BYTES + 65_536),
        *(Topic(name, partitions) for name in ("detections", "identities", "positions", "behaviour")),
        Topic("commands", 1, -1),
        Topic("sources", partitions, None),
        *(Topic(f"spoton-{name}-changelog", partitions, None, FRAME_BYTES) for name in changelogs),
    )


async def ensure(settings: Settings, topics: Iterable[Topic], *, replication: int) -> None:
    """Make the topics that are missing; raises BrokerError when no broker answers or one that exists does not fit."""
    wanted = {topic.name: topic for topic in topics}
    admin = AIOKafkaAdminClient(**settings)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        new = [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.configs())
            for topic in wanted.values()
            if topic.name not in there
        ]
        if new:
            answer = await admin.create_topics(new)
            for name, code, *reason in answer.topic_errors:
                if code not in (0, _ALREADY_THERE):
                    raise BrokerError(
                        f"topic {name} cannot be made: {' '.join(filter(None, reason)) or for_code(code).__name__}",
                        remedy="let this user create topics, or lower --replication to the number of brokers",
                    )
        await _led(admin, [topic.name for topic in new])
        for found in await admin.describe_topics([name for name in wanted if name in there]):
            _check(wanted[found["topic"]], len(found["partitions"]))
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from error
    finally:
        await admin.close()


async def _led(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait until every partition of new topics has a leader: clients that ask earlier complain and try again."""
    until_s = asyncio.get_running_loop().time() + _LEADERS_S
    while names and asyncio.get_running_loop().time() < until_s:
        found = await admin.describe_topics(names)
        if not any(one["error_code"] or any(p["error_code"] for p in one["partitions"]) for one in found):
            return
        await asyncio.sleep(0.05)


def _check(topic: Topic, partitions: int) -> None:
    if partitions != topic.partitions:
        raise BrokerError(
            f"topic {topic.name} has {partitions} partitions, not {topic.partitions}",
            remedy=f"start all workers with --partitions {partitions}, or empty the cluster and begin anew",
        )
