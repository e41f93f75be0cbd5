"""`rebuild --all`: every session of Postgres, page by page, for as long as the slices keep up."""

from __future__ import annotations

from projector.jobs import Job, Jobs
from projector.reads import Reads

IN_HAND = 200
"""The next page is read when fewer sessions than this are still to be loaded."""
PAGE = 1_000


class Enumeration:
    """Takes the jobs that ask for everything, one after another."""

    def __init__(self, jobs: Jobs, reads: Reads) -> None:
        self._jobs = jobs
        self._reads = reads

    async def run(self) -> None:
        """Do so for ever; who waits when it ends hears that the projector began anew. Raises Postgres' errors."""
        while True:
            job = self._jobs.next_of_everything()
            if job is None:
                await self._moved()
                continue
            try:
                await self._enumerate(job)
            except BaseException:
                self._jobs.fail(job, "the projector began a new term meanwhile; run it again")
                raise

    async def _enumerate(self, job: Job) -> None:
        async for page in self._reads.every(PAGE):
            self._jobs.spread(job, page)
            while self._jobs.in_hand(job) >= IN_HAND:
                await self._moved()
        self._jobs.close(job)

    async def _moved(self) -> None:
        self._jobs.moved.clear()
        await self._jobs.moved.wait()
