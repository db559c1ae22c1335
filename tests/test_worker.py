"""The whole way, as an operator runs it: ``spoton up`` on two videos, killed in the middle, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from spoton import events
from spoton.log.reader import LogReader
from spoton.sim.plaza import Plaza
from spoton.sim.site_text import site_toml

FRAMES = 90
STREAMS = ("detections", "identities", "positions", "behaviour")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two overlapping cameras whose sources are video files of the simulated plaza."""
    folder = tmp_path_factory.mktemp("videos")
    plaza = Plaza(3, people=6, cameras=2)
    text = site_toml(plaza, name="yard", plan=None).replace("[site]\n", '[site]\ndetector = "built-in"\n', 1)
    for k, view in enumerate(plaza.views):
        path = folder / f"{view.name}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"crf": "18", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            stream.time_base = Fraction(1, 10)
            for n in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(plaza.picture(n, k), format="rgb24")))
            container.mux(stream.encode())
        source = next(line for line in text.splitlines() if line.startswith("source") and f"camera={k}&" in line)
        text = text.replace(source, f'source = "{path}"')
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


class Worker:
    """One ``spoton up`` process."""

    def __init__(self, site: Path, data: Path, lines: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.lines = lines
        command = [sys.executable, "-m", "spoton.cli", "up", "--site", str(site), "--data", str(data)]
        with lines.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)], stdout=out, stderr=out, env={**os.environ, "SPOTON_BROKER": ""}
            )

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def wait_for(self, what: str, ready: Callable[[], bool], timeout_s: float = 60) -> None:
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            assert self.process.poll() is None, f"the worker stopped: {self.lines.read_text()}"
            try:
                if ready():
                    return
            except (OSError, KeyError):
                pass
            time.sleep(0.1)
        pytest.fail(f"waited {timeout_s} s for {what}: {self.lines.read_text()[-3000:]}")

    def cameras(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/health")["services"]["cameras"]
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], Worker]]:
    started: list[Worker] = []

    def begin(site: Path) -> Worker:
        started.append(Worker(site, tmp_path / "data", tmp_path / "worker.log"))
        return started[-1]

    yield begin
    for worker in started:
        if worker.process.poll() is None:
            worker.stop()


def recorded(data: Path) -> dict[str, list[events.AnyEvent]]:
    """Every event in the log, by stream, in order."""
    found: dict[str, list[events.AnyEvent]] = {}
    with LogReader(data / "log") as reader:
        known = {topic.name: topic.partitions for topic in reader.topics()}
        for stream in STREAMS:
            found[stream] = [
                events.decode(record.value)
                for partition in range(known.get(stream, 0))
                for record in reader.records(stream, partition)
            ]
    return found


def test_a_worker_killed_in_the_middle_of_two_videos_loses_nothing(
    videos: Path, start: Callable[[Path], Worker], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = start(videos)
    first.wait_for("a third of the videos", lambda: min(c["frames"] for c in first.cameras().values()) > FRAMES // 3)
    first.process.kill()
    first.process.wait()
    before = recorded(data)

    second = start(videos)
    second.wait_for(
        "the end of both videos",
        lambda: all("end" in (c["reason"] or "") for c in second.cameras().values()) and len(second.cameras()) == 2,
    )
    second.wait_for("history to have it all", lambda: archived_ids(second) == recorded_ids(data))
    history = second.get("/api/v1/events?limit=1000&type=PeopleDetected")
    persons = second.get("/api/v1/persons?from=0")["persons"]
    assert second.stop() == 0
    after = recorded(data)

    frames = defaultdict(list)
    for event in after["detections"]:
        if isinstance(event, events.PeopleDetected):
            frames[event.camera].append(event.frame)
        elif isinstance(event, events.FramesSkipped):
            frames[event.camera].extend(range(event.first, event.last + 1))
    assert len(frames) == 2
    for camera, seen in frames.items():
        assert sorted(seen) == list(range(FRAMES)), camera
    for stream in STREAMS[:3]:
        unique = {event.id: event for event in after[stream]}
        assert len(before[stream]) > 0
        # What the killed worker had said still stands, and what was said again is the same fact.
        assert {event.id for event in before[stream]} <= set(unique)
        assert all(unique[event.id] == event for event in after[stream])
        assert_counts_without_gap(list(unique.values()))
    appeared = {e.id: e for e in after["identities"] if isinstance(e, events.PersonAppeared)}.values()
    assert len({event.person for event in appeared}) == len(appeared) > 0

    archived = [event["id"] for event in history["events"]]
    assert len(archived) == len(set(archived))
    assert set(archived) == {e.id for e in after["detections"] if isinstance(e, events.PeopleDetected)}
    assert {person["person"] for person in persons} == {
        one.person
        for tick in after["positions"]
        for one in tick.people  # type: ignore[union-attr]
    }
    # The same facts as an undisturbed run: no identity was given twice to what the cameras saw without a break.
    assert np.median([len(tick.people) for tick in after["positions"]]) >= 2  # type: ignore[union-attr]


ARCHIVED = ("PeopleDetected", "PeopleLocated")


def archived_ids(worker: Worker) -> set[str]:
    found = [worker.get(f"/api/v1/events?type={name}&limit=1000")["events"] for name in ARCHIVED]
    return {event["id"] for events_ in found for event in events_}


def recorded_ids(data: Path) -> set[str]:
    found = recorded(data)
    return {
        event.id
        for stream in ("detections", "positions")
        for event in found[stream]
        if type(event).__name__ in ARCHIVED
    }


def assert_counts_without_gap(found: list[events.AnyEvent]) -> None:
    by_key = defaultdict(list)
    for event in found:
        by_key[getattr(event, "camera", "") if event.stream == "detections" else ""].append(event.seq)
    for key, seqs in by_key.items():
        assert sorted(seqs) == list(range(1, len(seqs) + 1)), key


def test_a_second_worker_on_the_same_data_is_told_who_has_it(
    videos: Path, start: Callable[[Path], Worker], tmp_path: Path
) -> None:
    first = start(videos)
    first.wait_for("the first frames", lambda: min(c["frames"] for c in first.cameras().values()) > 0)
    second = Worker(videos, tmp_path / "data", tmp_path / "second.log")
    assert second.process.wait(30) != 0
    said = second.lines.read_text()
    assert str(first.process.pid) in said
    assert "kafka://" in said
    assert str(tmp_path / "data" / "log") in said
    assert "Traceback" not in said
    assert first.process.poll() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(("fps = 10.0", "fps = -1.0"), "fps", id="bad value"),
        pytest.param(("[[camera]]", "[[kamera]]"), "kamera", id="unknown table"),
    ],
)
def test_a_mistake_in_the_site_file_is_one_line(
    videos: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(videos.read_text().replace(*change, 1))
    command = [sys.executable, "-m", "spoton.cli", "up", "--site", str(wrong), "--data", str(tmp_path / "data")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode != 0
    assert told.stderr.count("\n") == 1
    assert str(wrong) in told.stderr
    assert message in told.stderr
