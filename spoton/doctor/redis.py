"""Redis, asked in its own protocol."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from spoton.doctor.finding import Finding, reason
from spoton.errors import InputError


async def ping(url: str) -> str:
    """The last line that Redis answers: ``+PONG`` when all is well, ``-...`` when it refuses.

    Raises InputError for a URL that is none, OSError when nobody answers.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise InputError(f"redis URL {url.partition('@')[2] or url!r}", remedy="write redis://:password@host:6379/0")
    words = [["PING"]]
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        words.insert(0, ["AUTH", *user, unquote(parts.password)])
    reader, writer = await asyncio.open_connection(
        parts.hostname or "127.0.0.1", parts.port or 6379, ssl=parts.scheme == "rediss" or None
    )
    try:
        reply = ""
        for command in words:
            writer.write(f"*{len(command)}\r\n".encode())
            writer.writelines(f"${len(word.encode())}\r\n{word}\r\n".encode() for word in command)
            reply = (await reader.readline()).decode(errors="replace").strip()
            if reply.startswith("-") or not reply:
                break
        return reply
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def check(url: str | None) -> Finding:
    """One PING; without a URL there is nothing to measure."""
    if not url:
        return Finding("redis", "ok", "not configured")
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    where = urlsplit(url).netloc.rpartition("@")[2]
    try:
        reply = await ping(url)
    except OSError as error:
        return Finding("redis", "fault", f"{where}: {reason(error)}", "start Redis, or correct --redis")
    if reply != "+PONG":
        return Finding(
            "redis",
            "fault",
            f"{where} answered {reply.lstrip('-')!r}",
            "give the password: redis://:PASSWORD@host:6379/0" if "AUTH" in reply or "WRONGPASS" in reply else
            "is this Redis? correct --redis",
        )  # fmt: skip
    return Finding("redis", "ok", f"{where} answers in {(loop.time() - began_s) * 1000:.1f} ms")
