"""``/health``: every service measured at the moment of asking, side by side, each with its own time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from api import query
from spoton.errors import SpotOnError
from spoton.live.messages import CameraNow
from spoton.live.state import LiveState

Report = Mapping[str, Any]
Check = Callable[[], Awaitable[Report]]
"""Measures one service; the report's ``status`` is ``ok``, ``down``, or a plain word for a service not in use."""

VITAL = ("broker",)
"""Without these nothing flows: the whole is down."""


@dataclass(frozen=True)
class Health:
    """What to measure: a name for each service that ``/health`` shows, and how to ask it."""

    checks: Mapping[str, Check]
    version: str
    timeout_s: float = 2.0

    async def services(self) -> dict[str, dict[str, Any]]:
        """All reports by name; a check that fails or takes too long reports ``down`` and why."""
        reports = await asyncio.gather(*(self._ask(check) for check in self.checks.values()))
        return dict(zip(self.checks, reports, strict=True))

    async def _ask(self, check: Check) -> dict[str, Any]:
        try:
            return dict(await asyncio.wait_for(check(), self.timeout_s))
        except TimeoutError:
            return {"status": "down", "reason": f"no answer within {self.timeout_s:g} s"}
        except (SpotOnError, OSError, ValueError) as error:
            return {"status": "down", "reason": str(error) or type(error).__name__}


def overall(services: Mapping[str, Report], cameras: list[CameraNow]) -> str:
    """``down`` when a vital service is, ``degraded`` when anything else or a camera is, else ``ok``."""
    down = {name for name, report in services.items() if report["status"] == "down"}
    if down.intersection(VITAL):
        return "down"
    silent = any(
        camera.status in ("offline", "waiting") or (camera.status == "online" and camera.fps == 0.0)
        for camera in cameras
    )
    return "degraded" if down or silent else "ok"


def attach(app: web.Application, *, live: LiveState, health: Health) -> None:
    """Add the route. HTTP 503 when down, so that a probe need not read the body."""

    async def answer(request: web.Request) -> web.Response:
        query.only(request, ())
        services, cameras = await health.services(), live.cameras()
        status = overall(services, cameras)
        body = {
            "status": status,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": health.version,
            "site": live.site,
            "services": {**services, "cameras": {camera.name: _camera(camera) for camera in cameras}},
        }
        return web.json_response(body, status=503 if status == "down" else 200)

    app.router.add_get("/health", answer)


def _camera(camera: CameraNow) -> dict[str, Any]:
    return {
        "status": camera.status,
        "reason": camera.reason,
        "fps": camera.fps,
        "last_frame_age_s": camera.last_frame_age_s,
        "lag_s": camera.lag_s,
        "frames": camera.frames,
        "frames_skipped": camera.frames_skipped,
        "detector": camera.detector,
    }
