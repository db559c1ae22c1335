"""The service that reads cameras: all of a site in one process, or those whose partition this worker has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import faust
import structlog
from mode import Service

from agents.capture import Capture
from spoton.site import CameraSite, Site

SETTLE_S = 0.2

log = structlog.get_logger("capture")


def attach(
    app: faust.App, capture: Capture, sites: Mapping[str, Site], owns: Callable[[str], bool | None] = lambda key: True
) -> None:
    """Start reading once the tables are there, so that every camera goes on where it was.

    owns: whether this worker reads a camera (``site/camera``) now; None while that is being settled. It is asked all
    the time, so a camera that is added, or taken over from another worker, is read within a moment.
    """

    class Cameras(Service):
        """Stops before the agents do, so that nothing new comes while they end."""

        async def on_start(self) -> None:
            self.reading: dict[str, tuple[CameraSite, asyncio.Future[None]]] = {}
            self._settle()

        @Service.task
        async def _watch(self) -> None:
            while not self.should_stop:
                await self.sleep(SETTLE_S)
                self._settle()

        def _settle(self) -> None:
            wanted = {f"{site.name}/{one.name}": (site, one) for site in sites.values() for one in site.cameras}
            owned = {key: owns(key) for key in {*wanted, *self.reading}}
            if None in owned.values():
                return
            for key, (camera, task) in list(self.reading.items()):
                if key not in wanted or not owned[key] or wanted[key][1] != camera:
                    task.cancel()
                    # Read again, if at all, only when it has let go of its source.
                    if task.done():
                        del self.reading[key]
            for site in sites.values():
                begun = [
                    one for one in site.cameras
                    if owned[f"{site.name}/{one.name}"] and f"{site.name}/{one.name}" not in self.reading
                ]  # fmt: skip
                readings = capture.readings(site, begun) if begun else {}
                for camera in begun:
                    key = f"{site.name}/{camera.name}"
                    if camera.name in readings:
                        self.reading[key] = camera, self.add_future(readings[camera.name])
                    else:
                        # Read to its end before: known, so that it is not looked at again and again.
                        done = asyncio.get_running_loop().create_future()
                        done.set_result(None)
                        self.reading[key] = camera, done

    app.service(Cameras)
