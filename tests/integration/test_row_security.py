"""Row-level security must not thin answers out silently."""

import asyncio
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest

from projector.tail.triggers import install
from readmodel.errors import RightsMissing
from readmodel.postgres.client import check_rows_visible, create_pool
from readmodel.postgres.event_log import EventLog
from readmodel.postgres.tables import TableFinder
from readmodel.values.poll import Poll
from tests.support.letterboxes import hot_session, shows
from tests.support.projecting import MAX_BYTES, bench
from tests.support.servers import TABLES
from tests.support.waiting import eventually

ROLE = "readside_narrow"
WHAT_TO_DO = "Table readside.letters_0 was altered, table readside.letters_1 was altered"


async def test_letters_that_are_hidden_in_mid_term_end_it(database_url: str, redis_url: str) -> None:
    """No as-of passes an event whose letter our role cannot see; `install` mends it, and the event is shown."""
    narrow = urlsplit(database_url)
    url = narrow._replace(netloc=f"{ROLE}:narrow@{narrow.netloc.rpartition('@')[2]}").geturl()
    async with bench(database_url, redis_url) as stage:
        execute = stage.writer.connection.execute
        await execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'narrow'; GRANT SELECT ON sessions, events TO {ROLE}")
        try:
            await install(stage.writer.connection, warn=print, role=ROLE)
            stage.config = replace(stage.config, database_url=url, listen_url=url)
            async with stage.projector() as telemetry:
                session_id = await hot_session(stage)
                for table in ("letters_0", "letters_1", "letters_2"):
                    await execute(f"ALTER TABLE readside.{table} ENABLE ROW LEVEL SECURITY")
                await stage.writer.event(session_id)
                mended = asyncio.create_task(shows(stage, session_id, 1))  # no answer before may claim to be later
                await eventually(lambda: WHAT_TO_DO in (telemetry.reason or ""), "the projector says what to do")
                assert await install(stage.writer.connection, warn=print)
                await mended
                await stage.same(session_id)
        finally:
            await execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


async def test_a_role_that_does_not_see_every_row_is_refused(database_url: str, redis_url: str) -> None:
    """Projector and API refuse by name; once the role sees all rows, and may read letters, all is well."""
    narrow = urlsplit(database_url)
    url = narrow._replace(netloc=f"{ROLE}:narrow@{narrow.netloc.rpartition('@')[2]}").geturl()
    async with bench(database_url, redis_url) as stage:
        session_id = await stage.writer.session()
        execute = stage.writer.connection.execute
        await execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'narrow'")
        try:
            await execute(f"GRANT SELECT ON sessions, events TO {ROLE}; ALTER TABLE events ENABLE ROW LEVEL SECURITY")
            pool = await create_pool(
                url, application_name="test", size=1, init=partial(check_rows_visible, tables=TABLES)
            )
            log = EventLog(pool, url, TableFinder(url, application_name="test"))
            with pytest.raises(RightsMissing, match=r"Row-level security hides rows of public\.events"):
                await log.answer(Poll(session_id), MAX_BYTES)
            stage.config = replace(stage.config, database_url=url, listen_url=url)
            async with stage.projector() as telemetry:
                await eventually(lambda: "Row-level security" in (telemetry.reason or ""), "the projector says so")
                await execute(f"ALTER ROLE {ROLE} BYPASSRLS")
                await eventually(lambda: "`readside install --role ROLE`" in (telemetry.reason or ""), "and what else")
                await install(stage.writer.connection, warn=print, role=ROLE)
                await stage.hot(session_id)
            assert (await log.answer(Poll(session_id), MAX_BYTES)).total == 0
            pool.terminate()
        finally:
            await execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
