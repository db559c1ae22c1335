"""``/ws/tracking``: one live client. The messages are described in docs/live-protocol.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from api import query
from spoton import __version__
from spoton.live.fanout import Subscription, encode
from spoton.live.messages import PROTOCOL, CameraNow, Interest
from spoton.live.state import LiveState
from spoton.site import Site

SOCKETS: web.AppKey[set[Subscription]] = web.AppKey("sockets")
MOST_BYTES = 65_536
PING_EVERY_S = 20.0


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first message. detectors: camera -> what looks at its pictures."""

    protocol: int
    server: str
    site: str
    sent: int
    heartbeat_s: float
    detectors: dict[str, str]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Comes at its own pace, whether anything else comes or not."""

    seq: int
    at: int | None
    sent: int
    persons: int
    cameras: list[CameraNow]


class System(msgspec.Struct, frozen=True, kw_only=True, tag="system"):
    """About the connection itself. what: ``closing``."""

    what: str
    sent: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What was wrong with what the client sent."""

    what: str
    value: str
    remedy: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """The answer to a message that cannot be followed; the connection stays."""

    error: Problem


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one message that a client sends: what it wants to hear of from now on."""

    type: Literal["subscribe"]
    cameras: list[str] = []
    zones: list[str] = []


def attach(app: web.Application, *, site: Callable[[], Site], live: LiveState, heartbeat_s: float) -> None:
    """Add the socket; at shutdown every client is told and closed."""
    app[SOCKETS] = set()
    app.on_shutdown.append(_close_all)
    reader = msgspec.json.Decoder(Subscribe)

    async def tracking(request: web.Request) -> web.WebSocketResponse:
        query.only(request, ())
        socket = web.WebSocketResponse(heartbeat=PING_EVERY_S, max_msg_size=MOST_BYTES, compress=False)
        await socket.prepare(request)
        subscription = live.subscribe()
        request.app[SOCKETS].add(subscription)
        hello = Hello(
            protocol=PROTOCOL,
            server=f"SpotOn {__version__}",
            site=site().name,
            sent=live.now_us(),
            heartbeat_s=heartbeat_s,
            detectors={camera.name: camera.detector for camera in live.cameras()},
        )
        telling = asyncio.create_task(_tell(socket, subscription, live, hello, heartbeat_s))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await _follow(socket, subscription, live, site, reader, message.data)
                elif message.type is WSMsgType.BINARY:
                    await _refuse(socket, "only text is understood here", f"{len(message.data)} bytes", "send JSON")
        finally:
            request.app[SOCKETS].discard(subscription)
            subscription.close()
            telling.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await telling
        return socket

    app.router.add_get("/ws/tracking", tracking)


async def _tell(
    socket: web.WebSocketResponse, subscription: Subscription, live: LiveState, hello: Hello, heartbeat_s: float
) -> None:
    """Send what comes, and a heartbeat when it is due; ends, and closes the socket, with the subscription."""
    await socket.send_str(encode(hello))
    clock = asyncio.get_running_loop().time
    due_s = clock() + heartbeat_s
    while True:
        if clock() >= due_s:
            await socket.send_str(_heartbeat(live, subscription.interest))
            due_s = clock() + heartbeat_s
        try:
            async with asyncio.timeout_at(due_s):
                text = await anext(subscription)
        except TimeoutError:
            continue
        except StopAsyncIteration:
            break
        await socket.send_str(text)
    await socket.send_str(encode(System(what="closing", sent=live.now_us())))
    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is shutting down")


def _heartbeat(live: LiveState, interest: Interest) -> str:
    cameras = [camera for camera in live.cameras() if interest.camera(camera.name)]
    return encode(
        Heartbeat(
            seq=live.traffic().published,
            at=live.newest_at(),
            sent=live.now_us(),
            persons=len(live.persons()),
            cameras=cameras,
        )
    )


async def _follow(
    socket: web.WebSocketResponse,
    subscription: Subscription,
    live: LiveState,
    site: Callable[[], Site],
    reader: msgspec.json.Decoder[Subscribe],
    text: str,
) -> None:
    try:
        wish = reader.decode(text)
    except msgspec.MsgspecError as error:
        await _refuse(socket, str(error), text[:200], 'send {"type":"subscribe","cameras":[...],"zones":[...]}')
        return
    cameras, zones = {camera.name for camera in live.cameras()}, {zone.name for zone in site().zones}
    for kind, wanted, known in (("camera", wish.cameras, cameras), ("zone", wish.zones, zones)):
        unknown = sorted(set(wanted) - known)
        if unknown:
            have = ", ".join(sorted(known)) or "none"
            await _refuse(socket, f"no {kind} of that name", unknown[0], f"{kind}s here: {have}")
            return
    subscription.want(Interest(cameras=frozenset(wish.cameras), zones=frozenset(wish.zones)))


async def _refuse(socket: web.WebSocketResponse, what: str, value: str, remedy: str) -> None:
    await socket.send_str(encode(Refusal(error=Problem(what=what, value=value, remedy=remedy))))


async def _close_all(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for subscription in tuple(sockets):
        subscription.close()
