"""The recipe of specs/operate/security.md for roles and rights, on a database of our own and with names of our own."""

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from projector.tail.triggers import inspect, install
from readmodel.postgres.client import Connection
from tests.support.servers import connected

PAGE = (Path(__file__).parents[2] / "specs/operate/security.md").read_text()
SECTION = PAGE.split("\n### A recipe\n")[1].split("\n### ")[0]
PLACES = ("app_owner", "app_writer", "readside", "app")
"""Roles, and the database, as the page calls them."""


def statements(names: dict[str, str]) -> list[str]:
    """The page's SQL with other names."""
    (block,) = re.findall(r"```sql\n(.*?)```", SECTION, re.DOTALL)
    return [re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found[0]], line) for line in block.splitlines()]


@pytest.fixture
async def superuser(database_url: str) -> AsyncIterator[Connection]:
    """A superuser's connection to a database with the tables and no triggers."""
    async with connected(database_url) as connection:
        yield connection


async def test_the_recipe_suffices(superuser: Connection) -> None:
    """The owner installs and grants; the role reads both tables and all letters, and writes nothing."""
    database = await superuser.fetchval("SELECT current_database()")
    names = {place: f"{place}_{secrets.token_hex(4)}" for place in PLACES} | {"app": database}
    owner, writer, reader = (names[place] for place in PLACES[:3])
    await superuser.execute(f"CREATE ROLE {owner}; CREATE ROLE {writer}")
    try:
        await superuser.execute(f"ALTER TABLE sessions OWNER TO {owner}; ALTER TABLE events OWNER TO {owner}")
        for statement in statements(names):
            await superuser.execute(statement)
        await superuser.execute(f"SET ROLE {owner}")
        assert await install(superuser, warn=pytest.fail, role=reader)
        await superuser.execute(f"RESET ROLE; SET ROLE {reader}")

        await superuser.fetch("SELECT FROM events, readside.letters_0")
        assert await inspect(superuser) is None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await superuser.execute("DELETE FROM events")
    finally:
        await superuser.execute("RESET ROLE")
        for role in (owner, writer, reader):
            await superuser.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
