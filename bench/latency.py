"""From a COMMIT's acknowledgement to the first poll that shows the event, while 500 events a second are written."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg

from bench.events import fill, session_id
from bench.load import HEADERS, percentile
from bench.polling_client import PollingClient
from bench.stack import Servers, Site
from bench.table import BenchError, Figure, Row
from readmodel.messages import decode_change
from readmodel.postgres_client import Connection, Pool
from readmodel.subscription import heard
from readside.demo.processes import LOOPBACK

NAME = "latency"
EVENTS_PER_SECOND, SECONDS, WRITERS = 500, 12, 4
SESSIONS, EVENTS_EACH = 200, 100
PROBED = session_id(1)
VISIBLE_SECONDS = 10.0
_PATH = f"/api/v2/sessions/{PROBED}/events"
_INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES ($1, $2, 'step_created', '{"attempt": 1}', 'went on', $3)
"""


class _Prober:
    """Commits events to one session and polls it as a dashboard does, with the newest timestamp that it has seen."""

    def __init__(self, site: Site, connection: Connection, client: PollingClient) -> None:
        self._site = site
        self._connection = connection
        self._client = client
        self._published = asyncio.Event()
        self._published_at = 0.0
        self.to_poll_ms: list[float] = []
        self.to_redis_ms: list[float] = []

    async def run(self, until: float) -> None:
        """Probe until that instant of the loop's clock, with pauses in step with nothing else."""
        since = datetime.now(UTC)
        while asyncio.get_running_loop().time() < until:
            since = await self._probe(since)
            await asyncio.sleep(random.uniform(0.01, 0.03))

    async def listen(self) -> None:
        """Note when the batch that names the probed session is published."""
        async with aclosing(heard(self._site.redis, self._site.view.keys.changes)) as messages:
            async for data in messages:
                change = decode_change(data) if data else None
                if change is not None and PROBED in change.sessions:
                    self._published_at = time.perf_counter()
                    self._published.set()

    async def _probe(self, since: datetime) -> datetime:
        event_id, timestamp = uuid4(), datetime.now(UTC)
        target, wanted = f"{_PATH}?since={quote(since.isoformat())}", str(event_id).encode()
        self._published.clear()
        await self._connection.execute(_INSERT, event_id, UUID(PROBED), timestamp)
        committed_at = time.perf_counter()
        while wanted not in (answer := await self._client.get(target, HEADERS)).body:
            if answer.status != 200 or time.perf_counter() - committed_at > VISIBLE_SECONDS:
                raise BenchError(f"An event was not visible in time; the last answer was {answer.status}.")
        self.to_poll_ms.append((time.perf_counter() - committed_at) * 1000)
        await asyncio.wait_for(self._published.wait(), VISIBLE_SECONDS)
        # The notice sets out before the acknowledgement does, and may win the race.
        self.to_redis_ms.append(max(0.0, self._published_at - committed_at) * 1000)
        return timestamp


async def measure(servers: Servers) -> list[Row]:
    """Probe one session among the writers' others."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(servers.site())
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await site.run("install")
        await stack.enter_async_context(site.projector())
        await site.run("warm", *map(session_id, range(1, SESSIONS + 1)))
        port = await stack.enter_async_context(site.api())
        client = await stack.enter_async_context(PollingClient.open(LOOPBACK, port))
        pool = await stack.enter_async_context(asyncpg.create_pool(site.database_url, min_size=WRITERS))
        prober = _Prober(site, site.connection, client)
        listening = asyncio.create_task(prober.listen())
        try:
            written = await _probe_among_writers(prober, pool)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    what = f"{EVENTS_PER_SECOND} events/s by {WRITERS} writers, {SESSIONS} hot sessions"
    rate = written / SECONDS
    return [
        Row(f"commit to poll, {what}", _figure(prober.to_poll_ms, rate)),
        Row(f"commit to Redis, {what}", _figure(prober.to_redis_ms, rate)),
    ]


async def _probe_among_writers(prober: _Prober, pool: Pool) -> int:
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(_write(pool, number, began)) for number in range(WRITERS)]
        group.create_task(prober.run(began + SECONDS))
    return sum(writer.result() for writer in writers) + len(prober.to_poll_ms)


async def _write(pool: Pool, number: int, began: float) -> int:
    """Commit single rows at this writer's share of the rate, by the clock; gives how many."""
    loop, written, step = asyncio.get_running_loop(), 0, WRITERS / EVENTS_PER_SECOND
    async with pool.acquire() as connection:
        while (due := began + (written + number / WRITERS) * step) < began + SECONDS:
            await asyncio.sleep(max(0.0, due - loop.time()))
            other = UUID(session_id(random.randint(2, SESSIONS)))
            await connection.execute(_INSERT, uuid4(), other, datetime.now(UTC))
            written += 1
    return written


def _figure(latencies_ms: Sequence[float], rate: float) -> Figure:
    """The median of all probes; beside it percentiles, and the events a second that were written, probes included."""
    p50, p90, p99 = (percentile(list(latencies_ms), share) for share in (50, 90, 99))
    note = f"p90 {p90:.1f} ms, p99 {p99:.1f} ms, {len(latencies_ms)} probes at {rate:.0f} events/s"
    return Figure([p50], "ms", note)
