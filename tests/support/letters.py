"""What the triggers write of a statement: a writer, a reader of letters, and sessions and events by number."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from projector.tail.triggers import install
from readmodel.postgres.client import Connection
from tests.support.servers import connected

TABLES = ("letters_0", "letters_1", "letters_2")
Letter = tuple[str, str | None, str | None]


def sid(number: int) -> str:
    """The session id that the statements below make of a number."""
    return f"00000000-0000-0000-0000-{number:012}"


def eid(number: int) -> str:
    """The event id that the statements below make of a number."""
    return f"00000000-0000-0000-0001-{number:012}"


def sessions(first: int, last: int) -> str:
    """A statement that inserts sessions by number."""
    return f"""INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
        SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 't', 'pending', 'm', '/p', '{{}}',
               now(), now()
          FROM generate_series({first}, {last}) AS i"""


def events(first: int, last: int, session: str = "1") -> str:
    """A statement that inserts events by number; `session` is an expression of `i`."""
    return f"""INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        SELECT ('00000000-0000-0000-0001-' || lpad(i::text, 12, '0'))::uuid,
               ('00000000-0000-0000-0000-' || lpad(({session})::text, 12, '0'))::uuid, 'x', '{{}}', now()
          FROM generate_series({first}, {last}) AS i"""


class Letterbox:
    """A writer's connection, and a superuser's that stands for whoever reads the letters."""

    def __init__(self, writer: Connection, reader: Connection, schema: str = "readside") -> None:
        self.writer = writer
        self.reader = reader
        self.schema = schema

    async def open(self, seconds: float = 3600, *, turn: int = 0, ring: bool = False) -> None:
        """Take a lease: for so long somebody reads the letters, in the table of this turn."""
        await self.reader.execute(f"""
            SELECT setval('{self.schema}.presence',
                          (extract(epoch FROM clock_timestamp()) * 1000)::bigint * 8
                          + ({seconds} * 1000)::bigint * 8 + {turn} * 2 + {int(ring)})""")

    async def begin_anew(self) -> None:
        """Be as at first, whatever the last test wrote: ten sessions, no event, no letter, and somebody reads."""
        await self.writer.execute(f"DELETE FROM sessions; {sessions(1, 10)}")
        await self.open()
        await self.take()

    async def skips(self) -> int:
        """How many statements wrote no letter, since nobody was there."""
        return int(
            await self.reader.fetchval(
                f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {self.schema}.skips"
            )
        )

    async def sizes(self) -> list[int]:
        """How many letters lie in each table."""
        return [int(await self.reader.fetchval(f"SELECT count(*) FROM {self.schema}.{table}")) for table in TABLES]

    async def take(self) -> Counter[Letter]:
        """Every letter since the last call: kind, session, event."""
        found: Counter[Letter] = Counter()
        for table in TABLES:
            rows = await self.reader.fetch(
                f"DELETE FROM {self.schema}.{table} RETURNING kind::text, session_id::text, event_id::text"
            )
            found.update((row[0], row[1], row[2]) for row in rows)
        return found

    async def of(self, *statements: str) -> Counter[Letter]:
        """Run statements, one transaction each; return the letters that they wrote."""
        for statement in statements:
            await self.writer.execute(statement)
        return await self.take()


def letter(kind: str, session: int | None = None, event: int | None = None) -> Letter:
    """A letter, its session and event by number."""
    return kind, None if session is None else sid(session), None if event is None else str(UUID(eid(event)))


def only(*expected: Letter) -> Counter[Letter]:
    """Exactly these letters, in any order."""
    return Counter(expected)


@asynccontextmanager
async def letterbox(url: str, *, doorbell: bool = True) -> AsyncIterator[Letterbox]:
    """All of ours in a database with ten sessions, installed where it is not yet, and somebody to read letters."""
    async with connected(url) as writer, connected(url) as reader:
        is_installed = await writer.fetchval("SELECT to_regnamespace('readside')") is not None
        await writer.execute(sessions(1, 10))  # where it is, nobody reads yet, and the letters of these are skipped
        if not is_installed:
            assert await install(writer, warn=pytest.fail, doorbell=doorbell)
        box = Letterbox(writer, reader)
        await box.open()
        yield box


@asynccontextmanager
async def new_role(connection: Connection, prefix: str) -> AsyncIterator[str]:
    """A role with no rights; it and what it owns go after the block."""
    role = f"{prefix}_{secrets.token_hex(4)}"
    await connection.execute(f"CREATE ROLE {role}")
    yield role
    await connection.execute(
        f"RESET ROLE; REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"
    )
