"""How a command reaches the leading projector: through the first report slice where it is heard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from readmodel.errors import NoLeader, ViewUnavailable
from readmodel.redis.client import connect
from readmodel.values.messages import ProjectorReply, ProjectorRequest, decode_request, encode_reply
from readmodel.view.reader import ViewReader
from readmodel.view.slices import Slices
from readmodel.view.subscription import heard
from readside.commands import projector_client
from readside.commands.projector_client import ask
from tests.fakes.redis import fake_redis

REQUEST = ProjectorRequest("warm", ("s",), reply=True)


def parts(*clients: Redis) -> list[ViewReader]:
    """The report slices of a view, each on a server."""
    made = Slices("readside", count=8)
    return [ViewReader(client, made.keys[index]) for client, index in zip(clients, made.reporting, strict=True)]


@asynccontextmanager
async def leading(part: ViewReader, asked: list[ProjectorRequest]) -> AsyncIterator[None]:
    """A leader that hears requests on this slice alone, and answers on its channel of replies."""
    listening = asyncio.Event()

    async def lead() -> None:
        async for data in heard(part.redis, part.keys.requests):
            if data is None:
                listening.set()
                continue
            request = decode_request(data)
            assert request is not None
            asked.append(request)
            reply = encode_reply(ProjectorReply(request.id, "done", 1, 1, {"s": "hot"}))
            await part.redis.publish(part.keys.replies(request.id), reply)

    task = asyncio.create_task(lead())
    await listening.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def redis() -> AsyncIterator[Any]:
    """A Redis in memory."""
    made = fake_redis()
    yield made
    await made.aclose()


@pytest.fixture
async def gone() -> AsyncIterator[Redis]:
    """A client of a server that is away."""
    made = connect("redis://127.0.0.1:1", name="test")
    yield made
    await made.aclose()


async def outcomes(slices: list[ViewReader]) -> dict[str, str]:
    """Ask, and give what became of each session."""
    found: dict[str, str] = {}
    async for reply in ask(slices, REQUEST):
        found.update(reply.sessions)
    return found


async def test_a_slice_that_is_away_is_passed_over(redis: Any, gone: Redis) -> None:
    """The next one is asked."""
    slices, asked = parts(gone, redis, redis), list[ProjectorRequest]()
    async with leading(slices[1], asked):
        found = await outcomes(slices)

    assert (found, asked) == ({"s": "hot"}, [REQUEST])


async def test_a_slice_where_nobody_hears_is_passed_over(redis: Any) -> None:
    """A leader that has just lost its connection there hears on the others."""
    slices, asked = parts(redis, redis, redis), list[ProjectorRequest]()
    async with leading(slices[2], asked):
        found = await outcomes(slices)

    assert (found, asked) == ({"s": "hot"}, [REQUEST])


async def test_one_request_is_sent_where_all_slices_are_heard(redis: Any) -> None:
    """The leader hears it once."""
    slices, asked = parts(redis, redis, redis), list[ProjectorRequest]()
    async with leading(slices[0], asked), leading(slices[1], asked), leading(slices[2], asked):
        await outcomes(slices)

    assert asked == [REQUEST]


async def test_all_are_away(gone: Redis) -> None:
    """That is said, not that nobody leads."""
    with pytest.raises(ViewUnavailable, match="does not answer"):
        await outcomes(parts(gone, gone, gone))


async def test_nobody_hears_anywhere(redis: Any, gone: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time in which a leader answers."""
    monkeypatch.setattr(projector_client, "ANSWER_SECONDS", 0.2)
    with pytest.raises(NoLeader):
        await outcomes(parts(gone, redis, redis))
