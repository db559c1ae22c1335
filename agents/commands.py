"""What operators decide reaches a running worker here."""

from __future__ import annotations

from typing import Any, cast

import faust
from mode import Service

from agents.topics import Topics
from spoton import corrections, events
from spoton.kafka.commands import Offsets, follow_commands
from spoton.kafka.tail import Settings
from spoton.live.sites import RecordedSites
from tables.packed import route_key


async def recorded(topics: Topics, wish: events.Correction) -> events.Correction:
    """Put a correction on the embedded log, as the next command of its site; returns it when it is safe there."""
    producer = cast(Any, topics.app.producer)
    # Nobody else writes here, and between the look at the end and the append this does not wait.
    tp = producer.key_partition(topics.commands.get_topic_name(), route_key(wish.site))
    fact = corrections.numbered(wish, producer.log_or_raise.next_offset(tp) + 1)
    await topics.publish([fact], keep=lambda: None)
    return fact


def attach(app: faust.App, sites: RecordedSites, settings: Settings, offsets: Offsets) -> None:
    """Follow the commands for as long as the app runs."""

    class Commands(Service):
        """Takes changes of cameras up as they are made."""

        @Service.task
        async def _follow(self) -> None:
            await follow_commands(sites, settings, offsets)

    app.service(Commands)
