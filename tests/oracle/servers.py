"""The PostgreSQL of a run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from projector.tail.triggers import install
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.servers import SCHEMA, connected, embedded_postgres, server_directory

SETTINGS = {"max_prepared_transactions": "32", "wal_writer_delay": "2s"}
"""The latter leaves time for a crash to take back what did not wait for the disk."""
SMALL_QUEUE = "max_notify_queue_pages"
"""From PostgreSQL 17 on: before, the notification queue holds 8 GB and nobody fills it here."""


@asynccontextmanager
async def preparing_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, which knows prepared transactions and has a small notification queue."""
    with server_directory() as directory:
        async with embedded_postgres(directory, **SETTINGS) as server:
            async with connected(server.url()) as connection:
                await connection.execute(SCHEMA)
            await prepare(server, server.url())
            yield server


async def prepare(server: EmbeddedPostgres, url: str) -> None:
    """Install the triggers in a database with the write side's tables, and make the notification queue small."""
    async with connected(url) as connection:
        small = await connection.fetchval("SELECT count(*) FROM pg_settings WHERE name = $1", SMALL_QUEUE)
        if small:
            await connection.execute(f"ALTER SYSTEM SET {SMALL_QUEUE} = 1000")
    if small:
        await server.restart()
    async with connected(url) as connection:
        await install(connection, warn=lambda _: None)
