"""Our connections to Postgres are told apart by `application_name`, and none is without one of the four."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.test_api_process import environment
from tests.integration.test_api_process import running as api_process
from tests.support.commanding import Site
from tests.support.servers import connected
from tests.support.waiting import eventually

LOCKING = "an application that locks"
OURS = """
SELECT application_name FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@pytest.fixture
async def watcher(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that looks at the others."""
    async with connected(database_url) as connection:
        yield connection


async def names(watcher: "asyncpg.Connection[asyncpg.Record]") -> Counter[str]:
    """How many connections have each name."""
    return Counter(row["application_name"] for row in await watcher.fetch(OURS))


async def test_the_command_line(
    watcher: "asyncpg.Connection[asyncpg.Record]", database_url: str, redis_url: str
) -> None:
    """A command that waits for a lock can be found, and no other name is seen."""
    await Site.of(database_url, redis_url).run("install")

    async def seen() -> bool:
        return set(await names(watcher)) - {LOCKING} == {"readside-cli"}

    async with connected(database_url) as other, asyncio.TaskGroup() as group:
        await other.execute(f"SET application_name = '{LOCKING}'")
        async with other.transaction():
            await other.execute("LOCK TABLE sessions, events IN ACCESS EXCLUSIVE MODE")
            uninstalling = group.create_task(Site.of(database_url, redis_url).run("uninstall"))
            await eventually(seen, "readside-cli, and no other name")

    assert uninstalling.result().code == 0


async def test_the_servers(watcher: "asyncpg.Connection[asyncpg.Record]", database_url: str, redis_url: str) -> None:
    """One listens, several read for the projector, and the API has its own."""
    site = Site.of(database_url, redis_url)
    await site.install()
    settings = environment(database_url, redis_url, REDIS_PREFIX=site.settings["REDIS_PREFIX"])
    async with site.projector() as projector, api_process(settings):
        await projector.says("live")

        async def seen() -> bool:
            return set(await names(watcher)) == {"readside-listener", "readside-projector", "readside-api"}

        await eventually(seen, "the three names, and no other")
        assert (await names(watcher))["readside-listener"] == 1
        listens = await watcher.fetchval(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND application_name = 'readside-listener' AND datname = current_database()"
        )
        assert listens == 1
        await projector.stop()
