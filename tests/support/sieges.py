"""An API's process to be attacked: over both stores, with a long page in its memory."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import httpx
from redis.asyncio import Redis

from bench.attack import Prey
from bench.siege import Damage, attacked
from bench.watching import peak_mb, resident_mb
from projector.core.operations import Put
from readmodel.postgres.client import check_server
from readmodel.redis.client import connect
from tests.integration.test_api_process import environment, running
from tests.support.builders import events_path
from tests.support.keys import KEY
from tests.support.scraping import Scrape, series
from tests.support.stands import rows
from tests.support.viewing import Stage
from tests.support.waiting import eventually

EVENTS = 1_000
GONE_SECONDS = 60.0


class Fortress(NamedTuple):
    """The process, and what it had at rest."""

    process: int
    prey: Prey
    client: httpx.AsyncClient
    at_rest_mb: float

    async def under(self, attack: str, seconds: float) -> Damage:
        """Have it attacked for so long, and wait until its connections are gone: that takes memory, too."""
        damage = await attacked(self.process, self.prey, f"{self.prey.path}?limit=1", attack, seconds, 0)
        await eventually(self._is_alone, "the attackers' connections are gone", GONE_SECONDS)
        return replace(damage, peak_mb=max(damage.peak_mb, peak_mb(self.process)))

    async def scrape(self) -> Scrape:
        """Read its metrics."""
        return series((await self.client.get("/metrics")).text)

    async def _is_alone(self) -> bool:
        return (await self.scrape())["readside_connections"] == 1


@asynccontextmanager
async def fortress(database_url: str, redis_url: str) -> AsyncIterator[Fortress]:
    """Run it, with the page in memory; the view stands still, and is fresh enough for as long as an attack lasts.

    What memory keeps of answers has a bound of its own; it is small here, so as not to be taken for harm.
    """
    connection = await asyncpg.connect(database_url)
    redis: Redis = connect(redis_url, name="test")
    settings = environment(database_url, redis_url, MAX_STALENESS_SECONDS="86400", RESPONSE_CACHE_MB="4")
    try:
        await redis.flushall()
        stage = Stage(redis, database=(await check_server(connection, database_url)).database)
        async with running(settings) as (process, client):
            session_id = str(uuid4())
            path = events_path(session_id)
            await stage.begin()
            staged = await stage.staged([row.event() for row in rows(session_id, EVENTS)])
            await stage.apply(Put(session_id, staged), named=[session_id])

            async def comes_from_memory() -> bool:
                await stage.apply(as_of_us=time.time_ns() // 1000)
                answers = [await client.get(f"{path}?limit={limit}") for limit in (1, EVENTS)]
                return all(answer.headers.get("readside-source") == "memory" for answer in answers)

            await eventually(comes_from_memory, "the pages are in memory")
            for other in ("/openapi.json", "/health/ready", "/metrics"):
                await client.get(other)
            prey = Prey(client.base_url.port or 0, path, KEY)
            yield Fortress(process.pid, prey, client, resident_mb(process.pid))
    finally:
        await connection.close()
        await redis.aclose()
