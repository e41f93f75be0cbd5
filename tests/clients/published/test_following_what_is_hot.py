"""The published clients follow hot sessions, whatever way they are written: each event once. And what ends a stream."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from durable_streams import DurableStream, stream

from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.clients.published.scribe import Scribe, each_once
from tests.support.builders import BOTH_KEY
from tests.support.followers import KINDS, NOW, START, StreamOf, complete, placed
from tests.support.servers import fresh_database
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN_SECONDS = 2.0
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> AsyncIterator[Whole]:
    """Projector and API, for all tests of this module."""
    await postgres_server.start()  # a test may have stopped it
    await redis_server.start()
    async with fresh_database(postgres_server) as database_url, whole_service(database_url, redis_server.url()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def scribe(whole: Whole) -> Scribe:
    """Who writes to a session that is hot."""
    session_id = await whole.bench.writer.session()
    await whole.bench.hot(session_id)
    return Scribe(whole.bench.config.database_url, session_id)


def stream_of(whole: Whole, session_id: str, query: str = "") -> StreamOf:
    """The stream of a session."""
    base = str(whole.client.base_url).rstrip("/")
    return StreamOf(f"{base}/api/v2/sessions/{session_id}/stream{query}", {"x-api-key": BOTH_KEY})


@pytest.fixture
def followed(whole: Whole, scribe: Scribe) -> StreamOf:
    """The session's stream."""
    return stream_of(whole, scribe.session_id)


async def read_all(followed: StreamOf) -> tuple[list[str], str]:
    """Read what is there by PyPI's client, in the synchronous way; give the events and the offset behind them."""

    def read() -> tuple[list[str], str]:
        with stream(followed.url, live=False, headers={**followed.headers}) as answers:
            return [event["id"] for event in answers.iter_json()], answers.offset

    return await asyncio.to_thread(read)


async def test_each_event_comes_once(whole: Whole, scribe: Scribe, followed: StreamOf) -> None:
    """From the start, from a stored offset and from now on: bursts, late ones, savepoints, transactions long open."""
    await scribe.burst(1_200)  # more than a page
    await whole.total(scribe.session_id, len(scribe.ids))
    read, stored = await read_all(followed)
    assert sorted(read) == sorted(scribe.ids)
    loads, before = whole.bench.telemetry.loads, len(scribe.ids)
    async with followed.followed_by_both(START, stored, NOW) as followers:
        await placed(followers)
        await complete(followers[:2], scribe.ids)
        loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        async with scribe.still_open(), scribe.still_open():
            await scribe.burst(300)
            await scribe.singly(20)
            await scribe.burst(50, ago_seconds=60)
            await scribe.with_savepoints()
            while loop.time() < begun + OPEN_SECONDS:
                await scribe.singly(2)
                await complete(followers, scribe.ids[before:])
        await asyncio.gather(scribe.burst(100), scribe.with_savepoints(), scribe.burst(100, ago_seconds=5))
        await complete(followers, scribe.ids[before:])

    await each_once(followers[:2], scribe.ids)
    await each_once(followers[2:], scribe.ids[before:])
    assert not any(seen.resumptions for seen in followers)
    assert whole.bench.telemetry.loads == loads  # hot all the time


async def test_a_refused_event_stream_is_read_by_long_polls(scribe: Scribe, followed: StreamOf) -> None:
    """`live=sse` gets 400, which each client hands on to its program; that begins again there, and misses nothing."""
    await scribe.burst(3)
    async with followed.followed("node", live="sse") as one, followed.followed("python", live="sse") as two:
        await complete([one, two], scribe.ids)
        await scribe.burst(3)
        await complete([one, two], scribe.ids)

    await each_once([one, two], scribe.ids)
    assert [[resumption.why for resumption in seen.resumptions] for seen in (one, two)] == [["sse"], ["sse"]]


async def test_long_polls_from_the_first_request_on(scribe: Scribe, followed: StreamOf) -> None:
    """PyPI's client sends them at once if it is told to, from the start too, and there without an offset."""
    await scribe.burst(3)
    async with followed.followed("python", START, "long-poll") as seen:
        await complete([seen], scribe.ids)
        await scribe.burst(3)
        await complete([seen], scribe.ids)

    def first() -> str:
        with stream(followed.url, live="long-poll", headers={**followed.headers}) as answers:
            return str(next(answers.iter_json())["id"])

    await each_once([seen], scribe.ids)
    assert await asyncio.to_thread(first) in scribe.ids


async def test_types(whole: Whole, scribe: Scribe) -> None:
    """A filter in the URL stays there, whatever a client adds."""
    async with stream_of(whole, scribe.session_id, "?event_type=step_failed").followed_by_both(START) as followers:
        await scribe.burst(3)
        await scribe.burst(2, event_type="step_failed")
        await complete(followers, scribe.ids[3:])

    await each_once(followers, scribe.ids[3:])


async def test_what_is_not_there_and_what_is_deleted(whole: Whole, scribe: Scribe, followed: StreamOf) -> None:
    """404 ends a stream, at its beginning or while a poll is held."""
    await scribe.burst(3)
    async with stream_of(whole, UNKNOWN).followed_by_both(START) as lost, followed.followed_by_both(START) as followers:
        await complete(followers, scribe.ids)
        await whole.bench.writer.delete_session(scribe.session_id)
        await eventually(lambda: all(seen.failed for seen in (*lost, *followers)), "they give up")

    assert [seen.failed for seen in (*lost, *followers)] == [[404]] * 2 * len(KINDS)


async def test_the_tail_by_head(whole: Whole, scribe: Scribe, followed: StreamOf) -> None:
    """Both find out where a stream ends without reading it."""
    await scribe.burst(3)
    await whole.total(scribe.session_id, 3)
    by_python = await asyncio.to_thread(DurableStream.head_static, followed.url, headers={**followed.headers})
    by_node = await followed.head_by_node()
    async with followed.followed("python", str(by_python.offset)) as one, followed.followed(
        "python", str(by_node["offset"])
    ) as two:  # fmt: skip
        await scribe.burst(3)
        await complete([one, two], scribe.ids[3:])

    await each_once([one, two], scribe.ids[3:])
    assert by_python.content_type == by_node["contentType"] == "application/json"
    assert by_python.cache_control == by_node["cacheControl"] == "no-store"
