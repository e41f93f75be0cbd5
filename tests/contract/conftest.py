"""The API and the view, over fakes and over real servers: each test that asks for `stand` or `stage` runs on both.

The API is asked both ways: the one over fakes in process, the one over servers over a socket as in production.
`--every-way` asks each of them both ways. tests/doorway shows that the two ways answer alike, byte for byte.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from projector.tail.triggers import install
from readmodel.redis.client import connect
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.fakes.redis import fake_redis
from tests.support.builders import Way
from tests.support.servers import connected, fresh_database
from tests.support.stands import NOON_US, Stand, fake_stand, real_stand
from tests.support.viewing import Stage

STANDS = ("fakes", "servers by the doorway")
EVERY_STAND = (*STANDS, "fakes by the doorway", "servers")


@pytest.fixture(scope="module")
def module_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """One database for all these tests: each works on sessions of its own."""
    with asyncio.Runner() as runner:
        database = fresh_database(postgres_server)
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def installed(module_database_url: str) -> None:
    """Everything of ours is in that database."""

    async def prepare() -> None:
        async with connected(module_database_url) as connection:
            await install(connection, warn=pytest.fail)

    asyncio.run(prepare())


@pytest.fixture(scope="module")
def urls_of_servers(module_database_url: str, redis_server: EmbeddedRedis) -> tuple[str, str]:
    """The URLs of Postgres and Redis."""
    return module_database_url, redis_server.url()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the stands of each test that does not choose its own."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "stand_of" in metafunc.fixturenames and "stand_of" not in chosen:
        stands = EVERY_STAND if metafunc.config.getoption("--every-way") else STANDS
        metafunc.parametrize("stand_of", stands, indirect=True)


@pytest.fixture(scope="module")
def stand_of(request: pytest.FixtureRequest) -> Callable[..., AbstractAsyncContextManager[Stand]]:
    """Makes an API over fakes or over real servers, in process or behind a socket."""
    way: Way = "doorway" if "doorway" in request.param else "asgi"
    if "servers" in request.param:
        database_url, redis_url = request.getfixturevalue("urls_of_servers")
        return partial(real_stand, database_url, redis_url, way)
    return partial(fake_stand, way)


@pytest.fixture
async def stand(stand_of: Callable[..., AbstractAsyncContextManager[Stand]]) -> AsyncIterator[Stand]:
    """An API, each way."""
    async with stand_of() as made:
        yield made


@pytest.fixture
async def sid(stand: Stand) -> str:
    """A hot session of ten events of two types, a second apart from noon on."""
    return await stand.hot_session()


@pytest.fixture(scope="module", params=["fakeredis", "redis"])
def url_of_redis(request: pytest.FixtureRequest) -> str | None:
    """None for the fake, then the real server's URL."""
    if request.param == "fakeredis":
        return None
    server: EmbeddedRedis = request.getfixturevalue("redis_server")
    return server.url()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected_redis(url_of_redis: str | None) -> AsyncIterator[Redis]:
    """A client of a fake Redis, then of a real one: a module's tests share it, in one loop."""
    client: Redis = connect(url_of_redis, name="test") if url_of_redis else fake_redis()
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def redis(connected_redis: Redis) -> Redis:
    """The same, empty."""
    await connected_redis.flushall()
    return connected_redis


@pytest_asyncio.fixture(loop_scope="module")
async def stage(redis: Redis) -> Stage:
    """A view whose first term has begun and whose as-of is noon."""
    made = Stage(redis)
    await made.begin()
    await made.apply(as_of_us=NOON_US)
    return made
