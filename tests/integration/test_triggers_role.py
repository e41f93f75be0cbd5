"""Who may do what: the role of `install --role`, everybody else, and who owns what was installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from projector.tail.triggers import inspect, install, install_sql, uninstall
from readmodel.errors import ConfigurationError, RightsMissing
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letters import Letterbox, events, letter, new_role, only, sessions
from tests.support.servers import connected, fresh_database

NAMESPACES = "('readside'::regnamespace, 'public'::regnamespace)"
ACLS = f"""
SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END AS role, privilege_type, thing FROM (
  SELECT 'schema ' || nspname AS thing, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace WHERE nspname = 'readside'
  UNION ALL
  SELECT relname, relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM pg_class WHERE relnamespace IN {NAMESPACES} AND relkind IN ('r', 'S', 'v')
  UNION ALL
  SELECT proname, proowner, coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc WHERE pronamespace = 'readside'::regnamespace
) AS it, aclexplode(it.acl) WHERE grantee <> it.owner
"""
NEEDED = {
    ("USAGE", "schema readside"),
    ("SELECT", "sessions"), ("SELECT", "events"),
    ("SELECT", "letters_0"), ("SELECT", "letters_1"), ("SELECT", "letters_2"),
    ("SELECT", "presence"), ("SELECT", "skips"), ("SELECT", "reader"),
    ("SELECT", "incarnation"),
    ("UPDATE", "presence"), ("UPDATE", "reader"),
    ("EXECUTE", "empty_letters"), ("EXECUTE", "adopt_partition"), ("EXECUTE", "fire_always"),
    ("EXECUTE", "incarnation"),
}  # fmt: skip
OWNERS = """
SELECT DISTINCT pg_get_userbyid(owner) FROM (
  SELECT nspowner FROM pg_namespace WHERE nspname = 'readside'
  UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = 'readside'::regnamespace
  UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'readside'::regnamespace) AS it (owner)
"""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and no triggers."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def owner(connection: Connection) -> AsyncIterator[str]:
    """A role that owns the two tables, and may do no more."""
    async with new_role(connection, "owner") as role:
        await connection.execute(f"ALTER TABLE sessions OWNER TO {role}; ALTER TABLE events OWNER TO {role}")
        yield role


@pytest.fixture
async def role(connection: Connection) -> AsyncIterator[str]:
    """A role with no rights but to connect."""
    async with new_role(connection, "reader") as role:
        yield role


@dataclass(frozen=True)
class Roles:
    """A superuser's connection, the role that was granted what it needs, and one that was granted nothing."""

    connection: Connection
    reader: str
    other: str

    @asynccontextmanager
    async def acting(self, role: str) -> AsyncIterator[Connection]:
        """Act as this role, which may create tables of its own; all is rolled back but the values of sequences."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            await self.connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}; SET LOCAL ROLE {role}")
            yield self.connection
        finally:
            await transaction.rollback()


async def acls(connection: Connection) -> set[tuple[str, str, str]]:
    """What others than the owners may do."""
    return {(row[0], row[1], row[2]) for row in await connection.fetch(ACLS)}


async def test_a_role_gets_what_it_needs_and_no_more(connection: Connection, role: str) -> None:
    """To the letter; a repeat changes nothing, and nobody else may do anything."""
    assert await install(connection, warn=pytest.fail, role=role)

    assert await acls(connection) == {(role, *right) for right in NEEDED}
    assert await inspect(connection) is None
    assert not await install(connection, warn=pytest.fail, role=role)


async def test_a_role_may_come_later(connection: Connection, database_url: str, role: str) -> None:
    """Grants alone, whoever writes meanwhile; an installation without a role takes none away."""
    await install(connection, warn=pytest.fail)
    async with connected(database_url) as writer, writer.transaction():
        await writer.execute("LOCK TABLE sessions, events IN ROW EXCLUSIVE MODE")
        assert await install(connection, warn=pytest.fail, role=role)
    await connection.execute("DROP FUNCTION readside.truncated() CASCADE")

    assert await install(connection, warn=pytest.fail)
    assert await acls(connection) == {(role, *right) for right in NEEDED}


async def test_what_is_made_anew_is_granted_anew(connection: Connection, role: str) -> None:
    """A table and a sequence that somebody altered: the role may what it might before."""
    await install(connection, warn=pytest.fail, role=role)
    await connection.execute("ALTER TABLE readside.letters_1 SET LOGGED; ALTER SEQUENCE readside.presence CACHE 10")
    await install(connection, warn=pytest.fail)

    assert await acls(connection) == {(role, *right) for right in NEEDED}


async def test_a_schema_of_the_tables_is_opened_to_the_role(connection: Connection, role: str) -> None:
    """Where not everybody may use it."""
    await connection.execute("""
        CREATE SCHEMA app; ALTER TABLE sessions SET SCHEMA app; ALTER TABLE events SET SCHEMA app;
        SET search_path = app""")
    await install(connection, warn=pytest.fail, role=role)
    await connection.execute(f"SET ROLE {role}; SELECT FROM app.events")

    assert not await connection.fetchval("SELECT has_schema_privilege('app', 'CREATE')")


NEEDS = [
    "SELECT * FROM sessions, events",
    "SELECT setval('readside.presence', 1), setval('readside.reader', 9223372036854775807)",
    "SELECT last_value FROM readside.skips",
    "SELECT pg_sequence_last_value('readside.presence'::regclass)",
    "TABLE readside.letters_0 UNION ALL TABLE readside.letters_1 UNION ALL TABLE readside.letters_2",
    "SELECT readside.empty_letters(0, 1, pg_current_snapshot())",
    "SELECT readside.adopt_partition('events'::regclass), readside.fire_always()",
    "SELECT readside.incarnation()",
    "LISTEN readside",
]
REFUSED = [
    "INSERT INTO readside.letters_0 (txid, kind) VALUES (pg_current_xact_id(), 'x')",
    "DELETE FROM readside.letters_1",
    "UPDATE readside.letters_2 SET kind = 'x'",
    "TRUNCATE readside.letters_0",
    "SELECT; LOCK TABLE readside.letters_0 IN ACCESS EXCLUSIVE MODE",
    "SELECT nextval('readside.skips')",
    "SELECT setval('readside.skips', 1)",
    "SELECT setval('readside.incarnation', 1)",
    "DELETE FROM events",
    "UPDATE sessions SET status = 'failed'",
    "TRUNCATE sessions CASCADE",
    "CREATE TABLE readside.mine ()",
    "CREATE TABLE mine (); CREATE TRIGGER mine AFTER INSERT ON mine EXECUTE FUNCTION readside.truncated()",
]


@asynccontextmanager
async def roles(url: str) -> AsyncIterator[Roles]:
    """Everything of ours installed for one role, though the owner's default privileges give everybody everything."""
    async with (
        connected(url) as connection,
        new_role(connection, "reader") as reader,
        new_role(connection, "other") as other,
    ):
        await connection.execute("""
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC""")
        await install(connection, warn=pytest.fail, role=reader)
        yield Roles(connection, reader, other)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def granted(postgres_server: EmbeddedPostgres) -> AsyncIterator[Roles]:
    """One database for all statements that roles try: each is rolled back."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server) as url, roles(url) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("statement", NEEDS)
async def test_the_role_may(granted: Roles, statement: str) -> None:
    """What projector, API and `verify` do."""
    async with granted.acting(granted.reader) as connection:
        await connection.execute(statement)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("statement", REFUSED)
async def test_the_role_may_not(granted: Roles, statement: str) -> None:
    """Write letters, count skips, write the tables, hold a lock that writers wait for."""
    async with granted.acting(granted.reader) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("statement", [*NEEDS[1:-1], *REFUSED])
async def test_others_may_nothing(granted: Roles, statement: str) -> None:
    """Nothing of ours is readable, writable or callable by everybody, whatever the owner's default privileges."""
    async with granted.acting(granted.other) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_default_privileges_of_roles_are_taken_back(connection: Connection, role: str) -> None:
    """The owner gives a role everything that is made: of ours it keeps what does no harm."""
    await connection.execute(f"""
        ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {role};
        ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO {role};
        ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {role}""")
    await install(connection, warn=pytest.fail)

    assert {right[1:] for right in await acls(connection)} <= NEEDED


async def test_an_unknown_role_is_one_sentence(connection: Connection) -> None:
    """Nothing is installed."""
    with pytest.raises(ConfigurationError, match=r"^Role no 'body does not exist on this server: create it, or name"):
        await install(connection, warn=pytest.fail, role="no 'body")

    assert await connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_a_right_that_cannot_be_granted_is_one_sentence(connection: Connection, owner: str, role: str) -> None:
    """The tables' schema belongs to somebody else; nothing is half done."""
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"""
        CREATE SCHEMA app; ALTER TABLE sessions SET SCHEMA app; ALTER TABLE events SET SCHEMA app;
        GRANT USAGE ON SCHEMA app TO {owner}; GRANT CREATE ON DATABASE {database} TO {owner};
        SET search_path = app; SET ROLE {owner}""")
    with pytest.raises(RightsMissing, match=rf"GRANT USAGE ON SCHEMA app TO {role}\.$"):
        await install(connection, warn=pytest.fail, role=role)

    assert await connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_the_dry_run_grants_too(connection: Connection, role: str) -> None:
    """The printed script leaves nothing for `install --role` to do, whatever the role is called."""
    odd = f"{role} $$ 'o' \"x\""
    quoted = odd.replace('"', '""')
    await connection.execute(f'CREATE ROLE "{quoted}"')
    try:
        await connection.execute(install_sql("readside", odd))

        assert not await install(connection, warn=pytest.fail, role=odd)
        assert await acls(connection) == {(odd, *right) for right in NEEDED}
    finally:
        await connection.execute(f'DROP OWNED BY "{quoted}"; DROP ROLE "{quoted}"')


async def test_the_dry_run_refuses_an_unknown_role(connection: Connection) -> None:
    """And installs nothing."""
    with pytest.raises(asyncpg.UndefinedObjectError, match="role nobody does not exist"):
        await connection.execute(install_sql("readside", "nobody"))
    await connection.execute("ROLLBACK")

    assert await connection.fetchval("SELECT to_regnamespace('readside')") is None


async def test_what_a_superuser_installs_belongs_to_the_owner(connection: Connection, owner: str, role: str) -> None:
    """Schema, tables, sequences, functions; writers' letters are written with that role's rights."""
    assert await install(connection, warn=pytest.fail, role=role)
    box = Letterbox(connection, connection)
    await box.open()

    assert [row[0] for row in await connection.fetch(OWNERS)] == [owner]
    assert await box.of(sessions(1, 1), events(1, 1)) == only(letter("n", 1), letter("a", 1, 1))
    assert not await install(connection, warn=pytest.fail, role=role)
    assert await uninstall(connection)


async def test_what_a_member_of_the_owner_installs_belongs_to_the_owner(
    connection: Connection, owner: str, role: str
) -> None:
    """Who has the role's rights may install in its name, and remove."""
    database = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"GRANT {owner} TO {role}; GRANT CREATE ON DATABASE {database} TO {role}")
    await connection.execute(f"GRANT CREATE ON DATABASE {database} TO {owner}; SET ROLE {role}")

    assert await install(connection, warn=pytest.fail)
    assert [row[0] for row in await connection.fetch(OWNERS)] == [owner]
    assert await uninstall(connection)


async def test_tables_of_two_owners(connection: Connection, owner: str, role: str) -> None:
    """All of ours belongs to the owner of `events`; writers of sessions leave letters as well."""
    await connection.execute(f"ALTER TABLE sessions OWNER TO {role}")
    await install(connection, warn=pytest.fail)
    box = Letterbox(connection, connection)
    await box.open()
    await connection.execute(f"SET ROLE {role}")
    await connection.execute(sessions(1, 1))
    await connection.execute("RESET ROLE")

    assert await box.take() == only(letter("n", 1))
