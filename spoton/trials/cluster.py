"""A cluster on this machine: a broker, a database, and workers as an operator starts them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from spoton.errors import SpotOnError
from spoton.kafka.local_config import free_port
from spoton.running.launch import command


@dataclass(slots=True)
class Running:
    """One ``spoton worker`` or ``spoton api``, in a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    lines: Path

    def signal(self, number: int) -> None:
        """To the command and every process it started."""
        os.killpg(self.process.pid, number)

    def ask(self, path: str) -> Any:
        """What it answers on its port, JSON read, else bytes; raises OSError while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return json.loads(body) if body.startswith(b"{") else body

    def pids(self) -> list[int]:
        """The command's process and those it started."""
        import psutil

        parent = psutil.Process(self.process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]


@dataclass(slots=True)
class Cluster:
    """Workers on one broker and database. folder: for their data and what they say."""

    broker: str
    database: str
    site: Path
    folder: Path
    partitions: int = 4
    running: list[Running] = field(default_factory=list)

    def worker(self, roles: str, *, name: str = "") -> Running:
        """Start a worker; it is not waited for."""
        port = free_port()
        options = ["--roles", roles, "--metrics-port", str(port), "--partitions", str(self.partitions)]
        return self._start(name or roles, port, ["worker", *self._common(), *options])

    def api(self) -> Running:
        """Start an API; it is not waited for."""
        port = free_port()
        return self._start("api", port, ["api", *self._common(), "--port", str(port)])

    async def ready(self, *workers: Running, timeout_s: float = 120.0) -> None:
        """Wait until each worker has partitions and has taken its tables up."""
        for worker in workers:
            await until(partial(_has_work, worker), timeout_s, f"{worker.name} ({worker.lines})")

    def stop(self, *workers: Running) -> None:
        """End workers as an operator does, all by default."""
        for worker in workers or list(self.running):
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.process.terminate()
        for worker in workers or list(self.running):
            try:
                worker.process.wait(30)
            except subprocess.TimeoutExpired:
                worker.signal(signal.SIGKILL)
                worker.process.wait()
            self.running.remove(worker)

    def kill(self, worker: Running) -> None:
        """End a worker and all it started at once (SIGKILL)."""
        worker.signal(signal.SIGKILL)
        worker.process.wait()
        self.running.remove(worker)

    def _common(self) -> list[str]:
        return [
            "--site", str(self.site), "--broker", self.broker, "--database", self.database,
            "--data", str(self.folder / "data"), "--accept-bad-calibration",
        ]  # fmt: skip

    def _start(self, name: str, port: int, arguments: list[str]) -> Running:
        lines = self.folder / f"{name.replace(',', '+')}-{port}.log"
        with lines.open("wb") as out:
            process = subprocess.Popen(
                [*command("spoton.cli"), *arguments], stdout=out, stderr=out, start_new_session=True
            )
        self.running.append(Running(name, process, port, lines))
        return self.running[-1]


def _has_work(worker: Running) -> bool:
    if worker.process.poll() is not None:
        raise SpotOnError(f"{worker.name} ended: {worker.lines.read_text(errors='replace')[-2000:]}")
    try:
        found: Mapping[str, Any] = worker.ask("/health")
    except OSError:
        return False
    return bool(found["status"] != "down")


async def until(reached: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Wait until something is so; returns how long that took. Raises SpotOnError after ``timeout_s``."""
    began_s = time.monotonic()
    while not await asyncio.to_thread(reached):
        if time.monotonic() - began_s > timeout_s:
            raise SpotOnError(f"waited {timeout_s:g} s in vain for {what}")
        await asyncio.sleep(0.1)
    return time.monotonic() - began_s
