"""``spoton explain``: the chain of evidence behind one identity, from wherever its events are kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from spoton.commands.options import Json, show
from spoton.errors import InputError

STREAMS = ("identities", "commands")
REVERSIBLE = ("PersonsMerged", "PersonSplit", "TrackReassigned")


def explain(
    person: Annotated[str, typer.Argument(help="The identity, as in 68f1c2a0-3.")],
    events: Annotated[Path | None, typer.Option(help="events.jsonl of `spoton track`.")] = None,
    database: Annotated[str | None, typer.Option(help="postgresql://...: the archive of a site.")] = None,
    broker: Annotated[str | None, typer.Option(help="log:///path or kafka://host:port: its last week.")] = None,
    site: Annotated[str | None, typer.Option(help="The site's name, where there are several.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of `spoton up`, whose log is read (a week).")] = Path(".spoton"),
    as_json: Json = False,
) -> None:
    """Why somebody is who they are said to be: where they came from, by which tracks, and who decided what."""
    from spoton.explanation import everyone
    from spoton.explanation import explain as explained

    given = {"--events": events, "--database": database, "--broker": broker}
    if len(several := [name for name, value in given.items() if value is not None]) > 1:
        raise InputError(f"{' and '.join(several)} are given", remedy="name one place where the events are")
    found, where = _facts(events, database, broker, data, site)
    facts = [fact for fact in found if site is None or fact.site == site]
    sites = sorted({fact.site for fact in facts})
    if len(sites) > 1:
        raise InputError(f"{where} holds the sites {', '.join(sites)}", remedy="choose one with --site")
    explanation = explained(facts, person)
    if explanation is None:
        raise InputError(f"{person!r} is nobody in {where}", remedy=_known(everyone(facts)))
    show(msgspec.to_builtins(explanation), _render, as_json)


def _known(people: Sequence[str]) -> str:
    if not people:
        return "it tells of nobody at all"
    span = people[0] if len(people) == 1 else f"{people[0]} to {people[-1]}"
    return f"it tells of {len(people)}: {span}"


def _facts(
    events: Path | None, database: str | None, broker: str | None, data: Path, site: str | None
) -> tuple[Iterable[Any], str]:
    """The events, and where they are."""
    if events is not None:
        return _of_file(events), str(events)
    if database is not None:
        return asyncio.run(_of_archive(database, site)), "the archive"
    if broker is not None and not broker.startswith("log:"):
        return asyncio.run(_of_kafka(broker)), broker
    from spoton.log.settings import LogSettings

    folder = data / "log" if broker is None else LogSettings.from_url(broker).folder
    return _of_log(folder), str(folder)


def _of_file(path: Path) -> Iterable[Any]:
    from spoton import events as facts

    found = []
    try:
        with path.open("rb") as lines:
            for line in lines:
                # Positions and detections are nearly all of a file, and none of our business.
                if b'"type":"PeopleLocated"' in line[:40] or b'"type":"PeopleDetected"' in line[:40]:
                    continue
                found.append(facts.decode(line))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="give events.jsonl of spoton track") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path} holds what is no event: {error}", remedy="give an events.jsonl") from error
    return found


def _of_log(folder: Path) -> Iterable[Any]:
    from spoton import events as facts
    from spoton.log.reader import LogReader

    if not folder.is_dir():
        raise InputError(f"there is no log in {folder}", remedy="give --events, --database, --broker or --data")
    found = []
    with LogReader(folder) as log:
        there = {topic.name for topic in log.topics()}
        for stream in (one for one in STREAMS if one in there):
            for partition in log.partitions(stream):
                found += [facts.decode(one.value) for one in log.records(stream, partition) if one.value]
    return found


async def _of_kafka(url: str) -> Iterable[Any]:
    from spoton import events as facts
    from spoton.kafka.settings import KafkaSettings, servers
    from spoton.kafka.tail import read_whole

    client = {"bootstrap_servers": servers(url), **KafkaSettings.from_env(os.environ).client_options()}
    found = []
    for stream in STREAMS:
        found += [facts.decode(record.value) for record in (await read_whole(client, stream))[0] if record.value]
    return found


async def _of_archive(url: str, site: str | None) -> Iterable[Any]:
    from spoton import events as facts
    from spoton.history.history import History

    if not url.startswith(("postgresql://", "postgres://")):
        raise InputError(f"--database {url!r} is no PostgreSQL address", remedy="write postgresql://user@host/name")
    if site is None:
        raise InputError("an archive may hold many sites", remedy="choose one with --site")
    history = await History.connect(url)
    try:
        texts = await history.identities(site)
    finally:
        await history.close()
    return [facts.decode(text.encode()) for text in texts]


def _render(result: dict[str, Any], console: Any) -> None:
    now = "" if result["now"] == result["person"] else f", who is {result['now']} today"
    before = f", before {', '.join(result['previous_ids'])}" if result["previous_ids"] else ""
    console.print(f"{result['person']}{before}{now}", soft_wrap=True, highlight=False)
    for step in result["steps"]:
        at = datetime.fromtimestamp(step["at"] / 1e6, UTC).isoformat(sep=" ", timespec="milliseconds")
        # What `spoton persons undo` takes.
        event = f"  [{step['event']}]" if step["type"] in REVERSIBLE else ""
        console.print(f"{at[:23]}  {step['said']}{event}", soft_wrap=True, highlight=False, markup=False)
