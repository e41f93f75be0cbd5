"""Makes live sessions: sample workflows, several at once, written as other applications would write them.

Runs until SIGINT or SIGTERM as `python -m readside.demo.writer`, into the database of READSIDE_DATABASE_URL.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random

import structlog

from readmodel.errors import EventLogUnavailable, ServiceError
from readmodel.postgres.client import Pool, create_pool, translated
from readmodel.runtime.backoff import delays
from readmodel.runtime.supervise import first_to_end
from readside.demo.moves import Pause, Transaction
from readside.demo.sample_log import Connection, cancel_abandoned, purge, write
from readside.demo.workflows import LOG_WATCH, Kind, Workflow
from readside.logging import configure
from readside.settings import Settings

APPLICATION_NAME = "readside-demo-writer"
SESSIONS = 8  # at a time, beside a long one
KEPT_SECONDS = 300.0  # a finished session is purged after this
PURGE_EVERY_SECONDS = 15.0

_log = structlog.get_logger(__name__)


class Writer:
    """Plays workflows into one database and waits out its outages. `chance` decides everything but the clock.

    `speed` divides every pause.
    """

    def __init__(self, pool: Pool, url: str, chance: Random, speed: float = 1.0) -> None:
        self._pool = pool
        self._url = url
        self._chance = chance
        self._speed = speed

    async def run(self, sessions: int = SESSIONS) -> None:
        """Keep so many sessions and a long one going, for ever; first cancel what an earlier run left unfinished."""
        await self._patiently(cancel_abandoned)
        await first_to_end(
            self._purge_now_and_then(),
            self._play_for_ever(LOG_WATCH),
            *(self._play_for_ever() for _ in range(sessions)),
        )

    async def play(self, workflow: Workflow) -> None:
        """Live one session to its end."""
        async with asyncio.TaskGroup() as asides:
            for move in workflow.moves():
                if isinstance(move, Pause):
                    await asyncio.sleep(move.seconds / self._speed)
                elif move.aside:
                    asides.create_task(self._commit(workflow, move))
                else:
                    await self._commit(workflow, move)

    async def _play_for_ever(self, kind: Kind | None = None) -> None:
        while True:
            await self.play(Workflow(Random(self._chance.getrandbits(64)), kind))
            await asyncio.sleep(self._chance.uniform(0.0, 4.0) / self._speed)

    async def _purge_now_and_then(self) -> None:
        while True:
            await self._patiently(partial(purge, older_than_seconds=KEPT_SECONDS))
            await asyncio.sleep(PURGE_EVERY_SECONDS)

    async def _commit(self, workflow: Workflow, transaction: Transaction) -> None:
        held = replace(transaction, held_seconds=transaction.held_seconds / self._speed)
        await self._patiently(partial(write, session_id=workflow.id, transaction=held, now=datetime.now(UTC)))

    async def _patiently(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do it on a connection of the pool, again while Postgres is away: done twice, `work` does no harm."""
        for delay in delays():
            try:
                with translated(self._url):
                    async with self._pool.acquire() as connection:
                        return await work(connection)
            except EventLogUnavailable as error:
                _log.warning("writer waits for Postgres", reason=str(error), seconds=round(delay, 2))
                await asyncio.sleep(delay)
        raise AssertionError("delays never end")


async def run_writer(url: str) -> None:
    """Write until SIGINT or SIGTERM; raises AccessRefused, SchemaMissing, … for what waiting cannot mend."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pool = await create_pool(url, application_name=APPLICATION_NAME, size=SESSIONS * 2, owners_path=True)
    try:
        await first_to_end(_until(stop), Writer(pool, url, Random()).run())
    finally:
        pool.terminate()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def main() -> None:
    """Run as a program; an error of ours is one line on stderr."""
    failure: BaseException | None = None
    try:
        settings = Settings()
        configure(settings.log_level, settings.log_format, settings.secrets())
        asyncio.run(run_writer(settings.require_database_url()))
    except* ServiceError as errors:
        failure = errors
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        raise SystemExit(f"readside.demo.writer: {failure}")


if __name__ == "__main__":
    main()
