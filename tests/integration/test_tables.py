"""The tables are those that a connection of the owners' finds; ours name them with their schemas."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from readmodel.errors import SchemaMissing
from readmodel.postgres import table_reads
from readmodel.postgres.client import connect, create_pool
from readmodel.postgres.event_log import EventLog
from readmodel.postgres.settings import FIXED, NEWER, OWN_PATH, TRACKED
from readmodel.postgres.sql import Tables, statement
from readmodel.postgres.tables import TableFinder, look_for_tables
from readmodel.values.poll import Poll
from tests.support.builders import api, api_config
from tests.support.pgbouncers import pgbouncer
from tests.support.projecting import MAX_BYTES, Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually
from tests.support.whole import Whole

pytestmark = pytest.mark.installed

MOVE = "CREATE SCHEMA {0}; ALTER TABLE sessions SET SCHEMA {0}; ALTER TABLE events SET SCHEMA {0}"


async def _look(url: str) -> Tables:
    return await look_for_tables(url, application_name="test")


async def _execute(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statement)


def _database(url: str) -> str:
    return urlsplit(url).path[1:]


async def test_they_are_found_by_the_databases_search_path(database_url: str) -> None:
    """Each in its own schema, whatever that is called."""
    await _execute(
        database_url,
        f"""CREATE SCHEMA "Odd ""one"; ALTER TABLE events SET SCHEMA "Odd ""one";
            ALTER DATABASE {_database(database_url)} SET search_path = "Odd ""one", public""",
    )
    tables = await _look(database_url)

    assert tables == Tables('"public".sessions', '"Odd ""one".events')
    connection = await connect(database_url, application_name="test")
    assert await connection.fetchval(f"SELECT count(*) FROM {tables.events}") == 0
    connection.terminate()


@pytest.mark.parametrize("option", ["search_path=apps", "options=-csearch_path%3Dapps"])
async def test_they_are_found_by_the_urls_search_path(database_url: str, option: str) -> None:
    """It wins over the database's."""
    await _execute(database_url, MOVE.format("apps"))

    assert await _look(f"{database_url}?{option}") == Tables.within("apps", "apps")
    with pytest.raises(SchemaMissing, match=r"Table sessions was not found in schema public \(the search_path"):
        await _look(database_url)


@pytest.mark.parametrize("option", ["", "?search_path=public&timezone=Asia/Kathmandu", "?options=-cenable_sort%3Doff"])
async def test_every_setting_of_ours_holds(database_url: str, option: str) -> None:
    """On a connection that was opened, whatever its URL says."""
    connection = await connect(database_url + option, application_name="test")
    try:
        version = connection.get_server_version().major
        newer = {name: value for name, (since, value) in NEWER.items() if version >= since}
        wanted = {**FIXED, **OWN_PATH, **newer}
        found = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in wanted}
    finally:
        connection.terminate()

    assert found == wanted


async def test_a_pooler_is_given_what_it_keeps_track_of(database_url: str) -> None:
    """It refuses the rest; nothing of ours is set on a connection that others will use."""
    async with pgbouncer(database_url) as url:
        connection = await connect(url, application_name="test")
        try:
            tracked = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in TRACKED}
            assert await connection.fetchval("SHOW search_path") == '"$user", public'
        finally:
            connection.terminate()
        assert await _look(url) == Tables.within("public", "public")

    assert tracked == dict(TRACKED)


async def test_a_url_of_sqlalchemys_is_understood(database_url: str) -> None:
    """It names the driver too."""
    url = database_url.replace("postgresql://", "postgresql+asyncpg://")

    assert await _look(url) == Tables.within("public", "public")


@asynccontextmanager
async def _log(url: str) -> AsyncIterator[EventLog]:
    pool = await create_pool(url, application_name="test", size=1)
    try:
        yield EventLog(pool, url, TableFinder(url, application_name="test"))
    finally:
        pool.terminate()


@pytest.mark.parametrize("seconds", [table_reads.CHECKED_SECONDS, 0.0])
async def test_polls_follow_a_table_to_another_schema(
    database_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A poll that finds it gone looks for it, once: by its statement, or by the look at tables that is due first."""
    monkeypatch.setattr(table_reads, "CHECKED_SECONDS", seconds)
    await _execute(database_url, f"ALTER DATABASE {_database(database_url)} SET search_path = public, apps")
    poll = Poll("00000000-0000-0000-0000-000000000001")
    async with _log(database_url) as log:
        assert (await log.answer(poll, MAX_BYTES)).status is None
        await _execute(database_url, MOVE.format("apps"))
        assert (await log.answer(poll, MAX_BYTES)).status is None
        await _execute(database_url, "DROP TABLE events")
        with pytest.raises(SchemaMissing):
            await log.answer(poll, MAX_BYTES)


async def test_another_search_path_is_noticed_within_a_minute(database_url: str) -> None:
    """The tables of before may still be there; while nobody can be asked, they are the ones."""
    now = [0.0]
    finder = TableFinder(database_url, application_name="test", clock=lambda: now[0])
    assert await finder.tables() == Tables.within("public", "public")
    database = _database(database_url)
    await _execute(database_url, "CREATE SCHEMA apps; CREATE TABLE apps.events ()")
    await _execute(database_url, f"ALTER DATABASE {database} SET search_path = apps")
    now[0] = 59.0
    assert await finder.tables() == Tables.within("public", "public")
    now[0] = 61.0
    assert await finder.tables() == Tables.within("public", "public")
    await _execute(database_url, f"ALTER DATABASE {database} SET search_path = apps, public")
    now[0] = 122.0

    assert await finder.tables() == Tables.within("public", "apps")


async def test_what_is_in_pg_temp_is_not_looked_for(database_url: str) -> None:
    """On a pooled connection somebody else may have left it there."""
    connection = await connect(database_url, application_name="test", owners_path=True)
    try:
        await connection.execute("CREATE TEMP TABLE events (id int)")
        row = await connection.fetchrow(statement("tables"))
    finally:
        connection.terminate()

    assert row is not None
    assert row["events"] == "public"


async def test_the_service_follows_its_tables(database_url: str, redis_url: str) -> None:
    """Moved to another schema of the search_path, they are read there; nothing is lost on the way."""
    stage: Bench
    async with bench(database_url, redis_url) as stage:
        await stage.writer.connection.execute(
            f"ALTER DATABASE {_database(database_url)} SET search_path = public, apps; SET search_path = public, apps"
        )
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 3)
        async with stage.projector() as telemetry, api(api_config(database_url, redis_url)) as client:
            whole = Whole(stage, client)
            await stage.hot(session_id)
            await stage.writer.connection.execute(MOVE.format("apps"))
            await stage.writer.event(session_id)
            await whole.never_late(session_id, 4)
            await eventually(lambda: telemetry.connections > 1, "the projector connects anew")
            await stage.same(session_id)
            assert (await whole.poll(session_id, readside_max_staleness="0")).json()["total"] == 4
