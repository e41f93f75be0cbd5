"""Single answers of the real API, as the client gives them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from readside.api import opened
from readside_client import AsyncClient, BadRequest, Client, Forbidden, SessionNotFound, Unauthorized
from tests.support.builders import OPS_KEY, READ_KEY, api_config, serving
from tests.support.projecting import Writer
from tests.support.servers import connected


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    """The write side."""
    async with connected(database_url) as connection:
        yield Writer(connection)


@pytest.fixture
async def url(database_url: str, redis_url: str) -> AsyncIterator[str]:
    """An API on a port of its own."""
    async with opened(api_config(database_url, redis_url)) as app, serving(app) as made:
        yield made


async def test_a_page_and_its_304(url: str, writer: Writer) -> None:
    """Against the real headers."""
    session_id = await writer.session()
    await writer.events(session_id, 3)
    async with AsyncClient(url, READ_KEY) as client:
        first = await client.events(session_id, limit=2, max_staleness_seconds=0)
        again = await client.events(session_id, limit=2, previous=first)

    assert (len(first.items), first.total, first.has_next, first.freshness.source) == (2, 3, True, "postgres")
    assert again.items is first.items
    assert again.freshness.as_of.tzinfo is not None


async def test_a_page_in_gzip_and_its_304(url: str, writer: Writer) -> None:
    """The client asks for it and unpacks it; the tag of that form is as good as the other's."""
    session_id = await writer.session()
    await writer.events(session_id, 20)
    async with AsyncClient(url, READ_KEY) as client:
        first = await client.events(session_id, max_staleness_seconds=0)
        again = await client.events(session_id, previous=first, max_staleness_seconds=0)

    assert first.etag.endswith('-gzip"')
    assert len({event.id for event in first.items}) == first.total == 20
    assert again.items is first.items


async def test_each_refusal_has_its_class(url: str, writer: Writer) -> None:
    """And the parameter's name where there is one."""
    session_id = await writer.session()
    for key, kind in (("wrong", Unauthorized), (None, Unauthorized), (OPS_KEY, Forbidden)):
        with Client(url, key) as refused, pytest.raises(kind):
            await asyncio.to_thread(next, refused.follow(session_id))
    async with AsyncClient(url, READ_KEY) as client:
        with pytest.raises(BadRequest) as caught:
            await client.events(session_id, types="Not a type")

    assert caught.value.parameter == "event_type"


async def test_a_purge_ends_what_follows(url: str, writer: Writer) -> None:
    """With the API's sentence."""
    session_id = await writer.session()
    await writer.events(session_id, 3)
    async with AsyncClient(url, READ_KEY) as client:
        events = client.follow(session_id)
        for _ in range(3):
            await anext(events)
        await writer.delete_session(session_id)

        with pytest.raises(SessionNotFound, match=session_id):
            await anext(events)
