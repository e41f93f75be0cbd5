"""Reading letters when that is due, and beside it keeping the box: the lease, the bell, and the emptying."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from projector.core.household import keep_house
from projector.core.pace import Pace
from projector.core.skips import Skips
from projector.tail.letterbox import Letterbox, Reading
from readmodel.errors import DiskFull

SETTLING_SECONDS = 1.0
"""For so long we still look by ourselves when writers may ring again: some have read that they should not."""
SPACE_SECONDS = 5.0
"""Where the disk has no space to empty a table, the next try comes after so long: each leaves dead rows in pg_class."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Wake:
    """What wakes the leader: `event` for whatever there is to do, `rung` when it was the bell."""

    event: asyncio.Event
    rung: bool = False

    def ring(self) -> None:
        """The bell rang."""
        self.rung = True
        self.event.set()


class LetterReader:
    """Reads the letters of one term. Each method raises ReaderReplaced, EventLogUnavailable and the like."""

    def __init__(self, letterbox: Letterbox, pace: Pace, wake: Wake, heartbeat_seconds: float) -> None:
        self.letterbox = letterbox
        self.bytes = 0
        self.queue_usage = 0.0
        self.disk_full: str | None = None
        """Why tables cannot be emptied, while Postgres has no space left for that."""
        self.ringing = False
        """As writers were last told."""
        self._pace = pace
        self._wake = wake
        self._heartbeat_seconds = heartbeat_seconds
        self._skips = Skips()
        self._told_at = 0.0
        self._looked_at = 0.0
        self._next_beat = 0.0
        self._next_emptying = 0.0

    async def begin(self) -> int:
        """Become the reader; tell how many transactions under way may have skipped a letter."""
        self._skips.count = await self.letterbox.begin()
        self._skips.holders = await self.letterbox.holders()  # later than the counter was read
        await self.letterbox.begin_reading()
        return len(self._skips.holders)

    def due(self) -> float:
        """Tell when to read, by the monotonic clock: at the next beat, or before it.

        That is where the bell rang, or where nobody rings.
        """
        due = self._next_beat
        if not self.ringing or self._looked_at - self._told_at < SETTLING_SECONDS:
            due = min(due, self._looked_at + self._pace.look_seconds)
        if self._wake.rung and not self._pace.busy:  # under load nobody of ours rings
            due = min(due, self._pace.next_ring_at)
        return due

    async def read(self) -> Reading:
        """Read the letters; it is a beat when one is due."""
        started = time.monotonic()
        is_beat = started >= self._next_beat
        if is_beat:
            self._next_beat = started + self._heartbeat_seconds
        rung, self._wake.rung = self._wake.rung, False
        reading = await self.letterbox.read(beat=is_beat, busy=self._pace.busy)
        self._looked_at = time.monotonic()
        self._pace.note_reading(reading.count, self._looked_at, rung=rung and not is_beat)
        if self.ringing != self._pace.ringing(self._looked_at):
            await self._tell_writers()
        return reading

    async def in_doubt(self, proof: Reading) -> bool:
        """Tell whether writers may have skipped letters before this reading, so that the view must be compared."""
        count = proof.skips or ""
        return self._skips.in_doubt(count) and self._skips.note(count, await self.letterbox.holders())

    @property
    def knows_all(self) -> bool:
        """Whether letters tell all that the last reading's snapshot shows.

        Not while anybody is under way who may have skipped one: a commit is visible a moment before its locks go.
        """
        return not self._skips.holders

    async def keep_house(self) -> None:
        """Renew the lease each beat, and keep the tables of letters small, for ever.

        Beside the steps, so that the lease holds however long one takes.
        """
        while True:
            found = await self.letterbox.household()
            heaps, sizes = (tuple(map(int, found[name])) for name in ("heaps", "sizes"))
            self.queue_usage, self.bytes = found["queue_usage"], sum(sizes)
            self._pace.note_queue(self.queue_usage, found["waiting"], time.monotonic())
            house = keep_house(self.letterbox.turn, heaps, sizes, self.letterbox.max_bytes)
            if house.open != self.letterbox.open:
                self._say(is_open=house.open)
            self.letterbox.turn, self.letterbox.open = house.turn, house.open
            await self._tell_writers()
            await self._empty(house.emptying)
            await asyncio.sleep(self._heartbeat_seconds)

    async def _empty(self, places: Sequence[int]) -> None:
        """Empty tables; one that the disk has no space to empty stays as it is, and the term goes on."""
        if time.monotonic() < self._next_emptying:
            return
        try:
            if await self.letterbox.empty(places) or not places:
                self._note_disk(None)
        except DiskFull as full:
            self._next_emptying = time.monotonic() + SPACE_SECONDS
            self._note_disk(str(full))

    def _note_disk(self, full: str | None) -> None:
        if full is None and self.disk_full is not None:
            _log.info("letters are emptied again: the disk has space")
        if full is not None and self.disk_full is None:
            _log.warning(
                "the letters that were read cannot be emptied, since PostgreSQL has no space left on its disk: they "
                "stay, writers may fail, and we try again every few seconds",
                reason=full,
            )
        self.disk_full = full and (self.disk_full or full)  # each try names another file

    async def _tell_writers(self) -> None:
        now = time.monotonic()
        ringing = self._pace.ringing(now)
        if ringing != self.ringing:
            self.ringing, self._told_at = ringing, now
        await self.letterbox.renew(ring=ringing)

    def _say(self, *, is_open: bool) -> None:
        if is_open:
            _log.info("letters are written again")
            return
        why = "PostgreSQL's disk has no space" if self.disk_full else "a dump or an old transaction keeps them from us"
        _log.warning(
            "the letters take more than READSIDE_LETTERS_MAX_MB and cannot be emptied: none is written meanwhile, and "
            "the view is compared instead",
            why=why,
            bytes=self.bytes,
            bound=self.letterbox.max_bytes,
        )
