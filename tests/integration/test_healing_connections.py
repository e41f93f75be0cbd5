"""A broken tail heals itself: restarts, connections that end, and connections that go silent."""

from collections.abc import AsyncIterator
from os import urandom

import pytest
from structlog.testing import capture_logs

from projector import reads
from projector.tail import connection as tail
from projector.tail import letterbox
from readside.demo.embedded_postgres import EmbeddedPostgres, Shutdown
from tests.support.healing import Record, healed, leader_pid, reconnect, said, watched
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made
        await made.writer.connection.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_server(
    stage: Bench, postgres_server: EmbeddedPostgres, mode: Shutdown, record: Record
) -> None:
    """Live again, with what was written before the projector came back."""
    async with watched(stage) as watch, stage.projector():
        session_id, quiet = await watch.session(), await watch.session()
        await healed(stage)
        await postgres_server.restart(mode)
        await reconnect(stage)
        await watch.event(session_id)
        record("heal_seconds", await healed(stage))

        assert (await stage.same(session_id)).total == 7
        assert (await stage.same(quiet)).total == 6


async def test_a_terminated_leader(stage: Bench, record: Record) -> None:
    """pg_terminate_backend: a new connection, a new term, one line in the log."""
    async with watched(stage) as watch:
        with capture_logs() as logs:
            async with stage.projector():
                session_id = await watch.session()
                await healed(stage)
                pid = await leader_pid(stage)
                await stage.writer.connection.execute("SELECT pg_terminate_backend($1)", pid)
                await watch.event(session_id)
                record("heal_seconds", await healed(stage))

    assert await leader_pid(stage) != pid
    assert len(said(logs)) == 1


@pytest.mark.parametrize(("direction", "seconds"), [("up", letterbox.QUIET_SECONDS), ("down", 1.0), ("both", 1.0)])
async def test_a_silent_leader(
    stage: Bench, direction: str, seconds: float, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """Nothing comes back, nothing is closed: noticed after five seconds, said once, healed."""
    monkeypatch.setattr(letterbox, "QUIET_SECONDS", seconds)
    monkeypatch.setattr(tail, "ANSWER_SECONDS", seconds)
    async with watched(stage) as watch, proxied(stage.config.listen_url) as proxy:
        with capture_logs() as logs:
            async with stage.projector(listen_url=proxy.url(stage.config.listen_url)):
                session_id = await watch.session()
                await healed(stage)
                proxy.stall(up=direction != "down", down=direction != "up")
                await watch.event(session_id)
                record("heal_seconds", await healed(stage))
                assert stage.telemetry.last_error is not None

                assert "sent the leader nothing" in stage.telemetry.last_error
        assert len(said(logs)) == 1


async def test_silent_reads(stage: Bench, monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """The connections that loads and fetches use go silent, the leader's does not: all of them are left at once."""
    monkeypatch.setattr(reads, "REST_SECONDS", 0.5)
    monkeypatch.setattr(reads, "SMALL_SECONDS", 1.0)
    async with (
        proxied(stage.config.database_url) as proxy,
        watched(stage) as watch,
        stage.projector(database_url=proxy.url(stage.config.database_url)),
    ):
        session_id = await watch.session()
        await healed(stage)
        proxy.stall()
        await stage.writer.event(session_id, event_type="long", data={"random": urandom(15_000).hex()})
        record("heal_seconds", await healed(stage))


async def test_a_standby_whose_connection_goes_silent(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It notices, connects anew, and is there when the leader goes."""
    monkeypatch.setattr(tail, "ANSWER_SECONDS", 1.0)
    async with proxied(stage.config.listen_url) as proxy, stage.projector() as first:
        await eventually(lambda: first.state == "live", "the first leads")
        async with stage.projector(listen_url=proxy.url(stage.config.listen_url)) as second:
            await eventually(lambda: second.role == "standby", "the second stands by")
            connected = second.connections
            proxy.stall()
            await eventually(lambda: second.connections > connected, "the standby has connected anew")
            await eventually(lambda: second.role == "standby", "the second stands by")


async def test_a_leader_without_network(stage: Bench, record: Record) -> None:
    """Cut off from Postgres while a standby runs: the standby leads, and the lost one stands by when it is back."""
    async with (
        watched(stage) as watch,
        proxied(stage.config.listen_url) as proxy,
        stage.projector(
            listen_url=proxy.url(stage.config.listen_url), database_url=proxy.url(stage.config.database_url)
        ) as first,
    ):
        session_id = await watch.session()
        await healed(stage)
        async with stage.projector() as second:
            await eventually(lambda: second.role == "standby", "the second stands by")
            proxy.stall(new=True)
            await watch.event(session_id)
            record("heal_seconds", await healed(stage, 30))
            assert second.role == "leader"
            proxy.cut()
            proxy.go_on()
            await eventually(lambda: first.role == "standby", "the first stands by")
            await watch.event(session_id)

            await healed(stage)
