"""What a random transaction does: inserts of every kind, deletions, purges, new sessions, changes of status."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from tests.oracle.histories import EPOCH, Event
from tests.oracle.ledger import Draft, Ledger
from tests.support.projecting import INSERT_SESSION

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

TYPES = ("session_created", "status_changed", "step_created", "artifact_created", "workflow_failed", "brand_new_type")
STATUSES = ("pending", "in_progress", "paused", "completed", "failed", "cancelled")
MESSAGES = (None, "", 'quotes " and \\ and \n', "größer €", "x" * 300)
MAX_OTHERS, MAX_EVENTS = 21, 3500
"""How many sessions there are beside those that are never purged, and how big one gets."""
DAY_US = 86_400_000_000
COLUMNS = ["id", "session_id", "step_id", "event_type", "event_data", "message", "timestamp"]
INSERT = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::text[], $7::timestamptz[])
"""

# What a migration may have put aside is read and kept by name, wherever it is.
LOCK = """
SELECT id::text, session_id::text, event_type, event_data::text, message, timestamp,
       to_jsonb(events) ->> 'legacy_message' AS legacy
FROM events WHERE id = ANY($1::uuid[]) FOR UPDATE
"""


@dataclass
class Moves:
    """The moves of one transaction; each notes in the draft what it did."""

    connection: Connection
    ledger: Ledger
    random: random.Random
    draft: Draft
    kept: frozenset[str]

    async def some(self) -> None:
        """A few moves, some of them within savepoints."""
        sessions = self.ledger.current()
        if len(sessions) - len(self.kept) < MAX_OTHERS and self.random.random() < 0.2:
            await self.create()
            return
        if len(sessions) - len(self.kept) > MAX_OTHERS // 2 and self.random.random() < 0.03:
            await self.purge(self.victim(sessions))
            return
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            if self.random.random() < 0.3:
                await self.savepoint()
            else:
                await self.one()

    async def one(self) -> None:
        """One move on a session."""
        weighed: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.insert, 60),
            (self.bulk, 3),
            (self.copy, 5),
            (self.delete, 12),
            (self.update, 8),
            (self.move, 3),
            (self.again, 6),
            (self.status, 8),
        ]
        moves, weights = zip(*weighed, strict=True)
        await self.random.choices(moves, weights)[0]()

    async def savepoint(self) -> None:
        """A move within a savepoint, or within another one in it, which is rolled back half of the time."""
        before = self.draft.copy()
        await self.connection.execute("SAVEPOINT here")
        await (self.savepoint() if self.random.random() < 0.2 else self.one())
        if self.random.random() < 0.5:
            await self.connection.execute("ROLLBACK TO SAVEPOINT here")
            self.draft.created, self.draft.purged = before.created, before.purged
            self.draft.added, self.draft.removed = before.added, before.removed
        else:
            await self.connection.execute("RELEASE SAVEPOINT here")

    async def create(self) -> None:
        """A new session, or one of an id that was there before, with an event or without."""
        purged = self.ledger.purged()
        again = bool(purged) and self.random.random() < 0.15
        session_id = self.random.choice(purged) if again else self.new_id()
        await self.connection.execute(INSERT_SESSION, session_id, self.random.choice(STATUSES))
        self.draft.created.append(session_id)
        if self.random.random() < 0.5:
            await self.write(self.events(session_id, 2))

    async def insert(self) -> None:
        """One event, or a few at once."""
        await self.write(self.events(self.session(), self.random.choice((1, 1, 1, 1, 3, 10, 10, 20))))

    async def bulk(self) -> None:
        """More events of one session than one statement has letters for."""
        session_id = self.session()
        if len(self.ledger.sessions[session_id].by_id) < MAX_EVENTS:
            await self.write(self.events(session_id, self.random.choice((201, 1001, 1500))))

    async def copy(self) -> None:
        """COPY, over several sessions."""
        events = [event for _ in range(3) for event in self.events(self.session(), 5)]
        rows = [
            (
                UUID(e.id),
                UUID(e.session_id),
                e.step_id and UUID(e.step_id),
                e.event_type,
                json.dumps(e.data),
                e.message,
                e.timestamp,
            )
            for e in events
        ]
        await self.connection.copy_records_to_table("events", records=rows, columns=COLUMNS)
        self.draft.added += events

    async def delete(self) -> None:
        """Some events of a session."""
        await self.take(self.some_of(self.session(), 5))

    async def update(self) -> None:
        """Other content of some events, or another type."""
        before = await self.lock(self.some_of(self.session(), 10))
        ids, message, kind = [event.id for event in before], self.random.choice(MESSAGES), self.random.choice(TYPES)
        if self.random.random() < 0.5:
            await self.connection.execute("UPDATE events SET message = $2 WHERE id = ANY($1::uuid[])", ids, message)
            self.draft.change(before, [replace(event, message=message) for event in before])
        else:
            await self.connection.execute("UPDATE events SET event_type = $2 WHERE id = ANY($1::uuid[])", ids, kind)
            self.draft.change(before, [replace(event, event_type=kind) for event in before])

    async def move(self) -> None:
        """Some events of a session become another's."""
        before, other = await self.lock(self.some_of(self.session(), 3)), self.session()
        ids = [event.id for event in before]
        await self.connection.execute("UPDATE events SET session_id = $2::uuid WHERE id = ANY($1::uuid[])", ids, other)
        self.draft.change(before, [replace(event, session_id=other) for event in before])

    async def again(self) -> None:
        """Insert, delete and insert the very same event; or delete one that is there and put it back."""
        session_id = self.session()
        there = [life.event for life in self.ledger.sessions[session_id].events if life.event]
        if there and self.random.random() < 0.5:
            event = self.random.choice(there)
            if await self.take([event.id]):
                await self.write([replace(event, legacy=None)])
            return
        events = self.events(session_id, 1)
        await self.write(events)
        await self.take([events[0].id])
        await self.write(events)

    async def status(self) -> None:
        """A change of status."""
        status = self.random.choice(STATUSES)
        await self.connection.execute("UPDATE sessions SET status = $2 WHERE id = $1::uuid", self.session(), status)

    async def purge(self, session_id: str) -> None:
        """Delete a session. Who inserts events of it waits for us, or we for them."""
        if await self.connection.fetchval("SELECT id FROM sessions WHERE id = $1::uuid FOR UPDATE", session_id) is None:
            return
        gone = await self.connection.fetch("SELECT id FROM events WHERE session_id = $1::uuid", session_id)
        await self.connection.execute("DELETE FROM sessions WHERE id = $1::uuid", session_id)
        self.draft.remove((session_id, str(row["id"])) for row in gone)
        self.draft.purged.append(session_id)

    async def write(self, events: Sequence[Event]) -> None:
        """Insert events in one statement."""
        columns = zip(
            *(
                (e.id, e.session_id, e.step_id, e.event_type, json.dumps(e.data), e.message, e.timestamp)
                for e in events
            ),
            strict=True,
        )
        await self.connection.execute(INSERT, *(list(column) for column in columns))
        self.draft.added += events

    async def take(self, ids: Sequence[str]) -> bool:
        """Delete events; tells whether any was there."""
        gone = await self.connection.fetch(
            "DELETE FROM events WHERE id = ANY($1::uuid[]) RETURNING session_id::text, id::text", ids
        )
        self.draft.remove((row["session_id"], row["id"]) for row in gone)
        return bool(gone)

    async def lock(self, ids: Sequence[str]) -> list[Event]:
        """Lock events, and read what they are now."""
        return [
            Event(
                row["id"],
                row["session_id"],
                row["event_type"],
                json.loads(row["event_data"]),
                row["message"],
                (row["timestamp"] - EPOCH) // timedelta(microseconds=1),
                row["legacy"],
            )
            for row in await self.connection.fetch(LOCK, ids)
        ]

    def some_of(self, session_id: str, most: int) -> list[str]:
        """Ids of one event of a session, or of a few; they need not be there any more."""
        ids = list(self.ledger.sessions[session_id].by_id)
        return self.random.sample(ids, min(len(ids), self.random.choice((1, 1, most))))

    def session(self) -> str:
        """A session, a few of them much more often than the rest."""
        sessions = self.ledger.current()
        return sessions[min(int(self.random.expovariate(5 / len(sessions))), len(sessions) - 1)]

    def victim(self, sessions: Sequence[str]) -> str:
        """A session to purge: one that grew too big, else any."""
        loose = [each for each in sessions if each not in self.kept]
        big = [each for each in loose if len(self.ledger.sessions[each].by_id) >= MAX_EVENTS]
        return self.random.choice(big or loose)

    def events(self, session_id: str, count: int) -> list[Event]:
        """New events: at now, at one and the same instant, or far in the past."""
        now = time.time_ns() // 1000
        made = []
        for number in range(count):
            equal = now // DAY_US * DAY_US
            at = self.random.choice((now + number, now + number, equal, now - self.random.randrange(10 * DAY_US)))
            data: dict[str, object] = {"n": self.random.randrange(2**53), "of": count, "what": ["ü", None, 1.5]}
            kind, message = self.random.choice(TYPES), self.random.choice(MESSAGES)
            made.append(Event(self.new_id(), session_id, kind, data, message, at))
        return made

    def new_id(self) -> str:
        """A random id of the seed's."""
        return str(UUID(int=self.random.getrandbits(128), version=4))
