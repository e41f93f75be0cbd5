"""Faults of PostgreSQL: connections that end, restarts, triggers that are off, other defaults, TRUNCATE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg

from projector.tail.triggers import install
from readmodel.errors import EventLogUnavailable
from tests.oracle.histories import Break
from tests.oracle.ledger import Draft
from tests.oracle.moves import Moves
from tests.oracle.site import Fault, Site
from tests.oracle.writers import Writer, begin, committed, now_us
from tests.support.projecting import INSERT_SESSION

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

EVERY_TRIGGER = ("readside_insert", "readside_update", "readside_delete", "readside_truncate")
NAMED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1"
LEAD = """
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
WHERE a.application_name = 'readside-projector' AND l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted
"""


@dataclass
class PostgresFaults:
    """What can be done to PostgreSQL."""

    site: Site

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("bell terminated", self.terminate_bell, 3),
            Fault("lead terminated", self.terminate_lead, 3),
            Fault("API's queries terminated", self.terminate_api, 1),
            Fault("Postgres restart, fast", self.restart_fast, 1),
            Fault("Postgres restart, immediate", self.restart_immediate, 3),
            Fault("triggers disabled", self.disable_triggers, 2),
            Fault("triggers dropped", self.drop_triggers, 1),
            Fault("another default isolation", self.isolate, 2, 3),
            Fault("TRUNCATE", self.truncate, 1),
        ]

    async def terminate_bell(self) -> None:
        """As an operator or a failing network would."""
        await self._execute(NAMED, "readside-listener")

    async def terminate_lead(self) -> None:
        """The connection that holds the lock and reads letters."""
        await self._execute(LEAD)

    async def terminate_api(self) -> None:
        """The API's connections to Postgres, queries and all."""
        await self._execute(NAMED, "readside-api")

    async def isolate(self) -> None:
        """Connections are made anew under another default, and keep it when it is taken back."""
        level = self.site.random.choice(("serializable", "repeatable read"))
        async with self.site.postgres() as connection:
            database = await connection.fetchval("SELECT quote_ident(current_database())")
            setting = f"ALTER DATABASE {database} {{}} default_transaction_isolation {{}}"
            await connection.execute(setting.format("SET", f"TO '{level}'"))
            await connection.execute(NAMED, "readside-%")
            await self.site.pause(3)
            await connection.execute(setting.format("RESET", ""))

    async def restart_fast(self) -> None:
        """Rolls back what runs; down for a moment."""
        await self.site.service.installation.postgres.stop("fast")
        await self.site.pause(1)
        await self.site.service.installation.postgres.start()

    async def restart_immediate(self) -> None:
        """A crash, which takes back commits that did not wait for the disk: there is one just before it."""
        async with self.site.writer() as writer:
            await self._insert_without_waiting(writer)
        self.site.ledger.crash(now_us())
        await self.site.service.installation.postgres.restart("immediate")
        async with self.site.postgres() as connection:
            kept = {mark: await committed(connection, mark) for mark in self.site.ledger.suspects()}
        self.site.report.taken_back += self.site.ledger.recovered(kept, now_us())

    async def _insert_without_waiting(self, writer: Writer) -> None:
        connection, mark, draft = await writer.connected(), str(uuid4()), Draft()
        await begin(connection, mark, "1s")
        await connection.execute("SET LOCAL synchronous_commit TO off")
        moves = Moves(connection, self.site.ledger, self.site.random, draft, self.site.kept)
        await moves.write(moves.events(self.site.random.choice(sorted(self.site.kept)), 3))
        await writer.commit(connection, self.site.ledger.send(draft, now_us(), mark, durable=False), mark)

    async def disable_triggers(self) -> None:
        """And enable them again, mostly between two beats."""
        async with self.site.postgres() as connection:
            await self._alter(connection, "DISABLE")
            await self.site.pause(self.site.random.choice((0.03, 0.1, 1.5)))
            await self._alter(connection, "ENABLE ALWAYS")

    async def drop_triggers(self) -> None:
        """And install them again."""
        self.site.hurry.set()
        try:
            self.site.ledger.breaks.append(Break(now_us(), is_crash=False))
            while (await self.site.service.command("uninstall"))[0] != 0 and not self.site.stop.is_set():
                await self.site.pause(0.5)
            async with self.site.postgres() as connection:
                while not await self._installed(connection):
                    await self.site.pause(0.5)
            self.site.ledger.breaks[-1].over = now_us()
        finally:
            self.site.hurry.clear()

    async def truncate(self) -> None:
        """Everything goes; the sessions that stay are made anew in the same transaction."""
        async with self.site.writer() as writer:
            await self._truncate(writer)

    async def _truncate(self, writer: Writer) -> None:
        connection, mark = await writer.connected(), str(uuid4())
        await begin(connection, mark, "6s")
        await connection.execute("LOCK TABLE events, sessions")
        draft = Draft(purged=[str(row["id"]) for row in await connection.fetch("SELECT id FROM sessions")])
        rows = await connection.fetch("SELECT session_id, id FROM events")
        draft.removed = [(str(row["session_id"]), str(row["id"])) for row in rows]
        await connection.execute("TRUNCATE sessions, events")
        for session_id in sorted(self.site.kept):
            await connection.execute(INSERT_SESSION, session_id, "in_progress")
            draft.created.append(session_id)
        await writer.commit(connection, self.site.ledger.send(draft, now_us(), mark), mark)

    async def _installed(self, connection: Connection) -> bool:
        """Busy writers may hold its locks off: an operator would try again, as it says."""
        try:
            await install(connection, warn=self.site.report.tell)
        except EventLogUnavailable:
            return False
        return True

    async def _alter(self, connection: Connection, how: str) -> None:
        """No writer waits long behind us, and we wait for none twice that does nothing."""
        await connection.execute("SET lock_timeout = '1s'")
        changes = ", ".join(f"{how} TRIGGER {name}" for name in EVERY_TRIGGER)
        try:
            for table in ("sessions", "events"):
                while not await _altered(connection, f"ALTER TABLE {table} {changes}"):
                    self.site.hurry.set()
                    await self.site.pause(1)
        finally:
            self.site.hurry.clear()

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self.site.postgres() as connection:
            await connection.execute(statement, *arguments)


async def _altered(connection: Connection, statement: str) -> bool:
    """Run it; tells whether the lock was to be had."""
    try:
        await connection.execute(statement)
    except asyncpg.LockNotAvailableError:
        return False
    return True
