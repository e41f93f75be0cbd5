"""One term of one slice: begin, catch up, then live, until anything is in doubt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import structlog

from projector.catch_up import compare
from projector.config import ProjectorConfig
from projector.core.letters import Beat, Letters
from projector.core.sessions import Sessions
from projector.drift import DriftCheck
from projector.feed import FedSlice, Feed
from projector.jobs import Jobs
from projector.loads.loads import Loader
from projector.reads import Reads
from projector.requests import Requests
from projector.served_check import ServedCheck
from projector.shared_reads import StepReads
from projector.step import TermStep
from projector.telemetry import SliceTelemetry, Telemetry
from projector.view.committer import Committer
from projector.view.writer import ViewWriter
from projector.warmth import Warmth
from readmodel.runtime.supervise import first_to_end
from readmodel.view.reader import ViewReader

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SliceStores:
    """What the terms of one slice read and write; `warmth` knows which sessions to warm.

    The steps of several slices share their reads: `of_steps`.
    """

    index: int
    reads: Reads
    of_steps: StepReads
    view: ViewReader
    writer: ViewWriter
    jobs: Jobs
    warmth: Warmth

    @property
    def log_fields(self) -> dict[str, int]:
        """What the log says of the slice: its number, where there are several."""
        return {"slice": self.index} if self.view.keys.slices > 1 else {}


class Term:
    """An unbroken stretch of knowing. `run` begins it and returns only by raising what ended it."""

    def __init__(
        self,
        stores: SliceStores,
        feed: Feed,
        telemetry: Telemetry,
        here: SliceTelemetry,
        config: ProjectorConfig,
    ) -> None:
        self.id = uuid4().hex
        self.was_live = False
        self._stores = stores
        self._feed = feed
        self._telemetry = telemetry
        self._here = here
        self._config = config
        self._as_of_us: int | None = None
        self._continued = False
        self._recent: list[str] = []
        self._wake = asyncio.Event()
        self._fed: FedSlice
        view, reads, jobs = stores.view, stores.reads, stores.jobs
        self._loader = Loader(
            reads,
            stores.writer,
            self._wake,
            window_events=config.window_events,
            window_bytes=config.window_bytes,
            slices=config.slices,
        )
        self._sessions = self._table()
        self._requests = Requests(index=stores.index, term=self.id, sessions=self._sessions, jobs=jobs, view=view)
        self._drift = self._check()
        self._step = self._stepping()

    def _table(self) -> Sessions:
        """Build the table of sessions; each slice has its part of the places."""
        config, loader = self._config, self._loader
        most = -(-config.max_hot_sessions // config.slices)
        sessions = Sessions(config.hot_ttl_seconds, most, self._telemetry, loader.begin, self._stores.jobs.finish)
        loader.is_current = lambda load: sessions.load_of(load.session_id) is load
        return sessions

    def _check(self) -> DriftCheck:
        """Build the continuous check: all slices together are looked at as often as one would be."""
        stores, slices, seconds = self._stores, self._config.slices, self._config.drift_round_seconds
        return DriftCheck(
            view=stores.view,
            reads=stores.reads,
            sessions=self._sessions,
            served=ServedCheck(stores.view, stores.reads, self.id),
            wake=self._wake,
            as_of_us=lambda: self._as_of_us,
            telemetry=self._telemetry,
            every=(seconds * (stores.index + 1), seconds * slices),
        )

    def _stepping(self) -> TermStep:
        """Build what takes letters into the view."""
        stores, telemetry = self._stores, self._telemetry
        return TermStep(
            sessions=self._sessions,
            committer=Committer(stores.writer, self.id, tell=partial(telemetry.batch_waits, self._here)),
            reads=stores.of_steps,
            loader=self._loader,
            requests=self._requests,
            drift=self._drift,
            telemetry=telemetry,
        )

    async def run(self, begun: Callable[[], None] = lambda: None) -> None:
        """Begin, catch up and live; `begun` is called in between. Raises TermRefused, or a store's error."""
        self._telemetry.terms += 1
        aside = self._sessions.aside
        self._here.set_aside = lambda: aside  # it outlives the term, which must not
        self._here.state = "catching_up"
        index, jobs = self._stores.index, self._stores.jobs
        self._fed = self._feed.join(index, self._wake)
        try:
            await self._begin()
            begun()
            jobs.attach(index, self._wake)
            await first_to_end(self._loader.work(), self._go())
        finally:
            self._feed.leave(self._fed)
            jobs.detach(index)

    async def _go(self) -> None:
        await self._catch_up()
        self._fed.done()
        await first_to_end(self._step_for_ever(), self._drift.run(), self._find_recent())

    # Beginning.

    async def _begin(self) -> None:
        stores, feed = self._stores, self._feed
        seen = await stores.view.position()
        await feed.confirm_lead()
        expected = seen.term if seen else ""
        self._continued = await stores.writer.begin(self.id, expected, feed.database, feed.shape, feed.origin)
        self._here.term = self.id
        _log.info("a term began", term=self.id, **self._stores.log_fields)

    async def _catch_up(self) -> None:
        """Stamp what is equal, drop what is not. Letters wait meanwhile; as-of stays where it was."""
        stores, started = self._stores, time.monotonic()
        now_ms = await stores.view.now_us() // 1000
        active = dict(await stores.view.hot_sessions())
        reloading = 0
        async for comparison in compare(stores.view, stores.reads, list(active), continued=self._continued):
            for session_id, snapshot in comparison.equal.items():
                self._sessions.keep(session_id, max(0, now_ms - active[session_id]) / 1000, snapshot)
            for session_id in filter(self._is_ours, comparison.to_load):
                self._sessions.start(session_id)
            reloading += len(comparison.to_load)
            await self._step.commit(comparison.operations, set())
        self._telemetry.catch_ups += 1
        self._telemetry.sessions_reloaded += 0 if self._continued else reloading
        seconds = round(time.monotonic() - started, 3)
        _log.info("caught up", compared=len(active), reloading=reloading, seconds=seconds, **self._stores.log_fields)

    async def _find_recent(self) -> None:
        """Look for sessions to warm beside the steps, for all are read for it."""
        self._recent = await self._stores.warmth.recent(self._stores.index)
        self._wake.set()
        await asyncio.Event().wait()  # to return would end the term

    def _is_ours(self, session_id: str) -> bool:
        """Tell whether a session is in this slice: a view that was cut otherwise may list others."""
        return self._stores.jobs.index_of(session_id) == self._stores.index

    # Living.

    async def _step_for_ever(self) -> None:
        sweep_every = max(1.0, min(self._config.hot_ttl_seconds / 10, 30.0))
        next_sweep = time.monotonic() + sweep_every
        while True:
            await self._pause(next_sweep)
            letters, beat, shape = self._fed.take()
            if shape is not None:
                # Kept before the comparison: the view shows no row of a new partition yet, and what is gone is
                # compared anyhow.
                await self._stores.writer.reshape(self.id, shape)
            if letters.incomplete:
                await self._compare_again(letters)
            sweep = time.monotonic() >= next_sweep
            if sweep:
                next_sweep = time.monotonic() + sweep_every
            self._here.events_in_hand = letters.events
            recent, self._recent = self._recent, []
            await self._step.take(letters, beat, recent, sweep=sweep)
            self._here.events_in_hand = 0
            self._report(beat)
            self._fed.done()

    async def _pause(self, until: float) -> None:
        """Wait until there are letters, or something else is to be done."""
        while not self._has_work() and (seconds := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            self._wake.clear()

    def _has_work(self) -> bool:
        return bool(
            self._fed.has_some
            or self._loader.has_finished
            or self._requests.waiting
            or self._drift.has_found
            or self._recent
        )

    async def _compare_again(self, letters: Letters) -> None:
        """Writers skipped letters: have looked at whatever differs, and at what may have been read before this beat."""
        sessions = self._sessions
        letters.look([*sessions.begun_loads(), *sessions.aside])
        async for comparison in compare(self._stores.view, self._stores.reads, list(sessions.hot)):
            letters.look(comparison.operations.keys() - comparison.equal)
            statuses = {session_id for session_id in comparison.equal if len(comparison.operations[session_id]) > 1}
            letters.rows |= statuses

    def _report(self, beat: Beat | None) -> None:
        here = self._here
        here.hot_sessions, here.loading = len(self._sessions.hot), len(self._sessions.loading)
        if beat is None:
            return
        self._as_of_us = here.as_of_us = beat.as_of_us
        here.applied_at = time.monotonic()
        here.round_trip_us = int((here.applied_at - beat.sent_at) * 1_000_000)
        self._telemetry.note_beat(here.applied_at - beat.sent_at, self._config.heartbeat_seconds)
        if not self.was_live:
            self.was_live = True
            here.state, here.reason = "live", None
            _log.info(
                "live", term=self.id, hot_sessions=here.hot_sessions, loading=here.loading, **self._stores.log_fields
            )
