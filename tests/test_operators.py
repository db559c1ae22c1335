"""An operator's corrections the whole way: the command line, the API, the log, the core, live state and history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from asyncio import to_thread
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from spoton.cli import app
from spoton.errors import SpotOnError
from spoton.kafka.local_config import free_port
from spoton.sim.plaza import Plaza
from spoton.sim.site_text import site_toml
from spoton.trials import faults
from spoton.trials.cluster import Cluster, Running, until


def spoton(*words: str) -> Any:
    """What a command prints, JSON read; raises as the command does."""
    told = CliRunner().invoke(app, [*words, "--json"])
    if isinstance(told.exception, SpotOnError):
        raise told.exception
    assert told.exit_code == 0, told.output
    return json.loads(told.output.splitlines()[-1])


def plaza_file(folder: Path) -> Path:
    """Three people before four live simulated cameras."""
    text = site_toml(Plaza(7, people=3), plan=None, epoch_us=time.time_ns() // 1000)
    file = folder / "site.toml"
    file.write_text(text.replace("[site]\n", '[site]\ndetector = "built-in"\n', 1))
    return file


def shown_by_two(api: str) -> tuple[str, list[str]]:
    """Somebody whom two cameras show now, and the tracks; "" when there is nobody."""
    for one in spoton("persons", "list", "--api", api)["persons"]:
        if len(one["seen"]) > 1:
            return one["person"], [f"{camera}/{track}" for camera, track in one["seen"]]
    return "", []


def corrected(api: str, ask: Callable[[str], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split somebody who is there, and take it back; returns both decisions."""
    until_s, refused = time.monotonic() + 90, ""
    while time.monotonic() < until_s:
        person, tracks = shown_by_two(api)
        if not person:
            time.sleep(0.3)
            continue
        try:
            split = spoton("persons", "split", person, tracks[0], "--why", "two coats", "--api", api)
            archived(split, ask)
            back = spoton("persons", "undo", split["event"]["id"], "--why", "one coat", "--api", api)
        except SpotOnError as error:
            # People walk on: when a correction holds, its track may be over, or cameras may speak against it.
            refused = str(error)
            continue
        archived(back, ask)
        return split, back
    raise AssertionError(f"nobody was split and made one again: {refused}")


def archived(told: dict[str, Any], ask: Callable[[str], Any]) -> None:
    """Wait until history has a decision: it comes after live state."""
    event, until_s = told["event"], time.monotonic() + 20
    while event["id"] not in {one["id"] for one in ask(f"/api/v1/events?type={event['type']}")["events"]}:
        assert time.monotonic() < until_s, f"history has no {event}"
        time.sleep(0.2)


def held(split: dict[str, Any], back: dict[str, Any], *where: str) -> None:
    """Both decisions are what was asked for, and are explained from ``where`` the events are."""
    told, undone = split["event"], back["event"]
    assert told["evidence"]["by"] == "operator"
    assert (told["evidence"]["why"], told["evidence"]["command"]) == ("two coats", split["command"]["id"])
    assert (undone["type"], undone["person"], undone["merged"]) == ("PersonsMerged", told["person"], told["new_person"])
    assert (undone["reverses"], back["command"]["seq"]) == (told["id"], split["command"]["seq"] + 1)
    chain = spoton("explain", told["new_person"], *where)
    assert (chain["now"], chain["previous_ids"]) == (told["person"], [])
    assert [step["event"] for step in chain["steps"] if step["event"] in (told["id"], undone["id"])] == [
        told["id"], undone["id"]
    ]  # fmt: skip
    assert told["new_person"] in spoton("explain", told["person"], *where)["previous_ids"]


async def test_a_person_is_split_and_made_one_again_beside_workers_on_kafka(
    tmp_path: Path, local_kafka: Callable[..., Any]
) -> None:
    os.chmod(tmp_path, 0o755)
    broker, database = local_kafka().url, faults.Database(tmp_path / "postgres")
    url = await to_thread(database.start)
    cluster = Cluster(broker, url, plaza_file(tmp_path), tmp_path)
    try:
        await cluster.ready(cluster.worker("", name="all"), timeout_s=90)
        api = cluster.api()
        await until(lambda: shows(api), 90, "people on the floor")
        split, back = await to_thread(corrected, f"http://127.0.0.1:{api.port}", api.ask)
        for where in (("--broker", broker), ("--database", url, "--site", "plaza")):
            await to_thread(held, split, back, *where)
    finally:
        await to_thread(cluster.stop)
        await to_thread(database.stop)


def test_a_person_is_split_and_made_one_again_on_one_machine(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    data, port, lines = tmp_path / "data", free_port(), tmp_path / "up.log"
    command = [sys.executable, "-m", "spoton.cli", "up", "--site", str(plaza_file(tmp_path)), "--data", str(data)]
    with lines.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=out, stderr=out, env={**os.environ, "SPOTON_BROKER": ""}
        )
    up, until_s = Running("up", process, port, lines), time.monotonic() + 90
    try:
        while not shows(up):
            assert process.poll() is None, lines.read_text()[-3000:]
            assert time.monotonic() < until_s, lines.read_text()[-3000:]
            time.sleep(0.2)
        split, back = corrected(f"http://127.0.0.1:{port}", up.ask)
        for where in (("--data", str(data)), ("--broker", f"log://{data / 'log'}")):
            held(split, back, *where)
    finally:
        process.terminate()
        process.wait(30)


def shows(api: Any) -> bool:
    try:
        return len(api.ask("/api/v1/persons")["persons"]) > 0
    except (OSError, KeyError):
        return False
