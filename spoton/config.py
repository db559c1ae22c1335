"""What an operator decides about a running SpotOn: read once from the environment into a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spoton.errors import InputError
from spoton.vision.weights import default_folder

DEFAULT_PORT = 8321
FRAMES_BYTES = 64 * 1024 * 1024
"""What captured frames may take in memory on their way to the detector."""


@dataclass(frozen=True, slots=True)
class Config:
    """One worker's settings.

    site: the site file. data: folder for the log and the embedded database. broker: ``log:///...`` or ``kafka://...``.
    database: ``postgresql://...``; empty: the embedded one. weights: folder of model weights. host, port: where the
    API listens. partitions: of every topic. accept_bad_calibration: go on above the site's reprojection bound.
    """

    site: Path
    data: Path
    broker: str
    database: str
    weights: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    partitions: int = 1
    accept_bad_calibration: bool = False

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Config:
        """Read ``SPOTON_SITE``, ``SPOTON_DATA``, ``SPOTON_BROKER``, ``SPOTON_DATABASE``, ``SPOTON_WEIGHTS``,
        ``SPOTON_HOST``, ``SPOTON_PORT``, ``SPOTON_PARTITIONS`` and ``SPOTON_ACCEPT_BAD_CALIBRATION``.

        Raises InputError naming the variable, its value and the remedy.
        """
        site = environment.get("SPOTON_SITE", "")
        if not site:
            raise InputError("SPOTON_SITE is not set", remedy="set it to the path of a site file")
        data = Path(environment.get("SPOTON_DATA") or ".spoton").absolute()
        return cls(
            site=Path(site).absolute(),
            data=data,
            broker=environment.get("SPOTON_BROKER") or f"log://{data / 'log'}?memory_bytes={FRAMES_BYTES}",
            database=_database(environment.get("SPOTON_DATABASE", "")),
            weights=default_folder(environment),
            host=environment.get("SPOTON_HOST") or "127.0.0.1",
            port=_whole(environment, "SPOTON_PORT", DEFAULT_PORT, least=0, most=65535),
            partitions=_whole(environment, "SPOTON_PARTITIONS", 1, least=1, most=10_000),
            accept_bad_calibration=environment.get("SPOTON_ACCEPT_BAD_CALIBRATION", "") == "1",
        )


def _database(url: str) -> str:
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise InputError(
            f"SPOTON_DATABASE = {url!r} is no PostgreSQL address",
            remedy="write postgresql://user:password@host:5432/name, or leave it out for the embedded one",
        )
    return url


def _whole(environment: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"{name} = {text!r} is no whole number from {least} to {most}", remedy="correct or unset it")
    return int(text)
