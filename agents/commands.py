"""Changes of cameras reach a running worker here."""

from __future__ import annotations

import faust
from mode import Service

from spoton.kafka.commands import Offsets, follow_commands
from spoton.kafka.tail import Settings
from spoton.live.sites import RecordedSites


def attach(app: faust.App, sites: RecordedSites, settings: Settings, offsets: Offsets) -> None:
    """Follow the commands for as long as the app runs."""

    class Commands(Service):
        """Takes changes of cameras up as they are made."""

        @Service.task
        async def _follow(self) -> None:
            await follow_commands(sites, settings, offsets)

    app.service(Commands)
