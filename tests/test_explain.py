"""``spoton explain``: any identity, from wherever its events are kept."""

from __future__ import annotations

import json
from asyncio import to_thread
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner

from spoton import corrections, events, people
from spoton.cli import app
from spoton.errors import SpotOnError
from spoton.events import MergeRequested, PersonsMerged, SplitRequested, TrackRef
from spoton.kafka.settings import servers
from spoton.log.record import Record, Topic
from spoton.log.schema import to_row
from spoton.log.store import Batch, Store


@pytest.fixture(scope="module")
def told(scenes: ModuleType) -> list[events.Event]:
    """Somebody for 2 s, away for 4 s, there again as another; told to be the same, which was right."""
    site = scenes.plaza(leave_after_s=2.0)
    parts = (([6.0, 4.5], 20), ([500.0, 500.0], 40), ([8.0, 5.0], 40))
    seen = scenes.in_time(scenes.stream(site, np.concatenate([np.tile(at, (count, 1, 1)) for at, count in parts])))
    head: dict[str, Any] = {"id": "", "seq": 0, "site": "plaza", "by": "anna"}
    wishes = [
        MergeRequested(**head, at=8_000_000, why="same coat", person="0-1", merged="0-2"),
        SplitRequested(**head, at=9_000_000, why="", person="0-1", tracks=[TrackRef("north", 77)]),
    ]
    commands = [corrections.numbered(wish, seq) for seq, wish in enumerate(wishes, 1)]
    state, decided = people.initial(site), list[events.Event]()
    for one in sorted([*seen, *commands], key=lambda one: one.at):
        more, state = people.step(state, one, site)
        decided += more
    return [*decided, *commands]


def explain(*words: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, ["explain", *words])
    if isinstance(outcome.exception, SpotOnError):
        return 1, str(outcome.exception)
    return outcome.exit_code, outcome.output


def by_stream(told: list[events.Event]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {"identities": [], "commands": []}
    for one in told:
        found.setdefault(one.stream, []).append(events.encode(one))
    return found


@pytest.fixture
def file(told: list[events.Event], tmp_path: Path) -> str:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(events.encode(one) + b"\n" for one in told))
    return str(path)


@pytest.fixture
def log(told: list[events.Event], tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "log"
    folder.mkdir(parents=True)
    store = Store(folder / "log.db", sync="normal")
    for number, (name, values) in enumerate(by_stream(told).items(), 1):
        topic = Topic(number, name, 1, None, False)
        lane = topic.lane(0)
        rows = [to_row(lane, Record(offset, 0, b"plaza", value), 0) for offset, value in enumerate(values)]
        store.write([Batch(topics=[topic]), Batch(events=rows)])
    store.close()
    return folder


def test_the_chain_is_told_with_what_was_measured_and_who_said_what(told: list[events.Event], file: str) -> None:
    code, said = explain("0-2", "--events", file)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == "0-2, who is 0-1 today"
    assert "0-2 appeared at 8.0, 5.0 m, shown by" in lines[1]
    assert any("track north/" in line and "floor 0." in line and "of 1.00 m" in line for line in lines), said
    (merged,) = (one for one in told if isinstance(one, PersonsMerged))
    assert lines[-1].endswith(f'0-2 is 0-1 from now on (by operator, anna, "same coat")  [{merged.id}]')
    code, said = explain("0-1", "--events", file)
    assert said.splitlines()[0] == "0-1, before 0-2"
    assert "0-1 left, last seen at 6.0, 4.5 m" in said
    assert "a correction was refused: track north/77 does not show 0-1 now" in said


def test_every_place_explains_alike(file: str, log: Path) -> None:
    expected = json.loads(explain("0-1", "--events", file, "--json")[1])
    assert expected["previous_ids"] == ["0-2"]
    for words in (("--broker", f"log://{log}"), ("--data", str(log.parent))):
        code, said = explain("0-1", *words, "--json")
        assert code == 0, said
        assert json.loads(said) == expected


async def test_a_kafka_broker_explains_too(
    told: list[events.Event], file: str, local_kafka: Callable[..., Any]
) -> None:
    url = local_kafka().url
    admin, producer = (each(bootstrap_servers=servers(url)) for each in (AIOKafkaAdminClient, AIOKafkaProducer))
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1) for name in ("identities", "commands")])
    await producer.start()
    for name in ("identities", "commands"):
        for value in by_stream(told)[name]:
            await producer.send_and_wait(name, value, partition=1)
    await producer.stop()
    await admin.close()
    # The command has an event loop of its own.
    code, said = await to_thread(explain, "0-1", "--broker", url, "--json")
    assert code == 0, said
    assert json.loads(said) == json.loads((await to_thread(explain, "0-1", "--events", file, "--json"))[1])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["0-9", "--events", "FILE"], "'0-9' is nobody in FILE; it tells of 2: 0-1 to 0-2", id="unknown"),
        pytest.param(["", "--events", "FILE"], "'' is nobody in FILE; it tells of 2: 0-1 to 0-2", id="empty"),
        pytest.param(["0-1", "--events", "FILE", "--site", "yard"], "it tells of nobody at all", id="other site"),
        pytest.param(["0-1", "--events", "none"], "none cannot be read", id="no file"),
        pytest.param(["0-1", "--broker", "log://here"], "names no absolute folder", id="bent broker"),
        pytest.param(["0-1", "--broker", "amqp://here"], "names no Kafka broker", id="other broker"),
        pytest.param(["0-1", "--broker", "log:///none/here"], "there is no log in /none/here", id="no log"),
        pytest.param(["0-1", "--data", "none"], "there is no log in none/log", id="no data"),
        pytest.param(
            ["0-1", "--events", "FILE", "--broker", "log:///x"], "--events and --broker are given", id="two places"
        ),
        pytest.param(["0-1", "--database", "mysql://x"], "is no PostgreSQL address", id="other database"),
    ],
)
def test_a_mistake_is_one_clear_line(file: str, words: list[str], says: str) -> None:
    code, said = explain(*[file if word == "FILE" else word for word in words])
    assert code == 1
    assert says.replace("FILE", file) in said
    assert "\n" not in said
