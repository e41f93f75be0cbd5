"""Both clients with tokens of the real API: renewed while they follow, refused what they do not name."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx
import jwt
import pytest

from query_api.access.token_config import TokenConfig
from readside.api import opened
from readside_client import AsyncClient, Client, Event, Forbidden, Unauthorized
from tests.support.builders import api_config, serving
from tests.support.projecting import Writer
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SECRET = "a secret of tests, of thirty-two bytes and more"


@dataclass
class Backend:
    """Mints tokens that live so long; `minted` are those that it gave."""

    sessions: list[str]
    seconds: float
    minted: list[str] = field(default_factory=list)

    def __call__(self) -> str:
        """A fresh token."""
        claims = {
            "aud": "readside",
            "exp": time.time() + self.seconds,
            "sessions": self.sessions,
            "n": len(self.minted),
        }
        self.minted.append(jwt.encode(claims, SECRET, algorithm="HS256"))
        return self.minted[-1]

    async def later(self) -> str:
        """The same, awaited."""
        await asyncio.sleep(0)
        return self()


class Noting(httpx.AsyncHTTPTransport):
    """The usual transport; `statuses` are those of the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        response = await super().handle_async_request(request)
        self.statuses.append(response.status_code)
        return response


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    """The write side; what streams need is installed."""
    async with connected(database_url) as connection:
        yield Writer(connection)


@pytest.fixture
async def url(database_url: str, redis_url: str) -> AsyncIterator[str]:
    """An API that takes tokens."""
    config = api_config(database_url, redis_url, tokens=TokenConfig(secrets=(SECRET.encode(),)))
    async with opened(config) as app, serving(app) as made:
        yield made


async def test_a_token_is_renewed_before_the_api_refuses_it(
    url: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asynchronous client follows through three of them, and no poll is refused. Each is renewed after a second."""
    monkeypatch.setattr("readside_client.credential.RENEWED_AFTER", 1 / 8)
    session_id = await writer.session()
    backend, seen, over = Backend([session_id], seconds=8), list[Event](), Noting()
    async with (
        asyncio.timeout(120),
        AsyncClient(url, token=backend.later, transport=over) as client,
        aclosing(client.follow(session_id)) as events,
    ):
        while len(backend.minted) < 3:
            await writer.events(session_id, 1)
            seen.append(await anext(events))

    assert len({event.id for event in seen}) == len(seen)
    assert set(over.statuses) == {200}


async def test_a_token_that_the_api_refuses_is_replaced(
    url: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The synchronous client, which does not look at the clock here: the 401 brings the next, and nobody sees it."""
    monkeypatch.setattr("readside_client.credential.RENEWED_AFTER", 1000.0)
    session_id = await writer.session()
    backend = Backend([session_id], seconds=3)
    with Client(url, token=backend) as client:

        async def is_replaced() -> bool:
            await asyncio.to_thread(client.events, session_id)
            return len(backend.minted) == 2

        await eventually(is_replaced, "the second token")


async def test_a_session_that_the_token_does_not_name_has_its_own_error(url: str, writer: Writer) -> None:
    """For both clients, whether or not it exists; a fixed token that has ended has another."""
    named, other = await writer.session(), await writer.session()
    backend = Backend([named], seconds=60)
    for session_id in (other, "00000000-0000-0000-0000-000000000000"):
        with Client(url, token=backend) as client, pytest.raises(Forbidden, match="does not name this session"):
            await asyncio.to_thread(next, client.follow(session_id))
    async with AsyncClient(url, token=backend.later) as client:
        with pytest.raises(Forbidden, match="does not name this session"):
            await anext(client.follow(other))
        with pytest.raises(Forbidden, match="Readside-Max-Staleness"):
            await client.events(named, max_staleness_seconds=0)
    async with AsyncClient(url, token=Backend([named], seconds=-1)()) as client:
        with pytest.raises(Unauthorized, match="expired"):
            await anext(client.follow(named))
