"""What the API and the commands ask of the leader: touch, warm, rebuild, repair."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable

import structlog

from projector.core.hot import HotSessions
from projector.core.operations import drop
from projector.jobs import Job, Jobs
from projector.loads.loads import Loads
from projector.reads import Reads
from projector.telemetry import Telemetry
from projector.view.committer import Operations
from readmodel.messages import ProjectorRequest
from readmodel.view import ViewReader

ENUMERATE_BELOW = 200
"""`rebuild --all` reads the next page of sessions when fewer loads than this are under way."""
PAGE = 1_000

_log = structlog.get_logger(__name__)
_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Requests:
    """Turns requests into loads, looks and touches of one term."""

    def __init__(
        self,
        *,
        term: str,
        hot: HotSessions,
        loads: Loads,
        jobs: Jobs,
        view: ViewReader,
        reads: Reads,
        telemetry: Telemetry,
    ) -> None:
        self._term = term
        self._hot = hot
        self._loads = loads
        self._jobs = jobs
        self._view = view
        self._reads = reads
        self._telemetry = telemetry
        self._pages: list[tuple[Job, AsyncIterator[list[str]]]] = []

    async def take(self, looks: set[str], operations: Operations) -> None:
        """Carry out what was asked since the last step; adds to `looks`, and to `operations` what must leave."""
        for request in self._jobs.take():
            sessions = list(dict.fromkeys(filter(_SESSION.fullmatch, request.sessions)))
            match request.verb:
                case "touch":
                    self._hot.touch(sessions, polled=True)
                case "warm":
                    await self._warm(request, sessions, looks, operations)
                case "rebuild":
                    self._rebuild(request, sessions, operations)
                case "repair":
                    if not request.reply:
                        self._note_damaged(sessions)
                    self._jobs.open(request, sessions)
                    self._forgive(sessions)
                    looks.update(sessions)
                    self.admit([sid for sid in sessions if sid not in self._hot and sid not in self._loads], operations)
        await self._enumerate(operations)

    @property
    def unfinished(self) -> bool:
        """Tell whether another step has something to enumerate."""
        return bool(self._pages) and len(self._loads) < ENUMERATE_BELOW

    def admit(self, session_ids: Iterable[str], operations: Operations) -> None:
        """Start loads, for as many as there is room; the idlest hot sessions leave for them."""
        wanted = [sid for sid in session_ids if sid not in self._loads and sid not in self._telemetry.set_aside]
        if not wanted:
            return  # looking for room sorts the hot sessions, and most steps want none
        room, leaving = self._hot.room_for(len(wanted) + len(self._loads))
        room -= len(self._loads)
        for session_id in leaving[: len(wanted)]:
            self._hot.discard(session_id)
            operations[session_id] = [drop(session_id)]
        for place, session_id in enumerate(wanted):
            if place < room:
                self._loads.start(session_id)
            else:
                self._jobs.finish(session_id, "no_room")

    async def _warm(
        self, request: ProjectorRequest, sessions: list[str], looks: set[str], operations: Operations
    ) -> None:
        self._jobs.open(request, sessions)
        if request.reply:
            self._forgive(sessions)
        believed = [session_id for session_id in sessions if session_id in self._hot]
        for session_id, header in zip(believed, await self._view.headers(believed), strict=True):
            if header is not None and header.term == self._term and header.complete:
                self._jobs.finish(session_id, "hot")
            else:
                looks.add(session_id)  # keys of it were evicted
        self._hot.touch(believed)
        self.admit([session_id for session_id in sessions if session_id not in self._hot], operations)

    def _note_damaged(self, sessions: list[str]) -> None:
        """Count what a poll found: nobody waits for an answer, and nobody else would tell of it."""
        for session_id in filter(self._hot.__contains__, sessions):
            self._telemetry.sessions_lost += 1
            _log.warning("keys of a hot session are damaged in Redis, and it is loaded anew", session_id=session_id)

    def _rebuild(self, request: ProjectorRequest, sessions: list[str], operations: Operations) -> None:
        if request.everything:
            self._pages.append((self._jobs.open(request, (), complete=False), self._reads.every(PAGE)))
            return
        wanted = sessions or list(self._hot)
        self._jobs.open(request, wanted)
        self._reload(wanted, operations)

    def _reload(self, session_ids: list[str], operations: Operations) -> None:
        """Load sessions anew; the view of a hot one stays until the put."""
        self._forgive(session_ids)
        for session_id in session_ids:
            if session_id in self._hot and session_id not in self._loads:
                self._loads.start(session_id)
        self.admit([session_id for session_id in session_ids if session_id not in self._hot], operations)

    async def _enumerate(self, operations: Operations) -> None:
        if not self._pages or len(self._loads) >= ENUMERATE_BELOW:
            return
        job, pages = self._pages[0]
        page = await anext(pages, None)
        if page is None:
            self._jobs.close(job)
            self._pages.pop(0)
        else:
            job.expect(page)
            self._reload(page, operations)

    def _forgive(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            self._telemetry.set_aside.pop(session_id, None)

    def fail_unfinished(self) -> None:
        """Tell those who wait for an enumeration that the term ended under it."""
        for job, _ in self._pages:
            self._jobs.fail(job, "the projector began a new term meanwhile; run it again")
        self._pages = []
