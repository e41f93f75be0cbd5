"""Those who stand by, and those beside us: they hold nothing back, end nobody who is busy, and disturb nobody."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from projector import leader
from projector.tail import connection as tail
from projector.tail import doorbell
from projector.tail.triggers import install
from projector.telemetry import Telemetry
from readmodel.view.keys import Keys
from readmodel.view.reader import ViewReader
from tests.support.healing import healed, watched
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


TRIES = 40
"""Tries of a standby that ends whom it may; a beat lies between two, and FROZEN_SECONDS are much shorter than all."""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projectors."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What each try of a standby ended; no report saves the leader, and a second without a statement is too long."""
    monkeypatch.setattr(leader, "REPORTING_SECONDS", -1.0)
    monkeypatch.setattr(tail, "FROZEN_SECONDS", 1.0)
    tries: list[list[int]] = []
    really = tail.Tail.end_frozen_leader

    async def noted(self: tail.Tail, key: int) -> list[int]:
        tries.append(await really(self, key))
        return tries[-1]

    monkeypatch.setattr(tail.Tail, "end_frozen_leader", noted)
    return tries


@asynccontextmanager
async def standby(stage: Bench, **changes: object) -> AsyncIterator[Telemetry]:
    """A second projector, which stands by."""
    first = stage.telemetry
    async with stage.projector(**changes) as second:
        stage.telemetry = first
        await eventually(lambda: second.role == "standby", "the second stands by")
        yield second


async def test_standbys_hold_back_neither_vacuum_nor_notifications(
    stage: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one whose process is frozen: no old snapshot, no place in the queue, no lock that it waits for."""
    # The server does not give up a listener that does not read: nobody may wait for that.
    for module in (tail, doorbell):
        monkeypatch.setitem(module._SETTINGS, "tcp_user_timeout", "3600000")
    connection = stage.writer.connection
    async with stage.projector(), proxied(stage.config.listen_url) as proxy:
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        async with standby(stage, listen_url=proxy.url(stage.config.listen_url)):
            proxy.stall(new=True)
            await stage.writer.events(session_id, 2_000)
            await connection.execute("DELETE FROM events")
            await connection.execute("SELECT count(pg_notify('readside', n || repeat('x', 1000))) "
                                     "FROM generate_series(1, 20000) n")  # fmt: skip

            await eventually(partial(all_is_vacuumed, connection), "no dead row is kept for anybody")
            await eventually(partial(queue_is_empty, connection), "no notification waits for anybody")
            assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0


async def all_is_vacuumed(connection: Any) -> bool:
    """Whether VACUUM finds no row that somebody might still want to see."""
    said: list[str] = []

    def note(_connection: Any, message: Any) -> None:
        said.append(message.message)

    connection.add_log_listener(note)
    try:
        await connection.execute("VACUUM (VERBOSE, PROCESS_TOAST FALSE) events")
        await eventually(lambda: said, "VACUUM tells what it did")
    finally:
        connection.remove_log_listener(note)
    return [int(kept) for kept in re.findall(r"(\d+) are dead but not yet removable", "".join(said))] == [0]


async def queue_is_empty(connection: Any) -> bool:
    """Whether every listener has read what there was."""
    return bool(await connection.fetchval("SELECT pg_notification_queue_usage()") == 0)


async def test_a_leader_that_catches_up_for_long_is_not_ended(stage: Bench, ended: list[list[int]]) -> None:
    """Its comparison waits for a lock; standbys look at it again and again, and leave it alone."""
    async with connected(stage.config.database_url) as blocker, stage.projector() as first:
        session_id = await stage.writer.session()
        await healed(stage)
        async with standby(stage) as second:
            await blocker.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            await stage.writer.end_the_term()
            await eventually(lambda: first.state == "catching_up", "the first catches up")
            looked = len(ended)
            await eventually(lambda: len(ended) > looked + TRIES, "the standby has looked again and again")
            assert first.state == "catching_up"
            await blocker.execute("COMMIT")
            await healed(stage)

            assert (first.role, second.role) == ("leader", "standby")
        assert (await stage.same(session_id)).total == 0
    assert not any(ended)
    assert first.connections == 1


async def test_a_leader_whose_redis_refuses_writes_is_not_ended(stage: Bench, ended: list[list[int]]) -> None:
    """It cannot even report; it runs its statement each beat all the same, and goes on when it can."""
    async with watched(stage) as watch, stage.projector() as first:
        session_id = await watch.session()
        await healed(stage)
        async with standby(stage) as second:
            redis = stage.view.redis
            await redis.replicaof("127.0.0.1", "1")
            try:
                await watch.event(session_id)
                looked = len(ended)
                await eventually(lambda: len(ended) > looked + TRIES, "the standby has looked again and again")
            finally:
                await redis.replicaof("NO", "ONE")
            await healed(stage)

            assert (first.role, second.role) == ("leader", "standby")
    assert not any(ended)
    assert (first.connections, first.terms) == (1, 1)


async def test_two_deployments_on_one_database_leave_each_other_alone(
    stage: Bench, redis_url: str, ended: list[list[int]]
) -> None:
    """Another schema each, another prefix or Redis database: what befalls one is no other's affair."""
    elsewhere = redis_url.rpartition("/")[0] + "/1"
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(bench(stage.config.database_url, redis_url))
        third = await stack.enter_async_context(bench(stage.config.database_url, elsewhere))
        for one, schema in ((other, "readside_other"), (third, "readside_third")):
            await install(stage.writer.connection, warn=print, schema=schema)
            one.config = replace(one.config, schema=schema)
        other.config = replace(other.config, redis_prefix="other")
        other.view = ViewReader(other.view.redis, Keys("other"))
        all_three = (stage, other, third)
        told = [await stack.enter_async_context(one.projector()) for one in all_three]
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 3)
        for one in all_three:
            await one.hot(session_id)
            assert (await one.same(session_id)).total == 3
        await third.view.redis.flushdb()
        await other.view.redis.delete(other.view.keys.position)
        await stage.writer.event(session_id)
        await eventually(lambda: [one.terms for one in told] == [1, 2, 2], "two of them begin anew")
        for one in all_three:
            await one.caught_up()
            await one.hot(session_id)
            assert (await one.same(session_id)).total == 4

        assert [(one.role, one.connections) for one in told] == [("leader", 1)] * 3
        assert told[0].terms == 1
    assert not any(ended)
