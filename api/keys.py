"""What the resources find in the application, each under a typed key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from api.history import History
from spoton.events import Correction
from spoton.live.state import LiveState
from spoton.site import Site

SITE: web.AppKey[Callable[[], Site]] = web.AppKey("site")
"""The site as it is now."""
LIVE = web.AppKey("live", LiveState)
Record = Callable[[Correction], Awaitable[Correction]]
"""Puts an operator's correction on the log and returns it as recorded."""
RECORD: web.AppKey[Record] = web.AppKey("record")
HISTORY: web.AppKey[History] = web.AppKey("history")
