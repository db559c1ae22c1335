"""A Faust app that the tests run in a process of its own, on either engine: ``flow_app.py URL FIRST LAST [PREFIX]``.

It feeds the numbers FIRST to LAST into ``numbers`` and says ``acked n`` when n is durable. An agent counts them per
key in a table and sends one ``doubled`` record per number; the table remembers the last number of each key, so a
number that comes twice counts once. When all are done it says ``done`` and prints the table. PREFIX comes before every
name on the broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.exceptions import NotReady
from mode import Worker

from spoton.kafka.settings import KafkaSettings, servers
from spoton.kafka.transport import register as register_kafka
from spoton.log.transport import register

KEYS = 6
PARTITIONS = 3


def make_app(url: str, first: int, last: int, prefix: str = "") -> faust.App:
    embedded = url.startswith("log://")
    app = faust.App(
        f"{prefix}counter", broker=url, store="memory://", topic_partitions=PARTITIONS, web_enabled=False,
        topic_disable_leader=True, broker_commit_interval=0.2, **({} if embedded else kafka_options()),
    )  # fmt: skip
    numbers = app.topic(f"{prefix}numbers", key_type=str, value_type=int)
    doubled = app.topic(f"{prefix}doubled", key_type=str, value_type=dict)
    counts = app.Table("counts", default=lambda: [0, 0])
    all_fed = asyncio.Event()

    @app.agent(numbers, name="count")
    async def count(stream):
        async for key, number in stream.items():
            seen, newest = counts[key]
            if number > newest:
                sent = await doubled.send(key=key, value={"id": f"{key}:{number}", "double": 2 * number})
                if not embedded:
                    # No common transaction: the table may know of an output only when it is safe.
                    await sent
                counts[key] = [seen + 1, number]

    @app.task
    async def feed(app):
        say("ready " + json.dumps(dict(counts)))
        for number in range(first, last + 1):
            try:
                sent = await numbers.send(key=f"key-{number % KEYS}", value=number)
            except NotReady:
                # On Kafka the producer ends before those who send.
                if app.should_stop:
                    return
                raise
            sent.add_done_callback(lambda done, number=number: done.exception() or say(f"acked {number}"))
            if number % 5 == 0:
                await asyncio.sleep(0.002)
        all_fed.set()

    @app.timer(0.05)
    async def watch():
        if all_fed.is_set() and sum(seen for seen, _ in counts.values()) == last:
            all_fed.clear()
            await app.producer.flush()
            say("done " + json.dumps(dict(counts)))

    return app


def kafka_options() -> dict[str, Any]:
    return {
        "broker_credentials": settings().faust_credentials(),
        "topic_replication_factor": 1,
        # A killed worker's successor waits until the broker misses it; 6 s is the least that brokers allow.
        "broker_session_timeout": 6.0,
        "broker_heartbeat_interval": 2.0,
    }


def settings() -> KafkaSettings:
    return KafkaSettings.from_env(os.environ)


async def make_topics(url: str, prefix: str) -> None:
    """Make the topics and wait until the broker knows them: Faust leaves out for minutes what it finds missing."""
    topics = {
        f"{prefix}numbers": {},
        f"{prefix}doubled": {},
        f"{prefix}counter-counts-changelog": {"cleanup.policy": "compact"},
    }
    new = [NewTopic(name, PARTITIONS, replication_factor=1, topic_configs=own) for name, own in topics.items()]
    admin = AIOKafkaAdminClient(bootstrap_servers=servers(url), **settings().client_options())
    await admin.start()
    try:
        await admin.create_topics(new)
        while any(found["error_code"] for found in await admin.describe_topics(list(topics))):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


def say(line: str) -> None:
    sys.__stdout__.write(line + "\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    register()
    register_kafka()
    if sys.argv[1].startswith("kafka://"):
        asyncio.run(make_topics(sys.argv[1], sys.argv[4]))
    app = make_app(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    Worker(app, loglevel="WARNING").execute_from_commandline()
