"""Random writers: transactions as applications make them, each commit noted in the ledger before and after."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

from tests.oracle.ledger import Commit, Draft, Ledger
from tests.oracle.moves import Moves

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

MARKS = "CREATE TABLE marks (id uuid PRIMARY KEY, writer bool NOT NULL)"
"""A row of each transaction in the test's own table, by which a commit without an answer is found out."""
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
PATIENCE_SECONDS = 60


def now_us() -> int:
    """The clock that PostgreSQL on this machine reads too, µs since 1970."""
    return time.time_ns() // 1000


async def begin(connection: Connection, mark: str, lock_timeout: str) -> None:
    """Begin a transaction that can be found again by its mark."""
    await connection.execute(f"BEGIN; SET LOCAL lock_timeout = '{lock_timeout}'")
    await connection.execute("INSERT INTO marks VALUES ($1::uuid, true)", mark)


async def committed(connection: Connection, mark: str) -> bool:
    """Whether a transaction was committed; waits for its end. From then on the answer is as durable as it gets.

    Our own row in its place would meet its index entry: it waits for the other's end, and keeps it from coming later.
    The second row makes this commit wait for the disk, and so all before it.
    """
    await connection.execute(
        "INSERT INTO marks SELECT id, false FROM unnest($1::uuid[]) id ON CONFLICT DO NOTHING", [UUID(mark), uuid4()]
    )
    return bool(await connection.fetchval("SELECT writer FROM marks WHERE id = $1::uuid", mark))


@dataclass
class Writer:
    """One connection that writes until it is told to stop."""

    url: str
    ledger: Ledger
    random: random.Random
    stop: asyncio.Event
    kept: frozenset[str]
    """Sessions that are never purged."""
    connection: Connection | None = None
    open_commits: list[tuple[str, Commit]] = field(default_factory=list)

    async def run(self) -> None:
        """Write, mend, write."""
        while not self.stop.is_set():
            try:
                await self.transaction()
            except LOST:
                await self.mend()
            await asyncio.sleep(self.random.expovariate(20))
        await self.mend()
        if self.connection is not None:
            await self.connection.close(timeout=5)

    async def transaction(self) -> None:
        """One transaction of a few moves, with savepoints, perhaps held open, perhaps rolled back."""
        durable = self.random.random() < 0.8
        draft, connection, mark = Draft(), await self.connected(), str(uuid4())
        moves = Moves(connection, self.ledger, self.random, draft, self.kept)
        await begin(connection, mark, "2s")
        if durable:
            await moves.some()
        else:
            await connection.execute("SET LOCAL synchronous_commit TO off")
            await moves.insert()
        if self.random.random() < 0.06:
            await wait(self.stop, self.random.uniform(0.2, 4))  # as a slow application does
        if self.random.random() < 0.1:
            await connection.execute("ROLLBACK")
            return
        await self.commit(connection, draft, mark, durable=durable)

    async def commit(self, connection: Connection, draft: Draft, mark: str, *, durable: bool = True) -> None:
        """Send COMMIT, noted before and after, on the very connection that began."""
        commit = self.ledger.send(draft, now_us(), mark, durable=durable)
        self.open_commits.append((mark, commit))
        if await connection.execute("COMMIT") != "COMMIT":
            raise AssertionError("a COMMIT rolled back without a word")
        self.open_commits.pop()
        self.ledger.acknowledge(commit, now_us())

    async def connected(self) -> Connection:
        """The connection, made anew where it was lost."""
        if self.connection is None or self.connection.is_closed():
            self.connection = await asyncpg.connect(self.url, timeout=5, command_timeout=PATIENCE_SECONDS)
        return self.connection

    async def mend(self) -> None:
        """After an error: roll back, or connect again and find out how the open commits ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    connection = await self.connected()
                    if connection.is_in_transaction():
                        await connection.execute("ROLLBACK")
                    while self.open_commits:
                        mark, commit = self.open_commits[-1]
                        outcome = await committed(connection, mark)
                        self.ledger.settle(commit, now_us(), committed=outcome)
                        self.open_commits.pop()
                    return
                except LOST:
                    if self.connection is not None:
                        self.connection.terminate()
                        self.connection = None
                    await asyncio.sleep(0.05)


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the end."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
