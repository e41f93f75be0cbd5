"""Several workers of one API: each has a cache of its own, and each hears what changed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import httpx

from readside.demo.processes import free_port
from tests.support.commanding import Site
from tests.support.keys import HEADERS, KEY
from tests.support.projecting import INSERT_SESSION, Bench, bench
from tests.support.waiting import eventually
from tests.support.whole import Whole

NOWHERE = 'export PYTHONPATH="$PWD"; cd "$(mktemp -d)" && rmdir "$PWD"; exec "$0" -m readside "$@" <&- >&- 2>&-'
"""Starts the program in a directory that was deleted, without standard streams: each worker begins by going there."""
ONE_CONNECTION = httpx.Limits(max_connections=1)  # so that a client speaks to the same worker all the time


@asynccontextmanager
async def both_workers(stage: Bench) -> AsyncIterator[tuple[Whole, Whole]]:
    """A client of each of two workers: what memory does not hold for the second, it holds for the first."""
    site = Site.of(stage.config.database_url, stage.config.redis_url, REDIS_PREFIX="readside", API_KEYS=f"test:{KEY}")
    port, unknown = free_port(), str(uuid4())
    bare = site.started_by("/bin/sh", "-c", NOWHERE, sys.executable)
    process = await bare.start("api", "--port", str(port), "--workers", "2")
    try:
        async with AsyncExitStack() as stack:

            async def connected() -> Whole:
                client = httpx.AsyncClient(
                    verify=False, base_url=f"http://127.0.0.1:{port}", headers=HEADERS, limits=ONE_CONNECTION
                )
                return Whole(stage, await stack.enter_async_context(client))

            made = [await connected()]
            await eventually(lambda: answers(made[0]), "the API answers")
            await made[0].served(unknown, "memory")

            async def another() -> bool:
                made[1:] = [await connected()]
                return (await made[1].poll(unknown)).headers["readside-source"] != "memory"

            await eventually(another, "a connection leads to the other worker")
            yield made[0], made[1]
    finally:
        process.terminate()
        await process.communicate()


async def answers(whole: Whole) -> bool:
    """Whether the process is up."""
    try:
        return (await whole.client.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False


async def test_each_worker_forgets_what_changed(database_url: str, redis_url: str) -> None:
    """A 404 in the memory of both goes when the session appears, an answer when it changes or its session is purged."""
    session_id = str(uuid4())
    async with bench(database_url, redis_url) as stage, stage.projector(), both_workers(stage) as workers:
        for worker in workers:
            await worker.never_late(session_id, None)
            assert (await worker.served(session_id, "memory")).status_code == 404
        await stage.writer.connection.execute(INSERT_SESSION, session_id, "in_progress")
        for total in range(4):
            committed_us = await workers[0].now_us()
            await asyncio.gather(*(worker.shows(session_id, total, committed_us) for worker in workers))
            await asyncio.gather(*(worker.served(session_id, "memory") for worker in workers))
            await stage.writer.event(session_id)
        await stage.writer.delete_session(session_id)
        committed_us = await workers[0].now_us()
        await asyncio.gather(*(worker.shows(session_id, None, committed_us) for worker in workers))
