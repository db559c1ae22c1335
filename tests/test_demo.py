"""The demo, as a new user meets it: one command, a page with people on it, figures against the exact truth."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoton.events import Evidence, PersonsMerged, PersonSplit
from spoton.sim.demo_score import Watched, score
from spoton.sim.plaza import Plaza

KEYS = {"idf1", "mota", "floor_error_median_m", "fps_per_camera", "detector", "people"}
Demo = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def demo() -> Iterator[Demo]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "spoton.cli", "demo", *arguments]
        started.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                # As at a terminal: what is started in the background of a shell ignores Ctrl-C, and so would this.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )  # fmt: skip
        return started[-1]

    yield begin
    for one in started:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGINT)
            one.communicate(timeout=60)


def health(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        services: dict[str, Any] = json.load(answer)["services"]
        return services


def test_the_headless_demo_ends_with_one_json_object_measured_against_the_truth(demo: Demo, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    out, err = demo("--headless", "--seconds", "15", "--json", "--data", str(kept)).communicate(timeout=120)
    assert out.count("\n") == 1, err
    result = json.loads(out)
    assert set(result) >= KEYS
    assert (result["detector"], result["people"], result["cameras"]) == ("built-in", 12, 4)
    assert result["floor_error_median_m"] < 0.35
    assert result["persons_found"] >= 8
    assert 0 < result["fps_per_camera"] <= 10.01
    # Another world has another truth: against that one the same events must look bad.
    sources = (kept / "site.toml").read_text()
    epoch_us = int(sources.split("epoch_us=")[1].split('"')[0])
    right = score(Plaza(7, 12), kept / "data" / "log", epoch_us)
    wrong = score(Plaza(8, 12), kept / "data" / "log", epoch_us)
    assert right == result
    assert wrong["idf1"] < result["idf1"] / 2


@pytest.mark.parametrize(
    ("mode", "seconds", "detector"), [("every-frame", 6, "built-in"), ("detections", 30, "simulated")]
)
def test_the_wide_site_is_scored_without_real_time_and_says_so(
    demo: Demo, mode: str, seconds: int, detector: str
) -> None:
    arguments = ("--cameras", "8", "--headless", "--seconds", str(seconds), "--json", "--mode", mode)
    out, err = demo(*arguments).communicate(timeout=170)
    assert out.count("\n") == 1, err
    result = json.loads(out)
    assert (result["mode"], result["detector"], result["cameras"], result["people"]) == (mode, detector, 8, 30)
    assert result["fps_per_camera"] == 10.0
    assert result["floor_error_median_m"] < 0.3
    assert result["mota"] > 40
    if mode == "detections":
        assert result["returns"] >= 1
        assert 0 <= result["rank1_after_return"] <= 100


async def test_the_page_of_a_running_demo_shows_people_pictures_and_the_detector(demo: Demo, chromium: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = demo("--seconds", "90", "--port", str(port))
    assert running.stderr is not None
    while "The plaza is live" not in (line := running.stderr.readline()):
        assert line, "the demo ended before it was live"
    tab = await chromium.open(f"http://127.0.0.1:{port}/", width=1440, height=900)
    await tab.until("document.getElementById('connection').dataset.state === 'live'", 30)
    await tab.until("document.querySelectorAll('#list .person').length >= 6", 45)
    await tab.until(
        "[...document.querySelectorAll('.tile canvas')].filter((c) => Number(c.dataset.boxes) > 0).length >= 3", 45
    )
    assert "built-in" in await tab.run("document.body.innerText")
    assert tab.problems == []
    services = await asyncio.to_thread(health, port)
    assert services["database"]["status"] == "ok"
    assert {camera["detector"] for camera in services["cameras"].values()} == {"built-in"}
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert "against the exact truth" in out
    assert running.returncode == 0


def test_in_the_end_everyone_is_who_they_proved_to_be_unless_that_was_taken_back() -> None:
    watched, head = Watched(), {"id": "", "at": 0, "site": "s", "seq": 0, "tracks": [], "evidence": Evidence()}
    for person, gone in ((2, 3), (1, 2), (5, 6)):
        watched.heard(PersonsMerged(person=f"0-{person}", merged=f"0-{gone}", **head))
    assert [watched.in_the_end(number) for number in (1, 2, 3, 4, 5, 6)] == [1, 1, 1, 4, 5, 5]
    watched.heard(PersonSplit(person="0-1", new_person="0-2", number=2, **head))
    assert [watched.in_the_end(number) for number in (1, 2, 3)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--headless"], "add --seconds 30", id="would never end"),
        pytest.param(["--seconds", "0"], "give a number above 0", id="no time"),
        pytest.param(["--seconds", "5", "--headless", "--detector", "yolo-none"], "yolo-none", id="unknown detector"),
        pytest.param(["--seconds", "5", "--cameras", "6"], "choose 4", id="no such site"),
        pytest.param(["--seconds", "5", "--mode", "slow"], "live, every-frame, detections", id="unknown mode"),
        pytest.param(["--seconds", "5", "--mode", "every-frame"], "add --headless", id="no page but live"),
        pytest.param(
            ["--seconds", "5", "--headless", "--mode", "detections"], "add --cameras 8", id="detections of the plaza"
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_line(demo: Demo, arguments: list[str], message: str) -> None:
    running = demo(*arguments)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert out == ""
    assert err.strip().count("\n") == 0
    assert message in err
