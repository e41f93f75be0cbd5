"""Fixtures for every test: the embedded servers, and a fresh database and an empty Redis on them."""

import asyncio
import functools
import gc
import inspect
import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import get_args

import pytest
from structlog.dev import ConsoleRenderer, plain_traceback

from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.builders import Way
from tests.support.healing import Record
from tests.support.partitions import MONTHLY
from tests.support.ports import claim
from tests.support.redis_clusters import RedisCluster, running_cluster
from tests.support.servers import (
    INSTALLED,
    MONTHS,
    TEMPLATE,
    empty,
    fresh_database,
    make_installed,
    make_template,
    running_postgres,
    running_redis,
)

ROOT = Path(__file__).parent
TEST_SECONDS = 300.0
"""A coroutine test fails after this, at the line where it waits; `pytest --durations=5` names the slowest."""
ORDER = ("model", "oracle", "e2e", "browser", "integration", "races", "doorway", "clients", "contract", "unit")
"""The directories with the longest files begin, so that in the end no worker has a long one left alone."""


# Our servers have no TLS; asyncpg would make ready for it on each connection, a third of an API's start.
# tests/integration/test_tls.py goes without this.
os.environ["PGSSLMODE"] = "disable"
# An exception that is logged is a few lines, as in production: rich's picture of it takes seconds.
ConsoleRenderer.get_active().exception_formatter = plain_traceback
# httpcore asks for it with each lock that it makes: to look through all of sys.path in vain takes 1 ms of a request.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the command line choose how long runs go."""
    parser.addoption("--seed", type=int, default=None, help="seed of a run; the oracle draws one by default")
    parser.addoption("--seconds", type=float, default=6, help="how long the oracle's faults strike")
    parser.addoption("--streams", type=int, default=250, help="how many streams are sent by both ways in, on each loop")
    parser.addoption("--every-way", action="store_true", help="contract tests go both ways into either API")
    parser.addoption("--runs", type=int, default=6, help="how many seeds of the model are run on each Redis")


def pytest_configure(config: pytest.Config) -> None:
    """Keep other test processes of this machine from our ports."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        claim()  # who only hands tests to workers needs none


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound each coroutine test in time: one that hangs is named, and the run goes on. A long oracle run gets more."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(test := item.obj):

        @functools.wraps(test)
        async def bounded(*args: object, **kwargs: object) -> None:
            async with asyncio.timeout(max(TEST_SECONDS, 2 * item.config.getoption("--seconds"))):
                await test(*args, **kwargs)

        item.obj = bounded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files of a run with several workers, which take them in turn (`--no-loadscope-reorder`)."""
    if hasattr(config, "workerinput"):
        places = {directory: place for place, directory in enumerate(ORDER)}
        items.sort(key=lambda item: (places.get(item.path.relative_to(ROOT).parts[0], 0), item.path))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each worker begin elsewhere: who comes to a module first rewrites and compiles it for all.

    In a clean clone they would do it side by side, each with every module. They agree on an order afterwards.
    """
    report = yield
    worker = getattr(collector.config, "workerinput", {"workerid": "gw0"})["workerid"]
    if isinstance(collector, pytest.Directory) and report.passed and worker != "gw0":
        found, number = list(report.result or ()), int(worker.removeprefix("gw"))
        middle = len(found) // 2
        report.result = found[::-1] if number % 2 else found[middle:] + found[:middle]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have no cycle collected meanwhile: what is made stays, and each round would look at all of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Have the cycle collector look no more at ten thousand tests, which stay: each of its rounds would take 0.2 s."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the cycle collector from a failure's report: what it ends may parse as well, as the report does.

    Python 3.11's parser may then raise SystemError, and the whole run ends (python/cpython#106905).
    """
    if call.excinfo is None:
        return (yield)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the whole run; a test may `await` its `restart()` or `stop()`."""
    with running_postgres() as server:
        asyncio.run(make_template(server))
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis server for the whole run; a test may `await` its `restart()` or `stop()`."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def redis_nodes() -> Iterator[RedisCluster]:
    """A Redis Cluster of three masters and three replicas. Idle ones cost as much in 20 s as it costs to make one."""
    with running_cluster() as made:
        yield made


@pytest.fixture
async def cluster(redis_nodes: RedisCluster) -> RedisCluster:
    """The cluster, whole and empty, whatever was done to it; its slots are where the last test left them."""
    await redis_nodes.heal()
    return redis_nodes


@pytest.fixture(scope="session")
def installed_once(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database that has the write side's tables and everything of ours: fresh ones are copies of it."""
    asyncio.run(postgres_server.start())  # a test may have stopped it
    asyncio.run(make_installed(postgres_server))
    return INSTALLED


@pytest.fixture(scope="session")
def months_once(postgres_server: EmbeddedPostgres) -> str:
    """The name of such a database whose events are in three monthly partitions."""
    asyncio.run(postgres_server.start())
    asyncio.run(make_installed(postgres_server, MONTHS, MONTHLY.make))
    return MONTHS


@pytest.fixture
async def months_url(postgres_server: EmbeddedPostgres, months_once: str) -> AsyncIterator[str]:
    """The URL of a fresh database where events are in three monthly partitions, with everything of ours."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server, months_once) as url:
        yield url


@pytest.fixture
def template(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres) -> str:
    """What the test's own database is a copy of. One that is marked `installed`, and would install first, need not."""
    installed = request.node.get_closest_marker("installed") is not None
    return str(request.getfixturevalue("installed_once")) if installed else TEMPLATE


@pytest.fixture
async def database_url(postgres_server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """The URL of a fresh database that holds the write side's tables, as its superuser."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server, template) as url:
        yield url


@pytest.fixture(params=get_args(Way))
def way(request: pytest.FixtureRequest) -> Way:
    """Each way into the API."""
    found: Way = request.param
    return found


@pytest.fixture
def record(request: pytest.FixtureRequest, record_testsuite_property: Record) -> Record:
    """Keep how long healing took, for who asks with --junitxml."""
    return lambda name, seconds: record_testsuite_property(f"{request.node.name}.{name}", seconds)


@pytest.fixture
async def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of an empty Redis with default settings."""
    await redis_server.start()  # a test may have stopped it
    empty(redis_server)
    return redis_server.url()
