"""Agent ``identity``: from what every camera of a site sees, and operators say, to who is where on its floor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import faust
import structlog
from faust.types import AgentT

from agents.draining import drained
from agents.keeping import EVERY_S, Keeper
from agents.topics import Topics
from spoton import events, people
from spoton.site import Site
from tables.packed import PackedTable

log = structlog.get_logger("identity")


def _warn(fact: events.Event) -> None:
    """Say in the log what an operator should look at."""
    if isinstance(fact, events.CalibrationDrifted) and fact.drifted:
        log.warning("camera moved", site=fact.site, camera=fact.camera, moved_m=fact.moved_m, remedy="spoton calibrate")
    elif isinstance(fact, events.ClockSkewed):
        log.warning("clock off", site=fact.site, camera=fact.camera, skew_s=fact.skew_s, taken_out_s=fact.compensated_s)


def attach(
    app: faust.App, topics: Topics, table: PackedTable[people.PeopleState], sites: Mapping[str, Site]
) -> AgentT[bytes]:
    """Read ``detections`` and ``commands``, decide identities and positions; each site's state is kept in the table."""
    keeper = Keeper(app, table, every_s=0.0 if topics.one_transaction else EVERY_S)
    made: dict[str, tuple[Site, people.SiteView]] = {}

    def view_of(name: str) -> people.SiteView | None:
        site = sites.get(name)
        if site is not None and (name not in made or made[name][0] is not site):
            made[name] = site, people.site_view(site)
        return made[name][1] if site is not None else None

    async def identify(stream: faust.StreamT[bytes]) -> None:
        async for batch in drained(stream, most=256, keeper=keeper):
            states: dict[str, people.PeopleState] = {}
            facts: list[events.Event] = []
            for item in batch:
                seen = events.decode(item.value)
                view = view_of(seen.site)
                if view is None or not isinstance(seen, people.Input):
                    continue
                if seen.site not in states:
                    states[seen.site] = keeper.get(seen.site, partial(people.initial, view))
                decided, states[seen.site] = people.step(states[seen.site], seen, view)
                facts.extend(decided)
                for fact in decided:
                    _warn(fact)
            await topics.publish(facts, keep=partial(keeper.keep, states))

    return app.agent(topics.inputs, name="identity")(identify)
