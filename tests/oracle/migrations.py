"""Migrations of the owners: another column takes a name, or values are computed anew. No trigger sees any of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from tests.oracle.histories import Event
from tests.oracle.ledger import Draft
from tests.oracle.moves import Moves
from tests.oracle.site import Fault, Site
from tests.oracle.writers import Writer, begin, now_us

Change = Callable[[Event], Event]
TRIES = 8
"""A migration gives way to writers, and is tried again: an old transaction may be in its way."""
PUT_ASIDE = (
    "ALTER TABLE events RENAME COLUMN message TO legacy_message",
    "ALTER TABLE events ADD COLUMN message text DEFAULT 'migrated'",
)
PUT_BACK = (
    "ALTER TABLE events DROP COLUMN message",
    "ALTER TABLE events RENAME COLUMN legacy_message TO message",
)


def put_aside(event: Event) -> Event:
    """Every row that is there reads as the new column's default."""
    return replace(event, message="migrated", legacy=event.message)


def put_back(event: Event) -> Event:
    """Rows written meanwhile have nothing in the old column."""
    return replace(event, message=event.legacy, legacy=None)


def shouted(message: str | None) -> str | None:
    """As SQL does it: left(message || '!', 400)."""
    return None if message is None else f"{message}!"[:400]


@dataclass
class Migrations:
    """What owners do to the columns of events."""

    site: Site
    is_aside: bool = False
    number: int = 0

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("migration: another column", self.other_column, 3),
            Fault("migration: there and back", self.there_and_back, 2),
            Fault("migration: computed anew", self.compute, 3),
        ]

    async def other_column(self) -> None:
        """Another column takes the name, or the old one takes it back. No row is touched."""
        statements, change = (PUT_BACK, put_back) if self.is_aside else (PUT_ASIDE, put_aside)
        if await self._migrate(statements, change):
            self.is_aside = not self.is_aside

    async def there_and_back(self) -> None:
        """Between two beats, at times, with events that are written and read meanwhile."""
        await self.other_column()
        async with self.site.writer() as writer:
            connection, mark, draft = await writer.connected(), str(uuid4()), Draft()
            await begin(connection, mark, "1s")
            moves = Moves(connection, self.site.ledger, self.site.random, draft, self.site.kept)
            await moves.write(moves.events(min(self.site.kept), 2))
            await writer.commit(connection, self.site.ledger.send(draft, now_us(), mark), mark)
        await self.site.pause(0.4)
        await self.other_column()

    async def compute(self) -> None:
        """ALTER TYPE … USING: the table is written anew."""
        self.number += 1
        number = self.number
        if self.site.random.random() < 0.5:
            using = f"ALTER TABLE events ALTER COLUMN event_data TYPE jsonb USING event_data || '{{\"m\": {number}}}'"
            await self._migrate([using], lambda event: replace(event, data={**event.data, "m": number}))
            return
        using = "ALTER TABLE events ALTER COLUMN message TYPE text USING left(message || '!', 400)"
        await self._migrate([using], lambda event: replace(event, message=shouted(event.message)))

    async def _migrate(self, statements: Sequence[str], change: Change) -> bool:
        """Run a migration in one transaction; tells whether it was committed."""
        before = len(self.site.ledger.migrations)
        try:
            for _ in range(TRIES):
                if self.site.stop.is_set():
                    break
                async with self.site.writer() as writer:
                    await self._try(writer, statements, change)
                if len(self.site.ledger.migrations) > before:
                    return True
                self.site.hurry.set()
                await self.site.pause(1)
        finally:
            self.site.hurry.clear()
        self.site.report.tell("the migration gave way")
        return False

    async def _try(self, writer: Writer, statements: Sequence[str], change: Change) -> None:
        connection, mark = await writer.connected(), str(uuid4())
        await begin(connection, mark, "1s")
        for statement in statements:
            await connection.execute(statement)
        await writer.commit(connection, self.site.ledger.migrate(change, now_us()), mark)
