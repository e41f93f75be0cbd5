"""A whole API over both stores, once over fakes and once over real servers, with the test in the projector's place."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from uuid import uuid4

import asyncpg
import httpx
from redis.asyncio import Redis

from projector.core.operations import Add, Drop, Put
from query_api.config import ApiConfig
from query_api.doorway.layer import Layer
from query_api.requests.held_polls import HeldPolls
from query_api.sources.request_line import RequestLine
from readmodel.postgres.client import check_server
from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer, RedisServers
from readmodel.values.offset import origin_of
from readmodel.values.poll import Poll
from readmodel.view.slices import Slices
from readmodel.view.subscription import heard_all
from readmodel.view.whole import WholeView
from readside.api import ApiStores, opened, running
from tests.fakes.event_log import FakeEventLog, Row, jsonb
from tests.fakes.redis import fake_redis
from tests.fakes.streams import FakeStreams
from tests.support.builders import Way, api_config, events_path, reaching, stream_path
from tests.support.projecting import INSERT_SESSION
from tests.support.viewing import Stage
from tests.support.waiting import eventually

NOON_US = 1_768_314_600_000_000
"""2026-01-13T14:30:00Z."""
AT_ONCE = ("fakes", "servers")
"""The stands of a test whose polls must come at the same instant: those of a socket's clients come one by one."""
INSERT_ROW = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4, $5::jsonb, $6,
        'epoch'::timestamptz + $7::bigint / 1000000 * interval '1 s' + $7::bigint % 1000000 * interval '1 us')
"""


def rows(session_id: str, count: int, *types: str) -> list[Row]:
    """Rows a second apart, the types in turn."""
    kinds = types or ("step_created",)
    return [Row(session_id, NOON_US + n * 1_000_000, kinds[n % len(kinds)], {"n": n}) for n in range(count)]


class WriteSide(Protocol):
    """The applications that own the tables."""

    async def insert(self, session_id: str, written: Sequence[Row], status: str = "in_progress") -> None:
        """Insert a session and its events."""

    async def add(self, row: Row) -> None:
        """Insert an event."""

    async def delete(self, session_id: str) -> None:
        """Purge a session."""

    async def snapshot(self) -> str:
        """What a load that began now would see."""

    async def origin(self) -> str:
        """The history that offsets are of; "" where streams are not installed."""

    async def txid(self, row: Row) -> int:
        """The transaction that wrote a row."""


@dataclass
class FakeWriteSide:
    """Writes to the log in memory."""

    log: FakeEventLog
    streams: FakeStreams

    async def insert(self, session_id: str, written: Sequence[Row], status: str = "in_progress") -> None:
        """Insert a session and its events."""
        self.log.statuses[session_id] = status
        self.log.rows.extend(written)

    async def add(self, row: Row) -> None:
        """Insert an event."""
        self.log.rows.append(row)

    async def delete(self, session_id: str) -> None:
        """Purge a session."""
        del self.log.statuses[session_id]
        self.log.rows = [row for row in self.log.rows if row.session_id != session_id]

    async def snapshot(self) -> str:
        """What a load that began now would see."""
        return f"{self.log.next_txid}:{self.log.next_txid}:"

    async def origin(self) -> str:
        """The history that offsets are of."""
        return self.streams.origin

    async def txid(self, row: Row) -> int:
        """The transaction that wrote a row."""
        await self.snapshot()
        return self.log.txid(row)


@dataclass
class RealWriteSide:
    """Writes to Postgres."""

    connection: "asyncpg.Connection[asyncpg.Record]"

    async def insert(self, session_id: str, written: Sequence[Row], status: str = "in_progress") -> None:
        """Insert a session and its events."""
        await self.connection.execute(INSERT_SESSION, session_id, status)
        await self.connection.executemany(INSERT_ROW, list(map(_values, written)))

    async def add(self, row: Row) -> None:
        """Insert an event."""
        await self.connection.execute(INSERT_ROW, *_values(row))

    async def delete(self, session_id: str) -> None:
        """Purge a session."""
        await self.connection.execute("DELETE FROM sessions WHERE id = $1::uuid", session_id)

    async def snapshot(self) -> str:
        """What a load that began now would see."""
        return str(await self.connection.fetchval("SELECT pg_current_snapshot()::text"))

    async def origin(self) -> str:
        """The history that offsets are of; "" where streams are not installed."""
        if await self.connection.fetchval("SELECT to_regproc('readside.incarnation')") is None:
            return ""
        database = (await check_server(self.connection, "")).database
        return origin_of(database, await self.connection.fetchval("SELECT readside.incarnation()"))

    async def txid(self, row: Row) -> int:
        """The transaction that wrote a row."""
        found = await self.connection.fetchval("SELECT xmin::text::bigint FROM events WHERE id = $1", row.id)
        return int(found)


@dataclass
class Stand:
    """The API's client, the view as its only writer sees it, and the write side; `stages` are the view's slices."""

    app: Layer
    client: httpx.AsyncClient
    stages: Sequence[Stage]
    side: WriteSide
    kept: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """The first slice, of most views the only one."""
        return self.stages[0]

    @property
    def held(self) -> HeldPolls:
        """What holds polls of events and of streams."""
        return self.app._front._events.held

    def stage_of(self, session_id: str) -> Stage:
        """The slice that a session is in."""
        return self.stages[Slices("", count=len(self.stages)).index_of(session_id)]

    async def begin(self) -> None:
        """Begin the first term of each slice and wait until the API hears the beats of all."""
        origin = await self.side.origin()
        for stage in self.stages:
            await stage.begin(origin=origin)

        async def beat_is_heard() -> bool:
            await self.beat()
            return None not in self.app._front._events._cache.beats

        await eventually(beat_is_heard, "the API hears a beat")

    async def beat(self, *named: str) -> None:
        """Apply an empty batch with an as-of of now, to each slice."""
        for stage in self.stages:
            await stage.apply(named=named, as_of_us=time.time_ns() // 1000)

    async def write(self, session_id: str, written: Sequence[Row] = (), status: str = "in_progress") -> None:
        """Insert a session; it stays cold."""
        await self.side.insert(session_id, written, status)
        self.kept[session_id] = list(written)

    async def heat(self, session_id: str, status: str = "in_progress") -> None:
        """Put a written session into the view, and let a beat follow."""
        stage = self.stage_of(session_id)
        snapshot = await self.side.snapshot()
        staged = await stage.staged([row.event() for row in self.kept[session_id]], status=status, snapshot=snapshot)
        await stage.apply(Put(session_id, staged), named=[session_id])
        await self.beat()

    async def hot_session(self) -> str:
        """Write and heat a session of ten events of two types, a second apart from noon on; gives its id."""
        session_id = str(uuid4())
        await self.write(session_id, rows(session_id, 10, "step_created", "artifact_created"))
        await self.heat(session_id)
        return session_id

    async def add(self, row: Row) -> None:
        """Add an event to both stores."""
        await self.side.add(row)
        self.kept[row.session_id].append(row)
        added = Add(row.session_id, (row.event(),), (await self.side.txid(row),), await self.side.snapshot())
        await self.stage_of(row.session_id).apply(added, named=[row.session_id])

    async def drop(self, session_id: str) -> None:
        """Forget a session in the view."""
        await self.stage_of(session_id).apply(Drop(session_id), named=[session_id])

    async def poll(self, session_id: str, query: str = "", **headers: str) -> httpx.Response:
        """Poll; header names are written with underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(events_path(session_id) + query, headers=given)

    async def follow(self, session_id: str, query: str = "", method: str = "GET", **headers: str) -> httpx.Response:
        """Read a stream; header names are written with underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, stream_path(session_id) + query, headers=given)

    async def poll_from(self, source: str, session_id: str, query: str = "", **headers: str) -> httpx.Response:
        """Poll until the answer comes from `source`: what is heard, and when, is not the test's to say."""
        answers: list[httpx.Response] = []

        async def arrived() -> bool:
            answers.append(await self.poll(session_id, query, **headers))
            return bool(answers[-1].headers.get("readside-source") == source)

        await eventually(arrived, f"an answer from {source}")
        return answers[-1]


@asynccontextmanager
async def fake_stand(
    way: Way = "asgi", log: FakeEventLog | None = None, servers: RedisServers | None = None, **changes: object
) -> AsyncIterator[Stand]:
    """Over fakeredis, one server or these, and the log in memory."""
    servers, log = servers or OneServer(fake_redis()), log or FakeEventLog()
    config = api_config("postgresql://nowhere", "redis://nowhere", **changes)
    view, streams = WholeView(servers, config.redis_prefix, config.slices), FakeStreams(log)
    stores = ApiStores(
        view=view,
        log=log,
        streams=streams,
        line=RequestLine(view.reporting),
        subscribe=partial(heard_all, servers),
        reconnect=_nothing,
        probe=_nothing,
    )
    async with running(config, stores) as app, reaching(app, way) as made:
        stand = Stand(
            app, made, [Stage(part.redis, keys=part.keys) for part in view.parts], FakeWriteSide(log, streams)
        )
        await stand.begin()
        yield stand
    await servers.aclose()


@asynccontextmanager
async def real_stand(database_url: str, redis_url: str, way: Way = "asgi", **changes: object) -> AsyncIterator[Stand]:
    """Over PostgreSQL and Redis."""
    config: ApiConfig = api_config(database_url, redis_url, **changes)
    connection = await asyncpg.connect(database_url)
    redis: Redis = connect(redis_url, name="test")
    await redis.flushall()
    try:
        async with opened(config) as app, reaching(app, way) as made:
            database = (await check_server(connection, database_url)).database
            view = WholeView(OneServer(redis), config.redis_prefix, config.slices)
            stages = [Stage(redis, keys=keys, database=database) for keys in view.slices.keys]
            stand = Stand(app, made, stages, RealWriteSide(connection))
            await stand.begin()
            yield stand
    finally:
        await connection.close()
        await redis.aclose()


def expected_rows(written: Sequence[Row], poll: Poll) -> list[str]:
    """The ids that a poll must get, in order."""
    matching = sorted(
        (
            row
            for row in written
            if (poll.since_us is None or row.timestamp_us > poll.since_us)
            and (not poll.types or row.event_type in poll.types)
            and (not poll.steps or row.step_id in poll.steps)
        ),
        key=lambda row: (row.timestamp_us, row.id.bytes),
        reverse=not poll.oldest_first,
    )
    return [str(row.id) for row in matching[poll.offset : poll.offset + poll.limit]]


async def _nothing() -> None:
    return None


def _values(row: Row) -> tuple[object, ...]:
    return row.id, row.session_id, row.step_id, row.event_type, jsonb(row.data), row.message, row.timestamp_us
