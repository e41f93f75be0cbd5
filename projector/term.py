"""One term: begin, catch up, then live, until anything is in doubt."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import uuid4

import structlog

from projector.catch_up import compare_all
from projector.config import ProjectorConfig
from projector.core.backlog import Backlog, Beat
from projector.core.hot import HotSessions
from projector.drift import DriftCheck
from projector.jobs import Jobs
from projector.live import Live
from projector.loads.loads import Loads
from projector.reads import Reads
from projector.requests import Requests
from projector.served_check import ServedCheck
from projector.tail.connection import Tail
from projector.tail.heartbeat import Heartbeat, fingerprint
from projector.telemetry import Telemetry
from projector.view.committer import Committer, Operations
from projector.view.writer import ViewWriter
from readmodel.errors import EventLogUnavailable, NotInstalled, ViewUnavailable
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
        self._backlog = Backlog(self.id, wake)
        self._heartbeat = Heartbeat(stores.reads, self.id, config.heartbeat_seconds)
        self._hot = HotSessions(config.hot_ttl_seconds, config.max_hot_sessions)
        window = {"window_events": config.window_events, "window_bytes": config.window_bytes}
        self._loads = Loads(stores.reads, stores.writer, wake, **window)
        self._requests = Requests(
            term=self.id,
            hot=self._hot,
            loads=self._loads,
            jobs=jobs,
            view=stores.view,
            reads=stores.reads,
            telemetry=telemetry,
        )
        self._drift = DriftCheck(
            view=stores.view,
            reads=stores.reads,
            hot=self._hot,
            telemetry=telemetry,
            served=ServedCheck(stores.view, stores.reads, self.id),
            wake=wake,
        )
        self._live = Live(
            committer=Committer(stores.writer, self.id, tell=self._batch_waits),
            reads=stores.reads,
            hot=self._hot,
            loads=self._loads,
            jobs=jobs,
            requests=self._requests,
            drift=self._drift,
            telemetry=telemetry,
        )
        self._events_in_hand = 0
        self._fingerprint = ""
        self._recent: list[str] = []

    async def run(self) -> None:
        """Begin, catch up and live. Raises TermEnded, TermRefused, NotInstalled, or a store's error."""
        self._telemetry.terms += 1
        self._telemetry.events_waiting = lambda: self._backlog.events + self._events_in_hand
        self._telemetry.state = "catching_up"
        self._stores.tail.hand_to(self._backlog.hear)
        try:
            await first_to_end(self._stores.tail.watch(), self._loads.work(), self._go())
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
        await stores.reads.check_rights()  # nothing else reads the tables where the view is empty: it would be live
        seen = await stores.view.position()
        await stores.tail.prove()  # the lock was ours when the position was read: who began since is refused
        await stores.writer.begin(self.id, seen.term if seen else "", stores.tail.server.database)
        self._telemetry.term = self.id
        self._telemetry.set_aside.clear()  # what was wrong with a session may have been mended while nobody listened
        _log.info("a term began", term=self.id)

    async def _catch_up(self) -> None:
        """Stamp what is equal, drop what is not. Notices queue meanwhile; as-of stays where it was."""
        stores, started = self._stores, time.monotonic()
        now_ms = await stores.view.now_us() // 1000
        active = dict(await stores.view.hot_sessions())
        to_load: list[str] = []
        async for compared in compare_all(stores.view, stores.reads):
            for session_id, operations in compared.operations.items():
                if operations[0].verb == "stamp":
                    self._hot.add(session_id, max(0, now_ms - active.get(session_id, now_ms)) / 1000)
                    self._telemetry.note_repaired(session_id)
            for session_id in compared.to_load:
                self._loads.start(session_id)
            to_load += compared.to_load
            await self._live.commit(compared.operations, set())
            self._check_backlog()
        self._telemetry.catch_ups += 1
        _log.info(
            "caught up", compared=len(active), reloading=len(to_load), seconds=round(time.monotonic() - started, 3)
        )

    async def _step_for_ever(self) -> None:
        self._wake.set()
        sweep_every = max(1.0, min(self._config.hot_ttl_seconds / 10, 30.0))
        next_sweep = time.monotonic() + sweep_every
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._check_backlog()
            taken = self._backlog.take()
            beat, sent_at = self._accept(taken.beat)
            taken.beat = beat
            sweep = time.monotonic() >= next_sweep
            if sweep:
                next_sweep = time.monotonic() + sweep_every
            self._events_in_hand = sum(map(len, taken.added.values()))
            await self._live.step(taken, beat, sent_at, sweep=sweep)
            self._events_in_hand = 0
            self._note_round_trips(taken.overtaken, sent_at if beat else None)
            await self._warm_recent()
            self._report(beat, sent_at)
            if self._loads.has_finished or self._requests.unfinished:
                self._wake.set()

    async def _find_recent(self) -> None:
        """Look for sessions to warm beside the steps, for all are read for it; it is a hint, and may fail."""
        try:
            self._recent = await self._stores.reads.recent(self._config.warm_limit)
        except EventLogUnavailable as error:
            _log.warning("no recent sessions are warmed", error=str(error))
        self._wake.set()
        await asyncio.Event().wait()  # to return would end the term

    async def _warm_recent(self) -> None:
        recent, self._recent = self._recent, []
        operations: Operations = {}
        self._requests.admit([session_id for session_id in recent if session_id not in self._hot], operations)
        if operations:
            await self._live.commit(operations, set())

    def _check_backlog(self) -> None:
        if self._backlog.ended:
            raise TermEnded(self._backlog.ended)

    def _accept(self, beat: Beat | None) -> tuple[Beat | None, float]:
        if beat is None:
            return None, 0.0
        sent_at = self._heartbeat.returned(beat.nonce)
        if sent_at is None:
            return None, 0.0
        if beat.fingerprint != self._fingerprint:
            raise TermEnded("the triggers were changed")
        return beat, sent_at

    def _note_round_trips(self, overtaken: list[str], sent_at: float | None) -> None:
        now = time.monotonic()
        for set_out in (*map(self._heartbeat.returned, overtaken), sent_at):
            if set_out is not None:
                self._telemetry.round_trips.observe(now - set_out)

    def _batch_waits(self, why: ViewUnavailable | None) -> None:
        sentence = str(why) if why else None
        if sentence == self._telemetry.reason:
            return
        self._telemetry.reason = sentence
        if sentence is None:
            _log.info("Redis takes batches again", term=self.id)
        else:
            self._telemetry.last_error = sentence
            self._telemetry.note_error(sentence)
            _log.warning("not live", reason=sentence)

    def _report(self, beat: Beat | None, sent_at: float) -> None:
        telemetry = self._telemetry
        telemetry.hot_sessions, telemetry.loading = len(self._hot), len(self._loads)
        telemetry.queue_usage = self._heartbeat.queue_usage
        if beat is None:
            return
        telemetry.applied_at = time.monotonic()
        telemetry.as_of_us, telemetry.round_trip_us = beat.as_of_us, int((telemetry.applied_at - sent_at) * 1_000_000)
        if not self.was_live:
            self.was_live = True
            telemetry.state, telemetry.reason = "live", None
            _log.info("live", term=self.id, hot_sessions=len(self._hot), loading=len(self._loads))
