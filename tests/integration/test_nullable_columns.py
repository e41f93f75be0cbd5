"""Columns that the contract declares NOT NULL: where one may hold NULL it is refused by name, and no page is wrong."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from projector.tail.triggers import inspect, install
from readmodel.errors import SchemaMissing
from readmodel.postgres.client import Connection
from readmodel.postgres.columns import COLUMNS
from tests.support.builders import api, api_config
from tests.support.projecting import bench
from tests.support.servers import connected
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

STRICT = [
    (table, column.name)
    for table, columns in COLUMNS.items()
    for column in columns
    if not column.nullable and column.name != "id"
]
DROP = "ALTER TABLE {0} ALTER COLUMN {1} DROP NOT NULL"
NULLED = "UPDATE {0} SET {1} = NULL WHERE ctid = (SELECT min(ctid) FROM {0})"
SET = "ALTER TABLE public.{0} ALTER COLUMN {1} SET NOT NULL"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database with the tables and no triggers."""
    async with connected(database_url) as made:
        yield made


def _sentence(table: str, column: str) -> str:
    return (
        f"Table public.{table} is not as readside needs it: column {column} must be NOT NULL (once no row holds NULL "
        f"there: `{SET.format(table, column)}`)."
    )


@pytest.mark.parametrize(("table", "column"), STRICT)
async def test_install_refuses_a_nullable_column(connection: Connection, table: str, column: str) -> None:
    """By name, and says what to do; done, it installs."""
    await connection.execute(DROP.format(table, column))
    with pytest.raises(SchemaMissing) as refusal:
        await install(connection, warn=pytest.fail)

    assert str(refusal.value) == _sentence(table, column)
    await connection.execute(SET.format(table, column))
    assert await install(connection, warn=pytest.fail)


async def test_several_are_named_with_one_statement(connection: Connection) -> None:
    """The one that mends them all."""
    for column in ("event_type", "event_data", "timestamp"):
        await connection.execute(DROP.format("events", column))
    with pytest.raises(SchemaMissing, match="columns event_type, event_data and timestamp must be NOT NULL") as refusal:
        await install(connection, warn=pytest.fail)

    await connection.execute(str(refusal.value).split("`")[1])
    assert await install(connection, warn=pytest.fail)


async def test_a_check_is_no_not_null(connection: Connection) -> None:
    """The catalog does not say what it means; with it SET NOT NULL needs no look at the rows."""
    await connection.execute(DROP.format("events", "event_data"))
    await connection.execute("ALTER TABLE events ADD CHECK (event_data IS NOT NULL)")
    with pytest.raises(SchemaMissing, match="column event_data must be NOT NULL"):
        await install(connection, warn=pytest.fail)


async def test_a_not_null_that_is_not_valid(connection: Connection) -> None:
    """From PostgreSQL 18 on the catalog calls a column NOT NULL whose old rows may hold NULL; older ones know none."""
    await connection.execute(DROP.format("events", "event_data"))
    not_valid = 'ALTER TABLE events ADD CONSTRAINT "All of it" NOT NULL event_data NOT VALID'
    if connection.get_server_version().major >= 18:
        await connection.execute(not_valid)
    with pytest.raises(SchemaMissing) as refusal:
        await install(connection, warn=pytest.fail)
    mend = str(refusal.value).split("`")[1]
    if connection.get_server_version().major >= 18:
        assert mend == 'ALTER TABLE public.events VALIDATE CONSTRAINT "All of it"'
    await connection.execute(mend)

    assert await install(connection, warn=pytest.fail)
    assert await inspect(connection) is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Whole]:
    """Everything, live; the tables are whole before and after each test."""
    async with whole_service(lasting_database_url, lasting_redis_url) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("table", "column"), STRICT)
async def test_a_column_that_becomes_nullable_ends_all_answers_of_it(lasting: Whole, table: str, column: str) -> None:
    """Thirty good events and one NULL: projector and API name the column, no page is wrong, and all come back."""
    whole, execute = lasting, lasting.bench.writer.connection.execute
    await whole.bench.alone()
    session_id = await whole.bench.writer.session()
    await whole.bench.writer.events(session_id, 31)
    await whole.bench.hot(session_id)
    await execute(DROP.format(table, column))
    try:
        await execute(NULLED.format(table, column))
        sentence = _sentence(table, column)
        await eventually(lambda: whole.bench.telemetry.reason == sentence, "the projector names the column")
        for query in ("", "?limit=30", "?limit=1", "?limit=1&page=31"):
            await _refused(whole, session_id, query, sentence)
    finally:  # the next test finds the tables whole, whatever became of this one
        await execute(f"DELETE FROM {table} WHERE {column} IS NULL" if table == "events" else _filled(column))
        await execute(SET.format(table, column))
    await whole.bench.caught_up()
    await whole.served(session_id, "redis", "?limit=1000")

    assert (await whole.bench.same(session_id)).total == (30 if table == "events" else 31)


async def _refused(whole: Whole, session_id: str, query: str, sentence: str) -> None:
    """Polls are refused with this sentence within seconds, and no answer until then blames the page's length."""

    async def told() -> bool:
        answer = await whole.poll(session_id, query, readside_max_staleness="0")
        assert answer.status_code in {200, 500, 503}, answer.text
        if answer.status_code == 500:
            assert (
                "cannot be read: it holds NULL where readside needs a value. Pages without" in answer.json()["detail"]
            )
        return answer.status_code == 503 and answer.json()["detail"] == sentence

    await eventually(told, "the poll is refused by name")


def _filled(column: str) -> str:
    return f"UPDATE sessions SET {column} = {'now()' if column == 'created_at' else repr('paused')}"


async def test_old_nulls_under_a_not_null_that_is_not_valid(database_url: str, redis_url: str) -> None:
    """The API reads cold sessions by itself, and so looks by itself; PostgreSQL before 18 knows a nullable column."""
    async with bench(database_url, redis_url) as stage, api(api_config(database_url, redis_url)) as client:
        whole, execute = Whole(stage, client), stage.writer.connection.execute
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 31)
        assert (await whole.poll(session_id)).json()["total"] == 31
        await execute(DROP.format("events", "event_data"))
        await execute(NULLED.format("events", "event_data"))
        if stage.writer.connection.get_server_version().major >= 18:
            await execute("ALTER TABLE events ADD CONSTRAINT filled NOT NULL event_data NOT VALID")
        major = stage.writer.connection.get_server_version().major
        wrong = (
            "column event_data must be NOT NULL in older rows too (once no row holds NULL there: `ALTER TABLE "
            "public.events VALIDATE CONSTRAINT filled`)."
            if major >= 18
            else _sentence("events", "event_data").partition("it: ")[2]
        )
        await _refused(whole, session_id, "", f"Table public.events is not as readside needs it: {wrong}")
