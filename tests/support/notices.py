"""What the triggers say of a statement: a writer, a listener, and sessions and events by number."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from projector.tail.triggers import install
from readmodel.postgres_client import Connection
from tests.support.servers import connected

LONGEST_PAYLOAD = 7999


def sid(number: int) -> str:
    """The session id that the statements below make of a number."""
    return f"00000000-0000-0000-0000-{number:012}"


def eid(number: int) -> str:
    """The event id that the statements below make of a number, as a notice writes it."""
    return f"00000000000000000001{number:012}"


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


class Notices:
    """A writer's connection, and what a listener hears of it."""

    def __init__(self, writer: Connection, listener: Connection) -> None:
        self.writer = writer
        self._listener = listener
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        """Begin to listen."""
        await self._listener.add_listener("readside", lambda *heard: self._heard.put_nowait(str(heard[3])))

    async def heard(self) -> list[str]:
        """Every payload since the last call: a marker sent now comes after all of them."""
        marker = f"marker {secrets.token_hex(8)}"
        await self._listener.execute("SELECT pg_notify('readside', $1)", marker)
        payloads = []
        while (payload := await asyncio.wait_for(self._heard.get(), 30)) != marker:
            payloads.append(payload)
        return payloads

    async def of(self, *statements: str) -> Counter[tuple[str, frozenset[str]]]:
        """Run statements, one transaction each; return verb and words of each notice, and check its length."""
        for statement in statements:
            await self.writer.execute(statement)
        payloads = await self.heard()
        assert all(len(payload) <= LONGEST_PAYLOAD for payload in payloads)
        return Counter(notice(*payload.split()) for payload in payloads)


def notice(verb: str, *words: str) -> tuple[str, frozenset[str]]:
    """A notice without the order of its ids, which is nobody's business (an `a` names its session once, 36 long)."""
    return verb, frozenset(words)


def only(*expected: tuple[str, frozenset[str]]) -> Counter[tuple[str, frozenset[str]]]:
    """Exactly these notices, in any order."""
    return Counter(expected)


@asynccontextmanager
async def noticed(url: str) -> AsyncIterator[Notices]:
    """The triggers installed in a database with ten sessions, and a listener."""
    async with connected(url) as writer, connected(url) as listener:
        await writer.execute(sessions(1, 10))
        assert await install(writer, warn=pytest.fail)
        notices = Notices(writer, listener)
        await notices.listen()
        yield notices


@asynccontextmanager
async def new_role(connection: Connection, prefix: str) -> AsyncIterator[str]:
    """A role with no rights; it and what it owns go after the block."""
    role = f"{prefix}_{secrets.token_hex(4)}"
    await connection.execute(f"CREATE ROLE {role}")
    yield role
    await connection.execute(
        f"RESET ROLE; REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"
    )
