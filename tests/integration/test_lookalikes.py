"""Nothing in the owners' search_path takes the place of what our statements name, directly or through a pooler."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from readmodel.postgres.client import connect, create_pool
from readside.inspection.session_states import look_at_log
from readside.inspection.verify import Verifier
from tests.support.builders import api, api_config
from tests.support.lookalikes import names, put_first
from tests.support.pgbouncers import pgbouncer
from tests.support.projecting import Bench, bench
from tests.support.servers import TABLES, connected
from tests.support.viewing import whole_view
from tests.support.whole import Whole

QUERIES = ("", "?since=2026-01-13T14:30:00Z&limit=3", "?event_type=step_failed&event_type=step_created&limit=4")


@pytest.fixture(params=["direct", "pooled"])
async def reads_url(request: pytest.FixtureRequest, lookalikes_url: str) -> AsyncIterator[str]:
    """The database of the look-alikes, directly or through a transaction pooler."""
    if request.param == "direct":
        yield lookalikes_url
        return
    async with pgbouncer(lookalikes_url) as url:
        yield url


@asynccontextmanager
async def _service(stage: Bench, url: str, redis_url: str) -> AsyncIterator[Whole]:
    stage.config = replace(stage.config, database_url=url, statement_cache_size=0)
    async with stage.projector(), api(api_config(url, redis_url, statement_cache_size=0)) as client:
        yield Whole(stage, client)


async def _plain(stage: Bench, session_id: str) -> list[dict[str, object]]:
    rows = await stage.writer.connection.fetch(
        "SELECT id::text, event_data::text, message FROM events WHERE session_id = $1::uuid", session_id
    )
    return [{**row, "event_data": json.loads(row["event_data"])} for row in rows]


async def test_a_look_alike_would_be_run(lookalikes_url: str) -> None:
    """By a statement that relies on a cast or on the search_path."""
    async with connected(lookalikes_url) as connection:
        await put_first(connection)
    async with connected(lookalikes_url) as connection:
        for statement in ("SELECT to_json('a'::varchar)", "SELECT 'a'::varchar = 'a'::text", "SELECT 1.5 * 2"):
            with pytest.raises(asyncpg.RaiseError, match="a look-alike ran"):
                await connection.fetchval(statement)
        assert len(names()) > 30


async def test_answers_stay_as_they_are(reads_url: str, lookalikes_url: str, redis_url: str) -> None:
    """The view goes live; Redis and Postgres give what is written; verify and explain find it."""
    async with bench(lookalikes_url, redis_url) as stage:
        session_id = await stage.writer.session()
        for place in range(6):
            kind = ("step_failed", "step_created", "Not askable")[place % 3]
            data = {"text": f'"{place}" é', "number": place / 7}
            at = f"2026-01-13T14:30:0{place}Z"
            await stage.writer.event(session_id, event_type=kind, data=data, message="to\njson", timestamp=at)
        await put_first(stage.writer.connection)
        async with _service(stage, reads_url, redis_url) as whole:
            await stage.caught_up()
            for query in QUERIES:
                from_redis = await whole.served(session_id, "redis", query)
                from_postgres = await whole.poll(session_id, query, readside_max_staleness="0")
                assert from_redis.content == from_postgres.content
            await stage.writer.event(session_id, message="one more")
            await stage.caught_up()
            await stage.same(session_id)
            items = (await whole.poll(session_id, readside_max_staleness="0")).json()["items"]
            found = [{name: item[name] for name in ("id", "event_data", "message")} for item in items]
            assert sorted(found, key=str) == sorted(await _plain(stage, session_id), key=str)
            await _inspected(stage, reads_url, session_id)


async def _inspected(stage: Bench, url: str, session_id: str) -> None:
    pool = await create_pool(url, application_name="test", size=1, statement_cache_size=0)
    connection = await connect(url, application_name="test")
    try:
        verdicts = [
            verdict async for verdict in Verifier(whole_view(stage.view), pool, url, TABLES).verify([session_id])
        ]
        looked = await look_at_log(connection, TABLES, url, session_id, None)
    finally:
        connection.terminate()
        pool.terminate()

    assert [verdict.state for verdict in verdicts] == ["same"]
    assert looked.count == 7
