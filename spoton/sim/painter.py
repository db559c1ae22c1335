"""Simulated cameras in processes of their own, like real ones: painting pictures must not take the watcher's time.

A worker's threads share one interpreter lock, and painting is thousands of short OpenCV calls, each of which gives the
lock away and has to get it back: four painting threads slow everything else to a crawl, on however many cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

import cv2
import numpy as np

from spoton.errors import SourceError
from spoton.sim.source import open_simulated
from spoton.vision.protocols import Frame

HEADER = struct.Struct("<qqii")
"""Frame number, event time in microseconds, height, width; the RGB bytes follow."""


class PaintedCamera:
    """The camera of a ``sim://`` URL, painted by a process that ends with this one."""

    finite = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def frames(self, start_index: int = 0) -> Iterator[Frame]:
        """Frames as they fall due; raises SourceError when the URL names no simulated camera."""
        if self._closed:
            return
        command = [sys.executable, "-P", "-m", "spoton.sim.painter", self._url, str(start_index)]
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            while header := process.stdout.read(HEADER.size):
                index, at_us, height, width = HEADER.unpack(header)
                pixels = process.stdout.read(height * width * 3)
                if len(pixels) < height * width * 3:
                    break
                yield Frame(index, at_us, np.frombuffer(pixels, np.uint8).reshape(height, width, 3))
            if not self._closed:
                raise SourceError(self._last_words(process))
        finally:
            self.close()

    def close(self) -> None:
        """End the process; safe from another thread."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        process.wait()
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"{self._url}: its process ended (exit {process.returncode})"


def paint(url: str, start_index: int, out: IO[bytes]) -> None:
    """Write every frame of a simulated camera to ``out`` as it falls due, until nobody reads."""
    from spoton.vision.sources import wall_clock_us

    cv2.setNumThreads(1)
    camera = open_simulated(url, clock_us=wall_clock_us)
    for frame in camera.frames(start_index):
        height, width = frame.picture.shape[:2]
        out.write(HEADER.pack(frame.index, frame.at_us, height, width))
        out.write(frame.picture.data)
        out.flush()


def _end_with_reader() -> None:
    # Nothing is ever written to it, so that it ends says that the reader has; a frame may be due much later.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def main() -> None:
    """The process: URL and first frame are its arguments, frames its standard output. It ends with its reader."""
    # Ctrl-C goes to every process of the terminal, a service's stop to all of its group: the reader decides when its
    # cameras end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_reader, daemon=True).start()
    try:
        paint(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)
    except SourceError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader is gone; closing standard output again at exit would only complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
