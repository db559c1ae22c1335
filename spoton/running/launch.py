"""How a command becomes the processes that do the work: their settings travel in the environment."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from spoton.config import Config, roles_of
from spoton.errors import InputError
from spoton.kafka.settings import servers
from spoton.running import supervisor


def environment(
    sites: Sequence[Path],
    *,
    data: Path,
    broker: str | None,
    database: str | None,
    host: str = "127.0.0.1",
    port: int | None = None,
    weights: Path | None = None,
    partitions: int | None = None,
    replication: int | None = None,
    accept_bad_calibration: bool = False,
) -> dict[str, str]:
    """This process's environment with the given settings in it, as ``spoton.config`` reads them."""
    wanted = {
        "SPOTON_SITE": os.pathsep.join(str(site) for site in sites),
        "SPOTON_DATA": str(data),
        "SPOTON_HOST": host,
        "SPOTON_PORT": port,
        "SPOTON_WEIGHTS": weights,
        "SPOTON_BROKER": broker,
        "SPOTON_DATABASE": database,
        "SPOTON_PARTITIONS": partitions,
        "SPOTON_REPLICATION": replication,
        "SPOTON_ACCEPT_BAD_CALIBRATION": "1" if accept_bad_calibration else "",
    }
    return {**os.environ, **{name: str(value) for name, value in wanted.items() if value is not None}}


def command(module: str) -> list[str]:
    """What runs one of our modules with this Python."""
    # -P: a folder here that is called like one of our packages is not meant.
    return [sys.executable, "-P", "-m", module]


def become(settings: Mapping[str, str], module: str) -> NoReturn:
    """Replace this process by one that runs a module."""
    os.execve(sys.executable, command(module), dict(settings))


def watch_site(settings: Mapping[str, str]) -> int:
    """Everything of one site on this machine: one process on the embedded log, one a role and the API on Kafka.

    Returns the exit code, where it returns. Raises InputError for an address that names no broker.
    """
    if not settings.get("SPOTON_BROKER", "").startswith("kafka://"):
        become(settings, "faust_app")
    _check(settings)
    return supervisor.run([*_roles(settings, "", None), supervisor.Child("api", command("api.standalone"), settings)])


def work(settings: Mapping[str, str], roles: str, metrics_port: int | None) -> int:
    """Run one process a role until told to stop; returns the exit code.

    Raises InputError for a role that does not exist, or a broker on which workers cannot share their work.
    """
    broker = settings.get("SPOTON_BROKER", "")
    if broker.startswith("log://"):
        raise InputError(
            f"--broker = {broker!r} is for one process", remedy="use spoton up with it, or kafka://host:port here"
        )
    children = _roles(settings, roles, metrics_port)
    _check(settings)
    return supervisor.run(children)


def _check(settings: Mapping[str, str]) -> None:
    """What every role would stumble over is said once, before any of them starts: sites, broker, topics."""
    from spoton.kafka.settings import KafkaSettings
    from spoton.kafka.topics import ensure, plans
    from spoton.offline.check import check

    config = Config.from_env(settings)
    for path in config.sites:
        report = check(path, accept_bad=config.accept_bad_calibration)
        if not report.accepted:
            raise InputError("; ".join(report.refusals))
    options = KafkaSettings.from_env(settings).client_options()
    asyncio.run(
        ensure(config.broker, plans(config.partitions), replication=config.replication, client_options=options)
    )


def _roles(settings: Mapping[str, str], roles: str, metrics_port: int | None) -> list[supervisor.Child]:
    servers(settings.get("SPOTON_BROKER", ""))
    children = []
    for index, role in enumerate(roles_of(roles)):
        own = {"SPOTON_ROLES": role}
        if metrics_port is not None:
            own["SPOTON_METRICS_PORT"] = str(metrics_port + index)
        children.append(supervisor.Child(role, command("faust_app"), {**settings, **own}))
    return children
