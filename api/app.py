"""The application: every resource, put together."""

from __future__ import annotations

from collections.abc import Callable, Collection

from aiohttp import web
from prometheus_client import CollectorRegistry

from api import access, cameras, corrections, events, metrics, page, persons, tracking
from api import health as health_resource
from api import site as site_resource
from api.errors import errors_as_json
from api.health import Health
from api.history import History
from api.keys import HISTORY, LIVE, SITE, Record
from spoton.live.state import LiveState
from spoton.site import Site

HEARTBEAT_S = 5.0


def create_api(
    *,
    site: Site | Callable[[], Site],
    live: LiveState,
    history: History,
    health: Health,
    registry: CollectorRegistry,
    record: Record | None = None,
    hosts: Collection[str] | None = access.LOOPBACK,
    heartbeat_s: float = HEARTBEAT_S,
) -> web.Application:
    """The API and the page of one site, ready for an aiohttp runner.

    site: or what tells it, where it may change. live: fed by others on the same event loop. health: what ``/health``
    measures. registry: gets live state added, once, and is served whole. record: puts operators' corrections on the
    log; None: there are none here. hosts: names that requests may use for this server, None for any; the default suits
    a server bound to 127.0.0.1.
    """
    app = web.Application(middlewares=[errors_as_json])
    here = site if callable(site) else lambda: site
    app[SITE], app[LIVE], app[HISTORY] = here, live, history
    access.attach(app, hosts=hosts)
    for resource in (cameras, persons, events, site_resource, page):
        resource.attach(app)
    if record is not None:
        corrections.attach(app, record)
    health_resource.attach(app, live=live, health=health)
    metrics.attach(app, live=live, registry=registry)
    tracking.attach(app, site=here, live=live, heartbeat_s=heartbeat_s)
    return app
