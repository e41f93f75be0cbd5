"""Catching up is exact: whatever happened while nobody listened is right before the next term is live."""

from collections.abc import AsyncIterator

import pytest

from projector.view import writer as view_writer
from readmodel.postgres.client import Connection
from readmodel.view.reader import Cold
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.healing import Record, healed, reconnect
from tests.support.projecting import Bench, Writer, bench
from tests.support.servers import TEMPLATE, connected, embedded_postgres, make_template, server_directory
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


LONG_AGO = "1700-01-01T00:00:00Z"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made
        await made.writer.connection.close()


async def with_savepoints(connection: Connection, session_id: str) -> None:
    """Insert three events, of which a savepoint takes one back."""
    writer = Writer(connection)
    await writer.event(session_id)
    async with connection.transaction():
        await writer.event(session_id, timestamp=LONG_AGO)
    taken_back = connection.transaction()
    await taken_back.start()
    await writer.event(session_id)
    await taken_back.rollback()


async def test_what_happened_while_nobody_listened(stage: Bench) -> None:
    """Savepoints, instants of long ago, single events deleted or replaced, a transaction that is still open."""
    writer, connection = stage.writer, stage.writer.connection
    delete_one = "DELETE FROM events WHERE id = (SELECT id FROM events WHERE session_id = $1::uuid LIMIT 1)"
    async with stage.projector():
        sessions = [await writer.session() for _ in range(5)]
        for session_id in sessions:
            await writer.events(session_id, 3)
        await healed(stage)
    undone, backdated, shorter, replaced, still_open = sessions
    async with connected(stage.config.database_url) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await with_savepoints(slow, still_open)
        async with connection.transaction():
            await with_savepoints(connection, undone)
        await writer.event(backdated, timestamp=LONG_AGO)
        await connection.execute(delete_one, shorter)
        await connection.execute(delete_one, replaced)
        await writer.event(replaced)
        async with stage.projector():
            await healed(stage)
            totals = [(await stage.same(session_id)).total for session_id in sessions]
            await transaction.commit()
            await healed(stage)

            assert totals == [5, 4, 2, 3, 3]
            assert (await stage.same(still_open)).total == 5


async def test_an_asynchronous_commit_that_a_crash_takes_back(redis_url: str, record: Record) -> None:
    """Projected before it was on disk, and gone with the crash: nobody goes on showing it."""
    with server_directory() as directory:
        # Nothing else writes the log to the disk meanwhile.
        async with embedded_postgres(directory, wal_writer_delay="10s") as server:
            await make_template(server)
            async with bench(server.url(TEMPLATE), redis_url) as stage, stage.projector(heartbeat_seconds=0.5):
                session_id = await stage.writer.session()
                for _ in range(5):
                    await healed(stage)
                    before = (await stage.same(session_id)).total
                    await projected_at_once(stage, session_id, before + 1)
                    await server.restart("immediate")
                    await reconnect(stage)
                    record("heal_seconds", await healed(stage))
                    if (await stage.same(session_id)).total == before:
                        break
                else:
                    pytest.fail("no crash took a commit back")
                await stage.writer.connection.close()


async def projected_at_once(stage: Bench, session_id: str, total: int) -> None:
    """Commit an event without waiting for the disk, and wait until the view shows it."""

    async def shown() -> bool:
        found = await stage.read(session_id)
        return not isinstance(found, Cold) and found.total == total

    await stage.writer.connection.execute("SET synchronous_commit = off")
    await stage.writer.event(session_id)
    await eventually(shown, "it is projected")


async def test_a_restored_database(
    stage: Bench, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """Yesterday's copy in its place, under the same name: rebuilt, and nothing of what came after is left."""
    monkeypatch.setattr(view_writer, "STILL_MOVING_SECONDS", 0.5)
    name = stage.config.database_url.rpartition("/")[2]
    async with connected(postgres_server.url()) as admin, stage.projector():
        session_id, purged = await stage.writer.session(), await stage.writer.session()
        await stage.writer.events(session_id, 3)
        await healed(stage)
        await alone(admin, name, f"CREATE DATABASE {name}_copy TEMPLATE {name}")
        await reconnect(stage)
        lost = await stage.writer.session()
        await stage.writer.events(session_id, 2)
        await stage.writer.delete_session(purged)
        await healed(stage)
        await alone(admin, name, f"DROP DATABASE {name}", f"ALTER DATABASE {name}_copy RENAME TO {name}")
        await reconnect(stage)
        record("heal_seconds", await healed(stage))

        assert (await stage.same(session_id)).total == 3
        assert (await stage.same(purged)).total == 0
        assert isinstance(await stage.read(lost), Cold)


async def alone(admin: Connection, name: str, *statements: str) -> None:
    """Run statements while nobody is connected to a database."""
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
    for statement in statements:
        await admin.execute(statement)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
