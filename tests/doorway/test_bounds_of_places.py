"""As many connections as there may be, on a real API process: who is in is served, who comes is told to come again."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.doorway.raw import LIVE, raw_client
from tests.integration.test_api_process import environment, running
from tests.support.scraping import series
from tests.support.waiting import eventually

PLACES = 5


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a process without any store; it has one of the places."""
    settings = environment("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0", MAX_CONNECTIONS=str(PLACES))
    async with running(settings) as (_, client):
        yield client


async def test_one_connection_too_many(api: httpx.AsyncClient) -> None:
    """It gets 503 and is closed, those inside are served, and the place of one that leaves is another one's."""
    port = api.base_url.port or 0

    async def metric(name: str) -> float:
        return series((await api.get("/metrics")).text)[name]

    async def all_taken() -> bool:
        return await metric("readside_connections") == PLACES

    async def one_free() -> bool:
        return await metric("readside_connections") == PLACES - 1

    async with AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(raw_client(port)) for _ in range(PLACES - 1)]
        await eventually(all_taken, "all places are taken")
        for sent in (LIVE, b""):  # one that asks is told at once, one that is silent after a moment
            async with raw_client(port) as outside:
                outside.send(sent)
                refused = await outside.answer()
                assert await outside.ended() == b""
            assert refused.problem()["status"] == 503
            assert refused.fields["retry-after"] == "1"
        for client in inside:
            client.send(LIVE)
            assert (await client.answer()).status == 200
        assert await metric("readside_connections_ended_total{reason=full}") == 2

        inside[0].leave()
        await eventually(one_free, "a place is free")
        async with raw_client(port) as comes:
            comes.send(LIVE)
            assert (await comes.answer()).status == 200
