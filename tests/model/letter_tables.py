"""What is installed in the simulated Postgres: tables of letters, sequences, and what statements do to them.

Which rules a statement keeps is read off its text, the project's own: a rule that is not in it is not kept here either.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from projector.tail.sql import statement
from tests.model.transactions import Change, Letter, Snapshot, Transaction

if TYPE_CHECKING:
    from tests.model.postgres import Postgres

HEAP_BYTES = 100
INDEXED_BYTES = 150
"""Bytes of a letter in its table, and with its index."""
PLACES = (0, 1, 2)
_BRANCH = re.compile(r"letters_(\d) WHERE txid (>= pg_snapshot_xmax|= ANY \(ARRAY\(SELECT pg_snapshot_xip)")
_STEPS = {
    "lock": "'LOCK TABLE",
    "in use": "(presence >> 1) & 3 = turn",
    "reader": '(SELECT last_value FROM "{schema}".reader) <> me',
    "later": "txid >= pg_snapshot_xmax($1)",
    "running": "txid = ANY (ARRAY(SELECT pg_snapshot_xip($1)))",
    "truncate": "'TRUNCATE",
}
"""The steps of empty_letters, and the words that show each."""


class LetterTable:
    """One table of letters. What was rolled back is dead, and takes its place until the table is emptied."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.written = 0
        self.is_locked = False
        self.is_read = False
        """Somebody else, a dump say, holds a weak lock."""


class LetterTables:
    """All of it. The sequences are seen by everybody at once: `presence` (None: never set), `skips`, `reader`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.tables = [LetterTable() for _ in PLACES]
        self.clock_ahead_ms = 0
        self.presence: int | None = None
        self.skips = (1, False)
        self.reader = 0
        self.counts: Counter[str] = Counter()
        self._emptying = statement("triggers")

    def crash(self) -> None:
        """Begin anew: all of it is unlogged."""
        for table in self.tables:
            table.letters.clear()
            table.written = 0
        self.presence, self.skips, self.reader = None, (1, False), 0

    def clock_ms(self) -> int:
        """The server's clock as leases go by it; it may be set."""
        return self._postgres.now_us() // 1000 + self.clock_ahead_ms

    # A writer's side.

    async def write(
        self,
        transaction: Transaction,
        changes: Iterable[Change],
        said: Iterable[tuple[str, str | None, str | None]],
        gap: float,
    ) -> None:
        """Run a statement and its trigger; the gap lies between reading presence and what follows from it."""
        transaction.check()
        txid = self._postgres.assign_id(transaction)
        transaction.changes += changes
        if not self._postgres.triggers_enabled:
            return
        await asyncio.sleep(gap / 4)
        presence = self.presence
        is_read = presence is not None and presence >= self.clock_ms() * 8
        await asyncio.sleep(gap)
        transaction.check()
        if presence is None or not is_read:
            transaction.skipped = True
            self.skips = (self.skips[0] + self.skips[1], True)
            self.counts["skipped"] += 1
            return
        place = min((presence >> 1) & 3, 2)
        table = self.tables[place]
        while table.is_locked:  # noqa: ASYNC110 (for the moment in which it is emptied)
            await asyncio.sleep(0.0005)
        transaction.check()
        letters = [Letter(txid, *one) for one in said]
        table.letters += letters
        table.written += len(letters)
        transaction.letters += [(place, letter) for letter in letters]
        transaction.boxes.add(place)
        transaction.rings = transaction.rings or bool(presence & 1)

    def forget(self, letters: Iterable[tuple[int, Letter]]) -> None:
        """Roll letters back."""
        for place, letter in letters:
            if letter in self.tables[place].letters:
                self.tables[place].letters.remove(letter)

    # The leader's side.

    def unread(self, sql: str, snapshot: Snapshot) -> list[Letter]:
        """The letters that a reading's statement finds now, by the branches that it has."""
        branches = set(_BRANCH.findall(sql))
        return [
            letter
            for place, table in enumerate(self.tables)
            for letter in table.letters
            if self._postgres.is_visible(letter.txid)
            and (
                ((str(place), ">= pg_snapshot_xmax") in branches and letter.txid >= snapshot.xmax)
                or ((str(place), "= ANY (ARRAY(SELECT pg_snapshot_xip") in branches and letter.txid in snapshot.running)
            )
        ]

    def holders(self, sql: str) -> list[str]:
        """List who holds the mark of a skipped letter, and prepared transactions where the statement asks for them."""
        under_way = self._postgres.transactions
        marked = [one.virtual for one in under_way if one.skipped]
        prepared = [f"prepared {one.id}" for one in under_way if one.prepared]
        return sorted({*marked, *(prepared if "pg_prepared_xacts" in sql else ())})

    def renew(self, sql: str, me: int, turn: int, ring: int, lease_ms: int) -> int | None:
        """Set presence, unless another reads."""
        if 'WHERE (SELECT last_value FROM "readside".reader) = $1' in sql and self.reader != me:
            return None
        self.counts["nobody reads"] += not lease_ms
        self.presence = (self.clock_ms() + lease_ms if lease_ms else 0) * 8 + turn * 2 + ring
        return self.presence

    async def empty(self, place: int, me: int, seen: Snapshot) -> bool:
        """Run empty_letters, step by step as its text has them."""
        table = self.tables[place]
        text = self._emptying[self._emptying.index("empty_letters(turn") :]
        steps = sorted((text.index(words), step) for step, words in _STEPS.items() if words in text)
        locked = False
        try:
            for _, step in steps:
                if step == "lock" and not (locked := self._take_lock(table, place)):
                    return False
                if step == "truncate":
                    locked = locked or await self._wait_for_lock(table, place)
                    if not locked:
                        return False
                    self.counts["emptied"] += table.written > 0
                    table.letters.clear()
                    table.written = 0
                elif self._refuses(step, place, me, seen):
                    return False
                await self._postgres.pause(0.0005)
        finally:
            table.is_locked = table.is_locked and not locked
        return True

    async def _wait_for_lock(self, table: LetterTable, place: int) -> bool:
        """Lock as TRUNCATE does, which has no NOWAIT: until lock_timeout ends it."""
        for _ in range(250):
            if self._take_lock(table, place):
                return True
            await asyncio.sleep(0.002)
        return False

    def _take_lock(self, table: LetterTable, place: int) -> bool:
        others = any(place in transaction.boxes for transaction in self._postgres.transactions)
        if others or table.is_locked or table.is_read:
            return False
        table.is_locked = True
        return True

    def _refuses(self, step: str, place: int, me: int, seen: Snapshot) -> bool:
        visible = [letter for letter in self.tables[place].letters if self._postgres.is_visible(letter.txid)]
        match step:
            case "in use":
                return self.presence is None or (self.presence >> 1) & 3 == place
            case "reader":
                return self.reader != me
            case "later":
                return any(letter.txid >= seen.xmax for letter in visible)
            case "running":
                return any(letter.txid in seen.running for letter in visible)
        return False

    def sizes(self, letter_bytes: int, places: Collection[int] = PLACES) -> Sequence[int]:
        """The bytes of each table."""
        return [self.tables[place].written * letter_bytes for place in places]
