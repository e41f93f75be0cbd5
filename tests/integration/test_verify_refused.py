"""`readside verify` says so where it cannot compare, though nothing be hot."""

import pytest

from readmodel.errors import EventLogUnavailable, ForeignView
from readside.commands.sessions import verify
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.settings import Settings
from tests.support.projecting import bench
from tests.support.servers import fresh_database


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> pytest.MonkeyPatch:
    """Redis is set; each test sets Postgres."""
    monkeypatch.setenv("READSIDE_REDIS_URL", redis_url)
    return monkeypatch


async def test_a_postgres_that_is_away(settings: pytest.MonkeyPatch) -> None:
    """An empty view is not equal to a log that nobody saw."""
    settings.setenv("READSIDE_DATABASE_URL", "postgresql://app@127.0.0.1:1/shop")

    with pytest.raises(EventLogUnavailable, match=r"PostgreSQL at 127\.0\.0\.1:1/shop does not answer"):
        await verify(Settings(), [], repair=False, as_json=False)


async def test_another_databases_view(
    settings: pytest.MonkeyPatch, database_url: str, redis_url: str, postgres_server: EmbeddedPostgres
) -> None:
    """No event of it is reported as wrong, and nothing is repaired."""
    async with bench(database_url, redis_url) as stage, stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        async with fresh_database(postgres_server) as other:
            settings.setenv("READSIDE_DATABASE_URL", other)

            with pytest.raises(ForeignView, match="holds the view of another database"):
                await verify(Settings(), [session_id], repair=True, as_json=False)

        assert await stage.is_hot(session_id)
