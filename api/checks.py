"""The checks of ``/health`` for what every installation has: the database, Redis, the GPU."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from api.health import Check
from api.history import History, NoHistory

ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider")


def database(history: History) -> Check:
    """One round trip to the history database."""

    async def ask() -> dict[str, Any]:
        if isinstance(history, NoHistory):
            return {"status": "not configured"}
        return {"status": "ok", "ms": round(await history.ping(), 2)}

    return ask


def redis(url: str | None) -> Check:
    """A PING to Redis; without a URL there is nothing to measure."""

    async def ask() -> dict[str, Any]:
        if not url:
            return {"status": "not configured"}
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        reply = await _ping(url)
        if reply != "+PONG":
            return {"status": "down", "reason": f"Redis answered {reply!r}"}
        return {"status": "ok", "ms": round((loop.time() - began_s) * 1000, 2)}

    return ask


async def _ping(url: str) -> str:
    """The last line that Redis answers, spoken in its own protocol."""
    parts = urlsplit(url)
    words = [["PING"]]
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        words.insert(0, ["AUTH", *user, unquote(parts.password)])
    reader, writer = await asyncio.open_connection(
        parts.hostname or "127.0.0.1", parts.port or 6379, ssl=parts.scheme == "rediss" or None
    )
    try:
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


def gpu() -> Check:
    """Which GPU the driver reports, and whether ONNX Runtime as installed can use it."""

    async def ask() -> dict[str, Any]:
        providers = await asyncio.to_thread(_providers)
        usable = [one for one in providers if one in ON_GPU]
        found = await _nvidia_smi()
        status = "none found" if not found else "ok" if usable else "not used"
        return {"status": status, "found": found, "providers": providers}

    return ask


def _providers() -> list[str]:
    import onnxruntime  # takes a moment, and only the first call pays it

    return list(onnxruntime.get_available_providers())


async def _nvidia_smi() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    process = await asyncio.create_subprocess_exec(
        program, "--query-gpu=name", "--format=csv,noheader", stdout=-1, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return (
        [line.strip() for line in told.decode(errors="replace").splitlines() if line.strip()]
        if not process.returncode
        else []
    )
