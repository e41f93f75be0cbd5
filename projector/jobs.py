"""What the leader is asked through Redis, and its answers to whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis

from readmodel.backoff import delays
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.keys import Keys
from readmodel.messages import ProjectorReply, ProjectorRequest, State, decode_request, encode_reply
from readmodel.redis_client import translated
from readmodel.subscription import heard

MAX_REQUESTS = 1_000
"""Requests waiting; past it the oldest is forgotten: a touch or a warm comes again, a command times out."""
PROGRESS_SECONDS = 0.25
"""Progress is told so often; the end of a job at once."""
MAX_OUTCOMES = 1_000
"""Outcomes that one reply carries."""

_log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Job:
    """A request with somebody waiting: the sessions that it still waits for, and outcomes not yet told."""

    id: str
    waiting: set[str] = field(default_factory=set)
    total: int = 0
    done: int = 0
    complete: bool = False
    failed: str = ""
    untold: dict[str, str] = field(default_factory=dict)

    def expect(self, session_ids: Collection[str]) -> None:
        """Wait for these sessions too."""
        new = set(session_ids) - self.waiting
        self.waiting |= new
        self.total += len(new)

    @property
    def ended(self) -> bool:
        """Tell whether it waits for nothing more."""
        return bool(self.failed) or (self.complete and not self.waiting)

    def finish(self, session_id: str, outcome: str) -> None:
        """Note one session's outcome, if it was waited for."""
        if session_id in self.waiting:
            self.waiting.remove(session_id)
            self.done += 1
            self.untold[session_id] = outcome


class Jobs:
    """Hears requests while we lead; `wake` is set when one came. Replies are told until the job is done."""

    def __init__(self, redis: Redis, keys: Keys, wake: asyncio.Event) -> None:
        self._redis = redis
        self._keys = keys
        self._wake = wake
        self._requests: list[ProjectorRequest] = []
        self._jobs: dict[str, Job] = {}
        self._ended = asyncio.Event()

    @property
    def has_requests(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._requests)

    def take(self) -> list[ProjectorRequest]:
        """Hand over the requests that came since the last take."""
        taken, self._requests = self._requests, []
        return taken

    def open(self, request: ProjectorRequest, session_ids: Collection[str], *, complete: bool = True) -> Job:
        """Open a job for a request; not `complete` while more sessions may be expected."""
        job = Job(request.id, complete=complete)
        job.expect(session_ids)
        if request.reply:
            self._jobs[job.id] = job
        self._look(job)
        return job

    def finish(self, session_id: str, outcome: str) -> None:
        """Tell every job that waits for a session how it ended: hot, missing, set_aside or failed."""
        for job in self._jobs.values():
            job.finish(session_id, outcome)
            self._look(job)

    def close(self, job: Job) -> None:
        """Note that a job will expect no more sessions."""
        job.complete = True
        self._look(job)

    def _look(self, job: Job) -> None:
        if job.ended:
            self._ended.set()

    def resume(self) -> None:
        """Ask again for what the jobs still wait for: a term's end took its loads away."""
        for job in self._jobs.values():
            if job.waiting:
                self._requests.append(ProjectorRequest("rebuild", tuple(job.waiting)))

    def fail(self, job: Job, detail: str) -> None:
        """Tell that a job cannot be finished."""
        job.failed = detail
        self._look(job)

    async def hear(self) -> None:
        """Take requests from Redis, for ever, through every outage."""
        pauses = delays(0.1, 2.0)
        while True:
            try:
                async with aclosing(heard(self._redis, self._keys.requests)) as messages:
                    async for data in messages:
                        pauses = delays(0.1, 2.0)
                        self._note(data)
            except (StoreUnavailable, StoreRefused) as error:
                _log.debug("requests cannot be heard", error=str(error))
                await asyncio.sleep(next(pauses))

    def _note(self, data: bytes | None) -> None:
        request = decode_request(data) if data else None
        if request:
            self._requests = [*self._requests[-MAX_REQUESTS + 1 :], request]
            self._wake.set()

    async def tell(self) -> None:
        """Tell the jobs' progress while there are any, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await self._ended.wait()
            self._ended.clear()
            for job in list(self._jobs.values()):
                try:
                    await self._tell(job)
                except (StoreUnavailable, StoreRefused) as error:
                    _log.debug("a reply could not be sent", error=str(error))

    async def _tell(self, job: Job) -> None:
        told = dict(list(job.untold.items())[:MAX_OUTCOMES])
        finished = bool(job.failed) or (job.ended and len(told) == len(job.untold))
        state: State = "failed" if job.failed else "done" if finished else "progress"
        await self.reply(ProjectorReply(job.id, state, job.done, job.total, told, job.failed))
        for session_id in told:
            job.untold.pop(session_id, None)
        if finished:
            self._jobs.pop(job.id, None)
        else:
            self._look(job)  # outcomes are left that one reply could not carry

    async def reply(self, reply: ProjectorReply) -> None:
        """Publish one reply. Raises ViewUnavailable."""
        with translated(self._redis):
            await self._redis.publish(self._keys.replies(reply.id), encode_reply(reply))
