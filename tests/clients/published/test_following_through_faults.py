"""The published clients follow a session while everything that serves it is killed and comes back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.clients.published.scribe import Scribe, explained
from tests.clients.service import Service, running
from tests.support.followers import NOW, START, StreamOf, complete, placed
from tests.support.keys import HEADERS


@pytest.fixture
async def service(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """API and projector as processes, and the stores."""
    async with running(database_url, redis_url, tmp_path) as made:
        yield made


async def test_every_event_comes_whatever_is_killed(
    service: Service, database_url: str, postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    """Projector, API, Redis and Postgres, by kill -9 or a crash; only a crash of Postgres has them begin anew."""
    scribe = Scribe(database_url, service.session_id)
    followed = StreamOf(f"{service.url}/api/v2/sessions/{service.session_id}/stream", HEADERS)
    await service.site.reaches("live")
    await scribe.burst(100)
    async with followed.followed_by_both(START, NOW) as followers:
        await complete(followers[:2], scribe.ids)
        await placed(followers)
        before = len(scribe.ids)

        async with scribe.still_open():
            await service.kill(service.projector)
            await scribe.burst(50)
            await complete(followers, scribe.ids[before:])  # from Postgres
            service.start_projector()
            await service.kill(service.api)
            await scribe.with_savepoints()
            await scribe.burst(50, ago_seconds=30)
            await service.start_api()
            await complete(followers, scribe.ids[before:])
            await service.site.reaches("live")
            await scribe.singly(5)
            await complete(followers, scribe.ids[before:])
        await complete(followers, scribe.ids[before:])

        await redis_server.kill()
        await scribe.burst(50)
        await complete(followers, scribe.ids[before:])
        await redis_server.start()
        await scribe.with_savepoints()
        await complete(followers, scribe.ids[before:])

        await postgres_server.restart("fast")
        await scribe.burst(50)
        await complete(followers, scribe.ids[before:])
        assert "gone" not in {resumption.why for seen in followers for resumption in seen.resumptions}

        await postgres_server.restart("immediate")
        await scribe.burst(50)
        await complete(followers, scribe.ids)  # whoever came later begins at the start as well
        assert [[resumption.why for resumption in seen.resumptions].count("gone") for seen in followers] == [1] * 4

    await explained(database_url, followers)
