"""Agent ``archive``: brings every event into history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import faust
from faust.types import AgentT

from agents.draining import drained
from agents.topics import Topics

Write = Callable[[Sequence[bytes]], Awaitable[None]]


def attach(app: faust.App, topics: Topics, write: Write) -> Mapping[str, AgentT[bytes]]:
    """Read every stream of facts and hand batches of their exact bytes to ``write``.

    A batch is acknowledged when ``write`` returns; history ignores ids that it already has, so a batch that comes
    again after a failure is harmless.
    """

    async def archive(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=1000, gather_s=0.25):
            await write([item.value for item in batch])

    return {
        topic.get_topic_name(): app.agent(topic, name=f"archive-{topic.get_topic_name()}")(archive)
        for topic in (topics.detections, topics.identities, topics.positions, topics.behaviour, topics.commands)
    }
