"""Whoever installs runs nothing of anybody's: what others made beforehand is refused by name, or does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from projector.tail.triggers import inspect, install, install_sql, uninstall
from readmodel.errors import RightsMissing
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letters import Letterbox, events, letter, new_role, only, sessions
from tests.support.servers import connected, fresh_database
from tests.support.traces import traces


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and no triggers."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def mallory(connection: Connection) -> AsyncIterator[str]:
    """A role that may create in the database and in public, which nobody should give."""
    async with new_role(connection, "mallory") as role:
        database = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"""
            GRANT CREATE ON DATABASE {database} TO {role}; GRANT CREATE ON SCHEMA public TO {role};
            GRANT SELECT, INSERT ON sessions, events TO {role}""")
        yield role


async def attack(connection: Connection, role: str, *statements: str) -> None:
    """Run statements as that role, on a connection of the superuser's."""
    await connection.execute(f"SET ROLE {role}")
    for statement in statements:
        await connection.execute(statement)
    await connection.execute("RESET ROLE")


PROMOTION = "ALTER ROLE {role} SUPERUSER"
TRAP = """
CREATE FUNCTION readside.{name} RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS
  $$ BEGIN ALTER ROLE {{role}} SUPERUSER; RETURN NULL; END $$
"""
PREMADE = {
    "CREATE SCHEMA readside": "Schema readside",
    f"CREATE SCHEMA readside; {TRAP.format(name='events_inserted()')}": "Schema readside",
    f"CREATE SCHEMA readside; {TRAP.format(name='sessions_inserted()')}": "Schema readside",
}
WITHIN = {
    TRAP.format(name="events_inserted()"): r"Function readside\.events_inserted\(\)",
    "CREATE FUNCTION readside.empty_letters(integer, bigint, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'":
        r"Function readside\.empty_letters\(integer,bigint,text\)",
    'CREATE TABLE readside.letters_0 (txid xid8, kind "char", session_id uuid, event_id uuid)':
        r"Table readside\.letters_0",
    "CREATE VIEW readside.letters_1 AS SELECT 1": r"View readside\.letters_1",
    "CREATE SEQUENCE readside.presence": r"Sequence readside\.presence",
    "CREATE TABLE readside.skips ()": r"Table readside\.skips",
}  # fmt: skip


@pytest.mark.parametrize(("premade", "thing"), PREMADE.items())
async def test_a_schema_that_others_made_is_refused(
    connection: Connection, mallory: str, premade: str, thing: str
) -> None:
    """By name, with whose it is; the functions in it never run, and nothing is changed."""
    await attack(connection, mallory, premade.replace("{role}", mallory))
    before = await traces(connection)
    with pytest.raises(RightsMissing, match=rf"^{thing} belongs to {mallory}, who neither installs \(that is postgres"):
        await install(connection, warn=pytest.fail)
    await connection.execute(sessions(1, 1) + ";" + events(1, 1))

    assert await traces(connection) == before
    assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = $1", mallory)


@pytest.mark.parametrize(("premade", "thing"), WITHIN.items())
@pytest.mark.parametrize("command", [install, uninstall])
async def test_a_thing_that_others_made_in_our_schema_is_refused(
    connection: Connection, mallory: str, premade: str, thing: str, command: object
) -> None:
    """The schema is ours, and somebody was let into it."""
    await connection.execute(f"CREATE SCHEMA readside; GRANT ALL ON SCHEMA readside TO {mallory}")
    await attack(connection, mallory, premade.replace("{role}", mallory))
    if command is uninstall:
        await connection.execute("CREATE FUNCTION readside.truncated() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'")
    before = await traces(connection)
    with pytest.raises(RightsMissing, match=rf"^{thing} belongs to {mallory}, who neither"):
        await command(connection, warn=pytest.fail)  # type: ignore[operator]  # both take it

    assert await traces(connection) == before


@pytest.mark.parametrize(("premade", "thing"), [*PREMADE.items(), *WITHIN.items()])
async def test_the_printed_script_refuses_as_well(
    connection: Connection, mallory: str, premade: str, thing: str
) -> None:
    """Whoever runs it by hand is as safe."""
    if "CREATE SCHEMA" not in premade:
        await connection.execute(f"CREATE SCHEMA readside; GRANT ALL ON SCHEMA readside TO {mallory}")
    await attack(connection, mallory, premade.replace("{role}", mallory))
    before = await traces(connection)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=rf"(?i)^{thing} belongs to {mallory}"):
        await connection.execute(install_sql())
    await connection.execute("ROLLBACK")

    assert await traces(connection) == before


SHADOWS = """
SET search_path = pg_catalog;
DO $$
DECLARE
  it record;
BEGIN
  -- A look-alike of every function of pg_catalog that takes a name, a text or nothing, in public, with nearer types.
  FOR it IN
    SELECT * FROM (VALUES
      ('quote_ident(name)', 'text'), ('quote_ident(varchar)', 'text'), ('quote_literal(name)', 'text'),
      ('format(text, text, name, name, name)', 'text'), ('format(text, name, name, name)', 'text'),
      ('format(text, name)', 'text'), ('format(text, name, name)', 'text'), ('format(text, regclass)', 'text'),
      ('format(text, regclass, name)', 'text'), ('format(text, text, name)', 'text'),
      ('format(text, text)', 'text'), ('format(text, regprocedure)', 'text'), ('format(text, integer)', 'text'),
      ('replace(name, text, text)', 'text'), ('to_regclass(name)', 'regclass'), ('to_regclass(varchar)', 'regclass'),
      ('to_regclass(text)', 'regclass'), ('to_regnamespace(text)', 'regnamespace'),
      ('pg_get_userbyid(oid)', 'name'), ('pg_has_role(oid, text)', 'boolean'), ('current_schemas(boolean)', 'name[]'),
      ('set_config(text, text, boolean)', 'text'), ('current_setting(text)', 'text'),
      ('has_database_privilege(name, text)', 'boolean'), ('pg_is_in_recovery()', 'boolean'),
      ('md5(text)', 'text'), ('concat_ws(text, oid, xid, "char", oid, xid)', 'text'),
      ('hashtextextended(text, bigint)', 'bigint'), ('pg_advisory_xact_lock(bigint)', 'void'),
      ('format_type(oid, integer)', 'text'), ('jsonb_build_object(text, text, text, boolean, text, smallint)', 'jsonb')
    ) AS wanted (signature, result)
  LOOP
    EXECUTE format('CREATE FUNCTION public.%s RETURNS %s LANGUAGE plpgsql AS '
                   '$f$ BEGIN RAISE EXCEPTION ''hijacked''; END $f$', it.signature, it.result);
  END LOOP;
  FOR it IN
    SELECT * FROM (VALUES ('oid', 'oid'), ('oid', 'regclass'), ('regclass', 'oid'), ('oid', 'regnamespace'),
                          ('name', 'text'), ('name', 'name'), ('text', 'text'), ('"char"', 'text'),
                          ('"char"', '"char"'), ('name', 'name[]'), ('integer', 'integer')) AS wanted (lefts, rights)
  LOOP
    EXECUTE format('CREATE FUNCTION public.same(%s, %s) RETURNS boolean LANGUAGE plpgsql AS '
                   '$f$ BEGIN RAISE EXCEPTION ''hijacked''; END $f$', it.lefts, it.rights);
    EXECUTE format('CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = %s, RIGHTARG = %s)',
                   it.lefts, it.rights);
    EXECUTE format('CREATE OPERATOR public.<> (FUNCTION = public.same, LEFTARG = %s, RIGHTARG = %s)',
                   it.lefts, it.rights);
  END LOOP;
END
$$;
CREATE TABLE public.pg_class AS SELECT 1 AS oid;
CREATE TABLE public.pg_proc AS SELECT 1 AS oid;
CREATE TABLE public.pg_trigger AS SELECT 1 AS oid;
CREATE DOMAIN public.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN public.oid AS pg_catalog.oid CHECK (false);
CREATE DOMAIN public.uuid AS pg_catalog.uuid CHECK (false);
CREATE DOMAIN public.xid8 AS pg_catalog.xid8 CHECK (false);
"""


@pytest.mark.parametrize("search_path", ["public", "public, pg_catalog"])
async def test_nothing_in_the_search_path_is_run(connection: Connection, mallory: str, search_path: str) -> None:
    """Functions, operators, tables and types that come first, or fit better, for all that the commands do."""
    await attack(connection, mallory, SHADOWS)
    await connection.execute(f"SET search_path = {search_path}")

    assert await install(connection, warn=pytest.fail, role=mallory)
    assert await inspect(connection) is None
    assert not await install(connection, warn=pytest.fail, role=mallory)
    await connection.execute("DROP TABLE readside.letters_2; DROP FUNCTION readside.truncated() CASCADE")
    assert await install(connection, warn=pytest.fail)
    assert await uninstall(connection)
    await connection.execute(install_sql("readside", mallory))
    assert not await install(connection, warn=pytest.fail)


SETTINGS = {
    "quote_all_identifiers": "on",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "check_function_bodies": "off",
    "standard_conforming_strings": "off",
    "client_min_messages": "debug5",
    "default_table_access_method": "nowhere",
    "default_tablespace": "nowhere",
    "row_security": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "plpgsql.extra_errors": "all",
    "plpgsql.variable_conflict": "use_column",
    "xmloption": "document",
    "lc_messages": "C",
    "session_replication_role": "replica",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database with the tables and no triggers, as each setting finds and leaves it."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def superuser(lasting_url: str) -> AsyncIterator[Connection]:
    """A connection to it that began under no settings."""
    async with connected(lasting_url) as connection:
        yield connection


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "value"), SETTINGS.items())
@pytest.mark.parametrize("where", ["DATABASE {database}", "ROLE postgres IN DATABASE {database}"])
async def test_settings_of_the_owners_change_nothing(
    superuser: Connection, lasting_url: str, name: str, value: str, where: str
) -> None:
    """What is installed is the same, inspects as whole, and goes; writers' letters are the same, too."""
    where = where.format(database=await superuser.fetchval("SELECT current_database()"))
    await superuser.execute(f"ALTER {where} SET {name} = '{value}'")
    try:
        async with connected(lasting_url) as other, connected(lasting_url) as writer:
            assert await install(other, warn=pytest.fail)
            assert await inspect(other) is None
            assert not await install(other, warn=pytest.fail)
            await writer.execute("SET default_transaction_read_only = off")
            box = Letterbox(writer, superuser)
            await box.open()
            assert await box.of(sessions(1, 1), events(1, 1)) == only(letter("n", 1), letter("a", 1, 1))
            assert await uninstall(other)
            assert await superuser.fetchval("SELECT to_regnamespace('readside')") is None
    finally:
        await superuser.execute(f"ALTER {where} RESET {name}; DELETE FROM sessions")
