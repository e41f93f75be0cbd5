"""Random writers: transactions as applications make them, each commit noted in the ledger before and after."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

from tests.oracle.histories import Commit
from tests.oracle.ledger import Draft, Ledger
from tests.oracle.moves import Moves
from tests.support.waiting import eventually

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

MARKS = "CREATE TABLE marks (id uuid PRIMARY KEY, writer bool NOT NULL)"
"""A row of each transaction in the test's own table, by which a commit without an answer is found out."""
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
PATIENCE_SECONDS = 60
BURST = 20
ISOLATIONS = ("", "", "", "ISOLATION LEVEL REPEATABLE READ", "ISOLATION LEVEL SERIALIZABLE")


def now_us() -> int:
    """The clock that PostgreSQL on this machine reads too, µs since 1970."""
    return time.time_ns() // 1000


async def begin(connection: Connection, mark: str, lock_timeout: str, isolation: str = "") -> None:
    """Begin a transaction that can be found again by its mark; no `isolation` leaves the database's own."""
    await connection.execute(f"BEGIN {isolation}; SET LOCAL lock_timeout = '{lock_timeout}'")
    await connection.execute("INSERT INTO marks VALUES ($1::uuid, true)", mark)


async def committed(connection: Connection, mark: str) -> bool:
    """Whether a transaction was committed; waits for its end. From then on the answer is as durable as it gets.

    Our own row in its place would meet its index entry: it waits for the other's end, and keeps it from coming later.
    The second row makes this commit wait for the disk, and so all before it.
    """
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(
            "INSERT INTO marks SELECT id, false FROM unnest($1::uuid[]) id ON CONFLICT DO NOTHING",
            [UUID(mark), uuid4()],
        )
        return bool(await connection.fetchval("SELECT writer FROM marks WHERE id = $1::uuid", mark))


@dataclass
class Prepared:
    """A prepared transaction of ours: its mark is its name. `commit` once COMMIT PREPARED is sent."""

    mark: str
    draft: Draft
    backend_pid: int
    commit: Commit | None = None


@dataclass
class Writer:
    """One connection that writes until it is told to stop."""

    url: str
    ledger: Ledger
    random: random.Random
    stop: asyncio.Event
    kept: frozenset[str]
    """Sessions that are never purged."""
    longest_seconds: float = 4.0
    """For so long it keeps a transaction open at most."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while operators want no transaction kept open."""
    connection: Connection | None = None
    open_commits: list[tuple[str, Commit]] = field(default_factory=list)
    prepared: Prepared | None = None
    hasty: int = 0
    """So many transactions more follow one another without a pause."""

    async def run(self) -> None:
        """Write, mend, write."""
        while not self.stop.is_set():
            try:
                await self.transaction()
            except LOST:
                await self.mend()
            self.hasty = max(0, self.hasty - 1) or (BURST if self.random.random() < 0.01 else 0)
            await asyncio.sleep(0 if self.hasty else self.random.expovariate(20))
        await self.mend()
        if self.connection is not None:
            await self.connection.close(timeout=5)

    async def transaction(self) -> None:
        """One transaction of a few moves, with savepoints, perhaps held open, perhaps rolled back."""
        durable = self.random.random() < 0.8
        draft, connection, mark = Draft(), await self.connected(), str(uuid4())
        moves = Moves(connection, self.ledger, self.random, draft, self.kept)
        await begin(connection, mark, "2s", self.random.choice(ISOLATIONS))
        if durable:
            await moves.some()
        else:
            await connection.execute("SET LOCAL synchronous_commit TO off")
            await moves.insert()
        if self.random.random() < 0.06:
            await self.hold()
        ending = self.random.random()
        if ending < 0.1:
            await connection.execute("ROLLBACK")
        elif ending < 0.2 and durable:
            await self.prepare(connection, draft, mark)
        else:
            commit = self.ledger.send(draft, now_us(), mark, durable=durable)
            await self.commit(connection, commit, mark)

    async def begun(self, mark: str) -> Moves:
        """Begin a transaction of a draft of its own."""
        connection = await self.connected()
        await begin(connection, mark, "5s")
        return Moves(connection, self.ledger, self.random, Draft(), self.kept)

    async def commit(self, connection: Connection, commit: Commit, mark: str) -> None:
        """Send COMMIT, noted before and after, on the very connection that began."""
        self.open_commits.append((mark, commit))
        if await connection.execute("COMMIT") != "COMMIT":
            raise AssertionError("a COMMIT rolled back without a word")
        self.open_commits.pop()
        self.ledger.acknowledge(commit, now_us())

    async def prepare(self, connection: Connection, draft: Draft, mark: str) -> None:
        """PREPARE TRANSACTION, which a transaction that rang a bell may not; end it a while later."""
        self.prepared = Prepared(mark, draft, connection.get_server_pid())
        await connection.execute(f"PREPARE TRANSACTION '{mark}'")
        if self.random.random() < 0.5:
            await self.hold()
        await self.end_prepared(connection, self.prepared, keep=self.random.random() < 0.8)

    async def end_prepared(self, connection: Connection, prepared: Prepared, *, keep: bool) -> None:
        """Commit it, noted before and after, or roll it back. It is there until somebody does."""
        if not keep and prepared.commit is None:
            await connection.execute(f"ROLLBACK PREPARED '{prepared.mark}'")
            self.prepared = None
            return
        if prepared.commit is None:
            prepared.commit = self.ledger.send(prepared.draft, now_us(), prepared.mark)
        await connection.execute(f"COMMIT PREPARED '{prepared.mark}'")
        self.prepared = None
        self.ledger.prepared += 1
        self.ledger.acknowledge(prepared.commit, now_us())

    async def hold(self) -> None:
        """Leave a transaction open, as a slow application does."""
        over = time.monotonic() + self.random.uniform(0.2, self.longest_seconds)
        while time.monotonic() < over and not (self.stop.is_set() or self.hurry.is_set()):
            await wait(self.stop, min(0.1, over - time.monotonic()))

    async def connected(self) -> Connection:
        """The connection, made anew where it was lost."""
        if self.connection is None or self.connection.is_closed():
            self.connection = await asyncpg.connect(self.url, timeout=5, command_timeout=PATIENCE_SECONDS)
        return self.connection

    async def mend(self) -> None:
        """After an error: roll back, or connect again and find out how what was open ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    connection = await self.connected()
                    if connection.is_in_transaction():
                        await connection.execute("ROLLBACK")
                    if self.prepared is not None:
                        await self.find_prepared(connection, self.prepared)
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

    async def find_prepared(self, connection: Connection, prepared: Prepared) -> None:
        """End a prepared transaction of which an answer was lost, once its connection does nothing more to it."""

        async def is_idle() -> bool:
            return connection.get_server_pid() == prepared.backend_pid or not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND application_name = ''", prepared.backend_pid
            )

        await eventually(is_idle, "the lost connection has ended", PATIENCE_SECONDS)
        if await connection.fetchval("SELECT count(*) FROM pg_prepared_xacts WHERE gid = $1", prepared.mark):
            await self.end_prepared(connection, prepared, keep=True)
        elif prepared.commit is not None:
            self.ledger.settle(prepared.commit, now_us(), committed=True)
        self.prepared = None


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the end."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
