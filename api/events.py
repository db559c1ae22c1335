"""``/api/v1/events``: what was recorded, page by page."""

from __future__ import annotations

import json

from aiohttp import web

from api import query
from api.keys import HISTORY, SITE
from spoton.events import EVENT_TYPES

MOST_EVENTS = 1000
TYPE_NAMES = tuple(event_type.__name__ for event_type in EVENT_TYPES)


def attach(app: web.Application) -> None:
    """Add the route."""
    app.router.add_get("/api/v1/events", events)


async def events(request: web.Request) -> web.Response:
    """Events in [from, to), oldest first; ``next_cursor`` is null on the last page."""
    query.only(request, ("from", "to", "type", "cursor", "limit"))
    begin_us, end_us = query.stretch_us(request)
    found, following = await request.app[HISTORY].events(
        request.app[SITE]().name,
        at_from_us=begin_us,
        at_to_us=end_us,
        types=query.types(request, TYPE_NAMES),
        after=request.query.get("cursor") or None,
        limit=query.limit(request, default=100, most=MOST_EVENTS),
    )
    # each event goes out as the very text that was recorded
    body = f'{{"events":[{",".join(found)}],"next_cursor":{json.dumps(following)}}}'
    return web.json_response(text=body)
