"""What the API and the commands ask of one slice: touch, warm, rebuild, repair."""

from __future__ import annotations

from projector.core.decide import Wish
from projector.core.sessions import Sessions
from projector.jobs import Jobs
from readmodel.values.messages import ProjectorRequest
from readmodel.view.reader import ViewReader


class Requests:
    """Turns the requests of one term into wishes."""

    def __init__(self, *, index: int, term: str, sessions: Sessions, jobs: Jobs, view: ViewReader) -> None:
        self._index = index
        self._term = term
        self._sessions = sessions
        self._jobs = jobs
        self._view = view

    @property
    def waiting(self) -> bool:
        """Tell whether there are any."""
        return self._jobs.has_requests(self._index)

    async def gather(self) -> list[Wish]:
        """Hand over what was asked since the last step. Raises the stores' errors."""
        # First of all every job hears what it waits for: the next term is asked for that where this one ends here.
        taken = [(request, self._sessions_of(request)) for request in self._jobs.take(self._index)]
        return [wish for request, wanted in taken if (wish := await self._wish(request, wanted)) is not None]

    def _sessions_of(self, request: ProjectorRequest) -> list[str]:
        wanted = list(request.sessions)
        match request.verb:
            case "touch":
                self._sessions.touch(wanted, polled=True)
            case "rebuild" if not wanted:
                wanted = list(self._sessions.hot)
                self._jobs.expect(request.id, wanted)
            case "repair" if not request.reply:  # a poll found it: nobody waits, and nobody else would tell
                for session_id in wanted:
                    self._sessions.damage(session_id)
        return wanted

    async def _wish(self, request: ProjectorRequest, wanted: list[str]) -> Wish | None:
        if request.verb == "touch":
            return None
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
