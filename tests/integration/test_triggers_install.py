"""Installing and removing the triggers on a real Postgres: repeats, contention, and no trace left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from projector.tail.triggers import fingerprint_sql, inspect, install, install_sql, uninstall
from readmodel.errors import EventLogUnavailable, StoreRefused
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.servers import connected, fresh_database
from tests.support.traces import INSTALLED, rows, traces

FINGERPRINT = fingerprint_sql("readside")


async def no_wait(seconds: float) -> None:
    """Stand in for the wait between tries."""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and no triggers."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    """A second connection to the same database."""
    async with connected(database_url) as other:
        yield other


async def test_install_once_and_again(connection: Connection) -> None:
    """The first changes something, the second nothing at all."""
    assert await install(connection, warn=pytest.fail)
    before = await connection.fetchval(f"SELECT {FINGERPRINT}")

    assert await inspect(connection) is None
    assert not await install(connection, warn=pytest.fail)
    assert await connection.fetchval(f"SELECT {FINGERPRINT}") == before


async def test_a_repeat_takes_no_lock(connection: Connection, other: Connection) -> None:
    """It returns at once while somebody holds the strongest lock on both tables."""
    await install(connection, warn=pytest.fail)
    async with other.transaction():
        await other.execute("LOCK TABLE sessions, events IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(60):
            repeated = await install(connection, warn=pytest.fail, lock_timeouts_ms=())
            sentence = await inspect(connection)

    assert (repeated, sentence) == (False, None)


async def test_two_installations_at_once(connection: Connection, other: Connection) -> None:
    """The second waits for the first and finds nothing to do."""
    results = await asyncio.gather(*(install(each, warn=lambda _: None, sleep=no_wait) for each in (connection, other)))

    assert sorted(results) == [False, True]
    assert await inspect(connection) is None


async def test_install_gives_up_on_a_lock(connection: Connection, other: Connection) -> None:
    """A busy table is tried again with growing waits, then named with who holds it, and nothing is half done."""
    before = await traces(connection)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    await other.execute("SET application_name = 'nightly import'")
    async with other.transaction():
        await other.execute("LOCK TABLE events IN ROW EXCLUSIVE MODE")
        with pytest.raises(
            EventLogUnavailable, match=r"in 3 tries \(held by process \d+ \(nightly import, \d+ s old\)\)"
        ):
            await install(connection, warn=lambda _: None, lock_timeouts_ms=(20, 20, 20), sleep=wait)

    assert [0.125 <= waits[0] <= 0.25, 0.25 <= waits[1] <= 0.5, len(waits)] == [True, True, 2]
    assert await traces(connection) == before


async def test_install_waits_for_a_lock(connection: Connection, other: Connection) -> None:
    """It says once what it waits for, and goes on when the writer is done."""
    warnings: list[str] = []
    holding = other.transaction()
    await holding.start()
    await other.execute("LOCK TABLE sessions IN ROW EXCLUSIVE MODE")

    async def writer_ends(seconds: float) -> None:
        await holding.commit()

    assert await install(connection, warn=warnings.append, lock_timeouts_ms=(20, 5000), sleep=writer_ends)
    assert len(warnings) == 1
    assert "trying again" in warnings[0]


async def test_a_reader_is_nobody_in_the_way(connection: Connection, other: Connection) -> None:
    """Reports and locked rows do not keep the triggers from being made."""
    async with other.transaction():
        await other.execute("SELECT * FROM events; SELECT * FROM sessions FOR UPDATE")
        assert await install(connection, warn=pytest.fail)


async def test_uninstall_leaves_no_trace(connection: Connection) -> None:
    """The catalog is as it was."""
    before = await traces(connection)
    await install(connection, warn=pytest.fail)
    assert await traces(connection) != before

    assert await uninstall(connection)
    assert await traces(connection) == before
    assert not await uninstall(connection)


async def test_uninstall_gives_up_on_a_lock(connection: Connection, other: Connection) -> None:
    """Even a reader is in its way; nothing is half removed."""
    await install(connection, warn=pytest.fail)
    async with other.transaction():
        await other.execute("SELECT * FROM events")
        with pytest.raises(EventLogUnavailable, match="held by process"):
            await uninstall(connection, lock_timeouts_ms=(20, 20), sleep=no_wait)

    assert await inspect(connection) is None


@pytest.mark.parametrize(
    "change", ["DROP TABLE events, sessions", "DROP TABLE events", "ALTER TABLE events RENAME TO events_2025"]
)
async def test_uninstall_works_when_tables_are_gone(connection: Connection, change: str) -> None:
    """What is left goes, wherever it sits."""
    await install(connection, warn=pytest.fail)
    await connection.execute(change)

    assert await uninstall(connection)
    assert await rows(connection, INSTALLED) == []
    assert await connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_uninstall_spares_what_is_not_ours(connection: Connection) -> None:
    """A schema with objects of others is refused by name, and nothing is removed."""
    await install(connection, warn=pytest.fail)
    await connection.execute("CREATE TABLE readside.notes ()")
    with pytest.raises(StoreRefused, match=r"objects that are not ours \(table readside\.notes"):
        await uninstall(connection)

    assert await inspect(connection) is None


async def test_uninstall_leaves_a_schema_of_others_alone(connection: Connection) -> None:
    """A schema that happens to have our name, and nothing of ours, is no trace."""
    await connection.execute("CREATE SCHEMA readside CREATE TABLE readside.notes ()")

    assert not await uninstall(connection)
    assert await connection.fetchval("SELECT to_regclass('readside.notes') IS NOT NULL")


async def test_the_dry_run_is_what_install_does(postgres_server: EmbeddedPostgres, connection: Connection) -> None:
    """The printed script, run as it is, leaves nothing for install to do."""
    await install(connection, warn=pytest.fail)
    async with fresh_database(postgres_server) as url, connected(url) as by_hand:
        await by_hand.execute(install_sql())

        assert not await install(by_hand, warn=pytest.fail)
        assert await rows(by_hand, INSTALLED) == await rows(connection, INSTALLED)


async def test_tables_are_found_through_the_search_path(connection: Connection) -> None:
    """Whatever schema they are in."""
    await connection.execute("""
        CREATE SCHEMA "Write Side"; ALTER TABLE sessions SET SCHEMA "Write Side";
        ALTER TABLE events SET SCHEMA "Write Side"; SET search_path = "Write Side" """)

    assert await install(connection, warn=pytest.fail)
    assert await inspect(connection) is None
    assert await uninstall(connection)
