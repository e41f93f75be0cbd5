"""The lead's lock in the hands of somebody else: named with what to do, by whoever stands by, and then over."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import structlog

from projector.tail.connection import lock_key
from projector.tail.lead_holders import lead_holders, stranger
from projector.tail.triggers import install
from readmodel.postgres.client import Connection
from readmodel.redis.client import target
from readmodel.view.projection import ask_projection
from tests.support.projecting import Bench, bench
from tests.support.servers import connected, embedded_postgres, server_directory
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


NAME = "readside-projector"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; no projector yet."""
    async with bench(database_url, redis_url) as made:
        yield made


def key_of(stage: Bench) -> int:
    """The key of the lock that leads this view."""
    return lock_key(stage.config.redis_prefix, target(stage.view.redis))


@asynccontextmanager
async def role(stage: Bench) -> AsyncIterator[tuple[str, str]]:
    """A role that may connect, and no more; (its name, a URL of it)."""
    name, password = f"intruder_{secrets.token_hex(4)}", secrets.token_hex(8)
    await stage.writer.connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    host = stage.config.database_url.rpartition("@")[2]
    try:
        yield name, f"postgresql://{name}:{password}@{host}"
    finally:
        await stage.writer.connection.execute(f"DROP ROLE {name}")


@asynccontextmanager
async def holding(
    stage: Bench, url: str, application_name: str = "psql", suffix: str = ""
) -> AsyncIterator[Connection]:
    """Somebody who has taken the lead's lock; `suffix` "_shared" takes it shared."""
    connection = await asyncpg.connect(url, server_settings={"application_name": application_name})
    try:
        await connection.execute(f"SELECT pg_advisory_lock{suffix}({key_of(stage)})")
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("suffix", ["", "_shared"])
async def test_a_stranger_is_named_with_what_to_do_and_leads_no_more_once_ended(stage: Bench, suffix: str) -> None:
    """By the standby's reason, which status and the API tell; the advice, followed to the letter, brings a leader."""
    async with role(stage) as (name, url), holding(stage, url, "psql", suffix) as intruder, stage.projector() as ours:
        pid = await intruder.fetchval("SELECT pg_backend_pid()")
        await eventually(lambda: ours.reason, "the standby has a reason")
        await eventually(lambda: told(stage, f"server process {pid} of role {name}"), "status names the stranger")
        projection = await ask_projection(whole_view(stage.view), 5.0)

        assert projection.status == "down"
        assert "(application_name psql), which is no projector of ours" in str(projection.reason)
        advice = re.search(r"SELECT pg_terminate_backend\(\d+\)", str(projection.reason))
        assert advice
        await stage.writer.connection.execute(advice[0])
        await eventually(lambda: ours.role == "leader", "one of ours leads")
        await eventually(lambda: ours.reason is None, "nothing is the matter any more")


async def told(stage: Bench, words: str) -> bool:
    """Whether the projection's reason has these words."""
    return words in str((await ask_projection(whole_view(stage.view), 5.0)).reason)


async def test_the_log_names_a_stranger_once(stage: Bench) -> None:
    """However often the standby tries."""
    async with role(stage) as (_, url), holding(stage, url):
        with structlog.testing.capture_logs() as logs:
            async with stage.projector() as ours:
                await eventually(lambda: ours.reason, "the standby has a reason")
                before = await tries(stage)
                await eventually(lambda: more(stage, before), "it has tried again and again")

    assert [log["log_level"] for log in logs if log["event"] == "a stranger holds the lead"] == ["warning"]


async def tries(stage: Bench) -> int:
    """Statements that the standby has run: its backend's latest change of state, in microseconds."""
    return int(
        await stage.writer.connection.fetchval(
            "SELECT (extract(epoch FROM max(state_change)) * 1000000)::bigint FROM pg_stat_activity "
            "WHERE application_name = $1",
            NAME,
        )
    )


async def more(stage: Bench, before: int) -> bool:
    """Whether ten beats have gone by since."""
    return await tries(stage) - before > 10 * stage.config.heartbeat_seconds * 1_000_000


async def test_a_copied_name_does_not_hide_a_stranger(stage: Bench) -> None:
    """Another role than ours, and nobody reports to our Redis."""
    async with role(stage) as (name, url), holding(stage, url, NAME), stage.projector():
        await eventually(lambda: told(stage, f"of role {name} (application_name {NAME})"), "status names it")


async def test_a_prepared_transaction_is_named() -> None:
    """It holds the lock without a session: there is nothing to end but itself."""
    with server_directory() as directory:
        server = embedded_postgres(directory, max_prepared_transactions="2")
        await server.start()
        try:
            async with connected(server.url()) as connection:
                await connection.execute("BEGIN; SELECT pg_advisory_xact_lock(7); PREPARE TRANSACTION 'it''s ours'")
                holders = await lead_holders(connection, 7)
                await connection.execute("ROLLBACK PREPARED 'it''s ours'")
                after = await lead_holders(connection, 7)
        finally:
            await server.stop()

    assert stranger(holders, reported=True) == (
        "The lead's lock is held by the prepared transaction «it's ours» of role postgres, which is none of ours: "
        "ROLLBACK PREPARED ends it, as that role or a superuser; REVOKE CONNECT ON DATABASE postgres keeps postgres "
        "out, where it should not be there at all."
    )
    assert after == []


async def test_our_leader_is_no_stranger(stage: Bench) -> None:
    """Its standby has nothing to say."""
    async with stage.projector() as first:
        await eventually(lambda: first.role == "leader", "the first leads")
        async with stage.projector() as second:
            await eventually(lambda: second.role == "standby", "the second stands by")
            holders = await lead_holders(stage.writer.connection, key_of(stage))

            assert second.reason is None
            assert [holder.application_name for holder in holders] == [NAME]
            assert stranger(holders, reported=False) is None


async def test_who_may_only_connect_sees_who_holds_the_lead(stage: Bench) -> None:
    """Pid, role and application_name of other roles' sessions are hidden from nobody."""
    async with role(stage) as (_, url), connected(url) as poor, holding(stage, stage.config.database_url) as holder:
        seen = await lead_holders(poor, key_of(stage))

        assert [(each.pid, each.role, each.application_name) for each in seen] == [
            (await holder.fetchval("SELECT pg_backend_pid()"), "postgres", "psql")
        ]


async def test_a_projector_of_another_role_is_ours_while_it_reports(stage: Bench) -> None:
    """As when the role is changed, one process after the other."""
    async with role(stage) as (name, url):
        await install(stage.writer.connection, warn=pytest.fail, role=name)
        async with stage.projector(database_url=url, listen_url=url) as first:
            await eventually(lambda: first.state == "live", "the first leads")
            async with stage.projector() as second:
                await eventually(lambda: second.role == "standby", "the second stands by")
                before = await tries(stage)
                await eventually(lambda: more(stage, before), "it has looked again and again")

                assert second.reason is None
        await stage.writer.connection.execute(f"DROP OWNED BY {name}")
