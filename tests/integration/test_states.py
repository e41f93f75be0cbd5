"""Each state of the stores has its own true sentence, soon, wherever people look."""

import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from projector.health import application
from projector.standing import standing
from projector.tail.triggers import uninstall
from projector.telemetry import Telemetry
from projector.view import committer
from readmodel.redis.servers import RedisServers, open_servers
from readmodel.view.projection import Projection, read_projection
from readmodel.view.projection_advice import what_to_do
from tests.support.builders import api, api_config
from tests.support.healing import own_redis, said
from tests.support.projecting import Bench, bench
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

WITHIN_SECONDS = 20.0
"""Two on a quiet machine."""
READ_ONLY = "is read-only, as a replica is: it takes no batches."


@dataclass
class Service:
    """A projector with its health, an API, and who looks at both."""

    stage: Bench
    client: httpx.AsyncClient
    health: httpx.AsyncClient

    async def status(self) -> Projection:
        """What `readside status` finds."""
        return await read_projection(whole_view(self.stage.view), 5.0)

    async def says(self, sentence: str, *, status: str | None = "down") -> None:
        """Wait until status, API and the projector's health say so, each within its time."""
        seen: list[object] = []

        async def everywhere() -> bool:
            ready = await self.health.get("/health/ready")
            found = (await self.client.get("/api/v2/projection")).json()
            told = await self.status()
            seen[:] = ready.status_code, ready.json(), found["status"], found["reason"], told.status, told.reason
            return (
                (ready.status_code, sentence in str(ready.json()["reason"])) == (503, True)
                and (status is None or found["status"] == told.status == status)
                and sentence in str(found["reason"])
                and sentence in str(told.reason)
            )

        try:
            await eventually(everywhere, f"everybody says {sentence!r}", WITHIN_SECONDS)
        except AssertionError as error:
            raise AssertionError(seen) from error

    async def live(self) -> None:
        """Wait until everybody says that it is live again."""

        async def everywhere() -> bool:
            ready = await self.health.get("/health/ready")
            return ready.status_code == 200 and (await self.status()).status == "live"

        await eventually(everywhere, "everybody says live")


@asynccontextmanager
async def running(
    stage: Bench, redis_url: str = "", servers: RedisServers | None = None, **changes: object
) -> AsyncIterator[Service]:
    """Run a projector, over these servers if any, and an API."""
    config = api_config(stage.config.database_url, redis_url or stage.config.redis_url)
    async with stage.projector(servers, **changes) as telemetry, api(config) as client:
        transport = httpx.ASGITransport(application(telemetry))
        async with httpx.AsyncClient(transport=transport, base_url="http://projector") as health:
            yield Service(stage, client, health)


async def hot_session(stage: Bench) -> str:
    """Write a session and wait until it is hot."""
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, 3)
    await stage.hot(session_id)
    await stage.caught_up()
    return session_id


async def test_redis_is_read_only(database_url: str, redis_url: str) -> None:
    """Nobody is told to start a projector: one runs, and cannot write. Warm says so as well; then all goes on."""
    with capture_logs() as logs:
        async with bench(database_url, redis_url) as stage, running(stage) as service:
            session_id, cold = await hot_session(stage), await stage.writer.session("completed")
            redis: Any = stage.view.redis
            await redis.replicaof("127.0.0.1", "1")
            try:
                await service.says(READ_ONLY)
                projection = await service.status()
                for warmed in (session_id, cold):
                    answer = await service.client.post(f"/api/v2/sessions/{warmed}/warm")
                    assert (answer.status_code, "takes no writes" in answer.json()["detail"]) == (503, True)
                assert projection.writable is False
                assert "readside projector" not in what_to_do(projection)
                assert "READSIDE_REDIS_URL" in what_to_do(projection)
                assert [READ_ONLY in reason for reason in said(logs)] == [True]
            finally:
                await redis.replicaof("NO", "ONE")
            await service.live()
            answer = await service.client.post(f"/api/v2/sessions/{session_id}/warm")

            assert (answer.status_code, answer.json()["state"]) == (202, "hot")
            assert stage.telemetry.terms == 1


async def test_redis_is_gone(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projector's health says so at once, not when it resigns; no address is shown as a tuple."""
    monkeypatch.setattr(committer, "RESIGN_SECONDS", 600.0)
    with capture_logs() as logs:
        async with own_redis(tmp_path, database_url) as (server, stage), running(stage) as service:
            session_id = await hot_session(stage)
            await server.kill()
            await service.says("does not answer: Connection refused.")
            await eventually(lambda: said(logs), "the log says so", WITHIN_SECONDS)
            answer = await service.client.post(f"/api/v2/sessions/{session_id}/warm")
            assert (answer.status_code, answer.json()["detail"].startswith("Redis does not answer")) == (503, True)
            assert stage.telemetry.role == "leader"
            await server.start()
            await service.live()
    assert said(logs)[0].endswith("does not answer: Connection refused.")


async def test_redis_hangs(database_url: str, tmp_path: Path) -> None:
    """Health does not wait for the timeout of a batch, which is longer than this test."""
    async with own_redis(tmp_path, database_url) as (server, stage), AsyncExitStack() as stack:
        patient = open_servers(server.url(), name="readside-projector", timeout_seconds=600.0)
        service = await stack.enter_async_context(running(stage, servers=patient))
        await hot_session(stage)
        os.kill(server.pid, signal.SIGSTOP)
        stack.callback(os.kill, server.pid, signal.SIGCONT)

        async def told() -> bool:
            ready = await service.health.get("/health/ready")
            return (ready.status_code, "heartbeat" in str(ready.json()["reason"])) == (503, True)

        await eventually(told, "its health says so", WITHIN_SECONDS)
        os.kill(server.pid, signal.SIGCONT)
        await service.live()


Begin = Callable[[Bench], Awaitable[object]]


async def not_installed(stage: Bench) -> None:
    """Take the triggers away."""
    await uninstall(stage.writer.connection)


async def no_tables(stage: Bench) -> None:
    """Drop the write side's tables."""
    await stage.writer.connection.execute("DROP TABLE events, sessions CASCADE")


@pytest.mark.parametrize(
    ("begin", "sentence"),
    [(not_installed, "readside install"), (no_tables, "was not found")],
    ids=["triggers", "tables"],
)
async def test_the_write_side_is_not_ready(database_url: str, redis_url: str, begin: Begin, sentence: str) -> None:
    """What is to be mended is named, whether the projector ran before or not."""
    async with bench(database_url, redis_url) as stage:
        await stage.view.redis.flushall()
        await begin(stage)
        async with running(stage) as service:
            await eventually(lambda: stage.telemetry.reason, "the projector has looked")
            await service.says(sentence, status=None)
            assert (await service.status()).status != "live"


async def test_no_right_to_select_on_an_empty_database(database_url: str, redis_url: str) -> None:
    """Nothing of it is read to be found equal, and it is never called live."""
    role = f"role_{secrets.token_hex(4)}"
    async with bench(database_url, redis_url) as stage:
        await stage.view.redis.flushall()
        connection = stage.writer.connection
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
        await connection.execute(f"GRANT pg_read_all_stats TO {role}")
        url = f"postgresql://{role}:right@{stage.config.database_url.rpartition('@')[2]}"
        statuses: list[str] = []
        try:
            async with running(stage, listen_url=url, database_url=url) as service:

                async def looked() -> bool:
                    statuses.append((await service.status()).status)
                    return len(statuses) > 100

                await eventually(lambda: stage.telemetry.reason, "the projector has looked")
                await service.says("permission denied", status=None)
                await eventually(looked, "status was asked often")
        finally:
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert "live" not in statuses
    assert stage.telemetry.terms <= stage.telemetry.connections


async def test_postgres_is_gone(database_url: str, redis_url: str) -> None:
    """As far as the projector can tell: every connection is ended, and none is taken."""
    async with bench(database_url, redis_url) as stage, running(stage) as service:
        await hot_session(stage)
        name = await stage.writer.connection.fetchval("SELECT current_database()")
        postgres = database_url.rpartition("/")[0] + "/postgres"
        outside = await asyncpg.connect(postgres)
        try:
            await outside.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
            await outside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            await service.says("PostgreSQL at", status="down")
        finally:
            await outside.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
            await outside.close()
        await service.live()


async def test_nobody_runs(database_url: str, redis_url: str) -> None:
    """A leader that was killed leaves a report that is young for a while: as-of tells that it is gone."""
    async with bench(database_url, redis_url) as stage:
        async with stage.projector():
            await hot_session(stage)
            report: dict[str, bytes] = {}

            async def reported() -> bool:
                report.update(await stage.view.projectors())
                return any(orjson.loads(raw)["state"] == "live" for raw in report.values())

            await eventually(reported, "the leader has reported since it caught up")
        redis: Any = stage.view.redis
        for name, raw in report.items():
            await redis.hset(stage.view.keys.projectors, name, raw)  # one that is killed takes no report away

        async def told() -> bool:
            projection = await read_projection(whole_view(stage.view), 5.0)
            return "has not reported" in str(projection.reason) and projection.status == "stale"

        await eventually(told, "status says so", 2 * WITHIN_SECONDS)


def test_a_standby_is_ready_and_says_nothing() -> None:
    """It waits for nothing but its turn."""
    assert standing(Telemetry(role="standby", state="waiting")) == ("waiting", None)
