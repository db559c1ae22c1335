"""``/api/v1/site``: the floor, its zones and what each camera sees of it; ``/site/plan``: the plan's picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from api import query
from api.errors import NotThere
from api.footprint import seen_floor
from api.keys import LIVE, SITE
from spoton.handoff import HandoffZone, handoff_zones
from spoton.site import Floor, Point

USUAL_REACH_M = 25.0


def attach(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/v1/site", site)
    app.router.add_get("/api/v1/site/plan", plan)


async def site(request: web.Request) -> web.Response:
    """Everything that the map needs before anyone moves."""
    query.only(request, ())
    here, live = request.app[SITE](), request.app[LIVE]
    sizes = {camera.name: camera.size_px for camera in live.cameras()}
    floor = here.floor
    cameras: list[dict[str, Any]] = []
    for camera in here.cameras:
        seen = seen_floor(camera, sizes.get(camera.name), reach_m=_reach_m(floor))
        cameras.append(
            {
                "name": camera.name,
                "size_px": camera.size_px or sizes.get(camera.name),
                "calibrated": camera.calibration is not None,
                **(seen or {"position_m": None, "field_m": None}),
            }
        )
    return web.json_response(
        {
            "name": here.name,
            "floor": {
                "size_m": floor.size_m,
                "origin_m": floor.origin_m,
                "metres_per_pixel": floor.metres_per_pixel,
                "plan": None if floor.plan is None else "/api/v1/site/plan",
            },
            "zones": [{"name": zone.name, "polygon_m": zone.polygon_m} for zone in here.zones],
            "cameras": cameras,
            "handoffs": [msgspec.to_builtins(one) for one in _handoffs(floor, cameras)],
        }
    )


async def plan(request: web.Request) -> web.StreamResponse:
    """The picture of the floor plan, as it lies beside the site file."""
    query.only(request, ())
    here = request.app[SITE]()
    if here.floor.plan is None:
        raise NotThere("this site has no floor plan", here.name, remedy="name a picture as floor.plan in the site file")
    path = _picture(here.resolve(here.floor.plan))
    if path is None:
        raise NotThere("the floor plan's picture is not there", here.floor.plan, remedy="correct floor.plan")
    return web.FileResponse(path)


def _handoffs(floor: Floor, cameras: Sequence[Mapping[str, Any]]) -> list[HandoffZone]:
    """Where people go from one view to the next, on the floor where its size is known."""
    edge: list[Point] | None = None
    if floor.size_m is not None:
        (x, y), (width, height) = floor.origin_m, floor.size_m
        edge = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return handoff_zones({one["name"]: one["field_m"] for one in cameras if one["field_m"]}, edge)


def _picture(written: str) -> Path | None:
    path = Path(written).expanduser()
    return path if path.is_file() else None


def _reach_m(floor: Floor) -> float:
    return USUAL_REACH_M if floor.size_m is None else 1.2 * math.hypot(*floor.size_m)
