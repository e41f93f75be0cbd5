"""Fixtures of the browser tests: one browser a run, one service a module, all in one event loop."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from query_api.streams import waiter as stream_waiter
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.browser.browsing import Profile, Tab, chromium
from tests.browser.service import Service, running_service
from tests.support.servers import fresh_database


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, which takes seconds to start."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Service]:
    """A writer, a projector and an API over the servers of the run."""
    await postgres_server.start()  # a test may have stopped it
    await redis_server.start()
    async with (
        fresh_database(postgres_server) as database_url,
        running_service(database_url, redis_server.url()) as running,
    ):
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profile(browser: Browser) -> Profile:
    """Somebody's browser, for one test after the other."""
    return await Profile.of(browser)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(profile: Profile) -> AsyncIterator[Tab]:
    """Somebody with a tab; what its console complains of fails the test."""
    async with profile.tab() as opened:
        yield opened


@pytest.fixture
def short_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a stream is held for a moment: who follows one asks again about each second."""
    monkeypatch.setattr(stream_waiter, "HOLD_SECONDS", 0.2)
