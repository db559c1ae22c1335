"""Who may ask: the hosts this server goes by, and pages of its own. There is no sign-in yet, so other pages may not."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from api.errors import Answer, Refused

LOOPBACK = ("127.0.0.1", "localhost", "::1")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def attach(app: web.Application, *, hosts: Collection[str] | None) -> None:
    """Refuse requests for other hosts (names that were bent to this address) and from pages of other origins.

    hosts: names that this server goes by, without port; None: any.
    """
    known = None if hosts is None else frozenset(host.lower() for host in hosts)

    @web.middleware
    async def only_ours(request: web.Request, handler: Answer) -> web.StreamResponse:
        if known is not None and _name(request.host) not in known:
            raise Refused(
                "this server does not go by that host name",
                request.host,
                remedy=f"use {' or '.join(sorted(known))}, or start the server with this name allowed",
            )
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            raise Refused("pages of another origin may not ask", origin, remedy="open the page of this server itself")
        return await handler(request)

    app.middlewares.append(only_ours)
    app.on_response_prepare.append(_protect)


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith(("/api/", "/health", "/metrics")):
        response.headers.setdefault("Cache-Control", "no-store")


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
