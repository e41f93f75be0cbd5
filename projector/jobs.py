"""What the leader is asked through Redis, and its answers to whoever waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import structlog

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable
from readmodel.runtime.supervise import first_to_end
from readmodel.values.ids import is_uuid
from readmodel.values.messages import ProjectorReply, ProjectorRequest, State, decode_request, encode_reply
from readmodel.view.reader import ViewReader
from readmodel.view.subscription import heard_all, publish
from readmodel.view.whole import WholeView

MAX_REQUESTS = 1_000
"""Requests waiting for each slice; past it the oldest goes that nobody waits for: a touch or a warm comes again."""
PROGRESS_SECONDS = 0.25
"""Progress is told so often; the end of a job at once."""
MAX_OUTCOMES = 1_000
"""Outcomes that one reply carries."""
MAX_UNHEARD = 40
"""Replies in turn that nobody heard: whoever asked has left, and the job with him. What he asked for is done."""


_log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Job:
    """A request with somebody waiting: the sessions that it still waits for, and outcomes not yet told.

    `parts` is how many slices, or pages, it does not know the sessions of yet; `line` is the slice it came by.
    `unheard` is how many replies in turn nobody heard.
    """

    id: str
    line: ViewReader
    waiting: set[str] = field(default_factory=set)
    total: int = 0
    done: int = 0
    parts: int = 0
    failed: str = ""
    untold: dict[str, str] = field(default_factory=dict)
    unheard: int = 0

    def expect(self, session_ids: Collection[str]) -> None:
        """Wait for these sessions too."""
        new = set(session_ids) - self.waiting
        self.waiting |= new
        self.total += len(new)

    @property
    def ended(self) -> bool:
        """Tell whether it waits for nothing more."""
        return bool(self.failed) or not (self.parts or self.waiting)

    def finish(self, session_id: str, outcome: str) -> None:
        """Note one session's outcome, if it was waited for."""
        if session_id in self.waiting:
            self.waiting.remove(session_id)
            self.done += 1
            self.untold[session_id] = outcome


class Jobs:
    """Hears requests while we lead, and hands each slice its part. Replies are told until the job is done."""

    def __init__(self, view: WholeView) -> None:
        self._view = view
        self._lines = {part.keys.requests: part for part in view.reporting}
        self._requests: defaultdict[int, deque[ProjectorRequest]] = defaultdict(deque)
        self._everything: deque[Job] = deque()
        self._wakes: dict[int, asyncio.Event] = {}
        self._jobs: dict[str, Job] = {}
        self._ended = {line: asyncio.Event() for line in view.reporting}
        self.moved = asyncio.Event()
        """Set when a session was finished, a slice came or went, or every session is asked for."""

    # The slices.

    def index_of(self, session_id: str) -> int:
        """Tell which slice a session is in."""
        return self._view.slices.index_of(session_id)

    def attach(self, index: int, wake: asyncio.Event) -> None:
        """A slice takes its requests from now on; `wake` is set when there are any.

        The loads of the term before are gone: what jobs still wait for is asked again, unless it stands in line.
        """
        self._wakes[index] = wake
        in_line = {sid for request in self._requests[index] if request.verb != "touch" for sid in request.sessions}
        waiting = dict.fromkeys(sid for job in self._jobs.values() for sid in job.waiting)
        left = [sid for sid in waiting if self.index_of(sid) == index and sid not in in_line]
        if left:
            self._ask(index, ProjectorRequest("rebuild", tuple(left)))
        wake.set()
        self.moved.set()

    def detach(self, index: int) -> None:
        """A slice's term is over."""
        self._wakes.pop(index, None)
        self.moved.set()

    def has_requests(self, index: int) -> bool:
        """Tell whether there is something to take for a slice."""
        return bool(self._requests[index])

    def take(self, index: int) -> list[ProjectorRequest]:
        """Hand over what a slice was asked since the last take."""
        taken = list(self._requests[index])
        self._requests[index].clear()
        return taken

    def _ask(self, index: int, request: ProjectorRequest) -> None:
        line = self._requests[index]
        if len(line) == MAX_REQUESTS:
            self._pass_over(line)
        line.append(request)
        if index in self._wakes:
            self._wakes[index].set()

    def _pass_over(self, line: deque[ProjectorRequest]) -> None:
        oldest = next((request for request in line if request.id not in self._jobs), line[0])
        line.remove(oldest)
        if oldest.id in self._jobs:
            self.fail(self._jobs[oldest.id], "too many others wait for the same slice; run it again")

    # The jobs.

    def receive(self, request: ProjectorRequest, line: ViewReader | None = None) -> Job:
        """Open a job for a request that came by a slice's channel, and ask the slices whose sessions it names.

        Who sends it again, as by several channels until somebody hears it, has one job all the same.
        """
        if request.id in self._jobs:
            return self._jobs[request.id]
        wanted = list(dict.fromkeys(filter(is_uuid, request.sessions)))
        job = Job(request.id, line or self._view.reporting[0])
        if request.reply:
            self._jobs[job.id] = job
        if request.verb == "rebuild" and request.everything:
            job.parts = 1
            self._everything.append(job)
            self.moved.set()
        elif request.verb == "rebuild" and not wanted:
            job.parts = self._view.slices.count  # each knows which of its sessions are hot
            for index in range(job.parts):
                self._ask(index, replace(request, sessions=()))
        else:
            job.expect(wanted if request.verb != "touch" else ())
            self._split(request, wanted)
        self._look(job)
        return job

    def _split(self, request: ProjectorRequest, wanted: Iterable[str]) -> None:
        parts: defaultdict[int, list[str]] = defaultdict(list)
        for session_id in wanted:
            parts[self.index_of(session_id)].append(session_id)
        for index, sessions in parts.items():
            self._ask(index, replace(request, sessions=tuple(sessions)))

    def expect(self, job_id: str, session_ids: Collection[str]) -> None:
        """A slice says which sessions it does for a job that left that to it."""
        job = self._jobs.get(job_id)
        if job is not None and job.parts:
            job.parts -= 1
            job.expect(session_ids)
            self._look(job)

    def next_of_everything(self) -> Job | None:
        """Hand over a job that asks for every session."""
        return self._everything.popleft() if self._everything else None

    def spread(self, job: Job, page: Collection[str]) -> None:
        """Have a job wait for a page of sessions more; those of slices that are away fail."""
        job.expect(page)
        self._split(ProjectorRequest("rebuild", id=job.id), [sid for sid in page if self.index_of(sid) in self._wakes])
        for session_id in page:
            if self.index_of(session_id) not in self._wakes:
                self.finish(session_id, "failed")

    def in_hand(self, job: Job) -> int:
        """Count the sessions that a job waits for, without those of slices that are away."""
        return sum(self.index_of(session_id) in self._wakes for session_id in job.waiting)

    def finish(self, session_id: str, outcome: str) -> None:
        """Tell every job that waits for a session how it ended: hot, missing, set_aside or failed."""
        for job in self._jobs.values():
            job.finish(session_id, outcome)
            self._look(job)
        self.moved.set()

    def close(self, job: Job) -> None:
        """Note that a job will expect no more sessions."""
        job.parts = 0
        self._look(job)

    def _look(self, job: Job) -> None:
        if job.ended:
            self._ended[job.line].set()

    def fail(self, job: Job, detail: str) -> None:
        """Tell that a job cannot be finished."""
        job.failed = detail
        self._look(job)

    # Redis.

    async def hear(self) -> None:
        """Take requests from Redis, for ever, through every outage and wherever their slots go."""
        async with aclosing(heard_all(self._view.servers, self._view.request_channels(), _deaf)) as messages:
            async for channel, data in messages:
                request = decode_request(data) if data else None
                if request:
                    self.receive(request, self._lines[channel])

    async def tell(self) -> None:
        """Tell the jobs' progress while there are any, for ever; a line that is away holds up no other's replies."""
        await first_to_end(*map(self._tell_all, self._lines.values()))

    async def _tell_all(self, line: ViewReader) -> None:
        ended = self._ended[line]
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await ended.wait()
            ended.clear()
            for job in [job for job in self._jobs.values() if job.line is line]:
                try:
                    await self._tell(job)
                except (StoreUnavailable, StoreRefused) as error:
                    _log.debug("a reply could not be sent", error=str(error))

    async def _tell(self, job: Job) -> None:
        told = dict(list(job.untold.items())[:MAX_OUTCOMES])
        finished = bool(job.failed) or (job.ended and len(told) == len(job.untold))
        state: State = "failed" if job.failed else "done" if finished else "progress"
        heard = await self.reply(ProjectorReply(job.id, state, job.done, job.total, told, job.failed), job.line)
        job.unheard = 0 if heard else job.unheard + 1
        for session_id in told:
            job.untold.pop(session_id, None)
        if finished or job.unheard > MAX_UNHEARD:
            self._jobs.pop(job.id, None)
        else:
            self._look(job)  # outcomes are left that one reply could not carry

    async def reply(self, reply: ProjectorReply, line: ViewReader) -> int:
        """Publish one reply where its request came from, and tell how many heard it. Raises ViewUnavailable."""
        return await publish(line.redis, line.keys, line.keys.replies(reply.id), encode_reply(reply))


def _deaf(_channels: Collection[str], error: ServiceError) -> None:
    _log.debug("requests cannot be heard", error=str(error))
