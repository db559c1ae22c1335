"""Processes of our own: they leave Ctrl-C to the process that started them, and end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from spoton.sim.painter import PaintedCamera
from spoton.site import CameraSite
from spoton.vision.apart import BuiltinApart, DetectorProcess, Watched

DETECTS = """
import time
import numpy as np
from spoton.site import CameraSite
from spoton.vision.apart import DetectorProcess, Watched
process = DetectorProcess()
process.detect(Watched(CameraSite("gate"), (64, 48)), [np.zeros((48, 64, 3), np.uint8)])
"""
PAINTS = """
import time
from spoton.sim.painter import PaintedCamera
frames = PaintedCamera("sim://plaza?width=160&height=120&people=1&fps=10").frames()
next(frames)
"""
# Its first frame is due in an hour, so the painter has nothing to write meanwhile.
WAITS_TO_PAINT = """
import threading, time
from spoton.sim.painter import PaintedCamera
frames = PaintedCamera(f"sim://plaza?fps=10&epoch_us={time.time_ns() // 1000 + 3_600_000_000}").frames()
threading.Thread(target=next, args=(frames,), daemon=True).start()
time.sleep(1.0)
"""
Program = Callable[[str], tuple[subprocess.Popen[str], psutil.Process]]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Starts a program that has a child, in a process group of its own; gives both."""
    started: list[subprocess.Popen[str]] = []

    def begin(text: str) -> tuple[subprocess.Popen[str], psutil.Process]:
        # Folders named like our packages must not hide them from the child.
        for name in ("spoton", "cv2"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise ImportError('shadowed')")
        # As at a terminal: what is started in the background of a shell ignores Ctrl-C, and so would this.
        heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        script = f"{heed}{text}\nprint('ready', flush=True)\ntime.sleep(60)\n"
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "errors").open("w"),
            text=True,
            start_new_session=True,
            cwd=tmp_path,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (tmp_path / "errors").read_text()
        (child,) = psutil.Process(process.pid).children()
        return process, child

    yield begin
    for process in started:
        process.kill()
        process.communicate()


class TestProcesses:
    @pytest.mark.parametrize(
        "text", [DETECTS, PAINTS, WAITS_TO_PAINT], ids=["detector", "painter", "painter that waits"]
    )
    def test_they_end_when_their_starter_is_killed(self, program: Program, text: str, tmp_path: Path) -> None:
        process, child = program(text)
        process.kill()
        process.wait()
        child.wait(20)
        assert (tmp_path / "errors").read_text() == ""

    @pytest.mark.parametrize("text", [DETECTS, PAINTS], ids=["detector", "painter"])
    def test_ctrl_c_is_left_to_their_starter(self, program: Program, text: str, tmp_path: Path) -> None:
        process, child = program(text)
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert child.is_running()
        os.killpg(process.pid, signal.SIGINT)
        child.wait(20)
        process.wait(20)
        errors = (tmp_path / "errors").read_text()
        assert errors.count("Traceback") == 1, errors


def test_a_detector_apart_finds_what_the_built_in_one_finds() -> None:
    watched = Watched(CameraSite("gate"), None)
    camera = PaintedCamera("sim://plaza?width=320&height=240&people=8&fps=50")
    pictures = []
    for frame in camera.frames():
        pictures.append(frame.picture)
        if len(pictures) == 12:
            camera.close()
            break
    process = DetectorProcess()
    try:
        found = BuiltinApart(watched, process).detect(pictures)
    finally:
        process.close()
    expected = watched.detector().detect(pictures)
    assert len(found) == 12
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.boxes_px, other.boxes_px)
        np.testing.assert_array_equal(one.scores, other.scores)
