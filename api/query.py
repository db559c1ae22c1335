"""Reading the query string: each parameter checked once, each mistake one message."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from api.errors import BadParameter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US, LATEST_US = 0, 253_402_300_799_000_000
TIME_REMEDY = "give ISO-8601 with a time zone (2026-05-01T12:00:00Z) or microseconds since 1970 UTC"


def only(request: web.Request, known: Iterable[str]) -> None:
    """Raise BadParameter for a parameter that the resource does not know, or one given twice."""
    names = sorted(known)
    for name in request.query:
        if name not in names:
            remedy = f"known here: {', '.join(names)}" if names else "this resource takes none"
            raise BadParameter(name, request.query[name], "is no parameter of this resource", remedy=remedy)
        if name != "type" and len(request.query.getall(name)) > 1:
            raise BadParameter(name, request.query.getall(name), "is given more than once", remedy="give it once")


def at_us(request: web.Request, name: str) -> int | None:
    """A time in microseconds UTC; None when it is not given."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        moment_us = int(text) if text.lstrip("-").isdecimal() else _iso_us(text)
    except (ValueError, OverflowError) as error:
        raise BadParameter(name, text, f"is no time: {error}", remedy=TIME_REMEDY) from error
    if not EARLIEST_US <= moment_us <= LATEST_US:
        raise BadParameter(name, text, "lies outside the years 1970 to 9999", remedy=TIME_REMEDY)
    return moment_us


def stretch_us(request: web.Request) -> tuple[int | None, int | None]:
    """``from`` and ``to``, [from, to); either may be open."""
    begin, end = at_us(request, "from"), at_us(request, "to")
    if begin is not None and end is not None and end <= begin:
        raise BadParameter("to", request.query["to"], "is not after from", remedy="give a later to")
    return begin, end


def limit(request: web.Request, *, default: int, most: int) -> int:
    """How many at most."""
    text = request.query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= most):
        raise BadParameter("limit", text, "is no count that can be given", remedy=f"give 1 to {most}")
    return int(text)


def types(request: web.Request, known: Collection[str]) -> list[str]:
    """Event types: ``type`` repeated or separated by commas; empty: all."""
    wanted = [one for text in request.query.getall("type", []) for one in text.split(",") if one]
    for one in wanted:
        if one not in known:
            raise BadParameter("type", one, "is no event type", remedy=f"give one of {', '.join(known)}")
    return wanted


def _iso_us(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("the time zone is missing")
    return (moment - EPOCH) // timedelta(microseconds=1)
