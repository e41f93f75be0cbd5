"""One term: begin, catch up, then live, until anything is in doubt."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import structlog

from projector.catch_up import compare
from projector.config import ProjectorConfig
from projector.core.letters import Beat, Letters
from projector.core.pace import Pace
from projector.core.sessions import Sessions
from projector.drift import DriftCheck
from projector.jobs import Jobs
from projector.loads.loads import Loader
from projector.reads import Reads
from projector.requests import Requests
from projector.served_check import ServedCheck
from projector.step import TermStep
from projector.tail.connection import Tail
from projector.tail.letterbox import Letterbox, ReaderReplaced, but_for_partitions, shape_of
from projector.tail.reader import LetterReader, Wake
from projector.telemetry import Telemetry
from projector.view.committer import Committer
from projector.view.writer import ViewWriter
from readmodel.errors import EventLogUnavailable, NotInstalled
from readmodel.supervise import first_to_end
from readmodel.view import ViewReader

ADOPTING_SECONDS = 30.0
"""A partition that is written to all the time may be locked at each try: each has its writers wait 0.1 s at most."""

_log = structlog.get_logger(__name__)


class TermEnded(Exception):
    """Something is in doubt; the sentence says what."""


@dataclass(frozen=True, slots=True)
class TermStores:
    """What a term reads and writes."""

    tail: Tail
    letterbox: Letterbox
    reads: Reads
    view: ViewReader
    writer: ViewWriter


def _table(
    stores: TermStores, jobs: Jobs, wake: Wake, telemetry: Telemetry, config: ProjectorConfig
) -> tuple[Sessions, Loader]:
    """Build the table of sessions, and what runs the loads that it begins."""
    window = {"window_events": config.window_events, "window_bytes": config.window_bytes}
    loader = Loader(stores.reads, stores.writer, wake.event, **window)
    sessions = Sessions(config.hot_ttl_seconds, config.max_hot_sessions, telemetry, loader.begin, jobs.finish)
    loader.is_current = lambda load: sessions.load_of(load.session_id) is load
    return sessions, loader


class Term:
    """An unbroken stretch of knowing. `run` begins it and returns only by raising what ended it."""

    def __init__(
        self, stores: TermStores, jobs: Jobs, wake: Wake, pace: Pace, telemetry: Telemetry, config: ProjectorConfig
    ) -> None:
        self.id = uuid4().hex
        self.was_live = False
        self._stores = stores
        self._jobs = jobs
        self._wake = wake
        self._telemetry = telemetry
        self._config = config
        self._as_of_us: int | None = None
        self._fingerprint = ""
        self._layouts: dict[str, str] = {}
        self._partitions_changed = asyncio.Event()
        self._continued = False
        self._recent: list[str] = []
        view, reads = stores.view, stores.reads
        sessions, self._loader = _table(stores, jobs, wake, telemetry, config)
        self._sessions = sessions
        self._requests = Requests(term=self.id, sessions=sessions, jobs=jobs, view=view, reads=reads)
        self._reader = LetterReader(stores.letterbox, pace, wake, config.heartbeat_seconds)
        self._drift = DriftCheck(
            view=view,
            reads=reads,
            sessions=sessions,
            served=ServedCheck(view, reads, self.id),
            wake=wake.event,
            as_of_us=lambda: self._as_of_us,
            telemetry=telemetry,
            round_seconds=config.drift_round_seconds,
        )
        self._step = TermStep(
            sessions=sessions,
            committer=Committer(stores.writer, self.id, tell=telemetry.batch_waits),
            reads=reads,
            loader=self._loader,
            requests=self._requests,
            drift=self._drift,
            telemetry=telemetry,
        )

    async def run(self) -> None:
        """Begin, catch up and live. Raises TermEnded, TermRefused, NotInstalled, or a store's error."""
        self._telemetry.terms += 1
        aside = self._sessions.aside
        self._telemetry.set_aside = lambda: aside  # it outlives the term, which must not
        self._telemetry.state = "catching_up"
        try:
            await self._begin()
            await first_to_end(self._reader.keep_house(), self._loader.work(), self._go())
        except ReaderReplaced as error:
            raise TermEnded(str(error)) from error
        finally:
            self._requests.fail_unfinished()

    async def _go(self) -> None:
        await self._catch_up()
        await first_to_end(self._step_for_ever(), self._drift.run(), self._find_recent(), self._adopt_partitions())

    # Beginning.

    async def _begin(self) -> None:
        stores = self._stores
        # Before the triggers are judged and anything is read: a change shows later.
        await self._look_at_triggers()
        self._layouts = await stores.letterbox.layouts()
        await stores.reads.check_rights()  # nothing else reads the tables where the view is empty: it would be live
        holders = await self._reader.begin()  # before others hear of the term: what they read from then on is told of
        seen = await stores.view.position()
        await stores.tail.value("SELECT 1")  # the lock was ours when the position was read: who began since is refused
        database = stores.tail.server.database
        self._continued = await stores.writer.begin(
            self.id, seen.term if seen else "", database, shape_of(self._fingerprint, self._layouts)
        )
        self._telemetry.term = self.id
        _log.info("a term began", term=self.id, may_have_skipped=holders)

    async def _look_at_triggers(self) -> None:
        """Take the fingerprint, then judge the triggers; those that were enabled anew are made to fire always again.

        Nothing was read of this term yet: what was written while they were disabled will be compared.
        """
        stores, schema = self._stores, self._config.schema
        self._fingerprint = await stores.letterbox.fingerprint()
        wrong = await stores.reads.inspect_triggers(schema)
        if wrong and await stores.reads.fire_always(schema):
            _log.warning("triggers of ours that fired as ordinary ones do fire always again", found=wrong)
            self._telemetry.note_error(f"Mended, so that they fire always again: {wrong}")
            self._fingerprint = await stores.letterbox.fingerprint()
            wrong = await stores.reads.inspect_triggers(schema)
        if wrong:
            raise NotInstalled(wrong)

    async def _catch_up(self) -> None:
        """Stamp what is equal, drop what is not. Letters wait in their box; as-of stays where it was."""
        stores, started = self._stores, time.monotonic()
        now_ms = await stores.view.now_us() // 1000
        active = dict(await stores.view.hot_sessions())
        reloading = 0
        async for comparison in compare(stores.view, stores.reads, list(active), continued=self._continued):
            for session_id, snapshot in comparison.equal.items():
                self._sessions.keep(session_id, max(0, now_ms - active[session_id]) / 1000, snapshot)
            for session_id in comparison.to_load:
                self._sessions.start(session_id)
            reloading += len(comparison.to_load)
            await self._step.commit(comparison.operations, set())
        self._telemetry.catch_ups += 1
        self._telemetry.sessions_reloaded += 0 if self._continued else reloading
        _log.info("caught up", compared=len(active), reloading=reloading, seconds=round(time.monotonic() - started, 3))

    async def _find_recent(self) -> None:
        """Look for sessions to warm beside the steps, for all are read for it; it is a hint, and may fail."""
        try:
            self._recent = await self._stores.reads.recent(self._config.warm_limit)
        except EventLogUnavailable as error:
            _log.warning("no recent sessions are warmed", error=str(error))
        self._wake.event.set()
        await asyncio.Event().wait()  # to return would end the term

    async def _adopt_partitions(self) -> None:
        """Have new partitions told of by statement, beside the steps: until then they are told of row by row."""
        while self._stores.reads.tables.partitioned:
            self._partitions_changed.clear()
            left = await self._stores.reads.adopt_partitions(self._config.schema)
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPTING_SECONDS if left else None):
                    await self._partitions_changed.wait()
        await asyncio.Event().wait()  # to return would end the term

    # Living.

    async def _step_for_ever(self) -> None:
        sweep_every = max(1.0, min(self._config.hot_ttl_seconds / 10, 30.0))
        next_sweep = time.monotonic() + sweep_every
        while True:
            await self._pause()
            is_due = time.monotonic() >= self._reader.due()
            letters, beat = await self._read() if is_due else (Letters(), None)
            sweep = time.monotonic() >= next_sweep
            if sweep:
                next_sweep = time.monotonic() + sweep_every
            self._telemetry.events_in_hand = letters.events
            recent, self._recent = self._recent, []
            await self._step.take(letters, beat, recent, sweep=sweep)
            self._telemetry.events_in_hand = 0
            self._report(beat)

    async def _pause(self) -> None:
        """Wait until a reading is due, or something else is to be done."""
        while not self._has_work():
            seconds = self._reader.due() - time.monotonic()
            if seconds <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.event.wait()
            self._wake.event.clear()

    def _has_work(self) -> bool:
        return bool(
            self._loader.has_finished
            or self._jobs.has_requests
            or self._requests.unfinished
            or self._drift.has_found
            or self._recent
        )

    async def _read(self) -> tuple[Letters, Beat | None]:
        """Read the letters; a beat proves that they tell of everything committed before its as-of."""
        reading = await self._reader.read()
        self._telemetry.readings += 1
        self._telemetry.letters += reading.count
        if reading.letters.ended:
            raise TermEnded(reading.letters.ended)
        if reading.fingerprint is None:
            return reading.letters, None
        changed = reading.fingerprint != self._fingerprint
        if changed:
            await self._judge_change(reading.fingerprint)
        if await self._reader.in_doubt(reading) or changed:
            await self._compare_again(reading.letters)
        return reading.letters, Beat(reading.as_of_us, reading.sent_at, reading.wal or "")

    async def _judge_change(self, fingerprint: str) -> None:
        """Go on where only partitions changed, so that to compare shows all that came, went or was missed.

        Raises TermEnded for any other change: of what rows read as, or of what we would be told.
        """
        if shape_of(fingerprint) != shape_of(self._fingerprint):
            raise TermEnded("what rows read as was changed")
        if but_for_partitions(fingerprint) != but_for_partitions(self._fingerprint):
            raise TermEnded("the triggers were changed")
        if wrong := await self._stores.reads.inspect_triggers(self._config.schema):
            raise TermEnded(wrong.rstrip("."))
        layouts = await self._stores.letterbox.layouts()
        if any(self._layouts.get(part, layout) != layout for part, layout in layouts.items()):
            raise TermEnded("what rows read as was changed")
        # Kept before the comparison: the view shows no row of a new partition yet, and what is gone is compared anyhow.
        await self._stores.writer.reshape(self.id, shape_of(fingerprint, layouts))
        _log.info("partitions changed, and the view is compared", partitions=len(layouts))
        self._fingerprint = fingerprint
        self._layouts |= layouts
        self._partitions_changed.set()

    async def _compare_again(self, letters: Letters) -> None:
        """Writers skipped letters: have looked at whatever differs, and at what may have been read before this beat."""
        self._telemetry.comparisons += 1
        sessions = self._sessions
        letters.incomplete = True
        letters.look([*sessions.begun_loads(), *sessions.aside])
        async for comparison in compare(self._stores.view, self._stores.reads, list(sessions.hot)):
            letters.look(comparison.operations.keys() - comparison.equal)
            statuses = {session_id for session_id in comparison.equal if len(comparison.operations[session_id]) > 1}
            letters.rows |= statuses

    def _report(self, beat: Beat | None) -> None:
        telemetry = self._telemetry
        telemetry.hot_sessions, telemetry.loading = len(self._sessions.hot), len(self._sessions.loading)
        reader = self._reader
        telemetry.queue_usage, telemetry.letters_bytes, telemetry.ringing = (
            reader.queue_usage,
            reader.bytes,
            reader.ringing,
        )
        telemetry.letters_open = reader.letterbox.open
        if reader.disk_full and not telemetry.letters_disk_full:
            telemetry.note_error(reader.disk_full)
        telemetry.letters_disk_full = reader.disk_full
        if beat is None:
            return
        self._as_of_us = telemetry.as_of_us = beat.as_of_us
        telemetry.applied_at = time.monotonic()
        telemetry.round_trip_us = int((telemetry.applied_at - beat.sent_at) * 1_000_000)
        telemetry.note_beat(telemetry.applied_at - beat.sent_at, self._config.heartbeat_seconds)
        if not self.was_live:
            self.was_live = True
            telemetry.state, telemetry.reason = "live", None
            _log.info("live", term=self.id, hot_sessions=telemetry.hot_sessions, loading=telemetry.loading)
