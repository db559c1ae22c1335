"""History keeps every event once, with its exact bytes, and answers about it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spoton import events
from spoton.errors import HistoryError, InputError
from spoton.history.embedded import EmbeddedPostgres
from spoton.history.history import History

START = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SPOTON_TEST_DATABASE when set (a server), else the embedded PostgreSQL."""
    given = os.environ.get("SPOTON_TEST_DATABASE")
    if given:
        yield given
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    yield server.url
    server.stop()


@pytest_asyncio.fixture
async def url(server_url: str) -> AsyncIterator[str]:
    """A database of this test's own."""
    name = f"spoton_test_{os.urandom(6).hex()}"
    admin = await asyncpg.connect(server_url)
    await admin.execute(f"CREATE DATABASE {name}")
    base, _, query = server_url.partition("?")
    yield f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture
async def history(url: str) -> AsyncIterator[History]:
    opened = await History.connect(url)
    yield opened
    await opened.close()


def located(tick: int, *numbers: int) -> events.PeopleLocated:
    at = START + tick * 100_000
    return events.PeopleLocated(
        id=events.event_id("positions", "plaza", tick + 1, at),
        at=at,
        site="plaza",
        seq=tick + 1,
        tick=tick,
        frames={"north": tick},
        people=[
            events.Located(
                person=f"p-{n}",
                number=n,
                x_m=n + tick / 10,
                y_m=2.0,
                vx_m_s=1.0,
                vy_m_s=0.0,
                cov_m2=(0.01, 0.0, 0.02),
                seen=[events.TrackRef("north", n), events.TrackRef("east", n)],
                zone="door" if tick > 2 else None,
            )
            for n in numbers
        ],
    )


def merged(kept: str, gone: str, seq: int) -> events.PersonsMerged:
    at = START + 2_000_000
    return events.PersonsMerged(
        id=events.event_id("identities", "plaza", seq, at),
        at=at,
        site="plaza",
        seq=seq,
        person=kept,
        merged=gone,
        evidence=events.Evidence(distance_m=0.1),
    )


async def test_an_event_written_again_is_one_row(history: History) -> None:
    batch = [events.encode(located(tick, 1, 2)) for tick in range(10)]
    assert await history.write(batch[:6]) == 6
    assert await history.write(batch[3:]) == 4
    found, following = await history.events("plaza", limit=100)
    assert [text.encode() for text in found] == batch
    assert following is None
    assert len(await history.trajectory("plaza", "p-1")) == 10


async def test_two_writers_of_the_same_events_leave_one_of_each(history: History) -> None:
    batch = [events.encode(located(tick, 1)) for tick in range(200)]
    new = await asyncio.gather(*(history.write(batch) for _ in range(4)))
    assert sum(new) == 200


async def test_pages_join_without_gap_or_overlap(history: History) -> None:
    batch = [events.encode(located(tick, 1)) for tick in range(25)]
    await history.write(batch)
    read: list[str] = []
    cursor = None
    while True:
        page, cursor = await history.events("plaza", after=cursor, limit=10)
        read += page
        if cursor is None:
            break
    assert [text.encode() for text in read] == batch


async def test_time_and_type_narrow_what_is_found(history: History) -> None:
    await history.write([events.encode(located(tick, 1)) for tick in range(10)])
    await history.write([events.encode(merged("p-1", "p-9", 1))])
    found, _ = await history.events("plaza", at_from_us=START + 200_000, at_to_us=START + 500_000)
    assert [events.decode(text.encode()).seq for text in found] == [3, 4, 5]
    found, _ = await history.events("plaza", types=["PersonsMerged"])
    assert [type(events.decode(text.encode())) for text in found] == [events.PersonsMerged]
    assert await history.events("elsewhere") == ([], None)


async def test_a_trajectory_follows_merged_identities(history: History) -> None:
    await history.write([events.encode(located(tick, 3 if tick < 5 else 4)) for tick in range(10)])
    await history.write([events.encode(merged("p-3", "p-4", 1))])
    trail = await history.trajectory("plaza", "p-3")
    assert [row["person"] for row in trail] == ["p-3"] * 5 + ["p-4"] * 5
    assert [row["at"] for row in trail] == [START + tick * 100_000 for tick in range(10)]
    assert trail[4]["cameras"] == ["east", "north"]
    assert trail[4]["zone"] == "door"


async def test_a_merge_that_was_taken_back_counts_no_more(history: History) -> None:
    batch = [events.encode(located(tick, 1, 2, 3)) for tick in range(4)]
    one, other = merged("p-1", "p-2", 1), merged("p-2", "p-3", 2)
    await history.write([*batch, events.encode(one), events.encode(other)])
    assert await history.lineage("plaza", "p-1") == ["p-2", "p-3"]
    found = await history.correctable("plaza", one.id)
    assert found is not None
    assert events.decode(found.encode()) == one
    assert await history.correctable("plaza", events.event_id("identities", "plaza", 9, 9)) is None
    back = events.PersonSplit(
        id=events.event_id("identities", "plaza", 3, START), at=START, site="plaza", seq=3, person="p-1",
        new_person="p-2", number=2, tracks=[], evidence=events.Evidence(by="operator"), reverses=one.id,
    )  # fmt: skip
    await history.write([events.encode(back)])
    assert await history.lineage("plaza", "p-1") == []
    assert await history.lineage("plaza", "p-2") == ["p-3"]
    assert {point["person"] for point in await history.trajectory("plaza", "p-1")} == {"p-1"}
    kinds = [type(events.decode(text.encode())).__name__ for text in await history.identities("plaza")]
    assert kinds == ["PersonsMerged", "PersonsMerged", "PersonSplit"]


async def test_corrections_are_kept_and_changes_of_cameras_with_their_passwords_are_not(history: History) -> None:
    def head(seq: int) -> dict[str, Any]:
        return {
            "id": events.event_id("commands", "plaza", seq, START), "at": START, "site": "plaza", "seq": seq,
            "by": "anna", "why": "",
        }  # fmt: skip

    source = 'source = "rtsp://me:secret@10.0.0.9/door"\n'
    added = events.CameraAdded(**head(1), camera="door", definition=f'[[camera]]\nname = "door"\n{source}')
    removed = events.CameraRemoved(**head(2), camera="door")
    wish = events.MergeRequested(**head(3), person="p-1", merged="p-2")
    assert await history.write([events.encode(one) for one in (added, removed, wish)]) == 1
    found, _ = await history.events("plaza")
    assert [events.decode(text.encode()) for text in found] == [wish]
    assert [events.decode(text.encode()) for text in await history.identities("plaza")] == [wish]


async def test_persons_tells_who_was_there_and_when(history: History) -> None:
    await history.write([events.encode(located(tick, 1, *([2] if tick > 5 else []))) for tick in range(10)])
    persons = await history.persons("plaza")
    assert [(p["person"], p["first_at"], p["last_at"], p["positions"]) for p in persons] == [
        ("p-1", START, START + 900_000, 10),
        ("p-2", START + 600_000, START + 900_000, 4),
    ]


async def test_a_cursor_of_nobody_is_refused(history: History) -> None:
    with pytest.raises(InputError, match="cursor = 'nonsense'"):
        await history.events("plaza", after="nonsense")


async def test_no_server_is_one_clear_error() -> None:
    with pytest.raises(HistoryError, match=r"no history database at postgresql://me@127\.0\.0\.1:1/x") as error:
        await History.connect("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)


async def test_a_batch_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    history = await History.connect(server.url)
    await asyncio.to_thread(server.stop)
    with pytest.raises(HistoryError, match="does not answer"):
        await history.ping()
    writing = asyncio.create_task(history.write_when_there([events.encode(located(0, 1))]))
    await asyncio.sleep(0.3)
    assert not writing.done()
    server = await asyncio.to_thread(EmbeddedPostgres, tmp_path / "data")
    await asyncio.wait_for(writing, 20)
    assert len((await history.events("plaza"))[0]) == 1
    await history.close()
    await asyncio.to_thread(server.stop)


def test_the_embedded_server_is_taken_up_again(tmp_path: Path) -> None:
    async def note(url: str, text: str) -> list[str]:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE IF NOT EXISTS note (t text)")
        await connection.execute("INSERT INTO note VALUES ($1)", text)
        rows = await connection.fetch("SELECT t FROM note ORDER BY 1")
        await connection.close()
        return [row["t"] for row in rows]

    server = EmbeddedPostgres(tmp_path / "data")
    assert asyncio.run(note(server.url, "a")) == ["a"]
    server.stop()
    (tmp_path / "data" / ".handle_pids.json").write_text("[12")  # as a process leaves it that was killed meanwhile
    server = EmbeddedPostgres(tmp_path / "data")
    assert asyncio.run(note(server.url, "b")) == ["a", "b"]
    server.stop()


def test_a_folder_left_in_the_middle_of_being_made_is_made_anew(tmp_path: Path) -> None:
    """What ``initdb`` leaves when the worker that runs it is killed, its lock file included."""
    folder = tmp_path / "data"
    (folder / "base" / "1").mkdir(parents=True)
    (folder / "PG_VERSION").write_text("16\n")
    (folder / "postmaster.pid").write_text(f"-22017\n{folder}\n1795570641\n5432\n\n\n 10068009     65565\n")
    server = EmbeddedPostgres(folder)
    assert server.url
    server.stop()
