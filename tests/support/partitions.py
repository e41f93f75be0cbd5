"""Events in partitions: by range, hash and list, and parts that have parts."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

from projector.tail.triggers import inspect, install, tree_sql
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.servers import SCHEMA, connected, fresh_database, running_postgres

COLUMNS = """
id uuid NOT NULL, session_id uuid NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, step_id uuid,
event_type varchar(100) NOT NULL, event_data jsonb NOT NULL, message text, timestamp timestamptz NOT NULL
"""
INDEXES = """
CREATE INDEX ON events (session_id); CREATE INDEX ON events (step_id); CREATE INDEX ON events (event_type);
CREATE INDEX ON events (timestamp)
"""


@dataclass(frozen=True)
class Scheme:
    """A way to cut events: by what, its primary key, and the statements that make the first parts."""

    by: str
    key: str
    parts: tuple[str, ...]

    async def make(self, connection: Connection) -> None:
        """Put such a table in the place of events."""
        await connection.execute(
            f"DROP TABLE events; CREATE TABLE events ({COLUMNS}, PRIMARY KEY ({self.key})) PARTITION BY {self.by};"
            f"{INDEXES};{';'.join(self.parts)}"
        )


def months(first: int, last: int) -> tuple[str, ...]:
    """Statements that make a part for each of these months of 2026; the rest goes into a default part."""
    return tuple(month(number) for number in range(first, last + 1))


def month(number: int, more: str = "") -> str:
    """A statement that makes the part of a month of 2026."""
    return f"CREATE TABLE events_{number} PARTITION OF events FOR VALUES {bounds(number)} {more}"


def bounds(number: int) -> str:
    """The bounds of a month of 2026."""
    after = f"2026-{number + 1:02}-01" if number < 12 else "2027-01-01"
    return f"FROM ('2026-{number:02}-01 00:00+00') TO ('{after} 00:00+00')"


def at(number: int) -> str:
    """An instant in a month of 2026."""
    return f"2026-{number:02}-15T12:00:00Z"


def _hashes(parent: str, modulus: int) -> tuple[str, ...]:
    return tuple(
        f"CREATE TABLE {parent}_{n} PARTITION OF {parent} FOR VALUES WITH (MODULUS {modulus}, REMAINDER {n})"
        for n in range(modulus)
    )


_MIDDLE = "80000000-0000-0000-0000-000000000000"
_BY_SESSION = "PARTITION BY HASH (session_id)"
MONTHLY = Scheme("RANGE (timestamp)", "id, timestamp", months(1, 3))
SCHEMES = {
    "range by timestamp": MONTHLY,
    "range by id": Scheme(
        "RANGE (id)",
        "id",
        (
            f"CREATE TABLE low PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('{_MIDDLE}')",
            f"CREATE TABLE high PARTITION OF events FOR VALUES FROM ('{_MIDDLE}') TO (MAXVALUE)",
        ),
    ),
    "hash by id": Scheme("HASH (id)", "id", _hashes("events", 3)),
    "hash by session": Scheme("HASH (session_id)", "id, session_id", _hashes("events", 3)),
    "list by type": Scheme(
        "LIST (event_type)",
        "id, event_type",
        (
            "CREATE TABLE steps PARTITION OF events FOR VALUES IN ('step_created')",
            "CREATE TABLE others PARTITION OF events DEFAULT",
        ),
    ),
    "range by timestamp, hash by session": Scheme(
        "RANGE (timestamp)",
        "id, timestamp, session_id",
        (
            f"CREATE TABLE first PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-02-01') {_BY_SESSION}",
            *_hashes("first", 2),
            f"CREATE TABLE later PARTITION OF events FOR VALUES FROM ('2026-02-01') TO (MAXVALUE) {_BY_SESSION}",
            *_hashes("later", 2),
        ),
    ),
}


async def _cost(url: str, parts: int) -> str:
    """Tell what so many partitions cost: to install, to look at with each beat, to judge when they change."""
    days = [(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=n)).date().isoformat() for n in range(parts + 1)]
    made = tuple(
        f"CREATE TABLE p{n} PARTITION OF events FOR VALUES FROM ('{days[n]}') TO ('{days[n + 1]}')"
        for n in range(parts)
    )
    async with connected(url) as connection:
        await connection.execute(SCHEMA)
        await Scheme("RANGE (timestamp)", "id, timestamp", made).make(connection)
        started = perf_counter()
        await install(connection, warn=print)
        installed = perf_counter()
        assert await inspect(connection) is None
        judged = perf_counter()
        tree = await connection.prepare(f"SELECT {tree_sql('readside', 'public.sessions', 'public.events')}")
        async with connection.transaction():
            await connection.execute("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
            locks = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock'")
        took = []
        for _ in range(30):
            began = perf_counter()
            await tree.fetchval()
            took.append(perf_counter() - began)
    return (
        f"{parts} partitions: install {installed - started:.2f} s, {locks} locks; judged in "
        f"{1000 * (judged - installed):.0f} ms; {1000 * median(took):.1f} ms with each beat"
    )


async def _costs(server: EmbeddedPostgres) -> None:
    for parts in (0, 12, 100, 1_000):
        async with fresh_database(server, "template0") as url:
            sys.stdout.write(f"{await _cost(url, parts)}\n")


if __name__ == "__main__":
    with running_postgres() as running:
        asyncio.run(_costs(running))
