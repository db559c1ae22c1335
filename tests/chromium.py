"""Drives a headless Chromium through its DevTools protocol, over a plain WebSocket."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


def program() -> str | None:
    """Path of a Chromium on this machine."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Tab:
    """One page. problems: what the console and uncaught errors said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            elif told["method"] == "Runtime.exceptionThrown":
                details = told["params"]["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description") or details["text"])
            elif told["method"] == "Runtime.consoleAPICalled" and told["params"]["type"] in ("error", "warning"):
                self.problems.append(str(told["params"]["args"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] in ("error", "warning"):
                entry = told["params"]["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command; raises RuntimeError with what Chromium answered when it refuses."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        told = await asyncio.wait_for(answer, 30)
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        return told["result"]

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        told = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    async def until(self, script: str, within_s: float = 20.0) -> Any:
        """Wait for an expression to become true; raises TimeoutError naming it, with what went wrong in the page."""
        loop = asyncio.get_running_loop()
        end_s, last = loop.time() + within_s, ""
        while loop.time() < end_s:
            try:
                value = await self.run(script)
            except RuntimeError as error:  # what the expression speaks of is not there yet
                value, last = None, str(error)
            if value:
                return value
            await asyncio.sleep(0.1)
        raise TimeoutError(f"not within {within_s} s: {script}; {last}; the page said {self.problems}")

    async def look(self, width: int, height: int, *, dark: bool = True, mobile: bool = False) -> None:
        """Set the window and the colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """What the window, or the whole page, looks like as PNG."""
        told = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(told["data"]))

    async def close(self) -> None:
        """Stop listening."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A browser with a profile in ``folder``, and the port that it listens on."""
    path = program()
    assert path is not None
    process = subprocess.Popen(
        [path, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    told = folder / "DevToolsActivePort"
    for _ in range(600):
        if told.exists() and told.read_text().strip():
            return process, int(told.read_text().split()[0])
        time.sleep(0.1)
    stop(process)
    raise TimeoutError(f"{path} did not start within a minute")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the browser and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Chromium:
    """Tabs of a running browser; an asynchronous context manager that closes those it opened."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tabs: list[tuple[str, Tab]] = []

    async def __aenter__(self) -> Chromium:
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{self._port}")
        return self

    async def open(self, url: str, **look: Any) -> Tab:
        """A new tab on ``url``; everything it says from its first line on is kept."""
        async with self._http.put("/json/new?about:blank") as response:
            target = await response.json(content_type=None)
        socket = await self._http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        tab = Tab(socket)
        self._tabs.append((target["id"], tab))
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.look(**look)
        await tab.call("Page.navigate", url=url)
        await tab.until("document.readyState === 'complete' && location.protocol !== 'about:'")
        return tab

    async def __aexit__(self, *_: object) -> None:
        for target, tab in self._tabs:
            await tab.close()
            async with self._http.get(f"/json/close/{target}"):
                pass
        await self._http.close()
