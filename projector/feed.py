"""One unbroken reading of the letters, from which every slice of the view is fed its part.

What is in doubt here is in doubt for all slices: the feed ends, and with it the term of each.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog

from projector.config import ProjectorConfig
from projector.core.backlog import Backlog, Delivery
from projector.core.letters import Beat
from projector.core.pace import Pace
from projector.reads import Reads
from projector.tail.connection import Tail
from projector.tail.letterbox import Letterbox, Reading, but_for_partitions, shape_of
from projector.tail.reader import LetterReader, Wake
from projector.telemetry import Telemetry
from readmodel.errors import NotInstalled
from readmodel.runtime.supervise import first_to_end
from readmodel.values.offset import origin_of
from readmodel.view.slices import Slices

ADOPTING_SECONDS = 30.0
"""A partition that is written to all the time may be locked at each try: each has its writers wait 0.1 s at most."""
BEHIND_SECONDS = 0.02
"""A slice that works for so long on what it was fed is not waited for: the others are read for, and it catches up."""

_log = structlog.get_logger(__name__)


class TermEnded(Exception):
    """Something is in doubt; the sentence says what."""


class FedSlice:
    """What a slice that has begun a term is fed: a backlog, and `wake`, which is set when there is something in it.

    It says by `done` that what it took is applied.
    """

    def __init__(self, index: int, wake: asyncio.Event, applied: asyncio.Event) -> None:
        self.index = index
        self.since: float | None = None
        """The monotonic second since when something is in its hands."""
        self.follows = False
        """Whether it has caught up: before that nobody waits for it."""
        self._backlog = Backlog()
        self._wake = wake
        self._applied = applied

    def feed(self, delivery: Delivery) -> None:
        """Add a delivery."""
        self._backlog.put(delivery)
        if self.since is None:
            self.since = time.monotonic()
        self._wake.set()

    @property
    def has_some(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._backlog)

    def take(self) -> Delivery:
        """Hand over what was gathered since the last call."""
        return self._backlog.take()

    def done(self) -> None:
        """Note that what was taken is applied, or that the slice has caught up with what its term began with."""
        self.follows = True
        self.since = time.monotonic() if self._backlog else None
        self._applied.set()


class Feed:
    """Reads the letters of one lead, when that is due.

    Each method raises TermEnded, ReaderReplaced and Postgres' errors.
    """

    def __init__(
        self,
        tail: Tail,
        letterbox: Letterbox,
        reads: Reads,
        slices: Slices,
        pace: Pace,
        wake: Wake,
        telemetry: Telemetry,
        config: ProjectorConfig,
    ) -> None:
        self.origin = ""
        """Of which history the offsets of streams are."""
        self._fingerprint = ""
        self._layouts: dict[str, str] = {}
        self._layouts_seen: dict[str, str] = {}  # of partitions that are gone too: they may come back as something else
        self._tail = tail
        self._letterbox = letterbox
        self._reads = reads
        self._slices = slices
        self._wake = wake
        self._telemetry = telemetry
        self._schema = config.schema
        self._reader = LetterReader(letterbox, pace, wake, config.heartbeat_seconds)
        self._fed: dict[int, FedSlice] = {}
        self._applied = asyncio.Event()
        self._partitions_changed = asyncio.Event()

    @property
    def database(self) -> str:
        """The identity of the database that is read."""
        return self._tail.server.database

    @property
    def shape(self) -> str:
        """By what name rows read as they do now."""
        return shape_of(self._fingerprint, self._layouts)

    # Beginning.

    async def begin(self) -> None:
        """Judge the triggers and the rights, and become the reader: before anything is read that is told of later."""
        # Before the triggers are judged and anything is read: a change shows later.
        await self._look_at_triggers()
        self._layouts = self._layouts_seen = await self._letterbox.layouts()
        await self._reads.check_rights()  # nothing else reads the tables where the view is empty: it would be live
        self.origin = origin_of(self.database, await self._letterbox.incarnation())
        holders = await self._reader.begin()
        _log.info("letters are read", may_have_skipped=holders)

    async def _look_at_triggers(self) -> None:
        """Take the fingerprint, then judge the triggers; those that were enabled anew are made to fire always again.

        Nothing was read of this term yet: what was written while they were disabled will be compared.
        """
        reads, schema = self._reads, self._schema
        self._fingerprint = await self._letterbox.fingerprint()
        wrong = await reads.inspect_triggers(schema)
        if wrong and await reads.fire_always(schema):
            _log.warning("triggers of ours that fired as ordinary ones do fire always again", found=wrong)
            self._telemetry.note_error(f"Mended, so that they fire always again: {wrong}")
            self._fingerprint = await self._letterbox.fingerprint()
            wrong = await reads.inspect_triggers(schema)
        if wrong:
            raise NotInstalled(wrong)

    def join(self, index: int, wake: asyncio.Event) -> FedSlice:
        """Feed a slice from the next reading on: what it reads from now on, it is told of."""
        self._fed[index] = fed = FedSlice(index, wake, self._applied)
        return fed

    def leave(self, fed: FedSlice) -> None:
        """Feed a slice no more."""
        if self._fed.get(fed.index) is fed:
            del self._fed[fed.index]
        self._applied.set()

    async def confirm_lead(self) -> None:
        """Prove that the lead is ours still: who began a term since it was read where the view is, is refused."""
        await self._tail.value("SELECT 1")

    # Reading.

    async def run(self) -> None:
        """Read letters and feed the slices, for ever."""
        await first_to_end(self._reader.keep_house(), self._read_for_ever(), self._adopt_partitions())

    async def _read_for_ever(self) -> None:
        while True:
            await self._due()
            await self._kept_up()
            reading = await self._reader.read()
            self._telemetry.readings += 1
            self._telemetry.letters += reading.count
            self._deliver(await self._judged(reading))
            self._report()

    async def _due(self) -> None:
        """Wait until a reading is due: one may become so when the bell rings."""
        while (seconds := self._reader.due() - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.event.wait()
            self._wake.event.clear()

    async def _kept_up(self) -> None:
        """Wait until a slice has nothing in its hands, and none has but those that are behind."""
        while True:
            following = [fed.since for fed in self._fed.values() if fed.follows]
            busy = [since for since in following if since is not None]
            patience = max(busy) + BEHIND_SECONDS - time.monotonic() if busy else 0.0
            is_one_idle = len(busy) < len(following)
            if is_one_idle and patience <= 0:
                return
            self._applied.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience if is_one_idle else None):
                    await self._applied.wait()

    async def _judged(self, reading: Reading) -> Delivery:
        """Make of a reading what is delivered; a beat proves that it tells of everything committed before its as-of."""
        letters = reading.letters
        if letters.ended:
            raise TermEnded(letters.ended)
        if reading.fingerprint is None:
            return Delivery(letters)
        changed = reading.fingerprint != self._fingerprint
        if changed:
            await self._judge_change(reading.fingerprint)
        if await self._reader.in_doubt(reading) or changed:
            self._telemetry.comparisons += 1
            letters.incomplete = True
        letters.is_exact = self._reader.knows_all
        return Delivery(
            letters, Beat(reading.as_of_us, reading.sent_at, reading.wal or ""), self.shape if changed else None
        )

    async def _judge_change(self, fingerprint: str) -> None:
        """Go on where only partitions changed, so that to compare shows all that came, went or was missed.

        Raises TermEnded for any other change: of what rows read as, or of what we would be told.
        """
        if shape_of(fingerprint) != shape_of(self._fingerprint):
            raise TermEnded("what rows read as was changed")
        if but_for_partitions(fingerprint) != but_for_partitions(self._fingerprint):
            raise TermEnded("the triggers were changed")
        if wrong := await self._reads.inspect_triggers(self._schema):
            raise TermEnded(wrong.rstrip("."))
        layouts = await self._letterbox.layouts()
        if any(self._layouts_seen.get(part, layout) != layout for part, layout in layouts.items()):
            raise TermEnded("what rows read as was changed")
        _log.info("partitions changed, and the view is compared", partitions=len(layouts))
        self._fingerprint = fingerprint
        self._layouts = layouts
        self._layouts_seen = self._layouts_seen | layouts
        self._partitions_changed.set()

    def _deliver(self, delivery: Delivery) -> None:
        """Feed each slice its part; of a beat all have one."""
        letters, beat, shape = delivery
        if self._slices.count == 1:
            parts = {0: letters} if letters or beat else {}
        else:
            parts = letters.split(self._slices.index_of)
        for index, fed in list(self._fed.items()):
            part = parts.get(index)
            if part is None:
                if beat is None and not letters.incomplete:
                    continue
                part = letters.none()
            part.incomplete = letters.incomplete
            fed.feed(Delivery(part, beat, shape))

    async def _adopt_partitions(self) -> None:
        """Have new partitions told of by statement, beside the readings: until then they are told of row by row."""
        while self._reads.tables.partitioned:
            self._partitions_changed.clear()
            left = await self._reads.adopt_partitions(self._schema)
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPTING_SECONDS if left else None):
                    await self._partitions_changed.wait()
        await asyncio.Event().wait()  # to return would end the terms

    def _report(self) -> None:
        telemetry, reader = self._telemetry, self._reader
        telemetry.queue_usage, telemetry.letters_bytes = reader.queue_usage, reader.bytes
        telemetry.ringing, telemetry.letters_open = reader.ringing, self._letterbox.open
        if reader.disk_full and not telemetry.letters_disk_full:
            telemetry.note_error(reader.disk_full)
        telemetry.letters_disk_full = reader.disk_full
