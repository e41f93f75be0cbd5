"""Single answers of the real API, as the client gives them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import pytest

from readside.api import opened
from readside_client import (
    AsyncClient,
    BadRequest,
    Client,
    Forbidden,
    SessionNotFound,
    Unauthorized,
    Unavailable,
    WarmReply,
)
from tests.support.builders import OPS_KEY, READ_KEY, api_config, serving
from tests.support.projecting import Writer, bench
from tests.support.servers import connected

pytestmark = pytest.mark.installed


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    """The write side; what streams need is installed."""
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


async def test_nobody_is_there_to_warm_a_session(url: str, writer: Writer) -> None:
    """Without a projector: it is worth asking again, and the projection says why."""
    session_id = await writer.session()
    async with AsyncClient(url, READ_KEY) as reading, AsyncClient(url, OPS_KEY) as watching:
        with pytest.raises(Unavailable):
            await reading.warm(session_id)
        with pytest.raises(Forbidden):
            await reading.projection()
        report = await watching.projection()

    assert (report.status, report.is_live, report.reason is None) == ("down", False, False)


async def test_a_session_is_warmed_and_the_projection_told(database_url: str, redis_url: str) -> None:
    """By both clients."""
    async with (
        bench(database_url, redis_url) as stage,
        stage.projector(),
        opened(api_config(database_url, redis_url)) as app,
        serving(app) as url,
        AsyncClient(url, READ_KEY) as reading,
        AsyncClient(url, OPS_KEY) as watching,
    ):
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        with Client(url, READ_KEY) as other:
            replies = [await reading.warm(session_id), await asyncio.to_thread(other.warm, session_id)]
        report = await watching.projection()

    assert replies == [WarmReply(session_id, "hot")] * 2
    assert (report.status, report.reason, report.hot_sessions) == ("live", None, 1)


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


async def test_all_that_is_wrong_is_told(url: str, writer: Writer) -> None:
    """Each parameter with its sentence."""
    session_id = await writer.session()
    async with AsyncClient(url, READ_KEY) as client:
        with pytest.raises(BadRequest) as caught:
            await client.events(session_id, types="Not a type", step_ids="no step", limit=0, page=0)

    assert {error.parameter for error in caught.value.errors} == {"event_type", "step_id", "limit", "page"}
    assert all(error.detail in str(caught.value) for error in caught.value.errors)


async def test_a_steps_events_from_the_oldest(url: str, writer: Writer) -> None:
    """In a page, and to who follows; several steps too."""
    session_id, steps = await writer.session(), [uuid4() for _ in range(3)]
    await writer.connection.execute(
        """INSERT INTO events (id, session_id, step_id, event_type, event_data, timestamp)
           SELECT gen_random_uuid(), $1::uuid, ($2::uuid[])[1 + n % 3], 'step_created', to_jsonb(n),
                  now() + n * interval '1 ms' FROM generate_series(0, 29) n""",
        session_id,
        steps,
    )
    async with AsyncClient(url, READ_KEY) as client:
        page = await client.events(session_id, step_ids=steps[0], order="asc", max_staleness_seconds=0)
        newest = await client.events(session_id, step_ids=steps[:2], limit=3, max_staleness_seconds=0)
        async with aclosing(client.follow(session_id, step_ids=[str(steps[2])])) as events:
            followed = [await anext(events) for _ in range(10)]

    assert [event.event_data for event in page.items] == list(range(0, 30, 3))
    assert ([event.event_data for event in newest.items], newest.total) == ([28, 27, 25], 20)
    assert [event.event_data for event in followed] == list(range(2, 30, 3))
    assert {event.step_id for event in followed} == {str(steps[2])}


async def test_long_events_come_whole_whatever_was_asked_for(database_url: str, redis_url: str, writer: Writer) -> None:
    """Where a page of them is longer than an answer may be: it is shortened, and who follows reads on."""
    session_id = await writer.session()
    ids = [await writer.event(session_id, data={"n": place, "text": "x" * 5_000}) for place in range(40)]
    config = api_config(database_url, redis_url, max_answer_bytes=60_000)
    async with opened(config) as app, serving(app) as url, AsyncClient(url, READ_KEY) as client:
        first = await client.events(session_id)
        found = list(first.items)
        for page in range(2, first.total_pages + 1):
            found += (await client.events(session_id, limit=first.per_page, page=page)).items
        async with aclosing(client.follow(session_id)) as events:
            followed = [await anext(events) for _ in range(40)]

    assert 1 < first.per_page < 40
    assert [event.id for event in reversed(found)] == [event.id for event in followed] == ids


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
