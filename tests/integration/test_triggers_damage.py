"""Triggers that somebody disabled, dropped or altered: seen by the fingerprint, named by `inspect`, mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from projector.tail.triggers import fingerprint_sql, inspect, install
from readmodel.postgres.client import Connection
from tests.support.letters import new_role
from tests.support.servers import connected

pytestmark = pytest.mark.installed

FINGERPRINT = fingerprint_sql("readside")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and everything of ours."""
    async with connected(database_url) as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_connection(lasting_database_url: str) -> AsyncIterator[Connection]:
    """The same of one database for all damages that are mended."""
    async with connected(lasting_database_url) as connection:
        yield connection


@pytest_asyncio.fixture(loop_scope="module")
async def whole(lasting_connection: Connection) -> Connection:
    """Everything is there, and is as it was made, whatever became of the last damage."""
    if await inspect(lasting_connection) is not None:
        await install(lasting_connection, warn=pytest.fail)
    assert await inspect(lasting_connection) is None
    return lasting_connection


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    """A second connection to the same database."""
    async with connected(database_url) as other:
        yield other


@pytest.fixture
async def role(connection: Connection) -> AsyncIterator[str]:
    """A role with no rights but to connect."""
    async with new_role(connection, "installer") as role:
        yield role


DAMAGES = {
    "ALTER TABLE events DISABLE TRIGGER readside_insert":
        "Trigger readside_insert on public.events is disabled; run `readside install`.",
    "ALTER TABLE events ENABLE TRIGGER readside_delete":
        "Trigger readside_delete on public.events is not ENABLE ALWAYS, so that what is written under "
        "session_replication_role = replica is missed; run `readside install`.",
    "ALTER TABLE events ENABLE REPLICA TRIGGER readside_delete":
        "Trigger readside_delete on public.events is not ENABLE ALWAYS, so that what is written under "
        "session_replication_role = replica is missed; run `readside install`.",
    "DROP TRIGGER readside_truncate ON sessions":
        "Trigger readside_truncate on public.sessions is missing; run `readside install`.",
    "ALTER TRIGGER readside_update ON events RENAME TO readside_other":
        "Trigger readside_update on public.events is missing; run `readside install`.",
    "CREATE OR REPLACE TRIGGER readside_update AFTER UPDATE ON sessions FOR EACH ROW "
    "WHEN (OLD.status IS DISTINCT FROM NEW.status) "
    "EXECUTE FUNCTION readside.sessions_updated(); "
    "ALTER TABLE sessions ENABLE ALWAYS TRIGGER readside_update":
        "Trigger readside_update on public.sessions was altered; run `readside install`.",
    "CREATE OR REPLACE TRIGGER readside_update AFTER UPDATE OF message ON events FOR EACH STATEMENT "
    "EXECUTE FUNCTION readside.truncated(); ALTER TABLE events ENABLE ALWAYS TRIGGER readside_update":
        "Trigger readside_update on public.events was altered; run `readside install`.",
    "ALTER FUNCTION readside.truncated() SET search_path = public":
        "Function readside.truncated() was altered; run `readside install`.",
    "ALTER FUNCTION readside.truncated() SECURITY INVOKER":
        "Function readside.truncated() was altered; run `readside install`.",
    "ALTER FUNCTION readside.empty_letters(integer, bigint, pg_snapshot) SET enable_seqscan = on":
        "Function readside.empty_letters(integer, bigint, pg_snapshot) was altered; run `readside install`.",
    "DROP TABLE readside.letters_1":
        "Table readside.letters_1 is missing; run `readside install`.",
    "DROP TABLE readside.letters_1; CREATE VIEW readside.letters_1 AS SELECT 1; DROP VIEW readside.letters_1; "
    "CREATE UNLOGGED TABLE readside.letters_1 (LIKE readside.letters_0)":
        "Table readside.letters_1 was altered; run `readside install`.",
    "ALTER TABLE readside.letters_0 ENABLE ROW LEVEL SECURITY":
        "Table readside.letters_0 was altered; run `readside install`.",
    "ALTER TABLE readside.letters_1 FORCE ROW LEVEL SECURITY":
        "Table readside.letters_1 was altered; run `readside install`.",
    "CREATE RULE quiet AS ON INSERT TO readside.letters_2 DO INSTEAD NOTHING":
        "Table readside.letters_2 was altered; run `readside install`.",
    "CREATE TRIGGER quiet BEFORE INSERT ON readside.letters_0 FOR EACH ROW "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()":
        "Table readside.letters_0 was altered; run `readside install`.",
    "ALTER TABLE readside.letters_0 ADD CHECK (kind <> 'a')":
        "Table readside.letters_0 was altered; run `readside install`.",
    "ALTER TABLE readside.letters_0 SET LOGGED":
        "Table readside.letters_0 was altered; run `readside install`.",
    "ALTER SEQUENCE readside.skips CACHE 100":
        "Sequence readside.skips was altered; run `readside install`.",
    "ALTER SEQUENCE readside.presence SET LOGGED":
        "Sequence readside.presence was altered; run `readside install`.",
    "DROP SEQUENCE readside.skips":
        "Sequence readside.skips is missing; run `readside install`.",
    "DROP SEQUENCE readside.reader; CREATE UNLOGGED SEQUENCE readside.reader":
        "Sequence readside.reader was altered; run `readside install`.",
    "CREATE OR REPLACE FUNCTION readside.truncated() RETURNS trigger LANGUAGE plpgsql "
    "SECURITY DEFINER AS $$ BEGIN RETURN NULL; END $$":
        "Function readside.truncated() was altered; run `readside install`.",
    "ALTER TABLE events DISABLE TRIGGER USER":
        "Trigger readside_insert on public.events is disabled, trigger readside_update on public.events is disabled, "
        "trigger readside_delete on public.events is disabled and 1 more; run `readside install`.",
    "DROP FUNCTION readside.truncated() CASCADE":
        "Trigger readside_truncate on public.sessions is missing, trigger readside_truncate on public.events is "
        "missing, function readside.truncated() is missing; run `readside install`.",
    "DROP SCHEMA readside CASCADE":
        "The triggers are not installed on public.sessions and public.events; run `readside install`.",
    "CREATE TABLE copied (LIKE events INCLUDING ALL); DROP TABLE events; ALTER TABLE copied RENAME TO events":
        "Trigger readside_insert on public.events is missing, trigger readside_update on public.events is missing, "
        "trigger readside_delete on public.events is missing and 1 more; run `readside install`.",
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.items())
async def test_a_damage_is_named_and_mended(whole: Connection, damage: str, sentence: str) -> None:
    """It changes the fingerprint, `inspect` says what it is, and another install mends it."""
    before = await whole.fetchval(f"SELECT {FINGERPRINT}")
    await whole.execute(damage)

    assert await whole.fetchval(f"SELECT {FINGERPRINT}") != before
    assert await inspect(whole) == sentence
    assert await install(whole, warn=pytest.fail)
    assert await inspect(whole) is None


LESSER = {
    "ALTER TABLE readside.letters_0 SET (autovacuum_enabled = on)": "Table readside.letters_0 was altered",
    "ALTER TABLE readside.letters_0 SET LOGGED": "Table readside.letters_0 was altered",
    "ALTER TABLE readside.letters_0 ADD COLUMN more int": "Table readside.letters_0 was altered",
    "ALTER TABLE readside.letters_0 ALTER kind SET DEFAULT 'x'": "Table readside.letters_0 was altered",
    "ALTER TABLE readside.letters_0 ADD CHECK (kind <> 'x')": "Table readside.letters_0 was altered",
    "ALTER TABLE readside.letters_0 ENABLE ROW LEVEL SECURITY": "Table readside.letters_0 was altered",
    "CREATE RULE nothing AS ON INSERT TO readside.letters_0 DO INSTEAD NOTHING": "Table readside.letters_0 was altered",
    "CREATE INDEX ON readside.letters_0 (session_id)": "Table readside.letters_0 was altered",
    "DROP INDEX readside.letters_2_txid": "Table readside.letters_2 was altered",
    "ALTER SEQUENCE readside.skips CACHE 10": "Sequence readside.skips was altered",
    "ALTER SEQUENCE readside.presence CYCLE": "Sequence readside.presence was altered",
    "GRANT INSERT ON readside.letters_0 TO PUBLIC": "Everybody has INSERT on TABLE readside.letters_0",
    "GRANT USAGE ON SEQUENCE readside.skips TO pg_monitor": "Role pg_monitor has USAGE on SEQUENCE readside.skips",
    "GRANT SELECT ON readside.reader TO pg_monitor WITH GRANT OPTION":
        "Role pg_monitor has SELECT on SEQUENCE readside.reader",
    "GRANT EXECUTE ON FUNCTION readside.truncated() TO PUBLIC":
        "Everybody has EXECUTE on FUNCTION readside.truncated()",
    "GRANT CREATE ON SCHEMA readside TO pg_monitor": "Role pg_monitor has CREATE on SCHEMA readside",
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("damage", "sentence"), LESSER.items())
async def test_what_lets_no_row_slip_is_named_and_mended_too(whole: Connection, damage: str, sentence: str) -> None:
    """Letters that are not as they were made, and rights that others should not have."""
    await whole.execute(damage)

    assert await inspect(whole) == f"{sentence}; run `readside install`."
    assert await install(whole, warn=pytest.fail)
    assert await inspect(whole) is None


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE events DISABLE TRIGGER readside_insert; ALTER TABLE events ENABLE ALWAYS TRIGGER readside_insert",
        "ALTER TABLE events DISABLE TRIGGER USER; ALTER TABLE events ENABLE TRIGGER USER",
        "ALTER FUNCTION readside.truncated() COST 99; ALTER FUNCTION readside.truncated() COST 100",
        "CREATE TABLE child () INHERITS (events)",
        "ALTER TABLE events RENAME TO old; CREATE TABLE events (LIKE old INCLUDING ALL)",
    ],
)
async def test_the_fingerprint_keeps_what_was_undone(connection: Connection, change: str) -> None:
    """A change that is taken back, even in one transaction, has passed over rows unseen."""
    before = await connection.fetchval(f"SELECT {FINGERPRINT}")
    await connection.execute(change)

    assert await connection.fetchval(f"SELECT {FINGERPRINT}") != before


async def test_the_fingerprint_does_not_change_by_itself(connection: Connection, other: Connection, role: str) -> None:
    """Writes, maintenance and another role leave it as it is: short, and the same from every connection."""
    before = await connection.fetchval(f"SELECT {FINGERPRINT}")
    for statement in (
        "INSERT INTO sessions SELECT gen_random_uuid(), 't', 'paused', 'm', '/', '{}', NULL, NULL, now(), now(), NULL",
        "DELETE FROM sessions",
        "CREATE INDEX ON events (message)",
        "VACUUM (ANALYZE, FREEZE)",
        "TRUNCATE events",
        f"GRANT USAGE ON SCHEMA readside TO {role}",
        f"SET ROLE {role}",
    ):
        await other.execute(statement)
    after = await other.fetchval(f"SELECT {FINGERPRINT}")

    assert after == before
    assert len(after) == 32
