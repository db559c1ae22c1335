"""Operators' corrections: two are one, one is two, a track is somebody else's, and each of these taken back."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from api import query
from api.errors import BadParameter, Contradicted, NotThere
from api.keys import HISTORY, LIVE, RECORD, SITE, Record
from spoton import corrections, events
from spoton.events import Correction, CorrectionRefused, MergeRequested, ReassignmentRequested, SplitRequested, TrackRef

PATIENCE_S = 5.0
"""An answer waits so long for what a correction leads to."""
AHEAD_US = 500_000
"""A correction holds from so long after the newest event: before that, ticks may be made by now."""
_LOOK_S = 0.05

Body = TypeVar("Body", bound="Undo")


class Undo(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants it and why."""

    by: str
    why: str = ""


class Merge(Undo, forbid_unknown_fields=True, kw_only=True):
    """merged: whom the person in the path is, too."""

    merged: str


class Split(Undo, forbid_unknown_fields=True, kw_only=True):
    """tracks: those that are not the person in the path."""

    tracks: list[TrackRef]


class Reassignment(Undo, forbid_unknown_fields=True, kw_only=True):
    """A track that is the person in the path."""

    camera: str
    track: int


def attach(app: web.Application, record: Record) -> None:
    """Add the routes. record: puts a correction on the log."""
    app[RECORD] = record
    app.router.add_post("/api/v1/persons/{person}/merge", merge)
    app.router.add_post("/api/v1/persons/{person}/split", split)
    app.router.add_post("/api/v1/persons/{person}/tracks", reassign)
    app.router.add_post("/api/v1/events/{event}/undo", undo)


async def merge(request: web.Request) -> web.Response:
    """The person in the body is the one in the path."""
    body = await _body(request, Merge)
    return await _answered(
        request, MergeRequested(**_head(request, body), person=request.match_info["person"], merged=body.merged)
    )


async def split(request: web.Request) -> web.Response:
    """The tracks in the body are not the person in the path, but somebody new."""
    body = await _body(request, Split)
    return await _answered(
        request, SplitRequested(**_head(request, body), person=request.match_info["person"], tracks=body.tracks)
    )


async def reassign(request: web.Request) -> web.Response:
    """The track in the body is the person in the path."""
    body = await _body(request, Reassignment)
    wish = ReassignmentRequested(
        **_head(request, body), person=request.match_info["person"], camera=body.camera, track=body.track
    )
    return await _answered(request, wish)


async def undo(request: web.Request) -> web.Response:
    """Take back a merge, split or reassignment, whoever decided it."""
    body = await _body(request, Undo)
    name = request.match_info["event"]
    try:
        uuid.UUID(name)
    except ValueError as error:
        raise BadParameter("event", name, "is no id of an event", remedy="take it from /api/v1/events") from error
    text = await request.app[HISTORY].correctable(request.app[SITE]().name, name)
    head = _head(request, body)
    wish = None
    if text is not None:
        fact = events.decode(text.encode())
        wish = corrections.reversal(fact, at=head["at"], by=body.by, why=body.why)  # type: ignore[arg-type]
    if wish is None:
        raise NotThere(
            "no merge, split or reassignment that can be taken back has this id", name,
            remedy="see /api/v1/events?type=PersonsMerged,PersonSplit,TrackReassigned",
        )  # fmt: skip
    return await _answered(request, wish)


async def _body(request: web.Request, kind: type[Body]) -> Body:
    query.only(request, ())
    if request.content_type != "application/json":
        raise BadParameter("Content-Type", request.content_type, "is not application/json", remedy="send JSON")
    try:
        body = msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise BadParameter("body", None, f"cannot be used: {error}", remedy="see docs/api.md") from error
    if not body.by.strip():
        raise BadParameter("by", body.by, "is empty", remedy="say who wants it")
    return body


def _head(request: web.Request, body: Undo) -> dict[str, Any]:
    live = request.app[LIVE]
    newest_us = live.newest_at()
    at = time.time_ns() // 1000 if newest_us is None else newest_us + AHEAD_US
    return {"id": "", "seq": 0, "at": at, "site": live.site, "by": body.by, "why": body.why}


async def _answered(request: web.Request, wish: Correction) -> web.Response:
    """Record it and tell what it led to; 202 and no event where that is not known in time."""
    fact = await request.app[RECORD](wish)
    event = await _outcome(request, fact.id)
    if isinstance(event, CorrectionRefused):
        raise Contradicted(event.reason, event.command, remedy=event.remedy)
    told = {"command": msgspec.to_builtins(fact), "event": None if event is None else msgspec.to_builtins(event)}
    return web.json_response(told, status=202 if event is None else 200)


async def _outcome(request: web.Request, command: str) -> events.AnyEvent | None:
    live, until_s = request.app[LIVE], time.monotonic() + PATIENCE_S
    while (event := live.outcome(command)) is None and time.monotonic() < until_s:  # noqa: ASYNC110 - nobody is woken
        await asyncio.sleep(_LOOK_S)
    return event
