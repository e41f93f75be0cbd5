"""Faults of the letterbox: leases that lapse, letters that cannot be emptied, bells that others ring or hold up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg

from tests.oracle.ledger import Draft
from tests.oracle.moves import Moves
from tests.oracle.site import Fault, Site
from tests.oracle.writers import LOST, Writer, begin, now_us

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

LAPSE = "SELECT setval('readside.presence', 0)"
IS_CLOSED = "SELECT last_value < 16 FROM readside.presence"
PIN_SECONDS, CLOSING_SECONDS, FLOOD_SECONDS = 3.0, 8.0, 2.5
CLOSED_SECONDS = 1.0
ROLLED_BACK = """
BEGIN;
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), id, 'step_created', '{}', now() FROM sessions, generate_series(1, 60);
ROLLBACK
"""
"""Leaves letters that nobody will ever read, and no event."""
STRANGER = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger') THEN
    CREATE ROLE stranger LOGIN PASSWORD 'stranger';
  END IF;
END $$
"""
FORGERIES = (
    "SELECT count(pg_notify('readside', n::text)) FROM generate_series(1, $1::int) n",
    "SELECT count(pg_notify('readside', md5(n::text) || repeat('x', 4000))) FROM generate_series(1, $1::int / 100) n",
    "SELECT count(pg_notify('readside', '')) FROM generate_series(1, $1::int / 1000 + 1) n",
)
BIG = "SELECT count(pg_notify('nobody', n || repeat('x', 7900))) FROM generate_series(1, 150) n"
"""A seventh of the oracle's notification queue where the server lets us choose its size: from PostgreSQL 17 on."""


@dataclass
class LetterFaults:
    """What can be done to lease, letters and bell."""

    site: Site

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("lease lapses", self.lapse, 5),
            Fault("letters not emptied", self.fill_letters, 3, CLOSING_SECONDS),
            Fault("notification queue pinned", self.pin_queue, 2, PIN_SECONDS),
            Fault("flood of forged notifications", self.forge, 2, FLOOD_SECONDS),
        ]

    async def lapse(self) -> None:
        """The leader finds it out by what writers counted, if at all."""
        async with self.site.postgres() as connection:
            for _ in range(self.site.random.choice((1, 3, 10))):
                await connection.execute(LAPSE)
                await self.site.pause(0.2)

    async def fill_letters(self) -> None:
        """One old transaction with a letter in each table keeps all from being emptied: letters close, writers skip."""
        async with self.site.writer() as writer, self.site.postgres() as other:
            connection, mark, draft = await writer.connected(), str(uuid4()), Draft()
            await begin(connection, mark, "2s")
            moves = Moves(connection, self.site.ledger, self.site.random, draft, self.site.kept)
            deadline = time.monotonic() + CLOSING_SECONDS
            while not await other.fetchval(IS_CLOSED) and time.monotonic() < deadline and not self.site.stop.is_set():
                await moves.write(moves.events(min(self.site.kept), 1))
                await other.execute(ROLLED_BACK)
                await asyncio.sleep(0.05)
            self.site.report.closings += bool(await other.fetchval(IS_CLOSED))
            await self.site.pause(CLOSED_SECONDS)
            await self._end(writer, connection, draft, mark)

    async def _end(self, writer: Writer, connection: Connection, draft: Draft, mark: str) -> None:
        if self.site.random.random() < 0.5:
            await connection.execute("ROLLBACK")
            return
        await writer.commit(connection, self.site.ledger.send(draft, now_us(), mark), mark)

    async def pin_queue(self) -> None:
        """Somebody listens and does not read: what is notified meanwhile stays in the queue."""
        async with self.site.postgres() as idle, self.site.postgres() as other:
            await idle.execute("LISTEN nobody")
            await idle.execute("BEGIN")
            await idle.fetchval("SELECT 1")
            await other.execute(BIG)
            await self.site.pause(PIN_SECONDS)

    async def forge(self) -> None:
        """A role that may only CONNECT rings as it pleases."""
        async with self.site.postgres() as connection:
            await connection.execute(STRANGER)
        url = self.site.service.url_of("stranger", "stranger")
        async with self.site.postgres(url) as stranger:
            deadline = time.monotonic() + FLOOD_SECONDS
            while time.monotonic() < deadline and not self.site.stop.is_set():
                try:
                    count = self.site.random.choice((1, 100, 20_000))
                    await stranger.fetchval(self.site.random.choice(FORGERIES), count)
                except LOST:  # the queue is full
                    return
                await self.site.pause(0.02)
