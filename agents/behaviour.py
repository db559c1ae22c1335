"""Agent ``behaviour``: what people do on the floor, decided from where they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import faust
from faust.types import AgentT

from agents.draining import drained
from agents.topics import Topics
from spoton import events, zones
from spoton.site import Site
from tables.packed import PackedTable


def attach(
    app: faust.App, topics: Topics, table: PackedTable[zones.ZoneState], sites: Mapping[str, Site]
) -> AgentT[bytes]:
    """Read ``positions`` and ``identities``, tell who enters and leaves a zone; presence is kept in the table."""

    async def observe(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=256):
            states: dict[str, zones.ZoneState] = {}
            facts: list[events.Event] = []
            for item in batch:
                fact = events.decode(item.value)
                site = sites.get(fact.site)
                if site is None or not isinstance(fact, zones.Input):
                    continue
                if site.name not in states:
                    states[site.name] = table.get(site.name, zones.ZoneState)
                decided, states[site.name] = zones.step(states[site.name], fact, site.zones)
                facts.extend(decided)
            await topics.publish(facts, keep=partial(table.set_all, states))

    return app.agent(topics.findings, name="behaviour")(observe)
