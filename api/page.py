"""The live page: ``/`` and what it loads. Plain files, no build step."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "static"


def attach(app: web.Application) -> None:
    """Serve the page; browsers ask again each time whether a file changed."""
    app.router.add_get("/", index)
    app.router.add_static("/static/", STATIC)
    app.on_response_prepare.append(_ask_again)


async def index(_: web.Request) -> web.FileResponse:
    """The page itself."""
    return web.FileResponse(STATIC / "index.html")


async def _ask_again(request: web.Request, response: web.StreamResponse) -> None:
    if request.path == "/" or request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-cache")
