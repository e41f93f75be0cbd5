"""The step that the leader takes over and over: what was heard → what to do → one batch → what came of it."""

from __future__ import annotations

import structlog

from projector.core.backlog import Beat, Notices
from projector.core.hot import HotSessions
from projector.core.new_events import NewEvents
from projector.core.operations import Operation, StagedSession, add, drop, put, status, touch
from projector.drift import DriftCheck
from projector.jobs import Jobs
from projector.loads.loads import Load, LoadFailure, Loads, NoSession, UnfitSession
from projector.reads import Reads
from projector.requests import Requests
from projector.telemetry import Telemetry
from projector.view.committer import Committer, Operations
from projector.view.writer import BatchResult

MAX_PUTS = 50
"""Loads that one step puts in place."""
MAX_CREATED = 200
"""New sessions that one step makes hot: a bulk insert must not fill the view with what nobody polls."""

_log = structlog.get_logger(__name__)


class Live:
    """Plans, commits and settles the batches of one live term."""

    def __init__(
        self,
        *,
        committer: Committer,
        reads: Reads,
        hot: HotSessions,
        loads: Loads,
        jobs: Jobs,
        requests: Requests,
        drift: DriftCheck,
        telemetry: Telemetry,
    ) -> None:
        self._committer = committer
        self._reads = reads
        self._hot = hot
        self._loads = loads
        self._jobs = jobs
        self._requests = requests
        self._drift = drift
        self._telemetry = telemetry

    async def step(self, taken: Notices, beat: Beat | None, beat_sent_at: float, *, sweep: bool) -> None:
        """Apply all that was heard, what was asked and what was loaded, then move as-of if a beat came back.

        Raises EventLogUnavailable, ViewUnavailable, TermRefused, … : the term is over then.
        """
        looks, operations = taken.looks, Operations()
        looks |= self._drift.take()
        self._loads.note(taken)
        await self._requests.take(looks, operations)
        self._requests.admit([sid for sid in list(taken.created)[:MAX_CREATED] if sid not in self._hot], operations)
        finished = [load for load in self._loads.take_finished(MAX_PUTS) if load.session_id not in looks]
        await self._plan(taken, finished, operations)
        self._look(looks, operations)
        if sweep:
            self._sweep(operations)
        if taken or operations:
            await self.commit(operations, taken.named(), beat, beat_sent_at)

    async def commit(
        self, operations: Operations, named: set[str], beat: Beat | None = None, beat_sent_at: float = 0.0
    ) -> None:
        """Send operations and take in what the scripts found."""
        self._drift.note(operations)
        for part, applied in await self._committer.commit(operations, named, beat, beat_sent_at):
            self._telemetry.batches += 1
            self._settle(part, applied)

    async def _plan(self, taken: Notices, finished: list[Load], operations: Operations) -> None:
        looks = taken.looks
        wanted = {sid: ids for sid, ids in taken.added.items() if sid in self._hot and sid not in looks}
        wanted |= {load.session_id: load.arrived for load in finished if isinstance(load.outcome, StagedSession)}
        added = await self._reads.added(wanted)
        rows = {sid for sid in taken.rows if sid in self._hot}
        rows |= {load.session_id for load in finished if load.row_changed}
        statuses = await self._reads.statuses(rows) if rows else {}
        looks |= added.big | (rows - statuses.keys())
        looks |= {
            sid for sid, ids in wanted.items() if sid not in added.bad and len(added.events.get(sid, ())) < len(ids)
        }
        for load in finished:
            if load.session_id not in looks:
                self._finish(load, added, operations)
        loaded = {load.session_id for load in finished}
        for sid in wanted.keys() - looks:
            if sid in added.bad:
                self._put_aside(sid, added.bad[sid], operations)
            elif sid not in loaded:
                operations[sid] = [add(sid, added.events[sid].values())]
        for sid in rows - looks:
            if sid in operations or sid not in loaded:
                operations.setdefault(sid, []).append(status(sid, statuses[sid]))

    def _finish(self, load: Load, added: NewEvents, operations: Operations) -> None:
        session_id, outcome = load.session_id, load.outcome
        match outcome:
            case StagedSession():
                operations[session_id] = [put(session_id, outcome)]
                if load.arrived and session_id in added.events:
                    operations[session_id].append(add(session_id, added.events[session_id].values()))
            case NoSession():
                operations[session_id] = [drop(session_id)]
                self._hot.discard(session_id)
                self._loads.remove(session_id)
                self._telemetry.note_repaired(session_id)
                if load.created or load.arrived:
                    self._loads.start(session_id, load.attempts + 1)
                else:
                    self._jobs.finish(session_id, "missing")
            case UnfitSession(reason):
                self._put_aside(session_id, reason, operations)
            case LoadFailure(reason):
                self._loads.remove(session_id)
                self._jobs.finish(session_id, "failed")
                self._telemetry.loads_failed += 1
                self._telemetry.note_repaired(session_id)  # it left the view before it was loaded
                _log.warning("a session could not be loaded", session_id=session_id, reason=reason)

    def _look(self, looks: set[str], operations: Operations) -> None:
        """Drop first, load after: no big session holds up everybody's as-of."""
        for session_id in looks:
            self._telemetry.looks += 1
            self._telemetry.set_aside.pop(session_id, None)
            if session_id in self._loads:
                self._loads.restart(session_id)
            elif session_id in self._hot:
                self._loads.start(session_id)
            else:
                continue  # nothing of it is served under this term: its name in the message is all, however many
            operations[session_id] = [drop(session_id)]
            self._hot.discard(session_id)

    def _put_aside(self, session_id: str, reason: str, operations: Operations) -> None:
        operations[session_id] = [drop(session_id)]
        self._hot.discard(session_id)
        self._loads.remove(session_id)
        self._jobs.finish(session_id, "set_aside")
        if self._telemetry.put_aside(session_id, reason):
            _log.warning("a session is set aside; Postgres serves it", session_id=session_id, reason=reason)

    def _sweep(self, operations: Operations) -> None:
        idle, touched = self._hot.sweep()
        for session_id in idle:
            if session_id not in operations and session_id not in self._loads:
                operations[session_id] = [drop(session_id)]
                self._hot.discard(session_id)
        polled = self._hot.take_polled()
        for session_id in touched:
            operations.setdefault(session_id, [touch(session_id, polled.get(session_id))])

    def _settle(self, part: Operations, applied: BatchResult) -> None:
        for session_id, operations in part.items():
            self._settle_one(session_id, operations)
        for session_id in applied.damaged:
            _log.warning("keys of a hot session are damaged in Redis, and it is loaded anew", session_id=session_id)
        for session_id in {*applied.cold, *applied.forgotten}:
            if session_id in self._hot:
                self._hot.discard(session_id)
                self._telemetry.sessions_lost += 1
                self._reload(session_id)
        for session_id in applied.grown:
            self._reload(session_id)

    def _settle_one(self, session_id: str, operations: list[Operation]) -> None:
        verbs = [operation.verb for operation in operations]
        if "put" in verbs:
            self._hot.add(session_id)
            self._loads.remove(session_id)
            self._jobs.finish(session_id, "hot")
            self._telemetry.put_hot(session_id)
        if "add" in verbs:
            self._hot.touch([session_id])
            self._telemetry.events_applied += sum(len(op.arguments) // 6 for op in operations if op.verb == "add")
        load = self._loads.get(session_id)
        if verbs == ["drop"]:
            self._hot.discard(session_id)  # the committer may have dropped what could not be put or added
            if load is not None and load.outcome is not None:
                self._loads.restart(session_id)

    def _reload(self, session_id: str) -> None:
        if session_id not in self._loads:
            self._loads.start(session_id)
