"""The whole service under random writers, pollers and faults: no answer may be wrong.

`make test` runs it for some seconds; `make chaos` for ten minutes (SECONDS=…, SEED=…).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projector.tail.triggers import install
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.oracle import chaos
from tests.support.servers import SCHEMA, connected, embedded_postgres, embedded_redis, server_directory

SETTINGS = {"max_prepared_transactions": "32", "wal_writer_delay": "2s"}
"""The latter leaves time for a crash to take back what did not wait for the disk."""
SMALL_QUEUE = "max_notify_queue_pages"
"""From PostgreSQL 17 on: before, the notification queue holds 8 GB and nobody fills it here."""


@pytest.fixture
async def dumping_redis() -> AsyncIterator[EmbeddedRedis]:
    """A Redis of the test's own, which faults may kill and put back."""
    with server_directory() as directory:
        async with embedded_redis(directory) as server:
            yield server


@pytest.fixture
async def preparing_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, which knows prepared transactions and has a small notification queue."""
    with server_directory() as directory:
        async with embedded_postgres(directory, **SETTINGS) as server:
            async with connected(server.url()) as connection:
                await connection.execute(SCHEMA)
                small = await connection.fetchval("SELECT count(*) FROM pg_settings WHERE name = $1", SMALL_QUEUE)
                if small:
                    await connection.execute(f"ALTER SYSTEM SET {SMALL_QUEUE} = 1000")
            if small:
                await server.restart()
            yield server


async def test_no_answer_is_wrong(
    preparing_postgres: EmbeddedPostgres, dumping_redis: EmbeddedRedis, tmp_path: Path, seed: int, seconds: float
) -> None:
    """Every answer fits a state between its as-of and its receipt; in the end everything equals Postgres."""
    url = preparing_postgres.url()
    async with connected(url) as connection:
        await install(connection, warn=lambda _: None)
    report = await chaos.run(seed, seconds, preparing_postgres, dumping_redis, url, tmp_path)
    report.save()

    assert report.failures == []
    assert report.missing == 0
    assert min(report.sources[source] for source in ("memory", "redis", "postgres")) > 0
