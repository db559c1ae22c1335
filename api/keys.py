"""What the resources find in the application, each under a typed key."""

from __future__ import annotations

from aiohttp import web

from api.history import History
from spoton.live.state import LiveState
from spoton.site import Site

SITE = web.AppKey("site", Site)
LIVE = web.AppKey("live", LiveState)
HISTORY: web.AppKey[History] = web.AppKey("history")
