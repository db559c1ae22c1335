"""A real Apache Kafka broker of our own on this machine: for tests, for benchmarks, for trying things out.

One node that is broker and controller (KRaft), bound to 127.0.0.1, its data in a folder. Blocking: use it in a thread.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from spoton.errors import BrokerError, KafkaMissing
from spoton.kafka import jars
from spoton.kafka.local_config import SecureListener, cluster_id, free_port, properties, scram_users

_MEMORY = ("-Xmx512m", "-Xms256m", "-XX:+UseSerialGC")
_LOGGING = ("-Dorg.slf4j.simpleLogger.logFile=System.out", "-Dorg.slf4j.simpleLogger.showDateTime=true")
_READY = b"Kafka Server started"
_TAKEN = b"Address already in use"


class LocalBroker:
    """A broker with a listener in plain text and, when wanted, further secure ones.

    Args:
        folder: holds data, configuration and the log ``broker.log``; made when missing.
        jars_folder: Kafka's jars; None: those of ``spoton.kafka.jars``, downloaded when they are not there.
        secure: further listeners with TLS or SASL; their addresses are ``secure_urls``, in the same order.
        patience_s: how long a start or a stop may take.
    """

    def __init__(
        self,
        folder: Path,
        *,
        jars_folder: Path | None = None,
        secure: Sequence[SecureListener] = (),
        patience_s: float = 60.0,
    ) -> None:
        self.folder = folder.absolute()
        self.secure = tuple(secure)
        self.patience_s = patience_s
        self.log = self.folder / "broker.log"
        self._jars_folder = jars_folder
        self._ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """``kafka://127.0.0.1:PORT`` without encryption; the same over all starts."""
        return f"kafka://127.0.0.1:{self._ports[1]}"

    @property
    def secure_urls(self) -> list[str]:
        """``kafka://127.0.0.1:PORT`` of every secure listener."""
        return [f"kafka://127.0.0.1:{port}" for port in self._ports[2:]]

    @property
    def pid(self) -> int | None:
        """The broker's process while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Start and wait until it serves; after a stop or a kill on the same ports and data.

        Raises:
            KafkaMissing: there is no Java, or there are no jars.
            BrokerError: it ends or hangs while starting; the last lines of its log are told.
        """
        if self.pid is not None:
            return
        java = _java()
        if self._ports:
            self._launch(java)
            return
        for attempt in range(3):  # a free port may be taken before the broker has it
            self._make_new(java)
            try:
                self._launch(java)
            except BrokerError:
                if attempt == 2 or _TAKEN not in self.log.read_bytes():
                    self._ports = []
                    raise
            else:
                return

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and end it (SIGKILL) when it does not; data and ports stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); data and ports stay."""
        self._end(signal.SIGKILL)

    def _make_new(self, java: str) -> None:
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._ports = []
        for _ in range(2 + len(self.secure)):
            self._ports.append(free_port(besides=self._ports))
        text = properties(self._ports[0], self._ports[1], list(zip(self._ports[2:], self.secure, strict=True)), data)
        file = self.folder / "server.properties"
        file.touch(mode=0o600)
        file.write_text(text)
        users = [word for user in scram_users(self.secure) for word in ("--add-scram", user)]
        command = self._command(java, "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(file), *users)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(
                f"Kafka's storage in {data} cannot be made: {_end_of((done.stdout + done.stderr).splitlines())}",
                remedy=f"it needs Java 11 or newer (this is {java}) and a folder that can be written",
            )

    def _launch(self, java: str) -> None:
        before = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(java, "kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
                # Ctrl-C at a terminal is for whoever uses the broker, which ends after its users.
                start_new_session=True,
            )  # fmt: skip
        atexit.register(self.kill)
        until = time.monotonic() + self.patience_s
        while not self._said(_READY, before):
            ended, late = self._process.poll(), time.monotonic() > until
            if ended is not None or late:
                self.kill()
                how = f"ended with {ended}" if ended is not None else f"did not serve within {self.patience_s:.0f} s"
                told = self.log.read_text(errors="replace").splitlines()
                raise BrokerError(f"Apache Kafka {how}: {_end_of(told)}", remedy=f"see {self.log}")
            time.sleep(0.02)

    def _said(self, words: bytes, since: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(since)
            return words in log.read()

    def _command(self, java: str, main: str, *args: str) -> list[str]:
        return [java, *_MEMORY, *_LOGGING, "-cp", f"{jars.resolve(self._jars_folder)}/*", main, *args]

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None
        atexit.unregister(self.kill)


def _java() -> str:
    home = os.environ.get("JAVA_HOME", "")
    java = shutil.which("java", path=str(Path(home, "bin"))) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise KafkaMissing(
            "no Java here, which Apache Kafka runs on",
            remedy="install it (Debian: apt-get install default-jre-headless), or name a running broker",
        )
    return java


def _end_of(lines: Sequence[str]) -> str:
    told = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
    return " | ".join(told[-5:]) or "it said nothing"


def main() -> None:
    """``python -m spoton.kafka.local_broker [FOLDER]``: a broker until Ctrl-C; without a folder nothing is kept."""
    import sys
    import tempfile

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = sys.argv[1] if sys.argv[1:] else stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        with LocalBroker(Path(folder)) as broker:
            print(broker.url, flush=True)
            signal.pause()


if __name__ == "__main__":
    main()
