"""What every fault must leave behind: the view equals Postgres; and on the way there no answer is short."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg
import orjson
from structlog.typing import EventDict

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.projecting import MAX_BYTES, Bench, bench
from tests.support.servers import embedded_redis
from tests.support.waiting import PATIENCE_SECONDS, STEP_SECONDS, eventually

TYPES = ("step_created", "step_failed")
POLLS: tuple[dict[str, object], ...] = (
    {},
    {"limit": 2, "page": 2},
    {"types": TYPES[:1]},
    {"types": TYPES, "limit": 3},
    {"since_us": 0},
    {"since_us": 0, "types": TYPES[:1]},
)
CLOCK_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

Record = Callable[[str, object], None]
"""Keeps a figure, by name, for who asks with --junitxml."""


@dataclass
class Watch:
    """Polls the view all the time and knows what was committed when: an answer short of that is caught."""

    stage: Bench
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    _known: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)

    async def session(self, events: int = 3) -> str:
        """Write a session that has so many events of each type."""
        session_id = await self.stage.writer.session()
        for event_type in TYPES:
            await self.stage.writer.events(session_id, events, event_type)
        await self._note(session_id, events)
        return session_id

    async def event(self, session_id: str) -> None:
        """Commit one more event of the type that is polled for."""
        await self.stage.writer.event(session_id, event_type=TYPES[0])
        await self._note(session_id, (self._known[session_id][-1][1] or 0) + 1)

    async def purge(self, session_id: str) -> None:
        """Delete a session."""
        await self.stage.writer.delete_session(session_id)
        await self._note(session_id, None)

    async def poll_for_ever(self) -> None:
        """Poll every session, filtered; a view that does not answer is no news here."""
        while True:
            for session_id in list(self._known):
                with suppress(StoreUnavailable, StoreRefused):
                    await self._poll(session_id)
            await asyncio.sleep(STEP_SECONDS)

    async def _poll(self, session_id: str) -> None:
        found = await self.stage.read(session_id, types=TYPES[:1], limit=1000)
        if isinstance(found, Cold):
            return
        self.answers += 1
        known = self._known[session_id]
        if found.as_of_us < known[0][0]:
            return  # as of when it was still being written
        # What was acknowledged before its as-of, and whatever was committed since.
        first = max(0, bisect_right(known, found.as_of_us, key=lambda entry: entry[0]) - 1)
        wanted = {total for _, total in known[first:]}
        # A commit is noted after it was acknowledged: one more may be there already.
        last = known[-1][1]
        allowed = wanted | ({last + 1} if last is not None else set())
        items = len(orjson.loads(b"[" + found.page + b"]"))
        if found.total not in allowed or items != found.total:
            self.wrong.append(f"{session_id}: {found.total} of {allowed} at {found.as_of_us}, {items} items")

    async def _note(self, session_id: str, total: int | None) -> None:
        now = int(await self.stage.writer.connection.fetchval(CLOCK_US))
        self._known.setdefault(session_id, []).append((now, total))


@asynccontextmanager
async def watched(stage: Bench) -> AsyncIterator[Watch]:
    """Watch the view during a test; no answer may have been short."""
    watch = Watch(stage)
    task = asyncio.create_task(watch.poll_for_ever())
    try:
        yield watch
        assert not task.done(), task
        assert not watch.wrong, watch.wrong
        assert watch.answers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reconnect(stage: Bench) -> None:
    """Connect the writer anew, as soon as the server takes one."""

    async def connected() -> bool:
        try:
            stage.writer.connection = await asyncpg.connect(stage.config.database_url)
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    await eventually(connected, "the writer is connected")


async def healed(stage: Bench, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until the view is live and equals Postgres for every session and poll; give how long that took."""
    started = time.monotonic()
    now = await stage.writer.connection.fetchval(CLOCK_US)

    async def passed() -> bool:
        with suppress(StoreUnavailable):
            position = await stage.view.position()
            return position is not None and position.live and (position.as_of_us or 0) >= now
        return False

    await eventually(passed, f"as-of has passed ({stage.telemetry.reason})", seconds)
    elapsed = time.monotonic() - started
    rows = await stage.writer.connection.fetch("SELECT id::text FROM sessions")
    sessions = {str(row["id"]) for row in rows}
    for session_id in sessions:
        await stage.hot(session_id)
        for poll in POLLS:
            # What a poll finds incomplete is cold until it is loaded anew.
            await eventually(partial(_equals, stage, session_id, poll), f"{session_id} is answered", seconds)
    listed = {session_id for session_id, _ in await stage.view.hot_sessions()}

    assert listed <= sessions
    assert stage.telemetry.state == "live"
    assert stage.telemetry.reason is None
    return elapsed


async def _equals(stage: Bench, session_id: str, poll: dict[str, object]) -> bool:
    found = await stage.read(session_id, **poll)
    logged = await stage.log.answer(Poll(session_id, **poll), MAX_BYTES)  # type: ignore[arg-type]
    if isinstance(found, Cold):
        return False

    assert (found.page, found.total, found.status) == (logged.page, logged.total, logged.status)
    return True


def said(logs: list[EventDict]) -> list[str]:
    """The reasons for which the projector said that it is not live."""
    return [str(entry["reason"]) for entry in logs if entry["event"] == "not live"]


async def leader_pid(stage: Bench) -> int | None:
    """The server process of the leader's connection."""
    pid: int | None = await stage.writer.connection.fetchval(
        "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted AND a.datname = current_database()"
    )
    return pid


async def end_the_lead(stage: Bench) -> None:
    """End the leader's connection, as an operator or a failing network would."""
    await stage.writer.connection.execute("SELECT pg_terminate_backend($1)", await leader_pid(stage))


@asynccontextmanager
async def own_redis(directory: Path, database_url: str, *options: str) -> AsyncIterator[tuple[EmbeddedRedis, Bench]]:
    """Over a Redis of the test's own."""
    async with embedded_redis(directory, *options) as server, bench(database_url, server.url()) as made:
        yield server, made
