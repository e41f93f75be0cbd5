"""Migrations of the owners that touch no row: no answer shows what rows read as before with a later as-of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from readmodel.postgres.client import Connection
from readmodel.view.reader import ViewPage
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import STEP_SECONDS, eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.installed

RENAMED = """
BEGIN; ALTER TABLE events RENAME COLUMN message TO legacy_message;
ALTER TABLE events ADD COLUMN message text DEFAULT 'after'; COMMIT
"""
MIGRATIONS = {
    "another column takes the name": RENAMED,
    "the column is made anew": """
        BEGIN; ALTER TABLE events DROP COLUMN message; ALTER TABLE events ADD COLUMN message text DEFAULT 'after';
        COMMIT""",
    "values are computed anew": "ALTER TABLE events ALTER COLUMN message TYPE text USING 'after'",
    "the column is generated": """
        BEGIN; ALTER TABLE events DROP COLUMN message;
        ALTER TABLE events ADD COLUMN message text GENERATED ALWAYS AS ('after') STORED; COMMIT""",
}
BACK = """
BEGIN; ALTER TABLE events DROP COLUMN message; ALTER TABLE events RENAME COLUMN legacy_message TO message; COMMIT
"""
VIRTUAL = """
BEGIN; ALTER TABLE events DROP COLUMN message;
ALTER TABLE events ADD COLUMN message text GENERATED ALWAYS AS ('{0}') VIRTUAL; COMMIT
"""
HUNDRED_SESSIONS = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
SELECT gen_random_uuid(), 'workflow', 'in_progress', 'auto', '/p', '{}', now(), now() FROM generate_series(1, 100)
RETURNING id::text
"""
LOAD_MANY = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), s.id, 'step_created', '{"is": "before"}', 'before', now() + n * interval '1 ms'
FROM sessions s, generate_series(1, 5) n
"""


async def _messages(whole: Whole, session_id: str) -> tuple[set[str], float]:
    """What a poll shows, and as of when (seconds since 1970)."""
    answer = await whole.poll(session_id)
    assert answer.status_code == 200, answer.text
    as_of = datetime.fromisoformat(answer.headers["readside-as-of"]).timestamp()
    return {item["message"] for item in answer.json()["items"]}, as_of


class Watch:
    """Polls some sessions all the time: none may show `before` as of an instant after the migration's commit."""

    def __init__(self, whole: Whole, sessions: list[str]) -> None:
        self.whole = whole
        self.sessions = sessions
        self.committed: float | None = None
        self.answers = 0
        self.wrong: list[tuple[str, float]] = []

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            for session_id in self.sessions:
                committed = self.committed
                shown, as_of = await _messages(self.whole, session_id)
                self.answers += 1
                if committed is not None and "before" in shown and as_of >= committed:
                    self.wrong.append((session_id, as_of))
            await asyncio.sleep(STEP_SECONDS)

    async def migrate(self, connection: Connection, script: str) -> None:
        """Run the migration, and note when it had been committed."""
        await connection.execute(script)
        self.committed = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))


@asynccontextmanager
async def watched(whole: Whole, sessions: list[str]) -> AsyncIterator[Watch]:
    """Watch for the length of the block; nothing wrong may be seen."""
    watch = Watch(whole, sessions)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
        assert not task.done(), task
        assert watch.wrong == []
        assert watch.answers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _written(stage: Bench) -> str:
    session_id = await stage.writer.session()
    for _ in range(3):
        await stage.writer.event(session_id, message="before")
    return session_id


async def _reloaded(whole: Whole, before: int) -> None:
    """Wait until more sessions were loaded anew than `before`."""
    await eventually(lambda: whole.bench.telemetry.sessions_reloaded > before, "it is loaded anew")


async def _after(whole: Whole, session_id: str, reloaded: int) -> None:
    """Wait until Redis answers again, with what the rows read as now; nothing of it was drift."""
    await _reloaded(whole, reloaded)
    await whole.bench.hot(session_id)
    found = await whole.bench.same(session_id)
    assert found.page.count(b'"message":"after"') == found.total
    assert (await whole.served(session_id, "redis", "?limit=9")).json()["items"][0]["message"] == "after"
    assert whole.bench.telemetry.drift == 0


@pytest.mark.parametrize("migration", MIGRATIONS)
async def test_a_hot_session_is_loaded_anew(database_url: str, redis_url: str, migration: str) -> None:
    """It is never shown as it was, as of an instant after the migration."""
    async with whole_service(database_url, redis_url) as whole:
        session_id = await _written(whole.bench)
        await whole.bench.hot(session_id)
        async with watched(whole, [session_id]) as watch:
            await eventually(lambda: watch.answers > 3, "it is polled")
            await watch.migrate(whole.bench.writer.connection, MIGRATIONS[migration])
            await _after(whole, session_id, 0)


async def test_a_virtual_column_reads_as_something_else(database_url: str, redis_url: str) -> None:
    """From PostgreSQL 18 on; older servers have none."""
    async with whole_service(database_url, redis_url) as whole:
        connection = whole.bench.writer.connection
        virtual = connection.get_server_version().major >= 18
        session_id = await whole.bench.writer.session()
        await whole.bench.writer.events(session_id, 3)
        await whole.bench.hot(session_id)
        script = VIRTUAL if virtual else MIGRATIONS["the column is made anew"].replace("'after'", "'{0}'")
        await connection.execute(script.format("before"))
        await eventually(lambda: whole.bench.telemetry.sessions_reloaded, "it is loaded anew")
        await whole.bench.hot(session_id)
        async with watched(whole, [session_id]) as watch:
            change = "ALTER TABLE events ALTER COLUMN message SET EXPRESSION AS ('after')"
            reloaded = whole.bench.telemetry.sessions_reloaded
            await watch.migrate(connection, change if virtual else script.format("after"))
            await _after(whole, session_id, reloaded)


async def test_there_and_back_between_two_beats(database_url: str, redis_url: str) -> None:
    """An event that was read in between is read again, though the columns are as they were before."""
    async with bench(database_url, redis_url) as stage, stage.projector(heartbeat_seconds=2.0):
        session_id, connection = await _written(stage), stage.writer.connection
        await stage.hot(session_id)
        await stage.caught_up()  # so the next beat is two seconds away
        await connection.execute(RENAMED)
        await stage.writer.event(session_id, message="between")

        async def is_read() -> bool:
            found = await stage.read(session_id)
            return isinstance(found, ViewPage) and b"between" in found.page

        await eventually(is_read, "the event is read as of now")
        await connection.execute(BACK)
        await stage.caught_up()
        await stage.hot(session_id)

        assert b"between" not in (await stage.same(session_id)).page


async def test_across_a_restart_of_the_projector(database_url: str, redis_url: str) -> None:
    """A projector that takes over keeps what its predecessor loaded anew, and no more is loaded."""
    async with bench(database_url, redis_url) as stage:
        session_id = await _written(stage)
        async with stage.projector():
            await stage.hot(session_id)
        async with stage.projector() as telemetry:
            await stage.caught_up()
            assert telemetry.sessions_reloaded == 0
            await stage.writer.connection.execute(RENAMED)
            await eventually(lambda: telemetry.sessions_reloaded == 1, "it is loaded anew")
            await stage.hot(session_id)
        async with stage.projector() as telemetry:
            found = await stage.same(session_id)

            assert found.page.count(b'"message":"after"') == 3
            assert (telemetry.sessions_reloaded, telemetry.loads, telemetry.drift) == (0, 0, 0)


@pytest.mark.parametrize("migration", MIGRATIONS)
async def test_while_no_projector_runs(database_url: str, redis_url: str, migration: str) -> None:
    """The shape is kept with the position: the next projector sees that it is another."""
    async with bench(database_url, redis_url) as stage:
        session_id = await _written(stage)
        async with stage.projector():
            await stage.hot(session_id)
        await stage.writer.connection.execute(MIGRATIONS[migration])
        async with stage.projector() as telemetry:
            await stage.caught_up()
            await stage.hot(session_id)  # it is live before the session is loaded anew
            found = await stage.same(session_id)

            assert found.page.count(b'"message":"after"') == 3
            assert (telemetry.sessions_reloaded, telemetry.drift) == (1, 0)


async def test_a_term_that_ends_while_it_loads_anew(database_url: str, redis_url: str) -> None:
    """What it had not dropped yet is not taken for what the rows read as now."""
    async with bench(database_url, redis_url) as stage:
        session_id = await _written(stage)
        async with stage.projector():
            await stage.hot(session_id)
        await stage.writer.connection.execute(RENAMED)
        async with stage.projector(heartbeat_seconds=0.05) as telemetry:
            await eventually(lambda: telemetry.terms, "a term begins")
        async with stage.projector() as telemetry:
            await stage.caught_up()
            await stage.hot(session_id)  # it is live before the session is loaded anew
            found = await stage.same(session_id)

            assert found.page.count(b'"message":"after"') == 3
            assert telemetry.drift == 0


async def test_many_hot_sessions_whose_values_are_computed_anew(database_url: str, redis_url: str) -> None:
    """Six hundred: no old content with a newer as-of, none taken for drift, each loaded once more."""
    with capture_logs() as logs:
        async with whole_service(database_url, redis_url) as whole:
            connection = whole.bench.writer.connection
            sessions: list[str] = []
            for _ in range(6):  # of more than MAX_CREATED that come at once some stay cold
                sessions += [row["id"] for row in await connection.fetch(HUNDRED_SESSIONS)]
                await whole.bench.caught_up()
            await connection.execute(LOAD_MANY)

            async def all_hot() -> bool:
                telemetry = whole.bench.telemetry
                return (telemetry.hot_sessions, telemetry.loading) == (600, 0)

            await eventually(all_hot, "all are hot", 60)
            await whole.bench.caught_up()
            async with watched(whole, sessions[::60]) as watch:
                await eventually(lambda: watch.answers > 3, "they are polled")
                await watch.migrate(
                    connection,
                    'ALTER TABLE events ALTER COLUMN event_data TYPE jsonb USING \'{"is": "after"}\'::jsonb, '
                    "ALTER COLUMN message TYPE text USING 'after'",
                )
                await eventually(lambda: whole.bench.telemetry.sessions_reloaded == 600, "they are loaded anew", 60)
                await eventually(all_hot, "all are hot again", 60)
            compared = whole.bench.telemetry.compared
            await eventually(lambda: whole.bench.telemetry.compared >= compared + 50, "some are compared", 60)
            for session_id in sessions[::60]:
                await whole.bench.hot(session_id)  # a term that ended late loads them once more
                assert b"before" not in (await whole.bench.same(session_id)).page
            assert (whole.bench.telemetry.drift, whole.bench.telemetry.sessions_lost) == (0, 0)
    assert [entry for entry in logs if "differed" in str(entry["event"])] == []


async def test_writes_go_on_during_a_migration(database_url: str, redis_url: str) -> None:
    """What is written before and after it is there, as rows read now."""
    async with whole_service(database_url, redis_url) as whole, connected(database_url) as other:
        session_id = await _written(whole.bench)
        await whole.bench.hot(session_id)
        for round_number in range(3):
            await whole.bench.writer.event(session_id)
            script = MIGRATIONS["the column is made anew"].replace("after", f"{round_number}")
            await other.execute(script)
            await whole.bench.writer.event(session_id)
            await _reloaded(whole, round_number)
            await whole.bench.hot(session_id)
            found = await whole.bench.same(session_id)
            assert found.total == 5 + 2 * round_number
