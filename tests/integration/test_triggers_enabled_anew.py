"""Triggers disabled and enabled, as pg_restore --disable-triggers does: the leader has them fire always again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from projector.tail.triggers import inspect, install
from readmodel.postgres.client import Connection
from tests.support.letters import events, letter, letterbox, only
from tests.support.logs import logged
from tests.support.partitions import MONTHLY
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually

ORDINARY = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'readside%' AND tgenabled <> 'A'"
ROLE = "readside_narrow_mender"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer, and readers of both stores."""
    async with bench(database_url, redis_url) as made:
        yield made


async def restore(connection: Connection, session_id: str) -> None:
    """Do what a restored dump of data does: the triggers are off while rows come by COPY."""
    await connection.execute("ALTER TABLE sessions DISABLE TRIGGER USER; ALTER TABLE events DISABLE TRIGGER USER")
    await connection.execute(f"""
        INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        SELECT gen_random_uuid(), '{session_id}', 'restored', '{{}}', now() FROM generate_series(1, 20)""")
    await connection.execute("ALTER TABLE sessions ENABLE TRIGGER USER; ALTER TABLE events ENABLE TRIGGER USER")


async def test_ordinary_triggers_miss_what_a_replica_writes(database_url: str) -> None:
    """Why it is not safe to go on with them: no letter, no mark, nothing that tells of the row."""
    async with letterbox(database_url) as box:
        await box.writer.execute("ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE events ENABLE TRIGGER USER")
        assert await box.of(events(1, 1)) == only(letter("a", 1, 1))
        await box.writer.execute("SET session_replication_role = replica")

        assert await box.of(events(2, 2)) == only()
        assert await box.skips() == 0
        assert "session_replication_role = replica is missed" in str(await inspect(box.writer))


@pytest.mark.parametrize("at_once", [False, True])
async def test_the_leader_has_them_fire_always_again(stage: Bench, at_once: bool) -> None:
    """Nobody has to install: the term ends, all is compared, what came meanwhile is there; a warning tells of it."""
    session_id = await stage.writer.session()
    connection = stage.writer.connection
    with logged("info") as log:
        async with stage.projector() as telemetry:
            await stage.hot(session_id)
            terms = telemetry.terms
            if at_once:
                async with connection.transaction():
                    await restore(connection, session_id)
            else:
                await restore(connection, session_id)
            await stage.caught_up()
            await stage.hot(session_id)
            assert (await stage.same(session_id)).total == 20
            assert telemetry.terms > terms
            assert any("fire always again" in sentence for _, sentence in telemetry.errors)
        [warning] = log.said("triggers of ours that fired as ordinary ones do fire always again")

    assert await connection.fetchval(ORDINARY) == 0
    assert await inspect(connection) is None
    assert warning["level"] == "warning"


async def test_what_a_replica_writes_is_seen_after_that(stage: Bench) -> None:
    """They are as install made them."""
    session_id = await stage.writer.session()
    connection = stage.writer.connection
    await restore(connection, session_id)
    async with stage.projector():
        await stage.caught_up()
        await stage.hot(session_id)
        await connection.execute("SET session_replication_role = replica")
        await stage.writer.event(session_id)

        assert (await stage.same(session_id)).total == 21


async def test_a_trigger_that_is_disabled_stays_so(stage: Bench) -> None:
    """Somebody may mean it: the leader says what is wrong, is not live, and enables nothing."""
    connection = stage.writer.connection
    await connection.execute("ALTER TABLE events DISABLE TRIGGER readside_insert")
    async with stage.projector() as telemetry:
        wanted = "Trigger readside_insert on public.events is disabled; run `readside install`."
        await eventually(lambda: telemetry.reason == wanted, "the leader says what is wrong")

    assert await connection.fetchval(ORDINARY) == 1


async def test_while_somebody_locks_the_table_it_is_tried_again(stage: Bench, database_url: str) -> None:
    """Not live meanwhile, with the reason; nobody waits for us longer than 0.1 s."""
    session_id = await stage.writer.session()
    connection = stage.writer.connection
    await connection.execute("ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE events ENABLE TRIGGER USER")
    async with connected(database_url) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE events IN ROW EXCLUSIVE MODE")
        async with stage.projector() as telemetry:
            await eventually(lambda: "is not ENABLE ALWAYS" in (telemetry.reason or ""), "it is not live")
            await transaction.rollback()
            await stage.hot(session_id)

    assert await connection.fetchval(ORDINARY) == 0


async def test_a_role_that_may_only_read_mends_them_too(stage: Bench) -> None:
    """By the right that `install --role` grants it: it may call that function, and alter no table."""
    connection = stage.writer.connection
    await connection.execute(f"DROP ROLE IF EXISTS {ROLE}; CREATE ROLE {ROLE} LOGIN PASSWORD 'narrow'")
    try:
        await install(connection, warn=pytest.fail, role=ROLE)
        session_id = await stage.writer.session()
        await restore(connection, session_id)
        parts = urlsplit(stage.config.database_url)
        url = parts._replace(netloc=f"{ROLE}:narrow@{parts.netloc.rpartition('@')[2]}").geturl()
        stage.config = replace(stage.config, database_url=url, listen_url=url)
        async with stage.projector():
            await stage.caught_up()
            await stage.hot(session_id)
            assert (await stage.same(session_id)).total == 20
    finally:
        await connection.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


async def test_partitions_are_mended_with_their_table(database_url: str, redis_url: str) -> None:
    """ALTER TABLE on the parent enables what it has put on partitions as well."""
    async with connected(database_url) as connection:
        await MONTHLY.make(connection)
    async with bench(database_url, redis_url) as stage:
        session_id = await stage.writer.session()
        connection = stage.writer.connection
        async with stage.projector():
            await stage.hot(session_id)
            await connection.execute("ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE events ENABLE TRIGGER USER")
            await connection.execute(
                "ALTER TABLE events_1 DISABLE TRIGGER USER; ALTER TABLE events_1 ENABLE TRIGGER USER"
            )
            await stage.caught_up()
            await stage.hot(session_id)
            await stage.writer.event(session_id, timestamp="2026-01-15T12:00:00Z")
            # The leader adopts partitions beside its readings: a comparison for that, before the event is in the view,
            # loads the session once more. Once as-of is past the event, none finds a difference any more.
            await stage.caught_up()
            await stage.hot(session_id)
            assert (await stage.same(session_id)).total == 1

        assert await inspect(connection) is None
