"""What an operator decides about a running SpotOn: read once from the environment into a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spoton.errors import InputError
from spoton.vision.inference import Inference
from spoton.vision.weights import default_folder

DEFAULT_PORT = 8321
FRAMES_BYTES = 64 * 1024 * 1024
"""What captured frames may take in memory on their way to the detector."""

ROLES = ("capture", "detection", "identity", "archive", "projection", "behaviour")
"""What a worker may do. On the embedded log one process does all of it."""
KAFKA_PARTITIONS = 16
"""Partitions of a topic on Kafka, and so the most workers that can share a role."""


@dataclass(frozen=True, slots=True)
class Config:
    """One worker's settings.

    sites: the site files; the API serves the first. data: folder for the log and the embedded database. broker:
    ``log:///...`` or ``kafka://...``. database: ``postgresql://...``; empty: the embedded one. weights: folder of
    model weights. host, port: where the API listens. partitions: of every topic. accept_bad_calibration: go on above
    the site's reprojection bound. roles: what this worker does, in the order of ``ROLES``. metrics_port: where a
    worker without an API tells how it is; None: nowhere. replication: copies of each topic on Kafka. restarts: how
    often it was started again, by reason. inference: on what device and in how much memory networks are run.
    """

    sites: tuple[Path, ...]
    data: Path
    broker: str
    database: str
    weights: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    partitions: int = 1
    accept_bad_calibration: bool = False
    roles: tuple[str, ...] = ROLES
    metrics_port: int | None = None
    replication: int = 1
    restarts: Mapping[str, int] | None = None
    inference: Inference = field(default_factory=Inference)

    @property
    def embedded(self) -> bool:
        """The broker is the embedded log."""
        return self.broker.startswith("log://")

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Config:
        """Read ``SPOTON_SITE`` (several: separated as in PATH), ``SPOTON_DATA``, ``SPOTON_BROKER``,
        ``SPOTON_DATABASE``, ``SPOTON_WEIGHTS``, ``SPOTON_HOST``, ``SPOTON_PORT``, ``SPOTON_PARTITIONS``,
        ``SPOTON_ACCEPT_BAD_CALIBRATION``, ``SPOTON_ROLES``, ``SPOTON_METRICS_PORT``, ``SPOTON_REPLICATION`` and
        ``SPOTON_RESTARTS``, and what ``Inference`` reads.

        Raises InputError naming the variable, its value and the remedy.
        """
        sites = [path for path in environment.get("SPOTON_SITE", "").split(os.pathsep) if path]
        if not sites:
            raise InputError("SPOTON_SITE is not set", remedy="set it to the path of a site file")
        data = Path(environment.get("SPOTON_DATA") or ".spoton").absolute()
        broker = _broker(environment.get("SPOTON_BROKER") or f"log://{data / 'log'}?memory_bytes={FRAMES_BYTES}")
        embedded = broker.startswith("log://")
        if embedded and len(sites) > 1:
            raise InputError(
                f"SPOTON_SITE names {len(sites)} sites", remedy="give each its own worker, or a broker kafka://..."
            )
        return cls(
            sites=tuple(Path(site).absolute() for site in sites),
            data=data,
            broker=broker,
            database=_database(environment.get("SPOTON_DATABASE", "")),
            weights=default_folder(environment),
            host=environment.get("SPOTON_HOST") or "127.0.0.1",
            port=_whole(environment, "SPOTON_PORT", DEFAULT_PORT, least=0, most=65535),
            partitions=_whole(
                environment, "SPOTON_PARTITIONS", 1 if embedded else KAFKA_PARTITIONS, least=1, most=10_000
            ),
            accept_bad_calibration=environment.get("SPOTON_ACCEPT_BAD_CALIBRATION", "") == "1",
            roles=roles_of(environment.get("SPOTON_ROLES", "")),
            metrics_port=_whole(environment, "SPOTON_METRICS_PORT", 0, least=0, most=65535)
            if environment.get("SPOTON_METRICS_PORT")
            else None,
            replication=_whole(environment, "SPOTON_REPLICATION", 1, least=1, most=100),
            restarts=_restarts(environment.get("SPOTON_RESTARTS", "")),
            inference=Inference.from_env(environment, cache=data / "tensorrt"),
        )


def roles_of(text: str) -> tuple[str, ...]:
    """Roles from a list with commas, in the order of ``ROLES``; empty: all.

    Raises InputError naming the one that does not exist.
    """
    wanted = {role.strip() for role in text.split(",") if role.strip()} or set(ROLES)
    for role in sorted(wanted - set(ROLES)):
        raise InputError(f"role {role!r} does not exist", remedy=f"choose from {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in wanted)


def _broker(url: str) -> str:
    if not url.startswith(("log://", "kafka://")):
        raise InputError(
            f"SPOTON_BROKER = {url!r} is no broker", remedy="write log:///path or kafka://host:9092, or leave it out"
        )
    return url


def _database(url: str) -> str:
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise InputError(
            f"SPOTON_DATABASE = {url!r} is no PostgreSQL address",
            remedy="write postgresql://user:password@host:5432/name, or leave it out for the embedded one",
        )
    return url


def _restarts(text: str) -> Mapping[str, int]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {reason: int(count) for reason, _, count in pairs if count.isdecimal()}


def _whole(environment: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"{name} = {text!r} is no whole number from {least} to {most}", remedy="correct or unset it")
    return int(text)
