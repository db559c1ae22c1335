"""Detectors that compute in Python, in processes of their own.

The built-in detector is many short NumPy and OpenCV calls. In threads of one interpreter they take turns, with each
other and with the event loop; in processes they use the cores there are.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import cv2
import numpy as np

from spoton.errors import ModelError
from spoton.geometry import floor_view
from spoton.site import CameraSite
from spoton.vision.builtin_detector import BuiltinDetector
from spoton.vision.protocols import Detections, Picture

DEFAULT_FPS = 10.0
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Watched:
    """What a built-in detector has to know of its camera. size_px: of the pictures that come."""

    camera: CameraSite
    size_px: tuple[int, int] | None

    def detector(self) -> BuiltinDetector:
        """A detector for it, told how people appear where the camera is calibrated."""
        expected = None
        if self.camera.calibration is not None:
            view = floor_view(self.camera.calibration, self.camera.size_px)
            expected = (view.scaled(self.size_px) if self.size_px else view).standing_px
        return BuiltinDetector(standing_px=expected, fps=self.camera.fps or DEFAULT_FPS)


class DetectorProcess:
    """A process that holds the built-in detectors of some cameras; started by ``start``, or when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to start: it takes about a second, which the first frame need not wait for."""
        with self._lock:
            self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "spoton.vision.apart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._process

    def detect(self, watched: Watched, frames: Sequence[Picture]) -> list[Detections]:
        """Ask the process, and wait; raises ModelError when it died. The next call starts another one."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                _write(process.stdin, (watched, list(frames)))
                answer = _read(process.stdout)
            except (OSError, EOFError) as error:
                self._end()
                raise ModelError(
                    f"the built-in detector's process ended (exit {process.returncode})",
                    remedy="it starts anew with the next frame and learns the background again",
                ) from error
        return [Detections(boxes_px, scores) for boxes_px, scores in answer]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@dataclass(slots=True)
class BuiltinApart:
    """The built-in detector of one camera, in another process."""

    watched: Watched
    process: DetectorProcess
    name: str = BuiltinDetector.name
    shared: bool = False

    def detect(self, frames: Sequence[Picture]) -> list[Detections]:
        """One ``Detections`` per frame, in order; every frame teaches the background."""
        return self.process.detect(self.watched, frames) if frames else []


def _write(pipe: IO[bytes], what: Any) -> None:
    data = pickle.dumps(what, protocol=5)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """The process: answers pictures with detections until nobody asks any more."""
    # Ctrl-C goes to every process of the terminal, a service's stop to all of its group: who asks decides when this one
    # ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        _answer()
    except BrokenPipeError:
        # Nobody waits for the answer; closing standard output again at exit would only complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer() -> None:
    detectors: dict[Watched, BuiltinDetector] = {}
    while True:
        try:
            watched, frames = _read(sys.stdin.buffer)
        except EOFError:
            return
        if watched not in detectors:
            # A camera whose pictures changed their size starts anew; the old size will not come back soon.
            detectors = {known: one for known, one in detectors.items() if known.camera.name != watched.camera.name}
            detectors[watched] = watched.detector()
        found = detectors[watched].detect(frames)
        _write(sys.stdout.buffer, [(np.asarray(one.boxes_px), np.asarray(one.scores)) for one in found])


if __name__ == "__main__":
    main()
