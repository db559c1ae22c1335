"""How a log is opened, read from its URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from spoton.errors import InputError, LogError

Sync = Literal["full", "normal"]
_REMEDY = "name a folder that this user can write"
_EXAMPLE = "write log:///absolute/folder?sync=normal&memory=frames&memory_bytes=268435456&retention_s=604800"


@dataclass(frozen=True)
class LogSettings:
    """Where a log lives and what it promises.

    Attributes:
        folder: absolute folder of the log's files; made when missing.
        sync: ``full`` survives a power cut after every acknowledged append; ``normal`` survives the end of the
            process but may lose the last moments at a power cut.
        memory_topics: topics that are kept in memory only.
        memory_bytes: bytes that all memory topics may hold together.
        retention_s: how long records of event topics are kept where their topic does not say.
    """

    folder: Path
    sync: Sync = "full"
    memory_topics: frozenset[str] = frozenset({"frames"})
    memory_bytes: int = 256 * 1024 * 1024
    retention_s: float = 7 * 86400.0

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.folder / "log.db"

    def make_folder(self) -> None:
        """Make the folder where it is missing.

        Raises:
            LogError: it cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise LogError(f"the log folder {self.folder} cannot be made: {error.strerror}", remedy=_REMEDY) from error
        if not writable:
            raise LogError(f"the log folder {self.folder} cannot be written", remedy=_REMEDY)

    @classmethod
    def from_url(cls, url: str) -> LogSettings:
        """Read ``log:///folder?option=value``.

        Raises:
            InputError: the URL names no absolute folder, or an option or value that does not exist.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme != "log" or parts.netloc or not path.startswith("/") or path.strip("/") == "":
            raise InputError(f"broker URL {url!r} names no absolute folder", remedy=_EXAMPLE)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        settings = cls(
            folder=Path(path),
            sync=_sync(options.pop("sync", "full"), url),
            memory_topics=frozenset(filter(None, options.pop("memory", "frames").split(","))),
            memory_bytes=int(_positive(options.pop("memory_bytes", str(256 * 1024 * 1024)), "memory_bytes", url)),
            retention_s=_positive(options.pop("retention_s", "604800"), "retention_s", url),
        )
        if options:
            raise InputError(f"broker URL {url!r}: unknown option {min(options)!r}", remedy=_EXAMPLE)
        return settings


def _sync(text: str, url: str) -> Sync:
    if text == "full":
        return "full"
    if text == "normal":
        return "normal"
    raise InputError(f"broker URL {url!r}: sync={text!r} is neither full nor normal", remedy=_EXAMPLE)


def _positive(text: str, name: str, url: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(f"broker URL {url!r}: {name}={text!r} is not a positive number", remedy=_EXAMPLE)
    return number
