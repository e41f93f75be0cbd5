"""Two deployments on one database, each with a schema and a prefix of its own: neither is any affair of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from projector.tail.triggers import install, uninstall
from projector.telemetry import Telemetry
from readmodel.view.keys import Keys
from readmodel.view.reader import ViewReader
from tests.support.letterboxes import add, hot_session, lease_ms, settled
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[tuple[Bench, Bench]]:
    """Two benches on the same servers; both are installed."""
    async with bench(database_url, redis_url) as first, bench(database_url, redis_url, installed=False) as second:
        await install(second.writer.connection, warn=pytest.fail, schema="other")
        second.config = replace(second.config, schema="other", redis_prefix="other")
        second.view = ViewReader(second.view.redis, Keys("other"))
        yield first, second


@asynccontextmanager
async def both(pair: tuple[Bench, Bench]) -> AsyncIterator[tuple[Telemetry, Telemetry]]:
    """A projector for each."""
    async with pair[0].projector() as first, pair[1].projector() as second:
        yield first, second


async def test_both_follow_the_same_tables(pair: tuple[Bench, Bench]) -> None:
    """Each letter is written twice and read once by each."""
    first, second = pair
    async with both(pair) as told:
        await second.caught_up()
        session_id = await hot_session(first, 3)
        await second.hot(session_id)
        before = [one.letters for one in told]
        for _ in range(10):
            await add(first.writer.connection, session_id)
        for one in pair:
            assert (await settled(one, session_id)).total == 13

        assert [one.letters - letters for one, letters in zip(told, before, strict=True)] == [10, 10]
        assert [(one.role, one.terms, one.comparisons, one.drift) for one in told] == [("leader", 1, 0, 0)] * 2


async def test_one_that_ends_leaves_the_other_s_lease_alone(pair: tuple[Bench, Bench]) -> None:
    """It tells its own writers that nobody reads, and nobody else's."""
    first, second = pair
    async with second.projector() as told:
        await second.caught_up()
        async with first.projector():
            session_id = await hot_session(first)
        assert await lease_ms(first.writer.connection) < 0
        assert await lease_ms(first.writer.connection, "other") > 5_000
        await first.writer.event(session_id)
        await second.hot(session_id)

        assert (await settled(second, session_id)).total == 1
        assert (told.terms, told.comparisons) == (1, 0)


async def test_one_that_is_removed_leaves_the_other_s_triggers_alone(pair: tuple[Bench, Bench]) -> None:
    """Even while both run; the other's fingerprint does not change."""
    first, second = pair
    async with second.projector() as told:
        await second.caught_up()
        async with connected(first.config.database_url) as connection:
            await uninstall(connection)
        session_id = await hot_session(second, 2)

        assert (await settled(second, session_id)).total == 2
        assert told.terms == 1
        assert await first.writer.connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_bells_are_heard_by_those_they_are_for(pair: tuple[Bench, Bench]) -> None:
    """Each schema is a channel of its own; the one without a bell gets none."""
    first, second = pair
    heard: list[str] = []
    second.config = replace(second.config, doorbell=False)
    async with both(pair) as told, connected(first.config.database_url) as other:
        await other.add_listener("other", lambda *_: heard.append("other"))
        await other.add_listener("readside", lambda *_: heard.append("readside"))
        session_id = await hot_session(first)
        await eventually(lambda: told[0].ringing, "writers ring for the first")
        await first.writer.event(session_id)
        await eventually(lambda: heard, "the bell rings")
        await settled(first, session_id)
        await settled(second, session_id)

        assert set(heard) == {"readside"}
        assert [one.ringing for one in told] == [True, False]
