"""A projector inside the test's own loop, and a writer of sessions and events beside it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import orjson

from projector.config import ProjectorConfig
from projector.leader import Leader
from projector.report import Reporter
from projector.tail.triggers import install
from projector.telemetry import Telemetry
from readmodel.postgres.client import create_pool
from readmodel.postgres.event_log import EventLog
from readmodel.postgres.tables import TableFinder
from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer, RedisServers, open_servers
from readmodel.runtime.supervise import first_to_end
from readmodel.values.poll import Poll
from readmodel.view.keys import Keys
from readmodel.view.reader import Cold, ViewPage, ViewReader
from readmodel.view.whole import WholeView
from tests.support.builders import projector_config
from tests.support.waiting import eventually

MAX_BYTES = 32_000_000
INSERT_SESSION = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
VALUES ($1::uuid, 'workflow', $2, 'auto', '/p', '{}', now(), now())
"""
INSERT_EVENT = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
VALUES ($1::uuid, $2::uuid, NULL, $3, $4::jsonb, $5, $6::text::timestamptz)
"""


@dataclass
class Writer:
    """The write side: plain statements on one connection."""

    connection: "asyncpg.Connection[asyncpg.Record]"

    async def session(self, status: str = "in_progress") -> str:
        """Insert a session; give its id."""
        session_id = str(uuid4())
        await self.connection.execute(INSERT_SESSION, session_id, status)
        return session_id

    async def event(
        self,
        session_id: str,
        *,
        event_type: str = "step_created",
        timestamp: str | None = None,
        data: object = None,
        message: str | None = None,
    ) -> str:
        """Insert an event; give its id."""
        event_id = str(uuid4())
        at = timestamp or datetime.now(UTC).isoformat()
        payload = data if isinstance(data, str) else orjson.dumps(data or {}).decode()
        await self.connection.execute(INSERT_EVENT, event_id, session_id, event_type, payload, message, at)
        return event_id

    async def events(self, session_id: str, count: int, event_type: str = "step_created") -> None:
        """Insert `count` events in one statement."""
        await self.connection.execute(
            """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
               SELECT gen_random_uuid(), $1::uuid, $3, '{"n": 1}', now() + n * interval '1 ms'
               FROM generate_series(1, $2::int) n""",
            session_id,
            count,
            event_type,
        )

    async def end_the_term(self) -> None:
        """Leave the letter that says everything changed."""
        await self.connection.execute("INSERT INTO readside.letters_0 (txid, kind) VALUES (pg_current_xact_id(), 'x')")

    async def delete_session(self, session_id: str) -> None:
        """Purge a session and its events."""
        await self.connection.execute("DELETE FROM sessions WHERE id = $1::uuid", session_id)


@dataclass
class Bench:
    """Everything a test of the projector wants: the writer, the view, and what Postgres says."""

    config: ProjectorConfig
    writer: Writer
    view: ViewReader
    log: EventLog
    telemetry: Telemetry = field(default_factory=Telemetry)

    async def read(self, session_id: str, **poll: object) -> ViewPage | Cold:
        """Read a poll from the view."""
        return await self.view.read(Poll(session_id, **poll), MAX_BYTES)  # type: ignore[arg-type]

    async def is_hot(self, session_id: str) -> bool:
        """Tell whether the view answers for a session."""
        return isinstance(await self.read(session_id), ViewPage)

    async def hot(self, session_id: str) -> None:
        """Wait until the view answers for a session."""
        await eventually(lambda: self.is_hot(session_id), f"session {session_id} is hot")

    async def cold(self, session_id: str) -> None:
        """Wait until the view does not answer for a session."""

        async def is_cold() -> bool:
            return not await self.is_hot(session_id)

        await eventually(is_cold, f"session {session_id} is cold")

    async def alone(self) -> None:
        """Purge every session, and wait until the view of a running projector has none."""
        await self.writer.connection.execute("DELETE FROM sessions")

        async def none_is_hot() -> bool:
            return await self.view.hot_count() == 0

        await eventually(none_is_hot, "no session is hot")

    async def caught_up(self) -> None:
        """Wait until the view's as-of is later than all that is committed now."""
        now = await self.writer.connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

        async def passed() -> bool:
            position = await self.view.position()
            return position is not None and position.live and (position.as_of_us or 0) >= now

        await eventually(passed, "as-of has passed")

    async def same(self, session_id: str, **poll: object) -> ViewPage:
        """Wait until caught up, then check that the view gives what Postgres gives."""
        await self.caught_up()
        found = await self.read(session_id, **poll)
        logged = await self.log.answer(Poll(session_id, **poll), MAX_BYTES)  # type: ignore[arg-type]
        assert isinstance(found, ViewPage), found
        assert (found.page, found.total, found.status) == (logged.page, logged.total, logged.status)
        return found

    @asynccontextmanager
    async def projector(self, servers: RedisServers | None = None, /, **changes: object) -> AsyncIterator[Telemetry]:
        """Run a projector beside the test, over `servers` or the URL's; it must not end by itself."""
        config = replace(self.config, **changes)  # type: ignore[arg-type]
        servers, telemetry = servers or open_servers(config.redis_url, name="readside-projector"), Telemetry()
        view = WholeView(servers, config.redis_prefix, config.slices)
        reporter = Reporter(view.reporting, telemetry)
        task = asyncio.create_task(first_to_end(Leader(config, view, telemetry).run(), reporter.run()))
        self.telemetry = telemetry
        try:
            yield telemetry
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await servers.aclose()


@asynccontextmanager
async def bench(
    database_url: str, redis_url: str, installed: bool = True, drift_round_seconds: float = 2.0
) -> AsyncIterator[Bench]:
    """Triggers installed, a writer, a reader of each store; no projector yet."""
    config = projector_config(database_url, redis_url, heartbeat_seconds=0.05, drift_round_seconds=drift_round_seconds)
    connection = await asyncpg.connect(database_url)
    pool = await create_pool(database_url, application_name="test", size=2)
    finder = TableFinder(database_url, application_name="test")
    redis = connect(redis_url, name="test")
    if installed and await connection.fetchval("SELECT to_regnamespace('readside')") is None:
        await install(connection, warn=_refuse)
    try:
        yield Bench(
            config,
            Writer(connection),
            ViewReader(redis, Keys("readside", OneServer(redis).database)),
            EventLog(pool, database_url, finder),
        )
    finally:
        pool.terminate()
        await connection.close()
        await redis.aclose()


def _refuse(warning: str) -> None:
    raise AssertionError(warning)


def ids(found: ViewPage) -> Sequence[str]:
    """The ids of a page, in order."""
    return [event["id"] for event in orjson.loads(b"[" + found.page + b"]")]
