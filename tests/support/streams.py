"""A session's stream, followed in Postgres, and writers with transactions of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import orjson

from readmodel.postgres.client import Connection, create_pool
from readmodel.postgres.event_stream import StreamLog
from readmodel.postgres.tables import TableFinder
from readmodel.values.arrivals import Arrivals
from readmodel.values.offset import Offset, parse_offset
from tests.support.letters import Letterbox, letterbox, sid
from tests.support.projecting import MAX_BYTES
from tests.support.servers import connected

SESSION = sid(1)
INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES (gen_random_uuid(), $1::uuid, 'x', '{}', $2, '2026-01-13T14:30:00Z'::timestamptz + $3::int * interval '1 s')
"""
_ONE = "(SELECT id FROM events WHERE session_id = $1::uuid ORDER BY id OFFSET $2 LIMIT 1 FOR UPDATE SKIP LOCKED)"
UPDATE = f"UPDATE events SET message = $3, timestamp = timestamp - interval '2 s' WHERE id = {_ONE}"
DELETE = f"DELETE FROM events WHERE id = {_ONE}"
Version = tuple[str, str]
"""An event's id, and the message that this version of it bears."""


@dataclass
class Follower:
    """Reads a stream on; `given` counts the versions that it was given, `last` is each event's newest."""

    log: StreamLog
    session_id: str = SESSION
    offset: Offset | None = None
    given: Counter[Version] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)

    async def read(self, limit: int = 1000, max_bytes: int = MAX_BYTES) -> Arrivals:
        """Read on by one answer; the offset goes through its text."""
        arrivals = (await self.log.read(self.session_id, self.offset, limit, max_bytes)).arrivals
        for event in map(orjson.loads, arrivals.events):
            self.given[event["id"], event["message"]] += 1
            self.last[event["id"]] = event["message"]
        assert self.offset is None or arrivals.next.text >= self.offset.text
        self.offset = parse_offset(arrivals.next.text)
        return arrivals

    async def messages(self, limit: int = 1000) -> list[str]:
        """Read on by one answer; give the messages of its events."""
        return [orjson.loads(event)["message"] for event in (await self.read(limit)).events]

    async def read_all(self, limit: int = 1000) -> None:
        """Read on until all that there is was given."""
        while not (await self.read(limit)).up_to_date:
            pass

    @property
    def repeated(self) -> list[Version]:
        """What was given more than once."""
        return [version for version, times in self.given.items() if times > 1]


@dataclass
class RandomWriter:
    """Transactions with savepoints, one statement at each step; `count` numbers the versions of all writers."""

    connection: Connection
    random: Random
    count: list[int]
    depth: int = 0

    async def step(self) -> None:
        """Do one thing: begin, write, open or end a savepoint, commit, roll back."""
        may = ["write"] * 6 + (["savepoint", "savepoint", "commit", "rollback"] if self.depth else ["begin", "begin"])
        what = self.random.choice(may + (["release", "rollback to"] if self.depth > 1 else []))
        match what:
            case "write":
                await self._write()
            case "begin" | "commit" | "rollback":
                await self.connection.execute(what)
                self.depth = int(what == "begin")
            case "savepoint":
                self.depth += 1
                await self.connection.execute(f"SAVEPOINT s{self.depth}")
            case "release" | "rollback to":
                await self.connection.execute(f"{what} s{self.depth}")
                self.depth -= what == "release"

    async def end(self) -> None:
        """Commit what is open."""
        if self.depth:
            await self.connection.execute("COMMIT")
            self.depth = 0

    async def _write(self) -> None:
        self.count[0] += 1
        message, place = str(self.count[0]), self.random.randrange(12)
        match self.random.randrange(8):
            case 0:
                await self.connection.execute(UPDATE, SESSION, place, message)
            case 1:
                await self.connection.execute(DELETE, SESSION, place)
            case _:
                await self.connection.execute(INSERT, SESSION, message, self.random.randrange(20))


@dataclass
class Stream:
    """Triggers, somebody who reads letters, a log of streams, and writers."""

    log: StreamLog
    box: Letterbox
    url: str

    @property
    def writer(self) -> Connection:
        """A connection that writes."""
        return self.box.writer

    def follower(self) -> Follower:
        """One that begins at the start."""
        return Follower(self.log)

    async def insert(self, message: str, second: int = 0, connection: Connection | None = None) -> None:
        """Write an event that bears a message."""
        await (connection or self.writer).execute(INSERT, SESSION, message, second)

    async def now(self) -> dict[str, str]:
        """What Postgres holds: messages by id."""
        rows = await self.writer.fetch("SELECT id::text, message FROM events WHERE session_id = $1::uuid", SESSION)
        return {row["id"]: row["message"] for row in rows}

    async def forget_letters(self) -> None:
        """Have no letters any more; not by TRUNCATE, which would wait for open transactions."""
        await self.box.take()

    async def lose_letters(self, random: Random) -> None:
        """Have those of before no more, or none written from now on, or have them written again."""
        what = random.randrange(3)
        if what == 0:
            await self.forget_letters()
        else:
            await self.box.open(3600 if what == 1 else 0)


@asynccontextmanager
async def stream_log(url: str, statement_cache_size: int = 100) -> AsyncIterator[StreamLog]:
    """Reads of streams by a pool of one connection."""
    pool = await create_pool(url, application_name="test", size=1, statement_cache_size=statement_cache_size)
    try:
        yield StreamLog(pool, url, TableFinder(url, application_name="test"))
    finally:
        pool.terminate()


@asynccontextmanager
async def streaming(url: str) -> AsyncIterator[Stream]:
    """A session's stream in a database with everything of ours."""
    async with letterbox(url) as box, stream_log(url) as log:
        yield Stream(log, box, url)


@asynccontextmanager
async def random_writers(url: str, random: Random, number: int = 3) -> AsyncIterator[list[RandomWriter]]:
    """Several at once."""
    count = [0]
    async with connected(url) as one, connected(url) as two, connected(url) as three:
        yield [RandomWriter(each, random, count) for each in (one, two, three)[:number]]
