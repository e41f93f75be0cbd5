"""Servers and a service that the tests of a module share, where each test works on sessions of its own.

A projector and an API take a quarter of a second of a processor to start. What a test of them does to one session is
no other test's business, as in production.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.letters import Letterbox, letterbox
from tests.support.lookalikes import make_lookalikes
from tests.support.servers import empty, fresh_database, make_installed, running_redis


@pytest.fixture(scope="session")
def lasting_redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis that tests leave running: `redis_url` empties another one before each test."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def lasting_redis_url(lasting_redis_server: EmbeddedRedis) -> str:
    """The URL of a Redis that is empty when the module begins."""
    empty(lasting_redis_server)
    return lasting_redis_server.url()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_database_url(postgres_server: EmbeddedPostgres, installed_once: str) -> AsyncIterator[str]:
    """The URL of a database with everything of ours, for as long as the module lasts."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server, installed_once) as url:
        yield url


@pytest.fixture(scope="session")
def lookalikes_once(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with everything of ours and ten thousand look-alikes, which no search_path names."""
    asyncio.run(postgres_server.start())  # a test may have stopped it
    asyncio.run(make_installed(postgres_server, "lookalikes", make_lookalikes))
    return "lookalikes"


@pytest.fixture
async def lookalikes_url(postgres_server: EmbeddedPostgres, lookalikes_once: str) -> AsyncIterator[str]:
    """The URL of a fresh copy of it."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server, lookalikes_once) as url:
        yield url


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Letterbox]:
    """The triggers installed, ten sessions there, and somebody who reads letters."""
    async with letterbox(database_url) as box:
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_box(lasting_database_url: str) -> AsyncIterator[Letterbox]:
    """One for all tests that leave the tables as they are."""
    async with letterbox(lasting_database_url) as box:
        yield box


@pytest_asyncio.fixture(loop_scope="module")
async def anew(lasting_box: Letterbox) -> Letterbox:
    """The same, as it was at first."""
    await lasting_box.begin_anew()
    return lasting_box
