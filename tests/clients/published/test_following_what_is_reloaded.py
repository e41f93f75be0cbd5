"""The published clients follow a session that leaves the view and comes back: nothing is missed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from projector.core import sessions
from readmodel.values.messages import ProjectorRequest, encode_request
from tests.clients.published.scribe import Scribe, explained
from tests.support.builders import BOTH_KEY, api, api_config
from tests.support.followers import START, StreamOf, complete
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

EMPTY_LETTERS = "TRUNCATE readside.letters_0, readside.letters_1, readside.letters_2"
Reload = Callable[[Bench, str], Awaitable[None]]


async def ask(stage: Bench, request: ProjectorRequest) -> None:
    """Ask the projector, as the API and commands do."""
    await stage.view.redis.publish(stage.view.keys.requests, encode_request(request))


async def warmed(stage: Bench, session_id: str) -> None:
    """It is hot, whatever it takes the place of."""

    async def hot() -> bool:
        await ask(stage, ProjectorRequest("warm", (session_id,)))
        return await stage.is_hot(session_id)

    await eventually(hot, f"session {session_id} is hot")


async def evicted(stage: Bench, session_id: str) -> None:
    """Another session takes its place: the view has room for one."""
    other = await stage.writer.session()
    await stage.writer.event(other)
    await warmed(stage, other)


async def rebuilt(stage: Bench, session_id: str) -> None:
    """`readside rebuild`."""
    loads = stage.telemetry.loads
    await ask(stage, ProjectorRequest("rebuild", (session_id,)))
    await eventually(lambda: stage.telemetry.loads > loads, "it is loaded anew")


async def emptied(stage: Bench, session_id: str) -> None:
    """Redis lost everything."""
    await stage.view.redis.flushall()


async def another_term(stage: Bench, session_id: str) -> None:
    """A letter that says that everything changed."""
    terms = stage.telemetry.terms
    await stage.writer.end_the_term()
    await eventually(lambda: stage.telemetry.terms > terms, "another term begins")


RELOADS: tuple[Reload, ...] = (evicted, rebuilt, emptied, another_term)


@asynccontextmanager
async def followable(stage: Bench, database_url: str, redis_url: str) -> AsyncIterator[tuple[Scribe, StreamOf]]:
    """A session and its stream."""
    async with api(api_config(database_url, redis_url), way="doorway") as client:
        session_id = await stage.writer.session()
        url = f"{str(client.base_url).rstrip('/')}/api/v2/sessions/{session_id}/stream"
        yield Scribe(database_url, session_id), StreamOf(url, {"x-api-key": BOTH_KEY})


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """A writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


async def test_every_event_comes_across_reloads(
    stage: Bench, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evicted, rebuilt, lost, of another term; without open transactions, and with them. What comes twice has to."""
    monkeypatch.setattr(sessions, "NEVER_EVICTED_SECONDS", 0.0)
    async with (
        stage.projector(max_hot_sessions=1),
        followable(stage, database_url, redis_url) as (scribe, followed),
        followed.followed_by_both(START) as followers,
    ):
        await scribe.burst(1_100)  # more than a page
        for reload in RELOADS:
            await scribe.with_savepoints()
            await complete(followers, scribe.ids)
            await warmed(stage, scribe.session_id)
            await reload(stage, scribe.session_id)
            await scribe.burst(30, ago_seconds=3)
            await complete(followers, scribe.ids)

        for reload in RELOADS:
            async with scribe.still_open():
                await scribe.with_savepoints()
                await scribe.burst(30)
                await complete(followers, scribe.ids)
                await warmed(stage, scribe.session_id)
                await reload(stage, scribe.session_id)
                await scribe.burst(30, ago_seconds=3)
                await complete(followers, scribe.ids)
            await complete(followers, scribe.ids)

    assert not any(seen.resumptions for seen in followers)
    await explained(database_url, followers)


async def test_what_can_come_twice(stage: Bench, database_url: str, redis_url: str) -> None:
    """What a savepoint wrote, where the view has not the session, the letters are gone, and the cut has open ones."""
    async with (
        followable(stage, database_url, redis_url) as (scribe, followed),
        followed.followed_by_both(START) as followers,
    ):
        async with scribe.still_open():
            await scribe.with_savepoints()
            await complete(followers, scribe.ids)
            await stage.writer.connection.execute(EMPTY_LETTERS)
            await scribe.burst(1)
            await complete(followers, scribe.ids)
        await complete(followers, scribe.ids)

    assert await explained(database_url, followers) > 0
