"""What a real API process gains under each attack, one after the other on the same process, and who waits meanwhile."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.attack import ATTACKS
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.servers import fresh_database
from tests.support.sieges import Fortress, fortress

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_MB = 40
"""Above the process at rest, before any attack: what one of them left behind counts against the next one too."""
SECONDS = 1.0
"""What an attack takes of memory, it takes within the first second; `python -m bench attacks` goes on for longer."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Fortress]:
    """One process for all of them, with the default bounds."""
    await redis_server.start()
    async with fresh_database(postgres_server) as database_url, fortress(database_url, redis_server.url()) as made:
        yield made


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_takes_little_memory(api: Fortress, attack: str) -> None:
    """And whoever polls meanwhile is answered."""
    damage = await api.under(attack, SECONDS)

    assert damage.outcome.opened > 0
    assert damage.peak_mb - api.at_rest_mb <= MOST_MB
    assert damage.bystander.failed == 0
