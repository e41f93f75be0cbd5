"""Who writes to the followed session, in every way that a write side has, and what must hold for who follows it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from readmodel.values.offset import parse_offset
from tests.support.followers import START, Followed
from tests.support.servers import connected

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), $1::uuid, $4, '{"n": 1}', now() - $3::float8 * interval '1 s' + n * interval '1 us'
FROM generate_series(1, $2::int) n
RETURNING id::text
"""


@dataclass
class Scribe:
    """Writes to one session; `ids` are the events that were committed, in the order of the commits."""

    database_url: str
    session_id: str
    ids: list[str] = field(default_factory=list)

    async def burst(self, count: int, ago_seconds: float = 0, event_type: str = "step_created") -> None:
        """Commit so many events at once; their timestamps may be those of some time ago."""
        async with connected(self.database_url) as connection:
            self.ids += await self._insert(connection, count, ago_seconds, event_type)

    async def singly(self, count: int) -> None:
        """Commit so many events one after the other, as fast as that goes."""
        async with connected(self.database_url) as connection:
            for _ in range(count):
                self.ids += await self._insert(connection, 1)

    async def with_savepoints(self) -> None:
        """Commit events of three savepoints, two of them within each other; what a fourth wrote is rolled back."""
        async with self.still_open():
            pass

    @asynccontextmanager
    async def still_open(self, ago_seconds: float = 1) -> AsyncIterator[None]:
        """A transaction that is open for as long as the block lasts, and wrote before it; it has savepoints."""
        async with connected(self.database_url) as connection:
            async with connection.transaction():
                written = await self._insert(connection, 1, ago_seconds)
                async with connection.transaction():
                    written += await self._insert(connection, 2, ago_seconds)
                    async with connection.transaction():
                        written += await self._insert(connection, 2, ago_seconds)
                withdrawn = connection.transaction()
                await withdrawn.start()
                await self._insert(connection, 2, ago_seconds)
                await withdrawn.rollback()
                yield
                async with connection.transaction():
                    written += await self._insert(connection, 1, ago_seconds)
            self.ids += written

    async def _insert(
        self, connection: "Connection", count: int, ago_seconds: float = 0, event_type: str = "step_created"
    ) -> list[str]:
        rows = await connection.fetch(INSERT, self.session_id, count, ago_seconds, event_type)
        return [row["id"] for row in rows]


async def each_once(followers: Sequence[Followed], wanted: Sequence[str]) -> None:
    """Check that each follower was given each of these events once, and no other; and that offsets never went back."""
    for seen in followers:
        assert sorted(seen.ids) == sorted(wanted), seen.name
        offsets = [delivery.offset for delivery in seen.deliveries]
        assert offsets == sorted(offsets), seen.name


async def explained(database_url: str, followers: Sequence[Followed]) -> int:
    """Check of each event that came again that it had to; give how many came.

    The offset behind which it came is a cut into open transactions, and the event's row is of a transaction that is not
    older than the oldest of them: a savepoint's, of which a cut can't tell whether it shows it.
    """
    async with connected(database_url) as connection:
        rows = await connection.fetch("SELECT id::text, xmin::text::bigint AS xmin FROM events")
    written = {row["id"]: row["xmin"] for row in rows}
    repeats = [(seen, *repeat) for seen in followers for repeat in seen.again()]
    for seen, event_id, behind in repeats:
        assert behind != START, seen.name
        cut = parse_offset(behind).cut
        assert cut.running, (seen.name, event_id, behind)
        assert cut.xmin <= written[event_id] < cut.xmax, (seen.name, event_id, behind)
    return len(repeats)
