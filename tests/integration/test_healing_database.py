"""What happens to the database behind the projector's back: crashes, other clusters, triggers, deletes."""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator

import pytest

from projector.tail.triggers import install
from projector.view import writer as view_writer
from readmodel.view.reader import Cold
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.healing import Record, healed, reconnect, watched
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.servers import (
    TEMPLATE,
    another_postgres,
    connected,
    embedded_postgres,
    make_template,
    server_directory,
)
from tests.support.waiting import eventually


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made
        await made.writer.connection.close()


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
        async with another_postgres(directory) as server, proxied(server.url()) as proxy:
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
    """A write that left no letter in between: the term ends, and as-of has not passed it before it is there."""
    async with watched(stage) as watch, stage.projector(heartbeat_seconds=0.3):
        session_id = await watch.session()
        await healed(stage)
        connection = stage.writer.connection
        terms = stage.telemetry.terms
        await connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        await watch.event(session_id)
        await connection.execute("ALTER TABLE events ENABLE TRIGGER USER")
        record("heal_seconds_enabled_otherwise", await healed(stage))

        assert stage.telemetry.terms > terms


async def not_live_then_installed(stage: Bench) -> float:
    """Refused by name until installed again."""
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
