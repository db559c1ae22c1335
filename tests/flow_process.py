"""The counting app of ``flow_app.py`` in a process of its own: fed, listened to, killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

APP = Path(__file__).with_name("flow_app.py")
PATIENCE_S = 60


class Running:
    """The counting app in a process of its own."""

    def __init__(
        self,
        folder: Path,
        url: str,
        first: int,
        last: int,
        *,
        prefix: str = "",
        limits: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.acked: list[int] = []
        self.errors = folder / f"errors-{time.monotonic_ns()}.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(APP), url, str(first), str(last), prefix],
                stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=limits, cwd=folder,
                env=os.environ | dict(environment or {}),
            )  # fmt: skip
        self.lines = iter(self.process.stdout)

    def until(self, wanted: Callable[[str, str], bool]) -> dict[str, list[int]] | None:
        """Read what it says until ``wanted(word, rest)``; the table it said, or None when it ended before."""
        for line in self.lines:
            word, _, rest = line.strip().partition(" ")
            if word == "acked":
                self.acked.append(int(rest))
            if wanted(word, rest):
                return json.loads(rest) if rest.startswith("{") else {}
        return None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        self.until(lambda word, rest: False)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.process.stdout.close()
