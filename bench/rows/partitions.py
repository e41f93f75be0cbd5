"""What writers keep of their rate on a partitioned table: partitions that were adopted, and those seen row by row."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from bench.events import fill
from bench.rows.writers import KEPT, Crowd, in_turn
from bench.stack import Servers, Site
from bench.table import Figure, Measurement, Row, Target
from bench.writing import Manner, write

NAME = "partitions"
ROUNDS, SECONDS = 5, 4
SESSIONS, EVENTS_EACH = 200, 10
BARE, ADOPTED, LATE = "no triggers", "adopted partitions", "partitions seen row by row"
CROWDS = (
    Crowd(8, {ADOPTED: KEPT, LATE: 0.0}),
    Crowd(1, {ADOPTED: KEPT, LATE: 0.0}),
    Crowd(2, {ADOPTED: KEPT, LATE: 0.0}, "committing a thousand events at a time", Manner(events=1_000)),
)
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
    """Let crowds write through the table, of twelve months and a default; the variants take turns on one server."""
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    turns: dict[tuple[Crowd, str], list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        sites = {
            variant: await stack.enter_async_context(_site(servers, number, variant))
            for number, variant in enumerate((BARE, ADOPTED, LATE))
        }
        for number in range(rounds):
            for crowd in CROWDS:
                for variant in in_turn([BARE, *crowd.targets], number):
                    rate = await _turn(sites[variant], crowd, seconds, is_bare=variant == BARE)
                    turns[crowd, variant].append(rate)
    return Measurement([_row(crowd, variant, turns) for crowd in CROWDS for variant in crowd.targets])


def _row(crowd: Crowd, variant: str, turns: dict[tuple[Crowd, str], list[float]]) -> Row:
    ours, bare = turns[crowd, variant], turns[crowd, BARE]
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    note = f"{min(ratios):.2f}–{max(ratios):.2f} × by round"
    wanted = crowd.targets[variant]
    target = Target(wanted) if wanted else None
    return Row(f"{crowd.name}, {variant}", Figure(ours, "events/s", note), BARE, Figure(bare, "events/s"), target)


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


async def _turn(site: Site, crowd: Crowd, seconds: int, *, is_bare: bool) -> float:
    await site.connection.execute("DELETE FROM events")
    await site.connection.execute("VACUUM events")
    await site.connection.execute("CHECKPOINT")
    rate = await write(site, writers=crowd.writers, seconds=seconds, sessions=(1, SESSIONS), manner=crowd.manner)
    if not is_bare:
        await site.caught_up()
    return rate
