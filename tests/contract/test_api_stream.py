"""What the stream of a session gives, by the Durable Streams protocol, over fakes and over real servers alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import asyncpg
import httpx
import orjson
import pytest

from projector.tail.triggers import install
from tests.fakes.event_log import Row
from tests.support.builders import OPS_KEY, READ_KEY
from tests.support.stands import NOON_US, Stand, rows
from tests.support.waiting import eventually

NEXT, UP_TO_DATE, CURSOR = "stream-next-offset", "stream-up-to-date", "stream-cursor"


@pytest.fixture(scope="module")
def module_database_url(module_database_url: str) -> str:
    """With everything of ours in it."""

    async def prepare() -> None:
        connection = await asyncpg.connect(module_database_url)
        try:
            await install(connection, warn=pytest.fail)
        finally:
            await connection.close()

    asyncio.run(prepare())
    return module_database_url


@pytest.fixture
async def stand(stand_of: Callable[..., AbstractAsyncContextManager[Stand]]) -> AsyncIterator[Stand]:
    """An API, each way."""
    async with stand_of() as made:
        yield made


def ids(answer: httpx.Response) -> list[str]:
    """The events that an answer gives."""
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in orjson.loads(answer.content)]


async def given(stand: Stand, sid: str, query: str = "") -> tuple[list[str], str]:
    """All events behind an offset, page by page, and the last offset."""
    found: list[str] = []
    while True:
        answer = await stand.follow(sid, query)
        found += ids(answer)
        query = f"?offset={answer.headers[NEXT]}"
        if UP_TO_DATE in answer.headers:
            return found, answer.headers[NEXT]


async def test_a_stream_is_read_from_its_start(stand: Stand, sid: str) -> None:
    """A JSON array of the events as polls give them."""
    answer = await stand.follow(sid)
    page = (await stand.poll(sid, "?order=asc")).json()["items"]

    assert answer.json() == page
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers[UP_TO_DATE] == "true"
    assert answer.headers["readside-source"] == "redis"
    assert (await stand.follow(sid, "?offset=-1")).content == answer.content


async def test_it_goes_on_where_it_was(stand: Stand, sid: str) -> None:
    """Nothing at the tail, and then what came since, once."""
    _, offset = await given(stand, sid)
    assert ids(await stand.follow(sid, f"?offset={offset}")) == []
    late = Row(sid, NOON_US - 1_000_000)
    await stand.add(late)

    async def comes() -> bool:
        return ids(await stand.follow(sid, f"?offset={offset}")) == [str(late.id)]

    await eventually(comes, "the late event comes")
