"""Tables, servers and roles for which the triggers are refused, each in one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from projector.tail.triggers import inspect, install, uninstall
from readmodel.errors import RightsMissing, SchemaMissing, ServerInRecovery
from readmodel.postgres.client import Connection
from tests.support.letters import new_role
from tests.support.servers import connected, embedded_postgres, server_directory
from tests.support.traces import traces


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and no triggers."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def role(connection: Connection) -> AsyncIterator[str]:
    """A role with no rights but to connect."""
    async with new_role(connection, "installer") as role:
        yield role


MISFITS = {
    "DROP TABLE events": "Table events was not found in schema public",
    "DROP TABLE events, sessions": "Table sessions was not found",
    "SET search_path = ''": "Table sessions was not found in any schema",
    "ALTER TABLE events RENAME TO old; CREATE VIEW events AS SELECT * FROM old": "public.events is a view",
    "DROP TABLE events; CREATE TABLE events (id uuid) PARTITION BY HASH (id)": "column id must be NOT NULL",
    "CREATE TABLE archive () INHERITS (events)": "public.events is a partition, or part of an inheritance tree",
    "DROP TABLE events; CREATE TABLE p (id uuid) PARTITION BY HASH (id); "
    "CREATE TABLE events PARTITION OF p FOR VALUES WITH (modulus 1, remainder 0)": "public.events is a partition, or",
    "CREATE TEMPORARY TABLE events (id uuid)": "events is a temporary table",
    "ALTER TABLE events RENAME event_type TO type": "public.events is not as .*: column event_type is missing",
    "ALTER TABLE events ALTER message TYPE int USING 1": "column message is integer and must be character varying or",
    "ALTER TABLE events ALTER timestamp TYPE timestamp": "timestamp is timestamp without time zone and must be",
    "ALTER TABLE events ALTER session_id DROP NOT NULL": "column session_id must be NOT NULL",
}


@pytest.mark.parametrize(("change", "sentence"), MISFITS.items())
@pytest.mark.parametrize("when", ["before", "after"])
async def test_tables_that_do_not_fit_are_refused(
    connection: Connection, change: str, sentence: str, when: str
) -> None:
    """One sentence names what is wrong, at the installation and whenever somebody looks; nothing is installed."""
    if when == "after":
        await install(connection, warn=pytest.fail)
    await connection.execute(change)
    before = await traces(connection)
    with pytest.raises(SchemaMissing, match=sentence) as refusal:
        await install(connection, warn=pytest.fail)

    assert await inspect(connection) == str(refusal.value)
    assert await traces(connection) == before


@pytest.fixture
async def subscription(connection: Connection) -> AsyncIterator[None]:
    """A subscription that feeds `events`, as its catalog row says: nothing is replicated for it."""
    await connection.execute(
        "CREATE SUBSCRIPTION feed CONNECTION '' PUBLICATION p WITH (connect=false, slot_name=NONE)"
    )
    await connection.execute("""
        SET allow_system_table_mods = on;
        INSERT INTO pg_subscription_rel SELECT oid, 'events'::regclass, 'r', NULL FROM pg_subscription""")
    yield
    await connection.execute("DELETE FROM pg_subscription_rel; DROP SUBSCRIPTION feed")


async def test_a_table_fed_by_a_subscription_is_refused(connection: Connection, subscription: None) -> None:
    """Its apply worker fires no statement triggers."""
    with pytest.raises(SchemaMissing, match=r"public\.events is fed by the logical replication subscription feed"):
        await install(connection, warn=pytest.fail)


async def test_missing_rights_are_all_named(connection: Connection, role: str) -> None:
    """In one sentence, before anything is tried."""
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"GRANT SELECT ON sessions, events TO {role}; SET ROLE {role}")
    with pytest.raises(RightsMissing) as refusal:
        await install(connection, warn=pytest.fail)

    assert str(refusal.value) == (
        f"To install the triggers, role {role} must own table public.sessions (its owner is postgres) and own table "
        f"public.events (its owner is postgres) and hold CREATE on database {database}."
    )


async def test_a_schema_of_others_is_named(connection: Connection, role: str) -> None:
    """Somebody else made the schema: what they put there is not taken over."""
    await connection.execute(f"""
        CREATE SCHEMA readside; ALTER TABLE sessions OWNER TO {role}; ALTER TABLE events OWNER TO {role};
        SET ROLE {role}""")
    with pytest.raises(RightsMissing) as refusal:
        await install(connection, warn=pytest.fail)

    assert str(refusal.value) == (
        f"Schema readside belongs to postgres, who neither installs (that is {role}) nor owns events "
        f"(that is {role}): remove it first."
    )


@pytest.mark.parametrize(
    "right", ["GRANT CREATE ON DATABASE {database} TO {role}", "CREATE SCHEMA readside AUTHORIZATION {role}"]
)
async def test_the_tables_owner_needs_little_else(connection: Connection, role: str, right: str) -> None:
    """CREATE on the database, or a schema made beforehand, is enough to install and to remove."""
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER TABLE sessions OWNER TO {role}; ALTER TABLE events OWNER TO {role}")
    await connection.execute(right.format(database=database, role=role))
    await connection.execute(f"SET ROLE {role}")

    assert await install(connection, warn=pytest.fail)
    assert await uninstall(connection)
    assert await connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_a_role_without_rights_removes_nothing(connection: Connection, role: str) -> None:
    """Postgres' own words name the right."""
    await install(connection, warn=pytest.fail)
    await connection.execute(f"SET ROLE {role}")
    with pytest.raises(RightsMissing, match="Our role may not uninstall the triggers: must be owner of"):
        await uninstall(connection)

    assert await inspect(connection) is None


async def test_a_standby_is_refused() -> None:
    """By name, to install and to remove."""
    with server_directory() as directory:
        async with embedded_postgres(directory) as server:
            await server.stop()
            (directory / "cluster" / "standby.signal").touch()
            await server.start()
            async with connected(server.url()) as connection:
                with pytest.raises(ServerInRecovery, match=r"127\.0\.0\.1:\d+ is in recovery"):
                    await install(connection, warn=pytest.fail)
                with pytest.raises(ServerInRecovery):
                    await uninstall(connection)
