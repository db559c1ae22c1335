"""The calibration page: served on this machine alone; it draws and asks, what is computed is computed here."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from aiohttp import web

from spoton.calibration import report, rewrite
from spoton.calibration.draft import Draft, by_points, lens_of, present_view, uncertainty
from spoton.calibration.fit import Intrinsics, usual_tolerance_px
from spoton.calibration.grid import Grid, grid
from spoton.errors import InputError, SpotOnError
from spoton.geometry import FloorView
from spoton.site import CameraSite, PointPairs, Site
from spoton.vision.protocols import Picture

STATIC = Path(__file__).parent / "static"
HOSTS = ("127.0.0.1", "localhost", "[::1]")

_EDGE_SAMPLES = 24
_MOST_POINTS = 500
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(slots=True, eq=False)
class Desk:
    """What one run of the page works on. text: of the site file as last read or written; draft: the newest fit."""

    path: Path
    text: str
    site: Site
    camera: CameraSite
    picture: Picture
    lens: Intrinsics | None = None
    draft: Draft | None = None
    number: int = 0

    @property
    def size_px(self) -> tuple[int, int]:
        """Of the picture that is clicked on."""
        return self.picture.shape[1], self.picture.shape[0]


class _Pair(msgspec.Struct, frozen=True):
    image_px: tuple[float, float]
    floor_m: tuple[float, float]


class _Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    points: list[_Pair]
    method: str = "auto"
    tolerance_px: float | None = None


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image_px: tuple[float, float] | None = None
    floor_m: tuple[float, float] | None = None


class _Save(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    draft: int
    seen: str


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create(desk: Desk) -> web.Application:
    """The page and what it asks, ready for an aiohttp runner."""
    app = web.Application(middlewares=[_only_ours, _errors_as_json], client_max_size=1 << 20)
    routes = _Routes(desk)
    app.router.add_get("/", routes.index)
    app.router.add_get("/picture", routes.picture)
    app.router.add_get("/plan", routes.plan)
    app.router.add_get("/session", routes.session)
    app.router.add_post("/fit", routes.fit)
    app.router.add_post("/place", routes.place)
    app.router.add_post("/preview", routes.preview)
    app.router.add_post("/save", routes.save)
    app.router.add_static("/static/", STATIC)
    app.on_response_prepare.append(_with_headers)
    return app


class _Routes:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def index(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html")

    async def picture(self, _: web.Request) -> web.Response:
        encoded = await asyncio.to_thread(cv2.imencode, ".png", self.desk.picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return web.Response(body=encoded[1].tobytes(), content_type="image/png")

    async def plan(self, _: web.Request) -> web.StreamResponse:
        path = _plan(self.desk.site)
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def session(self, _: web.Request) -> web.Response:
        desk, floor = self.desk, self.desk.site.floor
        known = desk.camera.calibration if isinstance(desk.camera.calibration, PointPairs) else None
        scale = desk.size_px[0] / desk.camera.size_px[0] if desk.camera.size_px else 1.0
        there = await asyncio.to_thread(_drawn, present_view(desk.camera, desk.size_px), desk.size_px)
        return web.json_response(
            {
                "site": desk.site.name,
                "file": desk.path.name,
                "camera": desk.camera.name,
                "size_px": desk.size_px,
                "calibration": report.kind(desk.camera.calibration),
                "lens": desk.lens is not None,
                "tolerance_px": usual_tolerance_px(desk.size_px),
                "points": [
                    {"image_px": [u * scale, v * scale], "floor_m": place}
                    for (u, v), place in (zip(known.image_px, known.floor_m, strict=True) if known else ())
                ],
                "floor": {
                    "size_m": floor.size_m,
                    "origin_m": floor.origin_m,
                    "metres_per_pixel": floor.metres_per_pixel,
                    "plan": floor.plan is not None,
                    "zones": [zone.polygon_m for zone in desk.site.zones],
                },
                "before": there,
            }
        )

    async def fit(self, request: web.Request) -> web.Response:
        asked = await _asked(request, _Fit)
        if len(asked.points) > _MOST_POINTS:
            raise InputError(f"{len(asked.points)} points are too many", remedy=f"give up to {_MOST_POINTS}")
        desk = self.desk
        pairs = PointPairs(
            tuple(one.image_px for one in asked.points), tuple(one.floor_m for one in asked.points)
        )  # fmt: skip
        desk.draft, desk.number = None, desk.number + 1
        number = desk.number
        draft = await asyncio.to_thread(
            by_points, desk.camera, desk.size_px, pairs, desk.lens, asked.method, asked.tolerance_px
        )
        told = await asyncio.to_thread(report.as_json, draft)
        drawn = await asyncio.to_thread(_drawn, draft.view, draft.size_px)
        if number == desk.number:
            desk.draft = draft
        there, seen = draft.view.to_image(draft.floor_m)
        here = draft.view.to_floor(draft.image_px)
        for row, point in enumerate(told["points"]):
            point["fitted_px"] = there[row].tolist() if seen[row] else None
            point["fitted_m"] = here.floor_m[row].tolist() if here.valid[row] else None
        return web.json_response({**told, "draft": number, "drawn": drawn})

    async def place(self, request: web.Request) -> web.Response:
        asked = await _asked(request, _Place)
        draft = self.desk.draft
        view = draft.view if draft is not None else present_view(self.desk.camera, self.desk.size_px)
        if view is None or (asked.image_px is None) == (asked.floor_m is None):
            return web.json_response({"image_px": None, "floor_m": None, "ellipse": None})
        image = asked.image_px
        if asked.floor_m is not None:
            pixels, seen = view.to_image(np.array([asked.floor_m]))
            image = (float(pixels[0, 0]), float(pixels[0, 1])) if seen[0] else None
        ellipse = None
        if image is not None and draft is not None:
            ellipse = uncertainty(draft, np.array([image]))[0]
        floor = asked.floor_m
        if asked.image_px is not None:
            there = view.to_floor(np.array([asked.image_px]))
            floor = (float(there.floor_m[0, 0]), float(there.floor_m[0, 1])) if there.valid[0] else None
        return web.json_response({"image_px": image, "floor_m": floor, "ellipse": ellipse})

    async def preview(self, request: web.Request) -> web.Response:
        await _asked(request, dict)
        after, difference = self._changed()
        return web.json_response(
            {"draft": self.desk.number, "difference": difference, "seen": _digest(after), "file": str(self.desk.path)}
        )

    async def save(self, request: web.Request) -> web.Response:
        asked = await _asked(request, _Save)
        after, difference = self._changed()
        if asked.draft != self.desk.number or asked.seen != _digest(after):
            raise InputError("the calibration has changed since it was shown", remedy="look at what changes once more")
        desk = self.desk
        if difference:
            await asyncio.to_thread(rewrite.write, desk.path, desk.text, after)
            assert desk.draft is not None
            desk.text, desk.camera = after, desk.draft.after
        return web.json_response({"saved": str(desk.path), "calibration": report.kind(desk.camera.calibration)})

    def _changed(self) -> tuple[str, str]:
        desk = self.desk
        if desk.draft is None:
            raise InputError("there is no calibration to save yet", remedy="set four points or more")
        after = rewrite.with_calibrations(desk.text, str(desk.path), {desk.camera.name: desk.draft.after})
        return after, rewrite.difference(desk.text, after, desk.path.name)


def _plan(site: Site) -> Path | None:
    if site.floor.plan is None:
        return None
    path = Path(site.resolve(site.floor.plan)).expanduser()
    return path if path.is_file() else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _drawn(view: FloorView | None, size_px: tuple[int, int]) -> dict[str, Any] | None:
    """What the page draws of a view: the floor's grid in the picture, the picture's edge on the floor."""
    if view is None:
        return None
    lines: Grid = grid(view, size_px)
    return {
        "step_m": lines.step_m,
        "lines": [
            {"at_m": at_m, "x": is_x, "pieces": [np.round(piece, 1).tolist() for piece in pieces]}
            for at_m, is_x, pieces in lines.lines
        ],
        "footprint_m": _footprint(view, size_px),
        "position_m": view.position_m,
    }


def _footprint(view: FloorView, size_px: tuple[int, int]) -> list[list[float]]:
    """The edge of the picture's floor, near the camera's own reach."""
    width, height = size_px
    across, down = np.linspace(0, width, _EDGE_SAMPLES), np.linspace(height, 0, 4 * _EDGE_SAMPLES)
    columns = []
    for u in (0.0, float(width)):
        floor = view.to_floor(np.column_stack([np.full(len(down), u), down]))
        columns.append(floor.floor_m[floor.valid])
    low = view.to_floor(np.column_stack([across, np.full(len(across), float(height))]))
    bottom = low.floor_m[low.valid]
    if not len(bottom):
        return []
    middle = bottom.mean(axis=0)
    reach = 12.0 * max(1.0, float(np.ptp(bottom, axis=0).max()))
    sides = [side[np.linalg.norm(side - middle, axis=1) < reach] for side in columns]
    edge = np.concatenate([sides[0][::-1], bottom, sides[1]])
    return [[round(float(x), 3), round(float(y), 3)] for x, y in edge]


async def _asked(request: web.Request, kind: Any) -> Any:
    if request.content_type != "application/json":
        raise InputError(f"the request is {request.content_type}", remedy="send application/json")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise InputError(f"the request cannot be read: {error}", remedy="reload the page") from error


@web.middleware
async def _errors_as_json(request: web.Request, handler: Answer) -> web.StreamResponse:
    try:
        return await handler(request)
    except SpotOnError as error:
        return web.json_response({"error": error.problem, "remedy": error.remedy}, status=400)


@web.middleware
async def _only_ours(request: web.Request, handler: Answer) -> web.StreamResponse:
    """No names that were bent to this machine, and no pages but our own."""
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    origin = request.headers.get("Origin")
    if host not in HOSTS or (origin is not None and origin != f"http://{request.host}"):
        raise web.HTTPForbidden
    return await handler(request)


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def desk(path: Path, text: str, site: Site, camera: CameraSite, picture: Picture, lens: Intrinsics | None) -> Desk:
    """Everything on the table; the lens is the imported one, else that of the present calibration."""
    return Desk(path, text, site, camera, picture, lens or lens_of(camera))


async def serve(here: Desk, port: int, tell: Callable[[str], None]) -> None:
    """Serve the page on 127.0.0.1 until cancelled. tell: gets the address. InputError for a port that is taken."""
    runner = web.AppRunner(create(here), access_log=None)
    await runner.setup()
    try:
        try:
            listening = web.TCPSite(runner, "127.0.0.1", port)
            await listening.start()
        except OSError as error:
            raise InputError(
                f"port {port} cannot be had: {error.strerror}", remedy="give another --port, or 0"
            ) from error
        tell(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
