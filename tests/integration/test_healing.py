"""A broken tail heals itself: restarts, lost and silent connections, poolers, passwords, names, triggers."""

import asyncio
import secrets
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from projector import heartbeat, reads, tail, view_writer
from projector.triggers import install
from readmodel.view import Cold
from readside.demo.embedded_postgres import EmbeddedPostgres, Shutdown
from tests.healing import healed, reconnect, watched
from tests.pgbouncers import PROGRAM, pgbouncer
from tests.projecting import Bench, bench
from tests.proxy import proxied, without_notifications
from tests.servers import TEMPLATE, connected, embedded_postgres, make_template, server_directory
from tests.waiting import eventually

Record = Callable[[str, object], None]


@pytest.fixture
def record(request: pytest.FixtureRequest, record_testsuite_property: Record) -> Record:
    """Keep how long healing took, for who asks with --junitxml."""
    return lambda name, seconds: record_testsuite_property(f"{request.node.name}.{name}", seconds)


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made
        await made.writer.connection.close()


def said(logs: list[EventDict]) -> list[str]:
    """The reasons for which the projector said that it is not live."""
    return [str(entry["reason"]) for entry in logs if entry["event"] == "not live"]


async def listener_pid(stage: Bench) -> int | None:
    """The server process of the leader's listening connection."""
    pid: int | None = await stage.writer.connection.fetchval(
        "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()"
    )
    return pid


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


async def test_a_terminated_listener(stage: Bench, record: Record) -> None:
    """pg_terminate_backend: a new connection, a new term, one line in the log."""
    async with watched(stage) as watch:
        with capture_logs() as logs:
            async with stage.projector():
                session_id = await watch.session()
                await healed(stage)
                pid = await listener_pid(stage)
                await stage.writer.connection.execute("SELECT pg_terminate_backend($1)", pid)
                await watch.event(session_id)
                record("heal_seconds", await healed(stage))

    assert await listener_pid(stage) != pid
    assert len(said(logs)) == 1


@pytest.mark.parametrize(("up", "seconds"), [(True, tail.SILENT_SECONDS), (False, 1.0)])
async def test_a_silent_listener(
    stage: Bench, up: bool, seconds: float, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """Nothing comes, nothing is closed: noticed after five seconds, said once, healed."""
    monkeypatch.setattr(tail, "SILENT_SECONDS", seconds)
    async with watched(stage) as watch, proxied(stage.config.listen_url) as proxy:
        with capture_logs() as logs:
            async with stage.projector(listen_url=proxy.url(stage.config.listen_url)):
                session_id = await watch.session()
                await healed(stage)
                proxy.stall(up=up)
                await watch.event(session_id)
                record("heal_seconds", await healed(stage))
                assert stage.telemetry.last_error is not None

                assert "sent the listener nothing" in stage.telemetry.last_error
        assert len(said(logs)) == 1


async def test_a_listener_that_hears_and_cannot_speak(stage: Bench) -> None:
    """Its notices and beats come as ever, so nothing is in doubt."""
    async with proxied(stage.config.listen_url) as proxy:
        changes = {"listen_url": proxy.url(stage.config.listen_url)}
        async with watched(stage) as watch, stage.projector(**changes) as telemetry:
            session_id = await watch.session()
            await healed(stage)
            proxy.stall(down=False)
            await watch.event(session_id)
            await healed(stage)

            assert (telemetry.terms, telemetry.connections) == (1, 1)


async def test_silent_reads(stage: Bench, monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """The connections that beats and fetches use go silent, the listener does not: all of them are left at once."""
    monkeypatch.setattr(reads, "SMALL_SECONDS", 2.0)
    monkeypatch.setattr(reads, "REST_SECONDS", 0.5)
    monkeypatch.setattr(heartbeat, "FAILING_SECONDS", 1.0)
    async with (
        proxied(stage.config.database_url) as proxy,
        watched(stage) as watch,
        stage.projector(database_url=proxy.url(stage.config.database_url)),
    ):
        session_id = await watch.session()
        await healed(stage)
        proxy.stall()
        record("heal_seconds_idle", await healed(stage))
        proxy.stall()
        await watch.event(session_id)
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
            await eventually(lambda: second.connections > connected, "the standby has connected anew", 20)
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
            await eventually(lambda: first.role == "standby", "the first stands by", 20)
            await watch.event(session_id)

            await healed(stage)


async def test_a_pooler_that_swallows_notifications(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the lock is taken, with the setting that mends it."""
    monkeypatch.setattr(tail, "PROBE_SECONDS", 1.0)
    async with proxied(stage.config.listen_url) as proxy:
        proxy.filter = without_notifications
        url = f"{proxy.url(stage.config.listen_url)}?sslmode=disable"
        async with stage.projector(listen_url=url) as telemetry:
            await eventually(lambda: "READSIDE_LISTEN_URL" in (telemetry.reason or ""), "the pooler is named", 20)

            assert await listener_pid(stage) is None
            assert telemetry.terms == 0


@pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine; the test above stands in for it")
async def test_a_transaction_pooler(stage: Bench, monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """PgBouncer: refused for listening, by name and in time; good enough for everything else."""
    monkeypatch.setattr(tail, "PROBE_SECONDS", 1.0)
    async with pgbouncer(stage.config.database_url) as url:
        async with stage.projector(listen_url=url, database_url=url, statement_cache_size=0) as telemetry:
            await eventually(lambda: "READSIDE_LISTEN_URL" in (telemetry.reason or ""), "the pooler is named", 20)
            assert await listener_pid(stage) is None
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
            await stage.writer.connection.execute("SELECT pg_terminate_backend($1)", await listener_pid(stage))
            await eventually(lambda: "name resolution" in (telemetry.reason or ""), "the name is not resolved")
            await watch.event(session_id)
            away.clear()
            record("heal_seconds", await healed(stage))
    assert sum("name resolution" in reason for reason in said(logs)) == 1


async def test_a_commit_that_a_crash_takes_back(redis_url: str, record: Record) -> None:
    """The server comes back without what was projected: so does the view, and before it is live."""
    with server_directory() as directory:
        async with embedded_postgres(directory) as server:
            await make_template(server)
            async with bench(server.url(TEMPLATE), redis_url) as stage:
                async with stage.projector():
                    session_id, purged = await stage.writer.session(), await stage.writer.session()
                    await stage.writer.events(session_id, 5)
                    await healed(stage)
                    await copy_of_stopped(server, "cluster", "backup")
                    await reconnect(stage)
                    lost = await stage.writer.session()
                    await stage.writer.events(session_id, 2)
                    await stage.writer.delete_session(purged)
                    await healed(stage)
                    await copy_of_stopped(server, "backup", "cluster")
                    await reconnect(stage)
                    record("heal_seconds", await healed(stage))

                    assert (await stage.same(session_id)).total == 5
                    assert isinstance(await stage.read(lost), Cold)
                await stage.writer.connection.close()


async def copy_of_stopped(server: EmbeddedPostgres, source: str, target: str) -> None:
    """Crash a server, copy one of its directories over another, and start it again."""
    await server.stop("immediate")
    if (server.directory / target).exists():
        shutil.rmtree(server.directory / target)
    copying = await asyncio.create_subprocess_exec("cp", "-a", source, target, cwd=server.directory)
    assert await copying.wait() == 0
    await server.start()


async def test_another_cluster_behind_the_same_address(
    stage: Bench, redis_url: str, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """Refused by name while the old one's view still moves, then rebuilt: nothing of the old one is left."""
    monkeypatch.setattr(view_writer, "STILL_MOVING_SECONDS", 2.0)
    role, name = f"role_{secrets.token_hex(4)}", stage.config.database_url.rpartition("/")[2]
    create_role = f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'both'"
    with server_directory() as directory:
        async with embedded_postgres(directory) as server, proxied(server.url()) as proxy:
            await make_template(server)
            async with connected(server.url()) as connection:
                await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
                await connection.execute(create_role)
            await stage.writer.connection.execute(create_role)
            url = f"postgresql://{role}:both@127.0.0.1:{proxy.port}/{name}"
            async with bench(server.url(name), redis_url) as old, stage.projector(listen_url=url, database_url=url):
                gone = await old.writer.session()
                await old.hot(gone)
                await old.caught_up()
                here = await stage.writer.session()
                proxy.upstream = (proxy.upstream[0], int(stage.config.database_url.rpartition(":")[2].split("/")[0]))
                proxy.cut()
                await eventually(lambda: "another database" in (stage.telemetry.reason or ""), "it is refused")
                record("heal_seconds", await healed(stage))

                assert isinstance(await stage.read(gone), Cold)
                assert (await stage.same(here)).total == 0
    await stage.writer.connection.execute(f"DROP ROLE {role}")


async def test_triggers_disabled_and_enabled_between_two_beats(stage: Bench, record: Record) -> None:
    """A write that raised no notice in between: the term ends, and as-of has not passed it before it is there."""
    async with watched(stage) as watch, stage.projector(heartbeat_seconds=0.3):
        session_id = await watch.session()
        await healed(stage)
        connection = stage.writer.connection
        terms = stage.telemetry.terms
        await connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        await watch.event(session_id)
        await connection.execute("ALTER TABLE events ENABLE TRIGGER USER")
        record("heal_seconds_enabled_otherwise", await not_live_then_installed(stage))
        await healed(stage)

        assert stage.telemetry.terms > terms


async def not_live_then_installed(stage: Bench) -> float:
    """ENABLE is not ENABLE ALWAYS: refused by name until installed again."""
    started = time.monotonic()
    await eventually(lambda: "readside install" in (stage.telemetry.reason or ""), "the triggers are refused")
    await install(stage.writer.connection, warn=pytest.fail)
    return time.monotonic() - started


async def test_triggers_back_as_they_were_between_two_beats(stage: Bench, record: Record) -> None:
    """Disabled and enabled ALWAYS again: nothing to see but their versions."""
    async with watched(stage) as watch, stage.projector(heartbeat_seconds=0.3):
        session_id = await watch.session()
        await healed(stage)
        connection = stage.writer.connection
        names = await connection.fetch(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'events'::regclass AND NOT tgisinternal"
        )
        terms = stage.telemetry.terms
        for how in ("DISABLE", "ENABLE ALWAYS"):
            for row in names:
                await connection.execute(f'ALTER TABLE events {how} TRIGGER "{row["tgname"]}"')
            if how == "DISABLE":
                await watch.event(session_id)
        record("heal_seconds", await healed(stage))

        assert stage.telemetry.terms > terms


async def test_triggers_dropped_and_installed_again(stage: Bench) -> None:
    """Never live without them; with them again, what was written meanwhile is there."""
    async with watched(stage) as watch, stage.projector():
        session_id = await watch.session()
        await healed(stage)
        connection = stage.writer.connection
        for row in await connection.fetch(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'events'::regclass AND NOT tgisinternal"
        ):
            await connection.execute(f'DROP TRIGGER "{row["tgname"]}" ON events')
        await watch.event(session_id)
        await not_live_then_installed(stage)

        await healed(stage)


async def test_deletes_and_truncate_while_down(stage: Bench) -> None:
    """Purged while no projector ran: gone before the next one is live."""
    async with watched(stage) as watch:
        async with stage.projector():
            kept, purged = await watch.session(), await watch.session()
            await healed(stage)
        await watch.purge(purged)
        async with stage.projector():
            await healed(stage)
            assert isinstance(await stage.read(purged), Cold)
        await stage.writer.connection.execute("TRUNCATE sessions, events")
        await watch.purge(kept)
        async with stage.projector():
            await healed(stage)
            assert isinstance(await stage.read(kept), Cold)
