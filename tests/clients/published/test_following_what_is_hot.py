"""The published clients follow a hot session, whatever way it is written: each event once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from durable_streams import DurableStream, stream

from tests.clients.published.scribe import Scribe, each_once
from tests.support.followers import KINDS, NOW, START, Kind, StreamOf, at_the_tail, complete
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

OPEN_SECONDS = 2.0
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def whole(database_url: str, redis_url: str) -> AsyncIterator[Whole]:
    """Projector and API."""
    async with whole_service(database_url, redis_url) as made:
        yield made


@pytest.fixture
async def scribe(whole: Whole, database_url: str) -> Scribe:
    """Who writes to a session that is hot."""
    session_id = await whole.bench.writer.session()
    await whole.bench.hot(session_id)
    return Scribe(database_url, session_id)


def stream_of(whole: Whole, session_id: str, query: str = "") -> StreamOf:
    """The stream of a session."""
    base = str(whole.client.base_url).rstrip("/")
    return StreamOf(
        f"{base}/api/v2/sessions/{session_id}/stream{query}", {"x-api-key": whole.client.headers["x-api-key"]}
    )


@pytest.fixture
def followed(whole: Whole, scribe: Scribe) -> StreamOf:
    """The session's stream."""
    return stream_of(whole, scribe.session_id)


async def read_all(followed: StreamOf) -> tuple[list[str], str]:
    """Read what is there by PyPI's client, in the synchronous way; give the events and the offset behind them."""

    def read() -> tuple[list[str], str]:
        with stream(followed.url, live=False, headers={**followed.headers}) as answers:
            return [event["id"] for event in answers.read_json()], answers.offset

    return await asyncio.to_thread(read)


async def test_each_event_comes_once(whole: Whole, scribe: Scribe, followed: StreamOf) -> None:
    """From the start, from a stored offset and from now on: bursts, late ones, savepoints, transactions long open."""
    await scribe.burst(1_200)  # more than a page
    await eventually(lambda: _has(whole, scribe), "the view has them")
    assert sorted((await read_all(followed))[0]) == sorted(scribe.ids)
    stored, loads, before = (await read_all(followed))[1], whole.bench.telemetry.loads, len(scribe.ids)
    async with followed.followed_by_both(START, stored, NOW) as followers:
        await at_the_tail(followers)
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


async def _has(whole: Whole, scribe: Scribe) -> bool:
    return bool((await whole.poll(scribe.session_id)).json().get("total") == len(scribe.ids))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_refused_is_read_by_long_polls(kind: Kind, scribe: Scribe, followed: StreamOf) -> None:
    """`live=sse` gets 400, which neither client takes for more than an error; behind it nothing is lost."""
    await scribe.burst(3)
    async with followed.followed(kind, START, "sse") as seen:
        await complete([seen], scribe.ids)
        await scribe.burst(3)
        await complete([seen], scribe.ids)

    await each_once([seen], scribe.ids)
    assert [resumption.why for resumption in seen.resumptions] == ["sse"]


async def test_long_polls_from_the_first_request_on(scribe: Scribe, followed: StreamOf) -> None:
    """PyPI's client sends them at once if it is told to, and where it begins at the start, without an offset."""
    await scribe.burst(3)
    async with followed.followed("python", START, "long-poll") as first, followed.followed("python", NOW, "long-poll"):
        await complete([first], scribe.ids)
        await scribe.burst(3)
        await complete([first], scribe.ids)

    def first_answer() -> str:
        with stream(followed.url, live="long-poll", headers={**followed.headers}) as answers:
            return str(next(answers.iter_json())["id"])

    assert await asyncio.to_thread(first_answer) in scribe.ids


@pytest.mark.parametrize("kind", KINDS)
async def test_types(kind: Kind, whole: Whole, scribe: Scribe) -> None:
    """A filter in the URL stays there, whatever the client adds."""
    async with stream_of(whole, scribe.session_id, "?event_type=step_failed").followed(kind) as seen:
        await scribe.burst(3)
        await scribe.burst(2, event_type="step_failed")
        await complete([seen], scribe.ids[3:])

    await each_once([seen], scribe.ids[3:])


@pytest.mark.parametrize("kind", KINDS)
async def test_no_such_session(kind: Kind, whole: Whole) -> None:
    """404 ends it."""
    async with stream_of(whole, UNKNOWN).followed(kind) as seen:
        await eventually(lambda: seen.failed, "it gives up")

    assert seen.failed == [404]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deleted_session(kind: Kind, whole: Whole, scribe: Scribe, followed: StreamOf) -> None:
    """404 ends it while a poll is held."""
    await scribe.burst(3)
    async with followed.followed(kind) as seen:
        await complete([seen], scribe.ids)
        await at_the_tail([seen])
        await whole.bench.writer.delete_session(scribe.session_id)
        await eventually(lambda: seen.failed, "it gives up")

    assert seen.failed == [404]


async def test_the_tail_by_head(scribe: Scribe, followed: StreamOf) -> None:
    """Both find out where the stream ends without reading it."""
    await scribe.burst(3)
    by_python = await asyncio.to_thread(DurableStream.head_static, followed.url, headers={**followed.headers})
    by_node = await followed.head_by_node()
    async with followed.followed_by_both(str(by_python.offset), str(by_node["offset"])) as followers:
        await at_the_tail(followers)
        before = len(scribe.ids)
        await scribe.burst(3)
        await complete(followers, scribe.ids[before:])

    assert by_python.content_type == by_node["contentType"] == "application/json"
    assert by_python.cache_control == by_node["cacheControl"] == "no-store"
