"""What rows read as: what changes the shape, and what must not."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from projector.sql import statement
from projector.tail.shape import shape_sql
from readmodel.postgres.columns import COLUMNS
from readmodel.postgres.sql import Tables
from tests.support.projecting import INSERT_SESSION, Writer
from tests.support.servers import TABLES, connected

SHAPE = f"SELECT {shape_sql(TABLES)}"
GENERATED = """
    CREATE FUNCTION made(jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN $1 ->> 'n';
    ALTER TABLE events DROP COLUMN message;
    ALTER TABLE events ADD COLUMN message text GENERATED ALWAYS AS (event_type::text || 'a') {kind}
"""
CHANGES = {
    "a column in another's place": """
        BEGIN; ALTER TABLE events RENAME COLUMN message TO legacy_message;
        ALTER TABLE events ADD COLUMN message text DEFAULT 'after'; COMMIT""",
    "another column in its place for a moment": """
        ALTER TABLE events RENAME COLUMN message TO legacy_message; ALTER TABLE events ADD COLUMN message text;
        ALTER TABLE events DROP COLUMN message; ALTER TABLE events RENAME COLUMN legacy_message TO message""",
    "a column dropped and made anew": """
        ALTER TABLE events DROP COLUMN message; ALTER TABLE events ADD COLUMN message text DEFAULT 'after'""",
    "another default of rows from before": """
        ALTER TABLE events DROP COLUMN message; ALTER TABLE events ADD COLUMN message text DEFAULT 'other'""",
    "two columns that change names": """
        ALTER TABLE events ADD COLUMN other text; ALTER TABLE events RENAME COLUMN message TO between;
        ALTER TABLE events RENAME COLUMN other TO message; ALTER TABLE events RENAME COLUMN between TO other""",
    "values computed anew": "ALTER TABLE events ALTER COLUMN event_data TYPE jsonb USING '{}'::jsonb",
    "another type": "ALTER TABLE events ALTER COLUMN event_type TYPE text",
    "another length": "ALTER TABLE sessions ALTER COLUMN status TYPE varchar(19)",
    "another collation": 'ALTER TABLE events ALTER COLUMN event_type TYPE varchar(100) COLLATE "C"',
    "a generated column": GENERATED.format(kind="STORED"),
    "a table emptied": "TRUNCATE events",
    "a table rewritten": "VACUUM FULL sessions",
    "a table in another order": "CLUSTER events USING ix_events_session_id",
    "a table that is unlogged": "ALTER TABLE events SET UNLOGGED",
    "a table that is another": """
        ALTER TABLE events RENAME TO was; CREATE TABLE events (LIKE was INCLUDING ALL)""",
    "a table moved elsewhere": "CREATE SCHEMA apps; ALTER TABLE events SET SCHEMA apps",
    "row-level security": "ALTER TABLE events ENABLE ROW LEVEL SECURITY",
}
NO_CHANGES = [
    "ANALYZE",
    "VACUUM (ANALYZE, FREEZE)",
    "CREATE INDEX ON events (message); REINDEX TABLE events; DROP INDEX events_message_idx",
    "ALTER TABLE events ADD COLUMN unrelated text DEFAULT 'x'; ALTER TABLE events DROP COLUMN unrelated",
    "ALTER TABLE sessions ADD COLUMN message text",
    "COMMENT ON COLUMN events.message IS 'what it says'; COMMENT ON TABLE events IS 'all that happened'",
    "GRANT SELECT ON events TO PUBLIC",
    "UPDATE events SET message = 'other'; DELETE FROM events; INSERT INTO events SELECT * FROM events",
    "SET datestyle = 'German, DMY'; SET quote_all_identifiers = on; SET timezone = 'Asia/Kathmandu'",
]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A database with a session and some events; a column of them has a default for rows from before it."""
    async with connected(database_url) as made:
        await made.execute(INSERT_SESSION, "00000000-0000-0000-0000-000000000001", "paused")
        await Writer(made).events("00000000-0000-0000-0000-000000000001", 100)
        await made.execute("ALTER TABLE events DROP COLUMN step_id; ALTER TABLE events ADD COLUMN step_id uuid")
        yield made


async def _execute(connection: "asyncpg.Connection[asyncpg.Record]", script: str) -> None:
    for part in (part.strip() for part in script.split(";")):
        if part:
            await connection.execute(part)


def test_it_is_of_every_column_that_is_read() -> None:
    """The very columns that the tables and our rights to them are checked for."""
    for text in (SHAPE, statement("rights", TABLES)):
        assert {column.name for columns in COLUMNS.values() for column in columns} <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_what_rows_read_as(connection: "asyncpg.Connection[asyncpg.Record]", change: str) -> None:
    """It gives another shape, of 32 hex digits."""
    before = await connection.fetchval(SHAPE)
    await _execute(connection, CHANGES[change])
    after = await connection.fetchval(SHAPE)

    assert after != before
    assert len(after) == len(before) == 32


@pytest.mark.parametrize("change", NO_CHANGES)
async def test_a_change_of_something_else(connection: "asyncpg.Connection[asyncpg.Record]", change: str) -> None:
    """It leaves the shape as it is."""
    before = await connection.fetchval(SHAPE)
    await _execute(connection, change)

    assert await connection.fetchval(SHAPE) == before


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
async def test_another_expression_of_a_generated_column(
    connection: "asyncpg.Connection[asyncpg.Record]", kind: str
) -> None:
    """Stored values are written anew; virtual ones, from PostgreSQL 18 on, only read as something else."""
    version = connection.get_server_version().major
    if kind == "VIRTUAL" and version < 18:
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await connection.execute(GENERATED.format(kind=kind))
        return
    await _execute(connection, GENERATED.format(kind=kind))
    before = await connection.fetchval(SHAPE)
    if version >= 17:
        await connection.execute("ALTER TABLE events ALTER COLUMN message SET EXPRESSION AS (event_type::text || 'b')")
    else:
        await connection.execute("ALTER TABLE events ALTER COLUMN message DROP EXPRESSION")

    assert await connection.fetchval(SHAPE) != before


async def test_it_is_of_the_snapshot_that_gives_the_rows(
    connection: "asyncpg.Connection[asyncpg.Record]", database_url: str
) -> None:
    """A change that commits after the snapshot was taken is not seen, as its rows are not."""
    before = await connection.fetchval(SHAPE)
    async with connected(database_url) as other, connection.transaction(isolation="repeatable_read"):
        await connection.execute("SELECT 1")
        await other.execute("ALTER TABLE events ALTER COLUMN event_type TYPE text")
        assert await connection.fetchval(SHAPE) == before
    assert await connection.fetchval(SHAPE) != before


async def test_it_is_of_tables_whatever_they_are_called(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Schemas with quotes in their names; a table that is not there is another shape, not an error."""
    await connection.execute("""CREATE SCHEMA "it's ""odd"; ALTER TABLE events SET SCHEMA "it's ""odd" """)
    named = Tables.within("public", "it's \"odd")

    assert await connection.fetchval(f"SELECT {shape_sql(named)}") != await connection.fetchval(SHAPE)


async def test_it_is_cheap(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """It is read with every beat: a few pages of the catalog, found by its indexes."""
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {SHAPE}"))
    (first, *_) = re.findall(r"Buffers: .*", plan)
    pages = sum(map(int, re.findall(r"=(\d+)", first)))

    assert 0 < pages < 100, plan
