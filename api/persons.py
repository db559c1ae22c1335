"""``/api/v1/persons``: who is here, who was here, and the way somebody went."""

from __future__ import annotations

import msgspec
from aiohttp import web

from api import query
from api.keys import HISTORY, LIVE, SITE

MOST_PERSONS = 10_000
MOST_POINTS = 100_000


def attach(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/v1/persons", persons)
    app.router.add_get("/api/v1/persons/{person}/trajectory", trajectory)


async def persons(request: web.Request) -> web.Response:
    """Without ``from`` and ``to`` those on the floor now, from live state; with either those of that stretch."""
    query.only(request, ("from", "to", "limit"))
    begin_us, end_us = query.stretch_us(request)
    most = query.limit(request, default=1000, most=MOST_PERSONS)
    if begin_us is None and end_us is None:
        live = request.app[LIVE]
        here = msgspec.to_builtins(live.persons()[:most])
        return web.json_response({"at": live.newest_at(), "persons": here})
    site = request.app[SITE]().name
    found = await request.app[HISTORY].persons(site, at_from_us=begin_us, at_to_us=end_us, limit=most + 1)
    return web.json_response(
        {"from": begin_us, "to": end_us, "persons": found[:most], "truncated": len(found) > most},
        dumps=_dumps,
    )


async def trajectory(request: web.Request) -> web.Response:
    """Where a person was in [from, to), oldest first, with those later found to be the same person."""
    query.only(request, ("from", "to", "limit"))
    begin_us, end_us = query.stretch_us(request)
    most = query.limit(request, default=10_000, most=MOST_POINTS)
    person = request.match_info["person"]
    points = await request.app[HISTORY].trajectory(
        request.app[SITE]().name, person, at_from_us=begin_us, at_to_us=end_us, limit=most + 1
    )
    return web.json_response(
        {
            "person": person,
            "previous_ids": await request.app[HISTORY].lineage(request.app[SITE]().name, person),
            "from": begin_us,
            "to": end_us,
            "points": points[:most],
            "truncated": len(points) > most,
        },
        dumps=_dumps,
    )


def _dumps(value: object) -> str:
    return msgspec.json.encode(value).decode()
