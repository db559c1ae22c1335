"""Workers on Kafka as an operator starts them: killed, paused, cut off, added and removed under load."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoton.errors import SpotOnError
from spoton.kafka.commands import apply_cameras
from spoton.kafka.settings import servers
from spoton.kafka.topics import ensure, plans
from spoton.sim.plaza import Plaza
from spoton.sim.site_text import site_toml
from spoton.site_file import parse
from spoton.trials import faults, handover
from spoton.trials.cluster import Cluster, until
from spoton.trials.load import Watch

pytestmark = pytest.mark.timeout(900)


async def workers_die_and_are_paused(trial: faults.Trial) -> None:
    await faults.detection_worker_dies(trial)
    trial.workers["detection"].append(trial.cluster.worker("detection"))
    await asyncio.sleep(10.0)
    await faults.identity_worker_dies(trial)
    await asyncio.sleep(10.0)
    await faults.worker_is_paused(trial)


async def the_database_goes_while_workers_come_and_go(trial: faults.Trial) -> None:
    await asyncio.gather(faults.database_goes(trial), faults.workers_come_and_go(trial))


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(workers_die_and_are_paused, 60.0, id="workers die and are paused"),
        pytest.param(the_database_goes_while_workers_come_and_go, 90.0, id="database away, workers come and go"),
        pytest.param(faults.broker_stops, 38.0, id="broker away"),
    ],
)
async def test_nothing_is_lost_or_counted_twice_and_nobody_changes(
    fault: faults.Fault, seconds: float, tmp_path: Path, local_kafka: Callable[..., Any]
) -> None:
    os.chmod(tmp_path, 0o755)
    broker = local_kafka()
    outcome = await faults.try_out("several", fault, seconds, tmp_path, broker, broker.url)
    assert outcome.events_in > 0
    assert (outcome.lost, outcome.duplicated, outcome.ids_changed) == (0, 0, 0), outcome
    # What waits for a database or a broker must not pile up in memory.
    assert outcome.largest_mb < 600, outcome


async def test_a_dead_workers_cameras_are_read_by_another(tmp_path: Path, local_kafka: Callable[..., Any]) -> None:
    outcome = None
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        try:
            outcome = await handover.run_trial(folder, local_kafka().url, watch_s=40.0)
            break
        except SpotOnError:
            # A machine that stands still for half a minute proves nothing; twice in a row is no accident.
            if attempt == "second":
                raise
    assert outcome is not None
    assert outcome.duplicated == 0, outcome
    assert outcome.skipped, "what was due while nobody read is a gap in the numbers"
    assert outcome.events_in > 0


async def test_cameras_are_added_and_removed_while_workers_run(
    tmp_path: Path, local_kafka: Callable[..., Any]
) -> None:
    broker = local_kafka()
    settings = {"bootstrap_servers": servers(broker.url)}
    await ensure(broker.url, plans(4))
    text = site_toml(Plaza(7, people=3), plan=None, epoch_us=time.time_ns() // 1000)
    head, *cameras = text.split("[[camera]]\n")
    tail = cameras[-1][cameras[-1].index("[[zone]]") :]
    cameras[-1] = cameras[-1].replace(tail, "")

    def site_of(*numbers: int) -> str:
        return head + "".join(f"[[camera]]\n{cameras[number]}" for number in numbers) + tail

    file = tmp_path / "site.toml"
    file.write_text(site_of(0, 1))
    cluster = Cluster(broker.url, "postgresql://nobody@127.0.0.1:1/none", file, tmp_path)
    watch = Watch(settings, "plaza", ("frames",))
    watching = asyncio.create_task(watch.run())

    def read() -> set[str]:
        now_s = time.monotonic()
        return {route for route, seen in watch.arrived.items() if now_s - seen[-1] < 1.5}

    try:
        await cluster.ready(cluster.worker("capture"))
        await until(lambda: read() == {"plaza/south-west", "plaza/north-east"}, 60, "two cameras")
        wanted = parse(site_of(1, 2), str(file))
        facts = await apply_cameras(wanted, settings, at=time.time_ns() // 1000, by="test", why="moved")
        assert sorted(type(fact).__name__ for fact in facts) == ["CameraAdded", "CameraAdded"]
        await until(lambda: read() == {"plaza/north-east", "plaza/south-east"}, 30, "another camera")
        facts = await apply_cameras(
            parse(site_of(2), str(file)), settings, at=time.time_ns() // 1000, by="test", why="gone"
        )
        assert [(type(fact).__name__, fact.camera) for fact in facts] == [("CameraRemoved", "north-east")]
        await until(lambda: read() == {"plaza/south-east"}, 30, "one camera")
        # A worker that starts with the old file agrees with what is recorded.
        await cluster.ready(cluster.worker("capture"))
        await asyncio.sleep(4)
        await until(lambda: read() == {"plaza/south-east"}, 30, "one camera still")
        assert await apply_cameras(parse(site_of(2), str(file)), settings, at=1, by="test", why="") == []
    finally:
        watching.cancel()
        await asyncio.to_thread(cluster.stop)


async def test_the_api_beside_workers_shows_people_pictures_and_history(
    tmp_path: Path, local_kafka: Callable[..., Any]
) -> None:
    os.chmod(tmp_path, 0o755)
    broker = local_kafka()
    file = tmp_path / "site.toml"
    text = site_toml(Plaza(7, people=5, cameras=2), plan=None, epoch_us=time.time_ns() // 1000)
    file.write_text(text.replace("[site]\n", '[site]\ndetector = "built-in"\n', 1))
    database = faults.Database(tmp_path / "postgres")
    url = await asyncio.to_thread(database.start)
    cluster = Cluster(broker.url, url, file, tmp_path)
    try:
        worker = cluster.worker("", name="all")
        await cluster.ready(worker, timeout_s=90)
        apis = [cluster.api(), cluster.api()]
        for api in apis:
            await until(lambda api=api: _answers(api), 60, "the API")
            await until(lambda api=api: len(api.ask("/api/v1/persons")["persons"]) > 0, 90, "people on the floor")
            await until(lambda api=api: _detectors(api) == ["built-in"] * 2, 60, "a detector for each camera")
        await until(lambda: len(apis[0].ask("/api/v1/events?type=PeopleLocated")["events"]) > 5, 60, "history")
        camera = next(iter(apis[1].ask("/health")["services"]["cameras"]))
        picture = apis[1].ask(f"/api/v1/cameras/{camera}/picture")
        assert picture.startswith(b"\xff\xd8"), "a JPEG"
    finally:
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(database.stop)


def _detectors(api: Any) -> list[str]:
    """Of each camera, as its first frame told; empty before."""
    return [camera["detector"] for camera in api.ask("/health")["services"]["cameras"].values()]


def _answers(api: Any) -> bool:
    try:
        return bool(api.ask("/health")["status"])
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "--broker", "kafka://127.0.0.1:1"], "no Kafka broker at"),
        (["worker", "--broker", "log:///tmp/x"], "for one process; use spoton up"),
        (["worker", "--broker", "kafka://127.0.0.1:1", "--roles", "dancing"], "role 'dancing' does not exist"),
        (["api", "--broker", "kafka://127.0.0.1:1"], "no Kafka broker at"),
        (["cameras", "apply", "--broker", "kafka://127.0.0.1:1"], "no Kafka broker at"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[site]\nname = "yard"\n[[camera]]\nname = "gate"\nsource = "rtsp://127.0.0.1/1"\n')
    command = [sys.executable, "-m", "spoton.cli", *arguments, "--site", str(file)]
    environment = {**os.environ, "SPOTON_DATA": str(tmp_path / "data")}
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert told.returncode == 1
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("spoton: ")]
    assert len(lines) == 1, json.dumps(told.stderr)
