"""The tables of history and the statements that make them.

Keys hold the time, so that the tables can be partitioned by it. An event's time and id are fixed by its input: writing
it twice is one row.
"""

from __future__ import annotations

import asyncpg

LOCK_KEY = 0x5350_4F54
"""Advisory lock under which one process at a time makes the tables."""

TABLES = ("events", "positions")

STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS events (
        at      timestamptz NOT NULL,
        id      uuid        NOT NULL,
        site    text        NOT NULL,
        stream  text        NOT NULL,
        type    text        NOT NULL,
        camera  text,
        person  text,
        seq     bigint      NOT NULL,
        body    json        NOT NULL,
        PRIMARY KEY (at, id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS events_site_type_at ON events (site, type, at, id)",
    "CREATE INDEX IF NOT EXISTS events_person_at ON events (site, person, at) WHERE person IS NOT NULL",
    """
    CREATE TABLE IF NOT EXISTS positions (
        at       timestamptz      NOT NULL,
        site     text             NOT NULL,
        person   text             NOT NULL,
        number   bigint           NOT NULL,
        x_m      double precision NOT NULL,
        y_m      double precision NOT NULL,
        vx_m_s   double precision NOT NULL,
        vy_m_s   double precision NOT NULL,
        var_x_m2 double precision NOT NULL,
        cov_m2   double precision NOT NULL,
        var_y_m2 double precision NOT NULL,
        zone     text,
        cameras  text[]           NOT NULL,
        event    uuid             NOT NULL,
        PRIMARY KEY (site, person, at)
    )
    """,
    "CREATE INDEX IF NOT EXISTS positions_site_at ON positions (site, at)",
)


async def migrate(connection: asyncpg.Connection) -> None:
    """Make what is missing; safe to run at every start and from several processes at once."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        for statement in STATEMENTS:
            await connection.execute(statement)
