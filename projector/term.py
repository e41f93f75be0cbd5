"""One term: begin, catch up, then live, until anything is in doubt."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import uuid4

import structlog

from projector.catch_up import compare_all
from projector.config import ProjectorConfig
from projector.core.letters import Beat
from projector.core.sessions import Load, Sessions
from projector.drift import DriftCheck
from projector.jobs import Jobs
from projector.loads.loads import Loader
from projector.reads import Reads
from projector.requests import Requests
from projector.step import Step
from projector.tail.backlog import Backlog, HeardBeat
from projector.tail.connection import Tail
from projector.tail.heartbeat import Heartbeat, fingerprint
from projector.telemetry import Telemetry
from projector.view.committer import Committer
from projector.view.writer import ViewWriter
from readmodel.errors import EventLogUnavailable, NotInstalled
from readmodel.supervise import first_to_end
from readmodel.view import ViewReader

_log = structlog.get_logger(__name__)


class TermEnded(Exception):
    """Something is in doubt; the sentence says what."""


@dataclass(frozen=True, slots=True)
class TermStores:
    """What a term reads and writes."""

    tail: Tail
    reads: Reads
    view: ViewReader
    writer: ViewWriter


class Term:
    """An unbroken stretch of knowing. `run` begins it and returns only by raising what ended it."""

    def __init__(
        self, stores: TermStores, jobs: Jobs, wake: asyncio.Event, telemetry: Telemetry, config: ProjectorConfig
    ) -> None:
        self.id = uuid4().hex
        self.was_live = False
        self._stores = stores
        self._wake = wake
        self._telemetry = telemetry
        self._config = config
        self._as_of_us: int | None = None
        self._backlog = Backlog(self.id, wake)
        self._heartbeat = Heartbeat(stores.reads, self.id, config.heartbeat_seconds)
        window = {"window_events": config.window_events, "window_bytes": config.window_bytes}
        self._loader = Loader(stores.reads, stores.writer, wake, **window)
        self._sessions = Sessions(
            config.hot_ttl_seconds, config.max_hot_sessions, telemetry, self._loader.begin, jobs.finish
        )
        self._loader.is_current = self._is_current
        self._requests = Requests(
            term=self.id, sessions=self._sessions, jobs=jobs, view=stores.view, reads=stores.reads
        )
        self._drift = DriftCheck(
            view=stores.view,
            reads=stores.reads,
            sessions=self._sessions,
            telemetry=telemetry,
            wake=wake,
            as_of_us=lambda: self._as_of_us,
            round_seconds=config.drift_round_seconds,
        )
        self._step = Step(
            sessions=self._sessions,
            committer=Committer(stores.writer, self.id),
            reads=stores.reads,
            loader=self._loader,
            requests=self._requests,
            drift=self._drift,
            telemetry=telemetry,
        )
        self._events_in_hand = 0
        self._fingerprint = ""
        self._recent: list[str] = []

    def _is_current(self, load: Load) -> bool:
        return self._sessions.load_of(load.session_id) is load

    async def run(self) -> None:
        """Begin, catch up and live. Raises TermEnded, TermRefused, NotInstalled, or a store's error."""
        self._telemetry.terms += 1
        self._telemetry.events_waiting = lambda: self._backlog.events + self._events_in_hand
        aside = self._sessions.aside
        self._telemetry.set_aside = lambda: aside  # it outlives the term, which must not
        self._telemetry.state = "catching_up"
        self._stores.tail.hand_to(self._backlog.hear)
        try:
            await first_to_end(self._stores.tail.watch(), self._loader.work(), self._go())
        finally:
            self._requests.fail_unfinished()
            self._telemetry.notices_ignored += self._backlog.ignored
            self._telemetry.events_waiting = int

    async def _go(self) -> None:
        await self._begin()
        await self._catch_up()
        await first_to_end(self._heartbeat.beat(), self._step_for_ever(), self._drift.run(), self._find_recent())

    async def _begin(self) -> None:
        stores = self._stores
        self._fingerprint = await fingerprint(stores.reads)  # before the triggers are judged: a change shows later
        wrong = await stores.reads.inspect_triggers()
        if wrong:
            raise NotInstalled(wrong)
        seen = await stores.view.position()
        await stores.tail.prove()  # the lock was ours when the position was read: who began since is refused
        await stores.writer.begin(self.id, seen.term if seen else "", stores.tail.server.database)
        self._telemetry.term = self.id
        _log.info("a term began", term=self.id)

    async def _catch_up(self) -> None:
        """Stamp what is equal, drop what is not. Notices queue meanwhile; as-of stays where it was."""
        stores, started = self._stores, time.monotonic()
        now_ms = await stores.view.now_us() // 1000
        active = dict(await stores.view.hot_sessions())
        reloading = 0
        async for comparison in compare_all(stores.view, stores.reads):
            for session_id in comparison.equal:
                self._sessions.keep(session_id, max(0, now_ms - active.get(session_id, now_ms)) / 1000)
            for session_id in comparison.to_load:
                self._sessions.start(session_id)
            reloading += len(comparison.to_load)
            await self._step.commit(comparison.operations, set())
            self._check_backlog()
        self._telemetry.catch_ups += 1
        _log.info("caught up", compared=len(active), reloading=reloading, seconds=round(time.monotonic() - started, 3))

    async def _step_for_ever(self) -> None:
        self._wake.set()
        sweep_every = max(1.0, min(self._config.hot_ttl_seconds / 10, 30.0))
        next_sweep = time.monotonic() + sweep_every
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._check_backlog()
            notices = self._backlog.take()
            beat = self._accept(notices.beat)
            sweep = time.monotonic() >= next_sweep
            if sweep:
                next_sweep = time.monotonic() + sweep_every
            self._events_in_hand = notices.letters.events
            recent, self._recent = self._recent, []
            await self._step.take(notices.letters, beat, recent, sweep=sweep)
            self._events_in_hand = 0
            self._note_round_trips(notices.overtaken, beat)
            self._report(beat)
            if self._loader.has_finished or self._requests.unfinished:
                self._wake.set()

    async def _find_recent(self) -> None:
        """Look for sessions to warm beside the steps, for all are read for it; it is a hint, and may fail."""
        try:
            self._recent = await self._stores.reads.recent(self._config.warm_limit)
        except EventLogUnavailable as error:
            _log.warning("no recent sessions are warmed", error=str(error))
        self._wake.set()
        await asyncio.Event().wait()  # to return would end the term

    def _check_backlog(self) -> None:
        if self._backlog.ended:
            raise TermEnded(self._backlog.ended)

    def _accept(self, heard: HeardBeat | None) -> Beat | None:
        sent_at = self._heartbeat.returned(heard.nonce) if heard else None
        if heard is None or sent_at is None:
            return None
        if heard.fingerprint != self._fingerprint:
            raise TermEnded("the triggers were changed")
        return Beat(heard.as_of_us, sent_at)

    def _note_round_trips(self, overtaken: list[str], beat: Beat | None) -> None:
        now = time.monotonic()
        for set_out in (*map(self._heartbeat.returned, overtaken), beat.sent_at if beat else None):
            if set_out is not None:
                self._telemetry.round_trips.observe(now - set_out)

    def _report(self, beat: Beat | None) -> None:
        telemetry = self._telemetry
        telemetry.hot_sessions, telemetry.loading = len(self._sessions.hot), len(self._sessions.loading)
        telemetry.queue_usage = self._heartbeat.queue_usage
        if beat is None:
            return
        self._as_of_us = telemetry.as_of_us = beat.as_of_us
        telemetry.applied_at = time.monotonic()
        telemetry.round_trip_us = int((telemetry.applied_at - beat.sent_at) * 1_000_000)
        if not self.was_live:
            self.was_live = True
            telemetry.state, telemetry.reason = "live", None
            _log.info("live", term=self.id, hot_sessions=telemetry.hot_sessions, loading=telemetry.loading)
