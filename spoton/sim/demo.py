"""``spoton demo``: the simulated plaza through the real worker, scored against the exact truth.

The worker is the one that ``spoton up`` runs, as a child process on a site file like any other; only its cameras are
simulated. Nothing of the truth reaches it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spoton import site_file
from spoton.config import DEFAULT_PORT
from spoton.errors import InputError, SpotOnError
from spoton.sim.demo_offline import watch
from spoton.sim.demo_score import render, score, scored
from spoton.sim.floor import SimulatedFloor
from spoton.sim.plan import plan_picture
from spoton.sim.plaza import Plaza
from spoton.sim.scenario import Scenario
from spoton.sim.site_text import site_toml
from spoton.sim.world import World
from spoton.vision.choose import make_embedder
from spoton.vision.eyes import Eyes
from spoton.vision.weights import default_folder

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for. seconds: None runs until Ctrl-C. data: None keeps nothing."""

    seconds: float | None
    headless: bool
    as_json: bool
    people: int | None
    seed: int
    port: int | None
    data: Path | None
    detector: str
    cameras: int = 4
    mode: str = "live"


WIDE = Scenario(cameras=8, rig="gaps", people=30, floor_m=(36.0, 14.0), returns=0.5)
"""The site of eight cameras, four in the middle that overlap and two pairs that do not: walkers are out of all views
between them, and when they leave the hall and come back.
"""
MODES = ("live", "every-frame", "detections")


def world_of(wishes: Wishes) -> World:
    """The simulated site that was asked for; InputError for a number of cameras that no site has."""
    if wishes.cameras == 4:
        return Plaza(wishes.seed, 12 if wishes.people is None else wishes.people)
    if wishes.cameras == 8:
        people = WIDE.people if wishes.people is None else wishes.people
        return SimulatedFloor(replace(WIDE, seed=wishes.seed, people=people))
    raise InputError(f"--cameras = {wishes.cameras}", remedy="choose 4, which see one plaza, or 8, with blind gaps")


def run(wishes: Wishes) -> None:
    """Run the demo to its end and print what was measured.

    Raises SpotOnError when the worker does not start, or stops by itself.
    """
    if wishes.seconds is not None and not wishes.seconds > 0:
        raise InputError(f"--seconds = {wishes.seconds}", remedy="give a number above 0")
    if wishes.mode not in MODES:
        raise InputError(f"--mode = {wishes.mode!r}", remedy=f"choose from {', '.join(MODES)}")
    plaza = world_of(wishes)
    if wishes.mode != "live":
        _show(_offline(plaza, wishes), wishes)
        return
    with _folder(wishes.data) as folder:
        epoch_us = time.time_ns() // 1000
        _write_site(plaza, folder, epoch_us, wishes.detector)
        port = wishes.port if wishes.port is not None else _port(wishes.headless)
        with _worker(folder, port, quiet=wishes.headless or wishes.as_json) as worker:
            _wait_until_up(worker, folder, port)
            _watch(worker, folder, port, wishes)
        result = score(plaza, folder / "data" / "log", epoch_us)
    _show(result, wishes)


def _show(result: dict[str, Any], wishes: Wishes) -> None:
    if wishes.as_json:
        print(json.dumps(result))
    else:
        render(result, Console())


def _offline(world: World, wishes: Wishes) -> dict[str, Any]:
    if not wishes.headless or wishes.seconds is None:
        raise InputError(f"--mode {wishes.mode} has no page to show", remedy="add --headless --seconds 60")
    if wishes.mode == "detections" and not isinstance(world, SimulatedFloor):
        raise InputError("--mode detections needs the wide site", remedy="add --cameras 8")
    site = site_file.parse(_site_text(world, 0, wishes.detector), "demo")
    weights = default_folder(os.environ)
    eyes = Eyes(None, site.detector, weights, make_embedder(site.embedder, weights_dir=weights))
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=Console(stderr=True),
        transient=True,
    )  # fmt: skip
    frames = round(wishes.seconds * world.fps)
    with bars:
        watched = watch(world, site, frames, None if wishes.mode == "detections" else eyes, bars)
    return scored(world, watched, epoch_us=0, mode=wishes.mode)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="spoton-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    folder = given.absolute()
    if (folder / "data").exists():
        raise InputError(
            f"--data = {str(given)!r} holds an earlier run", remedy="name a new folder, or delete that one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _site_text(plaza: World, epoch_us: int, detector: str) -> str:
    text = site_toml(plaza, name="plaza", epoch_us=epoch_us)
    return text.replace("[site]\n", f"[site]\ndetector = {json.dumps(detector)}\n", 1)


def _write_site(plaza: World, folder: Path, epoch_us: int, detector: str) -> None:
    (folder / "site.toml").write_text(_site_text(plaza, epoch_us, detector))
    cv2.imwrite(str(folder / "plan.png"), cv2.cvtColor(plan_picture(plaza), cv2.COLOR_RGB2BGR))


def _port(headless: bool) -> int:
    """The default port when it is free and a person will look; any free one otherwise."""
    for wanted in (0,) if headless else (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InputError("no free port on 127.0.0.1", remedy="end another program")


@contextmanager
def _worker(folder: Path, port: int, *, quiet: bool) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "SPOTON_SITE": str(folder / "site.toml"),
        "SPOTON_DATA": str(folder / "data"),
        "SPOTON_PORT": str(port),
        "SPOTON_HOST": "127.0.0.1",
        # A demo need not outlive a power cut.
        "SPOTON_BROKER": f"log://{folder / 'data' / 'log'}?sync=normal",
        "SPOTON_DATABASE": "",
    }
    with (folder / "worker.log").open("wb") as lines:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "faust_app"], env=environment, stderr=lines if quiet else None, stdout=lines
        )
        try:
            yield worker
        finally:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _wait_until_up(worker: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """Return when every camera delivers."""
    until_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until_s:
        _check_alive(worker, folder)
        cameras = _cameras(port)
        if cameras and all(camera["frames"] for camera in cameras.values()):
            return
        time.sleep(0.1)
    raise SpotOnError(f"the worker did not start within {START_TIMEOUT_S:g} s", remedy=_last_lines(folder))


def _cameras(port: int) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            cameras: dict[str, Any] = json.load(answer)["services"]["cameras"]
            return cameras
    except (OSError, ValueError, KeyError):
        # Not listening yet, or still starting (503).
        return {}


def _check_alive(worker: subprocess.Popen[bytes], folder: Path) -> None:
    if worker.poll() is not None:
        raise SpotOnError(f"the worker stopped by itself (exit {worker.returncode})", remedy=_last_lines(folder))


def _last_lines(folder: Path) -> str:
    said = (folder / "worker.log").read_text(errors="replace").strip().splitlines()
    return "it said: " + " | ".join(said[-3:]) if said else "see the lines above"


def _watch(worker: subprocess.Popen[bytes], folder: Path, port: int, wishes: Wishes) -> None:
    """Let it run for as long as was wished; Ctrl-C ends it early, and what was seen is scored."""
    messages = Console(stderr=True)
    if not wishes.headless:
        messages.print(f"The plaza is live: [bold]http://127.0.0.1:{port}/[/bold]   (Ctrl-C ends it)")
    began_s = time.monotonic()
    bar = Progress(
        TextColumn("watching the plaza"), BarColumn(), TimeRemainingColumn(), console=messages, transient=True
    )
    try:
        with bar:
            task = bar.add_task("", total=wishes.seconds, visible=wishes.seconds is not None)
            while wishes.seconds is None or time.monotonic() - began_s < wishes.seconds:
                _check_alive(worker, folder)
                bar.update(task, completed=time.monotonic() - began_s)
                time.sleep(0.1)
    except KeyboardInterrupt:
        messages.print("stopping")
