"""``/api/v1/cameras``: how each camera is doing, and its newest picture."""

from __future__ import annotations

import msgspec
from aiohttp import web

from api import query
from api.errors import NotThere
from api.keys import LIVE


def attach(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/v1/cameras", cameras)
    app.router.add_get("/api/v1/cameras/{name}/picture", picture)


async def cameras(request: web.Request) -> web.Response:
    """Every camera's health."""
    query.only(request, ())
    live = request.app[LIVE]
    return web.json_response({"at": live.now_us(), "cameras": msgspec.to_builtins(live.cameras())})


async def picture(request: web.Request) -> web.Response:
    """The newest picture as JPEG; X-Frame and X-At say which, so that a client can draw the boxes of that very one."""
    query.only(request, ())
    live, name = request.app[LIVE], request.match_info["name"]
    try:
        newest = live.newest_picture(name)
    except KeyError as error:
        known = ", ".join(camera.name for camera in live.cameras()) or "none"
        raise NotThere("no camera of that name", name, remedy=f"cameras here: {known}") from error
    if newest is None:
        raise NotThere("this camera has not delivered a picture yet", name, remedy="check its source, then ask again")
    headers = {"X-Frame": str(newest.frame), "X-At": str(newest.at)}
    return web.Response(body=newest.jpeg, content_type="image/jpeg", headers=headers)
