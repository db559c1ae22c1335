"""The product's topics on a Kafka cluster: made when they are missing, verified when they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from spoton.errors import BrokerError
from spoton.kafka.settings import servers
from spoton.kafka.sizes import LARGEST_RECORD_BYTES
from spoton.kafka.tail import unreachable

CHANGELOGS = (
    "capture-sources",
    "detection-tracks",
    "identity-people",
    "behaviour-occupancy",
    "projection-cameras",
    "projection-state",
)
"""Role and table of every changelog. A worker that subscribes to one which is not there yet does not notice for minutes
that it appears, so they are made with the streams."""

_WEEK_MS = 7 * 24 * 3600 * 1000
_SIZE = "max.message.bytes"
_POLICY = "cleanup.policy"
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it has to be.

    Attributes:
        record_bytes: the largest record batch that it must take.
        policy: ``delete`` or ``compact``.
        config: further settings that it is made with; operators may change them.
    """

    name: str
    partitions: int
    record_bytes: int
    policy: str
    config: Mapping[str, str]

    @property
    def made_with(self) -> dict[str, str]:
        """All settings that the topic is made with."""
        return {_POLICY: self.policy, _SIZE: str(self.record_bytes), **self.config}


def plans(partitions: int) -> list[TopicPlan]:
    """The streams of ``agents.topics``: frames for a minute, facts for a week, commands for good; and all changelogs.

    Kafka forgets whole segments only: those of frames are short, or a minute would last a week.
    """
    frames = {"retention.ms": "60000", "segment.ms": "30000", "segment.bytes": str(64 * 1024 * 1024)}
    facts = {"retention.ms": str(_WEEK_MS)}
    return [
        TopicPlan("frames", partitions, LARGEST_RECORD_BYTES, "delete", frames),
        *(
            TopicPlan(name, partitions, LARGEST_RECORD_BYTES, "delete", facts)
            for name in ("detections", "identities", "positions", "behaviour")
        ),
        TopicPlan("commands", partitions, LARGEST_RECORD_BYTES, "delete", {"retention.ms": "-1"}),
        TopicPlan("sources", partitions, LARGEST_RECORD_BYTES, "compact", {}),
        *(
            TopicPlan(f"spoton-{name}-changelog", partitions, LARGEST_RECORD_BYTES, "compact", {})
            for name in CHANGELOGS
        ),
    ]


async def ensure(
    url: str,
    wanted: Sequence[TopicPlan],
    *,
    replication: int = 1,
    changelogs: Mapping[str, int] | None = None,
    client_options: Mapping[str, Any] | None = None,
) -> None:
    """Make the topics that are missing; hold those that are there against the plan.

    changelogs: topics that Faust makes, with their partitions; verified where they exist.

    Raises:
        BrokerError: the cluster does not answer or refuses, or a topic is not as planned; every deviation is named,
            with the command that mends it.
    """
    server = ",".join(servers(url))
    admin = AIOKafkaAdminClient(bootstrap_servers=server, **(client_options or {}))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await admin.start()
            existing = set(await admin.list_topics())
            await _make(admin, [plan for plan in wanted if plan.name not in existing], replication)
            wrong = await _deviations(admin, server, wanted, changelogs or {})
    except KafkaConnectionError as error:
        raise unreachable({"bootstrap_servers": servers(url)}, error) from error
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"the topics on {url} cannot be verified: {error!r}", remedy="see whether the cluster is up and lets us in"
        ) from error
    finally:
        await admin.close()
    if wrong:
        raise BrokerError("; ".join(f"{problem} (mend it: {command})" for problem, command in wrong))


async def _make(admin: AIOKafkaAdminClient, missing: Sequence[TopicPlan], replication: int) -> None:
    if not missing:
        return
    made = await admin.create_topics(
        [NewTopic(plan.name, plan.partitions, replication, topic_configs=plan.made_with) for plan in missing]
    )
    for name, code, *said in made.topic_errors:
        # Another worker may have been faster.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise BrokerError(
                f"topic {name!r} cannot be made: {said[0] if said and said[0] else for_code(code).__name__}",
                remedy="let this user create topics, or make it by hand",
            )
    # The cluster tells of a new topic a moment after it has made it.
    names = sorted(plan.name for plan in missing)
    while any(one["error_code"] or not one["partitions"] for one in await admin.describe_topics(names)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _deviations(
    admin: AIOKafkaAdminClient, server: str, wanted: Sequence[TopicPlan], changelogs: Mapping[str, int]
) -> list[tuple[str, str]]:
    planned = {plan.name: plan.partitions for plan in wanted} | dict(changelogs)
    wrong = []
    for one in sorted(await admin.describe_topics(sorted(planned)), key=lambda one: str(one["topic"])):
        name, have, want = one["topic"], len(one["partitions"]), planned[one["topic"]]
        if one["error_code"] == 0 and have != want:
            wrong.append(_partitions(server, name, have, want))
    settings = await _settings(admin, [plan.name for plan in wanted])
    for plan in wanted:
        size, policy = int(settings[plan.name][_SIZE]), settings[plan.name][_POLICY]
        if size < plan.record_bytes:
            wrong.append((
                f"topic {plan.name!r} takes {_SIZE} = {size}, fewer than the largest record needs, {plan.record_bytes}",
                _alter(server, plan.name, _SIZE, str(plan.record_bytes)),
            ))  # fmt: skip
        if policy != plan.policy:
            wrong.append((
                f"topic {plan.name!r} has {_POLICY} = {policy}, which must be {plan.policy}",
                _alter(server, plan.name, _POLICY, plan.policy),
            ))  # fmt: skip
    return wrong


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, said, _, name, entries in answer.resources:
            if code:
                raise BrokerError(
                    f"the settings of topic {name!r} cannot be read: {said or for_code(code).__name__}",
                    remedy="let this user describe topic configurations",
                )
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _partitions(server: str, name: str, have: int, want: int) -> tuple[str, str]:
    # Not --alter: it would send sites and cameras to other partitions than those that hold their state.
    return f"topic {name!r} has {have} partitions, SPOTON_PARTITIONS = {want}", (
        f"set SPOTON_PARTITIONS to {have}, or stop all workers and delete the product's topics, this one with"
        f" kafka-topics.sh --bootstrap-server {server} --delete --topic {name}"
    )


def _alter(server: str, name: str, key: str, value: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {server} --alter --entity-type topics --entity-name {name}"
        f" --add-config {key}={value}"
    )
