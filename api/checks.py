"""The checks of ``/health`` for what every installation has: the database, Redis, the GPU."""

from __future__ import annotations

import asyncio
from typing import Any

from api.health import Check
from api.history import History, NoHistory
from spoton.doctor.gpu import look
from spoton.doctor.redis import ping


def database(history: History) -> Check:
    """One round trip to the history database."""

    async def ask() -> dict[str, Any]:
        if isinstance(history, NoHistory):
            return {"status": "not configured"}
        return {"status": "ok", "ms": round(await history.ping(), 2)}

    return ask


def redis(url: str | None) -> Check:
    """A PING to Redis; without a URL there is nothing to measure."""

    async def ask() -> dict[str, Any]:
        if not url:
            return {"status": "not configured"}
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        reply = await ping(url)
        if reply != "+PONG":
            return {"status": "down", "reason": f"Redis answered {reply!r}"}
        return {"status": "ok", "ms": round((loop.time() - began_s) * 1000, 2)}

    return ask


def gpu() -> Check:
    """Which GPU the driver reports, and whether ONNX Runtime as installed can use it."""

    async def ask() -> dict[str, Any]:
        there = await look()
        status = "none found" if not there.names else "ok" if there.usable else "not used"
        return {"status": status, "found": list(there.names), "providers": list(there.providers)}

    return ask
