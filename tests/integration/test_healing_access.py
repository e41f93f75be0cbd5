"""What stands between the projector and Postgres for a while, and heals: poolers, passwords, names."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from projector.tail import connection as tail
from tests.support.healing import Record, healed, leader_pid, said, watched
from tests.support.pgbouncers import pgbouncer
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied, without_notifications
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made
        await made.writer.connection.close()


async def test_a_pooler_that_swallows_notifications(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the lock is taken, with the setting that mends it."""
    monkeypatch.setattr(tail, "PROBE_SECONDS", 1.0)
    async with proxied(stage.config.listen_url) as proxy:
        proxy.filter = without_notifications
        url = f"{proxy.url(stage.config.listen_url)}?sslmode=disable"
        with capture_logs() as logs:
            async with stage.projector(listen_url=url) as telemetry:
                await eventually(lambda: "READSIDE_LISTEN_URL" in (telemetry.reason or ""), "the pooler is named")

                assert await leader_pid(stage) is None
                assert telemetry.terms == 0
        assert ["READSIDE_LISTEN_URL" in reason for reason in said(logs)] == [True]


async def test_a_transaction_pooler(stage: Bench, monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """PgBouncer: refused for listening, by name and in time; good enough for everything else."""
    monkeypatch.setattr(tail, "PROBE_SECONDS", 1.0)
    async with pgbouncer(stage.config.database_url) as url:
        async with stage.projector(listen_url=url, database_url=url, statement_cache_size=0) as telemetry:
            await eventually(lambda: "READSIDE_LISTEN_URL" in (telemetry.reason or ""), "the pooler is named")
            assert await leader_pid(stage) is None
        async with watched(stage) as watch, stage.projector(database_url=url, statement_cache_size=0):
            await watch.event(await watch.session())

            record("live_seconds", await healed(stage))


async def test_a_wrong_password_for_a_while(stage: Bench, record: Record) -> None:
    """Said once, however often it is tried; right again, live again."""
    role, connection = f"role_{secrets.token_hex(4)}", stage.writer.connection
    await connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'right'")
    try:
        place = stage.config.database_url.rpartition("@")[2]
        url = f"postgresql://{role}:right@{place}"
        with capture_logs() as logs:
            async with watched(stage) as watch, stage.projector(listen_url=url, database_url=url) as telemetry:
                session_id = await watch.session()
                await healed(stage)
                await connection.execute(f"ALTER ROLE {role} PASSWORD 'wrong'")
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role
                )
                await eventually(lambda: "refuses us" in (telemetry.reason or ""), "the password is refused")
                await watch.event(session_id)
                await connection.execute(f"ALTER ROLE {role} PASSWORD 'right'")
                record("heal_seconds", await healed(stage))
        assert sum("refuses us" in reason for reason in said(logs)) == 1
    finally:
        await connection.execute(f"DROP ROLE {role}")


async def test_a_name_that_does_not_resolve_for_a_while(
    stage: Bench, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """DNS away: waits, says so once, heals."""
    resolve, away = socket.getaddrinfo, asyncio.Event()

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if host == "db.invalid" and away.is_set():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve("127.0.0.1" if host == "db.invalid" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    url = stage.config.database_url.replace("127.0.0.1", "db.invalid")
    with capture_logs() as logs:
        async with watched(stage) as watch, stage.projector(listen_url=url, database_url=url) as telemetry:
            session_id = await watch.session()
            await healed(stage)
            away.set()
            await stage.writer.connection.execute("SELECT pg_terminate_backend($1)", await leader_pid(stage))
            await eventually(lambda: "name resolution" in (telemetry.reason or ""), "the name is not resolved")
            await watch.event(session_id)
            away.clear()
            record("heal_seconds", await healed(stage))
    assert sum("name resolution" in reason for reason in said(logs)) == 1
