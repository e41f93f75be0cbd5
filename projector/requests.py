"""What the API and the commands ask of the leader: touch, warm, rebuild, repair."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from projector.core.decide import Wish
from projector.core.sessions import Sessions
from projector.jobs import Job, Jobs
from projector.reads import Reads
from readmodel.messages import ProjectorRequest
from readmodel.view import ViewReader

ENUMERATE_BELOW = 200
"""`rebuild --all` reads the next page of sessions when fewer loads than this are under way."""
PAGE = 1_000

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Requests:
    """Turns the requests of one term into wishes, and opens a job for who waits."""

    def __init__(self, *, term: str, sessions: Sessions, jobs: Jobs, view: ViewReader, reads: Reads) -> None:
        self._term = term
        self._sessions = sessions
        self._jobs = jobs
        self._view = view
        self._reads = reads
        self._pages: list[tuple[Job, AsyncIterator[list[str]]]] = []

    async def gather(self) -> list[Wish]:
        """Hand over what was asked since the last step. Raises the stores' errors."""
        wishes = [wish for request in self._jobs.take() if (wish := await self._wish(request)) is not None]
        page = await self._next_page()
        return [*wishes, Wish("rebuild", page)] if page else wishes

    @property
    def unfinished(self) -> bool:
        """Tell whether another step has something to enumerate."""
        return bool(self._pages) and len(self._sessions.loading) < ENUMERATE_BELOW

    async def _wish(self, request: ProjectorRequest) -> Wish | None:
        wanted = list(dict.fromkeys(filter(_SESSION.fullmatch, request.sessions)))
        match request.verb:
            case "touch":
                self._sessions.touch(wanted, polled=True)
                return None
            case "rebuild" if request.everything:
                self._pages.append((self._jobs.open(request, (), complete=False), self._reads.every(PAGE)))
                return None
            case "rebuild":
                wanted = wanted or list(self._sessions.hot)
            case "repair" if not request.reply:  # a poll found it: nobody waits, and nobody else would tell
                for session_id in wanted:
                    self._sessions.damage(session_id)
        self._jobs.open(request, wanted)
        if request.verb == "warm":
            return Wish("warm", wanted, insistent=request.reply, confirmed=await self._confirmed(wanted))
        return Wish(request.verb, wanted)

    async def _confirmed(self, wanted: list[str]) -> set[str]:
        believed = [session_id for session_id in wanted if session_id in self._sessions.hot]
        headers = await self._view.headers(believed)
        return {
            session_id
            for session_id, header in zip(believed, headers, strict=True)
            if header is not None and header.term == self._term and header.complete
        }

    async def _next_page(self) -> list[str]:
        if not self.unfinished:
            return []
        job, pages = self._pages[0]
        page = await anext(pages, None)
        if page is None:
            self._jobs.close(job)
            self._pages.pop(0)
            return []
        job.expect(page)
        return page

    def fail_unfinished(self) -> None:
        """Tell those who wait for an enumeration that the term ended under it."""
        for job, _ in self._pages:
            self._jobs.fail(job, "the projector began a new term meanwhile; run it again")
        self._pages = []
