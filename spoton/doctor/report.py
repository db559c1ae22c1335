"""All checks side by side, and the report of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from spoton.doctor import broker, clock, database, gpu, kafka, machine, models, redis
from spoton.doctor.finding import Finding, in_thread, settled
from spoton.errors import InputError, SpotOnError
from spoton.kafka.settings import KafkaSettings
from spoton.offline.recordings import read_site
from spoton.site import Site

LIMIT_S = 8.0
"""For each check; they run side by side, so this is also what all of them take at most."""
_STYLES = {"ok": "green", "warning": "yellow", "fault": "red"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to look at. site: None looks at the machine for one camera. database: empty is the embedded one."""

    site: Path | None
    broker: str
    database: str
    redis: str | None
    data: Path
    weights: Path

    @classmethod
    def chosen(
        cls,
        environment: Mapping[str, str],
        *,
        site: Path | None,
        broker: str | None,
        database: str | None,
        redis: str | None,
        data: Path | None,
        weights: Path,
    ) -> Wishes:
        """What was asked for, and where nothing was, what a worker would take from this environment."""
        folder = (data or Path(environment.get("SPOTON_DATA") or ".spoton")).absolute()
        named = environment.get("SPOTON_SITE", "").split(os.pathsep)[0]
        return cls(
            site=site or (Path(named) if named else None),
            broker=broker or environment.get("SPOTON_BROKER") or f"log://{folder / 'log'}",
            database=database or environment.get("SPOTON_DATABASE") or "",
            redis=redis,
            data=folder,
            weights=weights,
        )


def examine(wishes: Wishes) -> list[Finding]:
    """Every finding, in the order of the report."""
    return asyncio.run(_examine(wishes))


async def _examine(wishes: Wishes) -> list[Finding]:
    findings: list[Finding] = []
    site: Site | None = None
    if wishes.site is not None:
        try:
            site = read_site(wishes.site)
            findings.append(Finding("site", "ok", f"{wishes.site}: {site.name}, {len(site.cameras)} cameras"))
        except SpotOnError as error:
            findings.append(Finding("site", "fault", error.problem, error.remedy))
    cameras = len(site.cameras) if site is not None else 1
    ahead_s: dict[str, float] = {}
    watched = asyncio.create_task(clock.watch())
    findings += await asyncio.gather(
        _settled(broker.SUBJECT, _broker(wishes.broker, ahead_s), "see the broker's log, or correct --broker"),
        _settled(database.SUBJECT, _database(wishes, ahead_s), "see the server's log, or correct --database"),
        _settled("redis", redis.check(wishes.redis), "start Redis, or correct --redis"),
        _settled("weights", in_thread(lambda: models.check(wishes.weights, site)), "name a readable --weights folder"),
        _settled("gpu", gpu.check(), "nvidia-smi should answer at once: see the driver's log"),
        _settled("disk", in_thread(lambda: machine.disk(wishes.data, wishes.broker)), "name another disk with --data"),
    )
    time_kept = clock.judge(await watched, clock.kept(), ahead_s)
    return [*findings, time_kept, machine.files(cameras), machine.memory(cameras)]


def _settled(subject: str, check: Awaitable[Finding], remedy: str) -> Awaitable[Finding]:
    return settled(subject, check, limit_s=LIMIT_S, remedy=remedy)


async def _broker(url: str, ahead_s: dict[str, float]) -> Finding:
    if url.startswith("log://"):
        return await in_thread(lambda: broker.check(url))
    if not url.startswith("kafka://"):
        raise InputError(f"broker URL {url!r}", remedy="write log:///absolute/folder or kafka://host:9092")
    finding, ahead = await kafka.check(url, KafkaSettings.from_env(os.environ).client_options())
    if ahead is not None:
        ahead_s["newest record in Kafka"] = ahead
    return finding


async def _database(wishes: Wishes, ahead_s: dict[str, float]) -> Finding:
    if not wishes.database:
        return await in_thread(lambda: database.embedded(wishes.data))
    finding, ahead = await database.check(wishes.database)
    if ahead is not None:
        ahead_s["database"] = ahead
    return finding


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The report as one object."""
    return {
        "status": "fault" if faulty(findings) else "ok",
        "findings": [
            {"subject": one.subject, "verdict": one.verdict, "found": one.found, "remedy": one.remedy}
            for one in findings
        ],
    }


def faulty(findings: Sequence[Finding]) -> bool:
    """Whether anything stands against starting."""
    return any(one.verdict == "fault" for one in findings)


def render(findings: Sequence[Finding], console: Console) -> None:
    """One line each: subject, verdict, what was found, and what to do about it."""
    width = max(len(one.subject) for one in findings)
    for one in findings:
        line = Text.assemble(
            f"{one.subject:{width}}  ", (f"{one.verdict:7}", _STYLES[one.verdict]), f"  {one.found}",
            (f"; {one.remedy}" if one.remedy else "", "bold"),
        )  # fmt: skip
        console.print(line, soft_wrap=True)
