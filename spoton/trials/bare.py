"""The raw floor beneath detection workers: the same decisions alone, without broker, agents or tables.

``python -m spoton.trials.bare`` decides recorded frames of four simulated cameras over and over: it says ``ready``,
waits for a line, works for as many seconds as the line says and prints frames per second. Two of them beside each
other show what a second worker can add on this machine at best: cores may be threads of one core, share their clock
with the neighbour, or belong to somebody else half of the time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spoton import tracks
from spoton.errors import SpotOnError
from spoton.running.launch import command
from spoton.trials.grounds import grounds
from spoton.trials.recording import seen

CAMERAS, SECONDS = 4, 20.0
"""Of the recording."""


def frames_per_s(processes: int, *, work_s: float) -> float:
    """What ``processes`` of them decide together, all at the same time; frames per second.

    Raises SpotOnError when one of them ends without a figure.
    """
    started = [
        subprocess.Popen(command("spoton.trials.bare"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for one in started:
            assert one.stdout is not None
            one.stdout.readline()
        for one in started:
            assert one.stdin is not None
            one.stdin.write(f"{work_s!r}\n")
            one.stdin.flush()
        told = [one.communicate()[0] for one in started]
    finally:
        for one in started:
            one.kill()
            one.wait()
    try:
        return sum(float(text) for text in told)
    except ValueError as error:
        raise SpotOnError("the decisions alone cannot be measured: a process ended without a figure") from error


def main() -> None:
    """Decide for the seconds that the first line of the standard input names; prints frames per second."""
    with tempfile.TemporaryDirectory() as made:
        recording = grounds(CAMERAS, SECONDS, Path(made))
    thresholds = recording.site.thresholds
    inputs = [
        (frame.camera, seen(frame, thresholds.low_score))
        for number in range(len(recording.frames))
        for frame in recording.captured(0, number)
    ]
    print("ready", flush=True)
    work_s = float(sys.stdin.readline())
    decided, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < work_s:
        trackers = {camera: tracks.initial() for camera in recording.cameras}
        for camera, frame in inputs:
            _, trackers[camera] = tracks.step(trackers[camera], frame, thresholds)
            decided += 1
            if time.perf_counter() - began_s >= work_s:
                break
    print(decided / (time.perf_counter() - began_s), flush=True)


if __name__ == "__main__":
    main()
