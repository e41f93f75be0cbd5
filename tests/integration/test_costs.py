"""What polls and appends cost the stores, counted by the stores themselves or call by call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from projector.core.operations import Add, Operation
from projector.reads import IDS_PER_QUERY, Reads
from projector.sql import statement
from projector.tail.letterbox import MAX_RENDERED
from projector.view.writer import BatchResult, ViewWriter
from readmodel.postgres.client import create_pool
from tests.support.projecting import Bench, bench
from tests.support.servers import TABLES
from tests.support.stands import Stand, real_stand, rows

pytestmark = pytest.mark.installed

POLLS = 50


@pytest.fixture
async def stand(database_url: str, redis_url: str) -> AsyncIterator[Stand]:
    """An API over real servers, the test in the projector's place."""
    async with real_stand(database_url, redis_url) as made:
        yield made


@pytest.fixture
async def forgetful(database_url: str, redis_url: str) -> AsyncIterator[Stand]:
    """The same without memory of answers."""
    async with real_stand(database_url, redis_url, response_cache_bytes=0) as made:
        yield made


async def _session(stand: Stand) -> str:
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 10))
    await stand.heat(session_id)
    return session_id


async def _scripts(stand: Stand) -> int:
    """How many commands Redis has run for polls.

    Not those that need no key: messages, and what a connection begins with. Nor what an API does again and again by
    itself: it looks at the projection, and reports.
    """
    stats: Any = await stand.stage.redis.info("commandstats")
    without = {"cmdstat_info", "cmdstat_publish", "cmdstat_ping", "cmdstat_hello", "cmdstat_select", "cmdstat_time"}
    without |= {"cmdstat_hgetall", "cmdstat_hset", "cmdstat_hdel"}
    within = {
        "cmdstat_hmget",
        "cmdstat_hget",
        "cmdstat_zcard",
        "cmdstat_zrevrange",
        "cmdstat_zcount",
        "cmdstat_zrangebyscore",
    }  # the script's
    return sum(
        found["calls"]
        for name, found in stats.items()
        if name not in without | within and not name.startswith("cmdstat_client")
    )


async def _queries(stand: Stand) -> float:
    text = (await stand.client.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("readside_fallback_queries_total ")]
    return float(line.split()[1])


async def test_a_hot_poll_asks_no_store(stand: Stand) -> None:
    """Neither for the same answer, nor for nothing new, nor for what is a little older."""
    session_id = await _session(stand)
    queries = ["", "?since=2026-01-13T14:30:05Z", "?since=2100-01-01T00:00:00Z"]
    for query in queries:
        await stand.poll_from("memory", session_id, query)
    before = await _scripts(stand), await _queries(stand)
    for _ in range(POLLS):
        for query in queries:
            assert (await stand.poll(session_id, query)).headers["readside-source"] == "memory"

    assert (await _scripts(stand), await _queries(stand)) == before


async def test_a_poll_of_redis_is_one_command(forgetful: Stand) -> None:
    """One script, whatever is asked."""
    session_id = await _session(forgetful)
    await forgetful.poll_from("redis", session_id)
    for query in ("", "?since=2026-01-13T14:30:05Z", "?type=step_created&limit=3", "?type=step_created&type=x&page=2"):
        before = await _scripts(forgetful), await _queries(forgetful)
        for _ in range(POLLS):
            assert (await forgetful.poll(session_id, query)).headers["readside-source"] == "redis"

        assert (await _scripts(forgetful), await _queries(forgetful)) == (before[0] + POLLS, before[1])


async def test_a_cold_storm_is_one_query(stand: Stand) -> None:
    """A hundred callers of one cold session."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 10))
    before = await _queries(stand)
    answers = await asyncio.gather(*(stand.poll(session_id) for _ in range(100)))

    assert {(answer.status_code, answer.headers["readside-source"]) for answer in answers} == {(200, "postgres")}
    assert await _queries(stand) == before + 1


class Appends:
    """Counts the queries for new events, and the batches that add some."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.queries = 0
        self.batches = 0
        fetch, apply = Reads._fetch, ViewWriter.apply

        async def fetched(reads: Reads, *arguments: Any) -> None:
            self.queries += 1
            await fetch(reads, *arguments)

        async def applied(
            writer: ViewWriter, term: str, n: int, operations: Sequence[Operation], *more: Any, **how: Any
        ) -> BatchResult:
            self.batches += any(isinstance(operation, Add) for operation in operations)
            return await apply(writer, term, n, operations, *more, **how)

        patch.setattr(Reads, "_fetch", fetched)
        patch.setattr(ViewWriter, "apply", applied)


@pytest.mark.parametrize("events", [1, 200, 900])
async def test_an_append_is_a_bounded_number_of_calls(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    """Few events come with their letters; more take a query for each two hundred of them, and one batch."""
    stage: Bench
    async with bench(database_url, redis_url) as stage, stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        appends = Appends(monkeypatch)
        await stage.writer.events(session_id, events)

        assert (await stage.same(session_id)).total == events
        assert appends.batches == 1  # one reading takes a statement's letters whole
        assert appends.queries == (0 if events <= MAX_RENDERED else -(-events // IDS_PER_QUERY))


async def test_a_fetch_of_new_events_is_planned_once(database_url: str, redis_url: str) -> None:
    """However many events it names: to plan it costs Postgres more than to run it."""
    stage: Bench
    async with bench(database_url, redis_url) as stage:
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 100)
        ids = [row["id"].hex for row in await stage.writer.connection.fetch("SELECT id FROM events")]
        pool = await create_pool(database_url, application_name="test", size=1)
        try:
            reads = Reads(pool, database_url, TABLES)
            for number in (1, 100, 1, 2, 50, *range(1, 20)):
                assert len((await reads.added({session_id: dict.fromkeys(ids[:number])})).rows[session_id]) == number
            async with reads._own_connection() as connection:
                row = await connection.fetchrow(
                    "SELECT generic_plans > 0, custom_plans FROM pg_prepared_statements WHERE statement = $1",
                    statement("added", TABLES),
                )
        finally:
            pool.terminate()

    assert tuple(row) == (True, 5)
