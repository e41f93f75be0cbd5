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
from tests.support.servers import connected, embedded_redis, server_directory


@pytest.fixture
async def dumping_redis() -> AsyncIterator[EmbeddedRedis]:
    """A Redis of the test's own, which faults may kill and put back."""
    with server_directory() as directory:
        async with embedded_redis(directory) as server:
            yield server


async def test_no_answer_is_wrong(
    postgres_server: EmbeddedPostgres,
    dumping_redis: EmbeddedRedis,
    database_url: str,
    tmp_path: Path,
    seed: int,
    seconds: float,
) -> None:
    """Every answer fits a state between its as-of and its receipt; in the end everything equals Postgres."""
    async with connected(database_url) as connection:
        await install(connection, warn=print)
    report = await chaos.run(seed, seconds, postgres_server, dumping_redis, database_url, tmp_path)
    report.save()

    assert report.failures == []
    assert report.missing == 0
    assert min(report.sources[source] for source in ("memory", "redis", "postgres")) > 0
