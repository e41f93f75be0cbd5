"""What a real API process gains under each attack, one after the other on the same process, and who waits meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from bench.attack import ATTACKS, KEYED
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.servers import fresh_database
from tests.support.sieges import Fortress, fortress

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_MB, MOST_MB_WITH_A_KEY = 40, 60
"""Above the process at rest, before any attack: what one of them left behind counts against the next one too.

Who has a key can leave pages untaken, READSIDE_WAITING_MB of them, while others are on their way.
"""
SECONDS = 1.0
"""What an attack takes of memory, it takes within a second; `python -m bench attacks` goes on for longer."""


@asynccontextmanager
async def _fortress(postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> AsyncIterator[Fortress]:
    await redis.start()
    async with fresh_database(postgres) as database_url, fortress(database_url, redis.url()) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Fortress]:
    """One process for all attacks without a key, with the default bounds."""
    async with _fortress(postgres_server, redis_server) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened_api(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Fortress]:
    """Another one for those that take a key."""
    async with _fortress(postgres_server, redis_server) as made:
        yield made


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name not in KEYED])
async def test_an_attack_takes_little_memory(api: Fortress, attack: str) -> None:
    """And whoever polls meanwhile is answered."""
    damage = await api.under(attack, SECONDS)

    assert damage.outcome.opened > 0
    assert damage.peak_mb - api.at_rest_mb <= MOST_MB
    assert damage.bystander.failed == 0


@pytest.mark.parametrize("attack", sorted(KEYED))
async def test_who_has_a_key_takes_what_may_wait(opened_api: Fortress, attack: str) -> None:
    """And whoever polls meanwhile is answered."""
    damage = await opened_api.under(attack, SECONDS)

    assert damage.outcome.opened > 0
    assert damage.peak_mb - opened_api.at_rest_mb <= MOST_MB_WITH_A_KEY
    assert damage.bystander.failed == 0
