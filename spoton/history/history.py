"""Writing history and asking it, over one pool of connections."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from spoton.errors import HistoryError, InputError
from spoton.history import schema
from spoton.history.rows import EVENT_COLUMNS, POSITION_COLUMNS, microseconds, rows, timestamp

# A server that is lost, refuses, restarts, is full or is read-only: all of it may pass, and nothing of it is our data's
# fault, which was checked before it came here.
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

LINEAGE = """
    WITH RECURSIVE taken_back AS (
        SELECT body ->> 'reverses' AS id FROM events
        WHERE site = $1 AND type = 'PersonSplit' AND body ->> 'reverses' <> ''
    ), lineage(person) AS (
        SELECT $2::text
        UNION
        SELECT e.body ->> 'merged' FROM events e JOIN lineage l ON e.person = l.person
        WHERE e.site = $1 AND e.type = 'PersonsMerged' AND e.id::text NOT IN (SELECT id FROM taken_back)
    )
"""
"""Everyone who proved to be ``$2``; a merge that was taken back counts no more."""

CORRECTABLE = ["PersonsMerged", "PersonSplit", "TrackReassigned"]
"""What can be taken back."""

log = structlog.get_logger("history")


class History:
    """The history database. Made by ``History.connect``; ``close`` it when done."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, url: str) -> History:
        """Connect and make missing tables. Raises HistoryError when the server cannot be reached or refuses."""
        try:
            pool = await asyncpg.create_pool(url, min_size=1, max_size=4, command_timeout=60, timeout=10)
            async with pool.acquire() as connection:
                await schema.migrate(connection)
        except (*AWAY, ValueError) as error:
            raise HistoryError(
                f"no history database at {_without_password(url)}: {error or type(error).__name__}",
                remedy="start the server, or correct --database",
            ) from error
        return cls(pool)

    async def close(self) -> None:
        """Give all connections back."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire(timeout=5) as connection:
                yield connection
        except AWAY as error:
            raise HistoryError(
                f"the history database does not answer: {error or type(error).__name__}",
                remedy="live tracking goes on; try again when the database is back",
            ) from error

    async def ping(self) -> float:
        """Milliseconds for one round trip; raises HistoryError when there is no answer."""
        began_s = time.perf_counter()
        async with self._connection() as connection:
            await connection.fetchval("SELECT 1")
        return (time.perf_counter() - began_s) * 1000

    async def write(self, batch: Sequence[bytes]) -> int:
        """Bring events in, as their exact bytes; returns how many were new.

        One transaction: COPY into a staging table, then INSERT what is not there yet. Raises HistoryError when the
        server is away: nothing of the batch is in then.
        """
        archived, located = rows(batch)
        async with self._connection() as connection, connection.transaction():
            new = await _copy(connection, "events", EVENT_COLUMNS, archived)
            await _copy(connection, "positions", POSITION_COLUMNS, located)
        return new

    async def write_when_there(self, batch: Sequence[bytes]) -> None:
        """``write``, waiting for a server that is away: 0.5 s, then twice as long each time, at most 15 s."""
        wait_s = 0.5
        while True:
            try:
                await self.write(batch)
                return
            except HistoryError as error:
                log.warning("history waits for the database", retry_in_s=wait_s, error=str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(15.0, wait_s * 2)

    async def persons(
        self, site: str, *, at_from_us: int | None = None, at_to_us: int | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Who was there in [from, to): first and last time and place of each, earliest first."""
        query = """
            SELECT person, number, min(at) AS first_at, max(at) AS last_at, count(*) AS positions
            FROM positions
            WHERE site = $1 AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3)
            GROUP BY person, number ORDER BY first_at, number LIMIT $4
        """
        async with self._connection() as connection:
            found = await connection.fetch(query, site, _bound(at_from_us), _bound(at_to_us), limit)
        return [
            {
                "person": row["person"],
                "number": row["number"],
                "first_at": microseconds(row["first_at"]),
                "last_at": microseconds(row["last_at"]),
                "positions": row["positions"],
            }
            for row in found
        ]

    async def trajectory(
        self,
        site: str,
        person: str,
        *,
        at_from_us: int | None = None,
        at_to_us: int | None = None,
        limit: int = 10_000,
    ) -> list[dict[str, Any]]:
        """Where a person was in [from, to), with those merged into them, oldest first."""
        query = (
            LINEAGE
            + """
            SELECT at, person, x_m, y_m, vx_m_s, vy_m_s, zone, cameras FROM positions
            WHERE site = $1 AND person IN (SELECT person FROM lineage)
              AND ($3::timestamptz IS NULL OR at >= $3) AND ($4::timestamptz IS NULL OR at < $4)
            ORDER BY at LIMIT $5
        """
        )
        async with self._connection() as connection:
            found = await connection.fetch(query, site, person, _bound(at_from_us), _bound(at_to_us), limit)
        return [{**dict(row), "at": microseconds(row["at"])} for row in found]

    async def correctable(self, site: str, event: str) -> str | None:
        """The JSON text of a merge, split or reassignment by its id; None when there is none."""
        query = "SELECT body FROM events WHERE site = $1 AND type = ANY ($2) AND id = $3"
        async with self._connection() as connection:
            found: str | None = await connection.fetchval(query, site, CORRECTABLE, uuid.UUID(event))
            return found

    async def identities(self, site: str) -> list[str]:
        """Every decision about who is who, and every command, as JSON texts, in order."""
        query = "SELECT body FROM events WHERE site = $1 AND stream = ANY ($2) ORDER BY stream DESC, seq, at"
        async with self._connection() as connection:
            return [row["body"] for row in await connection.fetch(query, site, ["identities", "commands"])]

    async def lineage(self, site: str, person: str) -> list[str]:
        """The other identities that proved to be this person, by number."""
        query = LINEAGE + "SELECT person FROM lineage WHERE person <> $2 ORDER BY length(person), person"
        async with self._connection() as connection:
            return [row["person"] for row in await connection.fetch(query, site, person)]

    async def events(
        self,
        site: str,
        *,
        at_from_us: int | None = None,
        at_to_us: int | None = None,
        types: Sequence[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[str], str | None]:
        """Events in [from, to) as their exact JSON texts, oldest first, and the cursor of the next page or None.

        Raises InputError for a cursor that this method did not give.
        """
        after_at, after_id = _read_cursor(after) if after else (None, None)
        query = """
            SELECT at, id, body FROM events
            WHERE site = $1 AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3)
              AND (cardinality($4::text[]) = 0 OR type = ANY ($4))
              AND ($5::timestamptz IS NULL OR (at, id) > ($5, $6::uuid))
            ORDER BY at, id LIMIT $7
        """
        async with self._connection() as connection:
            found = await connection.fetch(
                query,
                site,
                _bound(at_from_us),
                _bound(at_to_us),
                list(types),
                _bound(after_at),
                after_id,
                limit + 1,
            )
        page = found[:limit]
        following = _cursor(microseconds(page[-1]["at"]), page[-1]["id"]) if len(found) > limit else None
        return [row["body"] for row in page], following


async def _copy(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]
) -> int:
    if not records:
        return 0
    staging = f"staging_{table}"
    await connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {staging} (LIKE {table}) ON COMMIT DELETE ROWS")
    await connection.copy_records_to_table(staging, records=records, columns=columns)
    done = await connection.execute(f"INSERT INTO {table} SELECT * FROM {staging} ON CONFLICT DO NOTHING")
    return int(done.rsplit(" ", 1)[1])


def _bound(at_us: int | None) -> Any:
    return None if at_us is None else timestamp(at_us)


def _cursor(at_us: int, event: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(f"{at_us}:{event}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, uuid.UUID]:
    try:
        at_us, event = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":", 1)
        return int(at_us), uuid.UUID(event)
    except (ValueError, binascii.Error) as error:
        raise InputError(
            f"cursor = {cursor!r} is none that was given out", remedy="take it from a page's next_cursor"
        ) from error


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}://{credentials.split(':')[0]}@{host}" if at else url
