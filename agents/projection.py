"""Agent ``projection``: folds every stream into current state, for the tables and for live clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import faust
from faust.types import AgentT

from agents.draining import drained
from agents.keeping import EVERY_S, Keeper
from agents.topics import Topics
from spoton import events
from spoton.live.departed import Departed
from tables import cameras as camera_table
from tables import state as state_table
from tables.cameras import CameraStatus
from tables.packed import PackedTable
from tables.state import PersonState


def attach(
    app: faust.App,
    topics: Topics,
    cameras: PackedTable[CameraStatus],
    state: PackedTable[PersonState],
    show: Callable[[events.AnyEvent], None],
) -> Mapping[str, AgentT[bytes]]:
    """Read detections, identities, positions and behaviour; ``show`` is called with every event of a stream in order.

    After a restart events come again that were shown before; who is shown them knows by their ``seq``.
    """
    departed = Departed()
    keeper = Keeper(app, cameras, every_s=0.0 if topics.one_transaction else EVERY_S)

    def fold(fact: events.AnyEvent, changed: dict[str, CameraStatus]) -> None:
        if fact.stream == "detections":
            camera: str = fact.camera  # type: ignore[union-attr]
            key = f"{fact.site}/{camera}"
            if key not in changed:
                changed[key] = keeper.get(key, lambda: CameraStatus(camera=camera))
            changed[key] = camera_table.evolve(changed[key], fact)
        else:
            state_table.fold(state, departed, fact)
        show(fact)

    async def look(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=256, keeper=keeper):
            changed: dict[str, CameraStatus] = {}
            for item in batch:
                fold(events.decode(item.value), changed)
            keeper.keep(changed)

    async def project(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=256):
            for item in batch:
                fold(events.decode(item.value), {})

    agents = {topics.detections: look, topics.identities: project, topics.positions: project, topics.behaviour: project}
    return {
        topic.get_topic_name(): app.agent(topic, name=f"projection-{topic.get_topic_name()}")(agent)
        for topic, agent in agents.items()
    }
