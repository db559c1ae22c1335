"""Where a domain error becomes HTTP: ``{"error": {"what", "value", "remedy"}}``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from spoton.errors import HistoryError, InputError, SpotOnError

log = structlog.get_logger("api")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadParameter(InputError):
    """A parameter of a request cannot be used."""

    def __init__(self, name: str, value: object, problem: str, *, remedy: str) -> None:
        self.value = value
        super().__init__(f"{name} {problem}", remedy=remedy)


class NotThere(SpotOnError):
    """What was asked for does not exist."""

    def __init__(self, problem: str, value: object, *, remedy: str) -> None:
        self.value = value
        super().__init__(problem, remedy=remedy)


class Refused(SpotOnError):
    """The request may not be answered."""

    def __init__(self, problem: str, value: object, *, remedy: str) -> None:
        self.value = value
        super().__init__(problem, remedy=remedy)


class Contradicted(SpotOnError):
    """What was asked for contradicts what is so."""

    def __init__(self, problem: str, value: object, *, remedy: str) -> None:
        self.value = value
        super().__init__(problem, remedy=remedy)


def status_of(error: SpotOnError) -> int:
    """The HTTP status that an error of the domain stands for."""
    match error:
        case InputError():
            return 400
        case Refused():
            return 403
        case NotThere():
            return 404
        case Contradicted():
            return 409
        case HistoryError():
            return 503
        case _:
            return 500


def error_response(status: int, what: str, value: object = None, remedy: str = "") -> web.Response:
    """One error as JSON."""
    return web.json_response({"error": {"what": what, "value": value, "remedy": remedy}}, status=status)


@web.middleware
async def errors_as_json(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Answer every failure with JSON; what nobody foresaw is logged whole and tells the client nothing inside."""
    try:
        return await handler(request)
    except SpotOnError as error:
        return error_response(status_of(error), error.problem, getattr(error, "value", None), error.remedy)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        told = error_response(error.status, error.reason.lower(), request.path, _remedy(error))
        if "Allow" in error.headers:
            told.headers["Allow"] = error.headers["Allow"]
        return told
    except Exception:
        log.exception("request failed", method=request.method, path=request.path)
        return error_response(500, "the server failed on this request", request.path, "see the server's log")


def _remedy(error: web.HTTPException) -> str:
    if error.status == 404:
        return "see docs/api.md for the paths that there are"
    if isinstance(error, web.HTTPMethodNotAllowed):
        return "use " + " or ".join(sorted(error.allowed_methods))
    return ""
