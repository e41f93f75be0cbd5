"""The step that the leader takes over and over: gather → decide → commit → settle."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from projector.core.decide import Facts, carry_out, decide, wanted_events, wanted_rows
from projector.core.letters import Beat, Letters
from projector.core.operations import Add, Drop, Operation, Operations, Put
from projector.core.sessions import Load, Sessions
from projector.drift import DriftCheck
from projector.loads.loads import Loader
from projector.requests import Requests
from projector.shared_reads import StepReads
from projector.telemetry import Telemetry
from projector.view.committer import Committer
from projector.view.writer import BatchResult

MAX_PUTS = 50
"""Loads that one step puts in place."""


class TermStep:
    """Gathers, decides, commits and settles for one term."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        committer: Committer,
        reads: StepReads,
        loader: Loader,
        requests: Requests,
        drift: DriftCheck,
        telemetry: Telemetry,
    ) -> None:
        self._sessions = sessions
        self._committer = committer
        self._reads = reads
        self._loader = loader
        self._requests = requests
        self._drift = drift
        self._telemetry = telemetry

    async def take(self, letters: Letters, beat: Beat | None, recent: Sequence[str] = (), *, sweep: bool) -> None:
        """Apply all that was told, asked and loaded, then move as-of if there is a beat.

        Raises EventLogUnavailable, ViewUnavailable, TermRefused, … : the term is over then.
        """
        facts = await self._gather(letters, recent, sweep=sweep)
        plan = decide(self._sessions, facts)
        carry_out(self._sessions, plan)
        if letters or beat or plan.operations or plan.looks:
            await self.commit(plan.operations, letters.named() | plan.looks, beat, facts.finished)

    async def _gather(self, letters: Letters, recent: Sequence[str], *, sweep: bool) -> Facts:
        sessions = self._sessions
        sessions.hear(letters)
        wishes = await self._requests.gather()
        finished = self._loader.take_finished(MAX_PUTS)
        rows = wanted_rows(sessions, letters, finished)
        return Facts(
            letters=letters,
            differing=self._drift.take(),
            wishes=wishes,
            recent=recent,
            finished=finished,
            events=await self._reads.added(wanted_events(sessions, letters, finished)),
            statuses=await self._statuses(rows),
            idle=sessions.idle() if sweep else (),
            touched=sessions.take_touched() if sweep else {},
        )

    async def _statuses(self, rows: set[str]) -> Mapping[str, str]:
        return await self._reads.statuses(rows) if rows else {}

    async def commit(
        self, operations: Operations, named: set[str], beat: Beat | None = None, finished: Collection[Load] = ()
    ) -> None:
        """Send operations, some of which put `finished` loads, and settle what the scripts found."""
        self._drift.note(operations)
        for part, result in await self._committer.commit(operations, named, beat):
            self._telemetry.batches += 1
            for session_id, wanted in part.items():
                self._settle(session_id, wanted, finished)
            self._correct(result)

    def _settle(self, session_id: str, operations: Sequence[Operation], finished: Collection[Load]) -> None:
        sessions = self._sessions
        added = sum(len(operation.events) for operation in operations if isinstance(operation, Add))
        for operation in operations:
            if isinstance(operation, Put):
                sessions.put(session_id, operation.staged.snapshot)
        if added:
            sessions.touch([session_id])
            self._telemetry.events_applied += added
        if all(isinstance(operation, Drop) for operation in operations):
            sessions.leave(session_id)  # the committer may have dropped what could not be put or added
            load = sessions.load_of(session_id)
            if load in finished:
                sessions.restart(session_id)

    def _correct(self, result: BatchResult) -> None:
        for session_id in result.damaged:
            self._sessions.damage(session_id)
            self._sessions.look(session_id)
        for session_id in set(result.forgotten).difference(result.damaged):
            self._sessions.look(session_id)  # an event older than its window, or one that was changed meanwhile
        for session_id in set(result.cold).difference(result.damaged):
            self._sessions.lose(session_id)
        for session_id in result.grown:
            self._sessions.reload(session_id)
