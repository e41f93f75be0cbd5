"""Statements of every size and kind, end to end: the view equals Postgres after each, and no letter is one too few."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.letterboxes import add, hot_session, settled
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SPREAD = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), s.id, 'step_created', '{}', now() FROM sessions s, generate_series(1, $1::int)
"""
SESSIONS = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
SELECT gen_random_uuid(), 'workflow', 'completed', 'auto', '/p', '{}', now(), now() FROM generate_series(1, $1::int)
"""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Bench]:
    """One with a projector, for statements about sessions of their own that end no term."""
    async with bench(lasting_database_url, lasting_redis_url) as made, made.projector():
        await made.caught_up()
        yield made


of_live = pytest.mark.asyncio(loop_scope="module")


@of_live
@pytest.mark.parametrize("rows", [1, 200, 201, 1_000, 1_001, 21_000])
async def test_an_insert_into_one_session(live: Bench, rows: int) -> None:
    """Named one by one, or looked at where that is cheaper."""
    told, looks = live.telemetry, live.telemetry.looks
    session_id = await hot_session(live, 3)
    await add(live.writer.connection, session_id, rows)

    assert (await settled(live, session_id)).total == rows + 3
    assert (told.terms, told.drift) == (1, 0)
    assert told.looks - looks == (1 if rows > 1_000 else 0)


@pytest.mark.parametrize(("sessions", "each", "terms"), [(500, 2, 1), (4_000, 1, 1), (6_000, 2, 2)])
async def test_an_insert_into_many_sessions(stage: Bench, sessions: int, each: int, terms: int) -> None:
    """Past five thousand sessions everything is compared: a term ends, and the next one finds them."""
    connection = stage.writer.connection
    await connection.execute(SESSIONS, sessions - 1)
    async with stage.projector() as told:
        session_id = await hot_session(stage, 1)
        await connection.execute(SPREAD, each)
        await eventually(lambda: told.terms == terms, "as many terms as are wanted")

        assert (await settled(stage, session_id)).total == each + 1
        assert told.drift == 0


async def test_a_truncate(stage: Bench) -> None:
    """Nothing is left of anything, and what is written next is shown."""
    async with stage.projector() as told:
        session_id = await hot_session(stage, 3)
        await stage.writer.connection.execute("TRUNCATE sessions CASCADE")
        await stage.cold(session_id)
        again = await hot_session(stage, 2)

        assert (await settled(stage, again)).total == 2
        assert told.drift == 0


async def test_a_truncate_of_events_alone(stage: Bench) -> None:
    """The sessions stay, empty."""
    async with stage.projector() as told:
        session_id = await hot_session(stage, 3)
        await stage.writer.connection.execute("TRUNCATE events")
        await eventually(lambda: told.terms == 2, "everything is compared")

        assert (await settled(stage, session_id)).total == 0


@pytest.mark.parametrize("sessions", [1, 50, 6_000])
async def test_a_purge_with_its_cascade(stage: Bench, sessions: int) -> None:
    """The retention job: the sessions and their events go in one statement, one session stays."""
    connection = stage.writer.connection
    await connection.execute(SESSIONS, sessions)
    async with stage.projector() as told:
        kept = await hot_session(stage, 2)
        gone = await hot_session(stage, 2)
        await connection.execute(SPREAD, 2)
        assert (await settled(stage, gone)).total == 4
        await connection.execute("DELETE FROM sessions WHERE id <> $1::uuid", kept)
        await stage.cold(gone)

        assert (await settled(stage, kept)).total == 4
        assert told.drift == 0
        assert {session_id for session_id, _ in await stage.view.hot_sessions()} == {kept}


@of_live
@pytest.mark.parametrize("rows", [1, 1_001])
async def test_a_copy(live: Bench, rows: int) -> None:
    """It is one statement like others."""
    told = live.telemetry
    session_id = await hot_session(live)
    connection = live.writer.connection
    made = await connection.fetch(
        "SELECT gen_random_uuid() AS id, $1::uuid AS session_id, 'x' AS event_type, '{}' AS event_data, now() AS at"
        " FROM generate_series(1, $2::int)",
        session_id,
        rows,
    )
    await connection.copy_records_to_table(
        "events",
        records=[tuple(row) for row in made],
        columns=["id", "session_id", "event_type", "event_data", "timestamp"],
    )

    assert (await settled(live, session_id)).total == rows
    assert (told.terms, told.drift) == (1, 0)


@of_live
async def test_an_update_and_a_move_to_another_session(live: Bench) -> None:
    """Events are append-only, and yet: both sessions are looked at."""
    told = live.telemetry
    first, second = await hot_session(live, 3), await hot_session(live, 1)
    await live.writer.connection.execute(
        "UPDATE events SET session_id = $2::uuid, message = 'moved' WHERE session_id = $1::uuid", first, second
    )

    assert (await settled(live, first)).total == 0
    assert (await settled(live, second)).total == 4
    assert (told.terms, told.drift) == (1, 0)


@of_live
async def test_a_status_in_the_same_transaction_as_events(live: Bench) -> None:
    """Both arrive together, whatever is said of it first."""
    connection = live.writer.connection
    told, looks = live.telemetry, live.telemetry.looks
    session_id = await hot_session(live)
    async with connection.transaction():
        await connection.execute("UPDATE sessions SET status = 'failed' WHERE id = $1::uuid", session_id)
        await add(connection, session_id, 2)
    found = await settled(live, session_id)

    assert (found.total, found.status) == (2, "failed")
    assert (told.terms, told.looks, told.drift) == (1, looks, 0)
