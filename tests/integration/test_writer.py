"""The sample writer on a real PostgreSQL: what it commits, how it ends, what it survives."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from readmodel.errors import SchemaMissing
from readmodel.postgres.client import connect, create_pool
from readside.demo.chaos import Chaos
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.moves import Change, Record, Savepoint, Transaction
from readside.demo.sample_log import purge
from readside.demo.workflows import Workflow
from readside.demo.writer import APPLICATION_NAME, Writer
from tests.support.servers import connected, fresh_database
from tests.support.waiting import eventually

UNFINISHED = "status IN ('pending', 'in_progress', 'paused')"
STOPPED = "error_message = 'The writer was stopped.' AND status = 'cancelled'"
AT_ONCE = 1e6  # a speed at which pauses vanish


@asynccontextmanager
async def writing(url: str, seed: int = 1, speed: float = AT_ONCE) -> AsyncIterator[Writer]:
    """A writer with a pool of its own."""
    pool = await create_pool(url, application_name="test", size=8, owners_path=True)
    try:
        yield Writer(pool, url, Random(seed), speed)
    finally:
        pool.terminate()


def committed(changes: Sequence[Change | Savepoint]) -> Iterator[UUID]:
    """Ids of the events that are there once these changes have committed."""
    for change in changes:
        if isinstance(change, Record):
            yield change.id
        elif isinstance(change, Savepoint) and change.kept:
            yield from committed(change.changes)


async def count(url: str, what: str = "events") -> int:
    """How many rows, over a connection of its own."""
    async with connected(url) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {what}"))


async def test_a_life_leaves_exactly_what_it_committed(database_url: str) -> None:
    """No event of a rolled back transaction or savepoint, every other one, and a terminal status."""
    seeds = range(25)
    expected = {
        event_id
        for seed in seeds
        for move in Workflow(Random(seed)).moves()
        if isinstance(move, Transaction) and move.commits
        for event_id in committed(move.changes)
    }

    async with writing(database_url) as writer:
        await asyncio.gather(*(writer.play(Workflow(Random(seed))) for seed in seeds))
    async with connected(database_url) as connection:
        actual = {row["id"] for row in await connection.fetch("SELECT id FROM events")}
        unfinished = await connection.fetchval("SELECT count(*) FROM sessions WHERE completed_at IS NULL")

    assert actual == expected
    assert unfinished == 0


async def test_a_life_lived_twice_is_written_once(database_url: str) -> None:
    """A transaction is sent again when nobody knows whether it committed."""
    async with writing(database_url) as writer:
        await writer.play(Workflow(Random(7)))
        once = await count(database_url)
        await writer.play(Workflow(Random(7)))

    assert await count(database_url) == once


async def test_finished_sessions_are_purged_with_their_events(database_url: str) -> None:
    """The retention job takes what is old enough, and nothing of others."""
    async with writing(database_url) as writer, connected(database_url) as connection:
        await writer.play(Workflow(Random(7)))
        await connection.execute(
            "INSERT INTO sessions SELECT gen_random_uuid(), session_type, status, mode, project_path, '{}', result,"
            " error_message, created_at, updated_at, completed_at FROM sessions"
        )
        await purge(connection, older_than_seconds=3600)
        young = await count(database_url, "sessions")
        await purge(connection, older_than_seconds=0)

    assert young == 2
    assert await count(database_url, "sessions") == 1
    assert await count(database_url) == 0


async def test_sessions_left_by_an_earlier_run_are_cancelled(database_url: str) -> None:
    """A writer that was stopped leaves no session in progress for ever."""
    async with writing(database_url, speed=1000) as writer:
        running = asyncio.create_task(writer.run())
        await eventually(lambda: count(database_url, "sessions WHERE status = 'in_progress'"), "sessions are going")
        running.cancel()
        await asyncio.wait([running])
    async with writing(database_url) as writer, connected(database_url) as connection:
        left = await connection.fetch(f"SELECT id FROM sessions WHERE {UNFINISHED}")
        running = asyncio.create_task(writer.run(sessions=0))
        await eventually(lambda: count(database_url, f"sessions WHERE {STOPPED}"), "they are ended")
        running.cancel()
        await asyncio.wait([running])
        ended = await connection.fetch(f"SELECT id FROM sessions WHERE {STOPPED}")

    # What was on its way when the first writer was cut off may have ended by itself.
    assert ended
    assert set(ended) <= set(left)
    assert ended


async def test_it_goes_on_after_a_crash_of_the_server(postgres_server: EmbeddedPostgres, database_url: str) -> None:
    """An outage costs time."""
    async with writing(database_url, speed=50) as writer:
        running = asyncio.create_task(writer.run())
        await eventually(lambda: count(database_url), "events come")
        await postgres_server.restart("immediate")
        before = await count(database_url)

        await eventually(lambda: more_than(database_url, before), "more events come")
        running.cancel()
        await asyncio.wait([running])


async def test_chaos_cuts_every_connection_but_the_writers(database_url: str, tmp_path: Path) -> None:
    """It stands for applications, which are nobody's to mend here."""
    nobody: Any = None
    chaos = Chaos(nobody, nobody, nobody, {}, database_url, "", tmp_path)
    ours, writers = [await connect(database_url, application_name=name) for name in ("readside-api", APPLICATION_NAME)]
    try:
        await chaos._cut()
        await eventually(ours.is_closed, "ours is cut")

        assert await writers.fetchval("SELECT 1") == 1
    finally:
        ours.terminate()
        writers.terminate()


async def more_than(url: str, number: int) -> bool:
    """Whether there are more events now."""
    return await count(url) > number


async def test_tables_that_are_not_there_end_it(postgres_server: EmbeddedPostgres) -> None:
    """Waiting does not mend that."""
    async with fresh_database(postgres_server, template="template0") as url, writing(url) as writer:
        with pytest.raises(SchemaMissing, match="sessions"):
            await writer.run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_ends_cleanly_on_a_signal(database_url: str, number: signal.Signals) -> None:
    """Exit code 0, no traceback, its connections told apart by name."""
    process = await program(READSIDE_DATABASE_URL=database_url)
    ours = "pg_stat_activity WHERE application_name = 'readside-demo-writer' AND datname = current_database()"
    await eventually(lambda: count(database_url, ours), "the writer connects")
    process.send_signal(number)
    output, errors = await process.communicate()

    assert (process.returncode, output, errors) == (0, b"", b"")


async def test_the_program_says_what_is_not_set() -> None:
    """One line, and a code that is not zero."""
    process = await program(READSIDE_DATABASE_URL="")
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.decode().splitlines() == [
        "readside.demo.writer: READSIDE_DATABASE_URL is not set; it must be a postgresql:// URL."
    ]


async def program(**environment: str) -> asyncio.subprocess.Process:
    """`python -m readside.demo.writer` with this environment."""
    return await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "readside.demo.writer"],
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
