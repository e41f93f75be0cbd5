"""From version 0.1 to this one: told by name, upgraded in place by one `install`, or removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projector.tail.triggers import fingerprint_sql, inspect, install, install_sql, uninstall
from readmodel.errors import RightsMissing
from readmodel.postgres.client import Connection
from tests.support import letters
from tests.support.letters import Letterbox, events, letter, new_role, only, sessions
from tests.support.servers import connected
from tests.support.traces import traces

VERSION_0_1 = (Path(letters.__file__).parents[1] / "data" / "triggers_0.1.sql").read_text()
FINGERPRINT = fingerprint_sql("readside")
OF_0_1 = "The triggers are those of version 0.1: run `readside install`."


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and version 0.1's triggers."""
    async with connected(database_url) as connection:
        await connection.execute(VERSION_0_1)
        yield connection


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Connection]:
    """A second connection to the same database."""
    async with connected(database_url) as other:
        yield other


async def test_version_0_1_is_told_by_name(connection: Connection) -> None:
    """Not as eight functions that were altered."""
    assert await inspect(connection) == OF_0_1


async def test_version_0_1_is_told_by_name_when_it_is_damaged(connection: Connection) -> None:
    """Whatever else is wrong, `install` is what mends it."""
    await connection.execute("ALTER TABLE events DISABLE TRIGGER readside_insert")

    assert await inspect(connection) == OF_0_1


async def test_one_install_upgrades_in_place(connection: Connection) -> None:
    """The same schema and triggers, and nothing of the old is left."""
    before = await connection.fetchval(f"SELECT {FINGERPRINT}")
    old = {row[0] for row in await connection.fetch("SELECT oid FROM pg_trigger WHERE NOT tgisinternal")}
    assert await install(connection, warn=pytest.fail)

    assert await inspect(connection) is None
    assert await connection.fetchval(f"SELECT {FINGERPRINT}") != before
    assert {row[0] for row in await connection.fetch("SELECT oid FROM pg_trigger WHERE NOT tgisinternal")} == old
    assert not await install(connection, warn=pytest.fail)


async def test_the_printed_script_upgrades_too(connection: Connection) -> None:
    """An administrator may run it in our place."""
    await connection.execute(install_sql())

    assert not await install(connection, warn=pytest.fail)


async def test_writers_that_stay_connected_leave_letters(connection: Connection, other: Connection) -> None:
    """Their sessions have the old functions' plans; the next statement runs the new ones."""
    await other.execute(sessions(1, 2))
    await other.execute(events(1, 1))
    await install(connection, warn=pytest.fail)
    box = Letterbox(other, connection)
    await box.open()

    assert await box.of(events(2, 2), sessions(3, 3)) == only(letter("a", 1, 2), letter("n", 3))


async def test_an_upgrade_that_gets_no_lock_changes_nothing(connection: Connection, other: Connection) -> None:
    """All in one transaction: version 0.1 goes on until it succeeds."""
    before = await traces(connection)

    async def no_wait(_seconds: float) -> None:
        """Stand in for the wait between tries."""

    async with other.transaction():
        await other.execute("LOCK TABLE events IN ROW EXCLUSIVE MODE")
        with pytest.raises(Exception, match="No lock on the tables in 2 tries"):
            await install(connection, warn=lambda _: None, lock_timeouts_ms=(20, 20), sleep=no_wait)

    assert await traces(connection) == before
    assert await inspect(connection) == OF_0_1


async def test_what_an_owner_installed_a_superuser_upgrades(connection: Connection) -> None:
    """It belongs to the owner of the tables before and after; not the other way round."""
    await uninstall(connection)
    async with new_role(connection, "owner") as role:
        database = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"""
            ALTER TABLE sessions OWNER TO {role}; ALTER TABLE events OWNER TO {role};
            GRANT CREATE ON DATABASE {database} TO {role}; SET ROLE {role}""")
        await connection.execute(VERSION_0_1)
        await connection.execute("RESET ROLE")

        assert await install(connection, warn=pytest.fail)
        assert await inspect(connection) is None
        await connection.execute(f"SET ROLE {role}")
        assert not await install(connection, warn=pytest.fail)
        assert await uninstall(connection)


async def test_what_a_superuser_installed_is_upgraded_by_it(connection: Connection) -> None:
    """The owner of the tables is told whose it is; the superuser hands it over."""
    async with new_role(connection, "owner") as role:
        database = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"""
            ALTER TABLE sessions OWNER TO {role}; ALTER TABLE events OWNER TO {role};
            GRANT CREATE ON DATABASE {database} TO {role}; SET ROLE {role}""")
        with pytest.raises(RightsMissing, match=r"^Schema readside belongs to postgres, who neither installs"):
            await install(connection, warn=pytest.fail)
        await connection.execute("RESET ROLE")

        assert await install(connection, warn=pytest.fail)
        await connection.execute(f"SET ROLE {role}")
        assert not await install(connection, warn=pytest.fail)


async def test_version_0_1_is_removed_without_a_trace(database_url: str) -> None:
    """`uninstall` of this version knows it."""
    async with connected(database_url) as connection:
        before = await traces(connection)
        await connection.execute(VERSION_0_1)

        assert await uninstall(connection)
        assert await traces(connection) == before
