"""What a writer pays on a partitioned table, in processor time: partitions adopted, and those seen row by row."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.events import fill
from bench.rows.writers import KEPT, in_turn
from bench.stack import Servers, Site
from bench.table import Figure, Measurement, Row, Target
from readmodel.postgres.client import Connection

NAME = "partitions"
ROUNDS = 7
SESSIONS, EVENTS_EACH = 200, 10
BARE, ADOPTED, LATE = "no triggers", "adopted partitions", "partitions seen row by row"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a writer commits: so many events each time, so many times, into a table by this name."""

    table: str
    events: int
    times: int

    @property
    def name(self) -> str:
        """As it stands in the table."""
        what = "single events" if self.events == 1 else f"{self.events:,} events at a time"
        return f"a writer of {what} into {'the table' if self.table == 'events' else 'a partition'}"


STATEMENTS = (
    Statement("events", 1, 2_000),
    Statement("events_6", 1, 2_000),
    Statement("events", 1_000, 10),
    Statement("events_6", 1_000, 10),
)
_INSERT = """
INSERT INTO {table} (id, session_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), md5('session ' || 1 + (random() * 199)::int)::uuid, 'step_created', '{{"attempt": 1}}',
       'went on', clock_timestamp()
FROM generate_series(1, {events})
"""
_TABLE = """
DROP TABLE events;
CREATE TABLE events (
  id uuid NOT NULL, session_id uuid NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, step_id uuid,
  event_type varchar(100) NOT NULL, event_data jsonb NOT NULL, message text, timestamp timestamptz NOT NULL,
  PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
CREATE INDEX ON events (session_id); CREATE INDEX ON events (step_id); CREATE INDEX ON events (event_type);
CREATE INDEX ON events (timestamp);
"""
_PARTITIONS = """
CREATE TABLE events_rest PARTITION OF events DEFAULT;
DO $$
BEGIN
  FOR n IN -6..5 LOOP
    EXECUTE format('CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%L) TO (%L)', n + 6,
                   date_trunc('month', now()) + n * interval '1 month',
                   date_trunc('month', now()) + (n + 1) * interval '1 month');
  END LOOP;
END
$$;
"""


async def measure(servers: Servers) -> Measurement:
    """Let one writer commit, of twelve months and a default; the variants take turns on one server.

    What is told is the processor time of the writer's own process in PostgreSQL: it is the same however busy the
    machine is, and bounds the rate where processors do.
    """
    rounds = servers.choices.rounds or ROUNDS
    turns: dict[tuple[Statement, str], list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        sites = {
            variant: await stack.enter_async_context(_site(servers, number, variant))
            for number, variant in enumerate((BARE, ADOPTED, LATE))
        }
        for number in range(rounds):
            for statement in STATEMENTS:
                for variant in in_turn([BARE, ADOPTED, LATE], number):
                    turns[statement, variant].append(await _turn(sites[variant], statement))
    return Measurement([_row(statement, variant, turns) for statement in STATEMENTS for variant in (ADOPTED, LATE)])


def _row(statement: Statement, variant: str, turns: dict[tuple[Statement, str], list[float]]) -> Row:
    ours, bare = turns[statement, variant], turns[statement, BARE]
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    note = f"{min(ratios):.2f}–{max(ratios):.2f} × by round"
    target = Target(KEPT) if variant == ADOPTED else None
    unit = "events a processor second"
    return Row(f"{statement.name}, {variant}", Figure(ours, unit, note), BARE, Figure(bare, unit), target)


@asynccontextmanager
async def _site(servers: Servers, number: int, variant: str) -> AsyncIterator[Site]:
    """Make the table; late partitions come after `install`, and an open transaction keeps them from being adopted."""
    async with servers.site(number) as site, AsyncExitStack() as stack:
        await site.connection.execute(_TABLE)
        if variant == LATE:
            await site.run("install")
        await site.connection.execute(_PARTITIONS)
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        if variant == LATE:
            holder = await asyncpg.connect(site.database_url)
            stack.push_async_callback(holder.close)
            await holder.execute("BEGIN")
            for table in ("rest", *range(12)):
                await holder.execute(f"LOCK TABLE events_{table} IN ROW EXCLUSIVE MODE")
        if variant == ADOPTED:
            await site.run("install")
        if variant != BARE:
            await stack.enter_async_context(site.projector(warm_limit="0"))
        yield site


async def _turn(site: Site, statement: Statement) -> float:
    """Commit; gives events for each second that the writer's process had a processor."""
    await site.connection.execute("DELETE FROM events")
    await site.connection.execute("VACUUM events")
    writer = await asyncpg.connect(site.database_url, server_settings={"synchronous_commit": "off"})
    try:
        prepared = await writer.prepare(_INSERT.format(table=statement.table, events=statement.events))
        await prepared.fetch()
        before = await _processor_seconds(writer)
        for _ in range(statement.times):
            await prepared.fetch()
        took = await _processor_seconds(writer) - before
    finally:
        await writer.close()
    return statement.events * statement.times / took


async def _processor_seconds(connection: Connection) -> float:
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    told = await asyncio.to_thread(Path(f"/proc/{pid}/schedstat").read_text)
    return int(told.split()[0]) / 1e9
