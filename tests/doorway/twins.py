"""One API twice, over equal stores: one behind the doorway, the other one behind uvicorn's own protocol."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NamedTuple, Self
from uuid import UUID

from projector.core.operations import Put
from query_api.doorway.protocol import Doorway
from readmodel.postgres.event_log import LogPage
from readmodel.values.poll import Poll
from tests.doorway.conversations import Speaker, speaking
from tests.fakes.event_log import FakeEventLog, Row
from tests.support.stands import NOON_US, Stand, fake_stand

ORIGIN = "https://board.example"
PREFIX = "/behind/a-proxy"
HOT, BIG, COLD = (f"11111111-aaaa-4aaa-8aaa-00000000000{n}" for n in (1, 2, 3))
"""Sessions: two in the view, one of them with long pages; the last one in the log alone."""
SLOW_LIMIT, SLOW_TURNS = 7, 60
"""Postgres takes so many turns of the loop for a page of this length."""


class SteadyLog(FakeEventLog):
    """A log whose as-of does not move."""

    as_of_us = 0

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer, slowly where that is wanted."""
        for _ in range(SLOW_TURNS if poll.limit == SLOW_LIMIT else 0):
            await asyncio.sleep(0)
        return (await super().answer(poll, max_bytes))._replace(as_of_us=self.as_of_us)


class Twins(NamedTuple):
    """The two of them; `etag` is that of the hot session's page."""

    ours: Speaker
    plain: Speaker
    stands: tuple[Stand, Stand]
    etag: bytes


class Pair:
    """Both of them, for as long as the block lasts, or until they are to be had anew."""

    both: Twins

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def __enter__(self) -> Self:
        self._opened = twins()
        self.both = self._runner.run(self._opened.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._opened.__aexit__(None, None, None))

    def renew(self) -> None:
        """Open new ones: after different answers the two remember different things."""
        self.__exit__()
        self.__enter__()


@asynccontextmanager
async def twins() -> AsyncIterator[Twins]:
    """Both of them, with the same sessions in the same state, as of the same instant."""
    async with AsyncExitStack() as stack:
        logs = SteadyLog(), SteadyLog()
        stands = [await stack.enter_async_context(_stand(log)) for log in logs]
        as_of_us = time.time_ns() // 1000
        for log, stand in zip(logs, stands, strict=True):
            log.as_of_us = as_of_us
            await _fill(stand, as_of_us)
        ours = await stack.enter_async_context(speaking(stands[0].app, Doorway))
        plain = await stack.enter_async_context(speaking(stands[1].app, "httptools"))
        etags = {(await stand.poll_from("memory", HOT)).headers["etag"].encode() for stand in stands}
        yield Twins(ours, plain, (stands[0], stands[1]), etags.pop())


def _stand(log: FakeEventLog) -> AbstractAsyncContextManager[Stand]:
    return fake_stand(log=log, cors_origins=(ORIGIN,), root_path=PREFIX, max_staleness_seconds=3600)


async def _fill(stand: Stand, as_of_us: int) -> None:
    """Write the sessions, and heat two of them."""
    for session_id, count, size in ((HOT, 10, 1), (BIG, 50, 500), (COLD, 10, 1)):
        kinds = ("step_created", "artifact_created")
        written = [
            Row(session_id, NOON_US + n * 1_000_000, kinds[n % 2], {"n": n, "text": "x" * size}, id=UUID(int=n))
            for n in range(count)
        ]
        await stand.write(session_id, written)
    for session_id in (HOT, BIG):
        staged = await stand.stage.staged([row.event() for row in stand.kept[session_id]])
        await stand.stage.apply(Put(session_id, staged), named=[session_id], as_of_us=as_of_us)
