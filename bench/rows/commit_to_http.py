"""Commit to the first poll that shows the event, at 500 events/s, beside what its three steps cost by themselves."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg

from bench.events import session_id
from bench.load import HEADERS, percentile
from bench.polling_client import PollingClient
from bench.rows.polling import hot_site
from bench.stack import ROOT, Servers, Site
from bench.table import BenchError, Chart, Figure, Measurement, Row, Target
from bench.writing import Manner, write
from readmodel.postgres.client import Connection
from readside.demo.processes import LOOPBACK

NAME = "commit-to-http"
EVENTS_PER_SECOND, SECONDS, WRITERS = 500, 20, 4
SESSIONS, EVENTS_EACH = 200, 100
_LOAD = Manner(per_second=EVENTS_PER_SECOND, durable=False)
VISIBLE_SECONDS = 10.0
PROBED, QUIET = session_id(1), session_id(2)
"""The session that is probed, and one to which nobody writes."""
_PATH = "/api/v2/sessions/{}/events?since={}"
_INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES ($1, $2, 'step_created', '{"attempt": 1}', 'went on', $3)
"""


class _Echo:
    """NOTIFY to ourselves, on a connection that listens and another that notifies."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def between(cls, site: Site) -> AsyncIterator["_Echo"]:
        """Listen for as long as the block lasts."""
        listening = await asyncpg.connect(site.database_url)
        try:
            echo = cls(site.connection)
            await listening.add_listener("bench", echo.hear)
            yield echo
        finally:
            listening.terminate()

    def hear(self, *_: Any) -> None:
        """Take a notice."""
        self._heard.set()

    async def round_trip(self) -> None:
        """Return when a notice has come back."""
        self._heard.clear()
        await self._connection.execute("SELECT pg_notify('bench', '')")
        await asyncio.wait_for(self._heard.wait(), VISIBLE_SECONDS)


class Prober:
    """Commits events to one session and polls it as a dashboard does, with the newest timestamp that it has seen."""

    def __init__(self, site: Site, client: PollingClient, echo: _Echo) -> None:
        self._site = site
        self._client = client
        self._echo = echo
        self.rounds_ms: list[list[float]] = []
        self.steps_ms: dict[str, list[float]] = {"NOTIFY": [], "Redis": [], "HTTP": []}

    async def under_load(self, seconds: int) -> float:
        """Probe for one round beside the writers; gives their events a second."""
        self.rounds_ms.append([])
        async with asyncio.TaskGroup() as group:
            writing = write(self._site, writers=WRITERS, seconds=seconds, sessions=(3, SESSIONS), manner=_LOAD)
            rate = group.create_task(writing)
            await self._run(asyncio.get_running_loop().time() + seconds)
        return rate.result()

    async def _run(self, until: float) -> None:
        """Probe until that instant of the loop's clock, with pauses in step with nothing else."""
        since = datetime.now(UTC)
        while asyncio.get_running_loop().time() < until:
            since = await self._probe(since)
            await asyncio.sleep(random.uniform(0.005, 0.015))
            await self._steps()
            await asyncio.sleep(random.uniform(0.005, 0.015))

    def sums_ms(self) -> list[float]:
        """What the three steps took together, each time."""
        return [sum(steps) for steps in zip(*self.steps_ms.values(), strict=True)]

    async def _probe(self, since: datetime) -> datetime:
        event_id, timestamp = uuid4(), datetime.now(UTC)
        target, wanted = _PATH.format(PROBED, quote(since.isoformat())), str(event_id).encode()
        await self._site.connection.execute(_INSERT, event_id, UUID(PROBED), timestamp)
        committed_at = time.perf_counter()
        while wanted not in (answer := await self._client.get(target, HEADERS)).body:
            if answer.status != 200 or time.perf_counter() - committed_at > VISIBLE_SECONDS:
                raise BenchError(f"An event was not visible in time; the last answer was {answer.status}.")
        self.rounds_ms[-1].append((time.perf_counter() - committed_at) * 1000)
        return timestamp

    async def _steps(self) -> None:
        began = time.perf_counter()
        await self._echo.round_trip()
        heard = time.perf_counter()
        await self._site.redis.echo("")
        read = time.perf_counter()
        await self._client.get(_PATH.format(QUIET, "2100-01-01T00:00:00Z"), HEADERS)
        for step, seconds in zip(
            self.steps_ms.values(), (heard - began, read - heard, time.perf_counter() - read), strict=True
        ):
            step.append(seconds * 1000)


@asynccontextmanager
async def probing(servers: Servers, number: int = 0, *, source: Path = ROOT) -> AsyncIterator[Prober]:
    """Serve hot sessions, of which one is to be probed; `source` is the tree whose code runs."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(
            hot_site(servers, number, sessions=SESSIONS, events_each=EVENTS_EACH, source=source)
        )
        port = await stack.enter_async_context(site.api())
        client = await stack.enter_async_context(PollingClient.open(LOOPBACK, port))
        yield Prober(site, client, await stack.enter_async_context(_Echo.between(site)))


async def measure(servers: Servers) -> Measurement:
    """Probe one session among the writers' others."""
    async with probing(servers) as prober:
        rate = await prober.under_load(servers.choices.seconds or SECONDS)
    return _measured(prober, rate)


def _measured(prober: Prober, rate: float) -> Measurement:
    what = f"commit to visible through HTTP at {EVENTS_PER_SECOND} events/s"
    visible, sums = prober.rounds_ms[0], prober.sums_ms()
    p50, p99 = percentile(visible, 50), percentile(visible, 99)
    steps = ", ".join(f"{name} {percentile(step, 50):.2f}" for name, step in prober.steps_ms.items())
    beside = Figure([percentile(sums, 50)], "ms", f"p50 of {steps} ms")
    peer = "round trips of NOTIFY, Redis and HTTP together"
    note = f"p90 {percentile(visible, 90):.1f} ms, {len(visible)} probes beside {rate:.0f} events/s"
    rows = [
        Row(f"{what}, p50", Figure([p50], "ms", note), peer, beside, Target(2, at_most=True)),
        Row(f"{what}, p99", Figure([p99], "ms"), f"{peer}, p50", beside, Target(10, at_most=True)),
    ]
    lines = {"commit to visible": _shares(visible), peer: _shares(sums)}
    return Measurement(rows, {"commit-to-http": Chart(what, "ms", "percent of probes", lines, log_x=True)})


def _shares(values: list[float]) -> list[tuple[float, float]]:
    """The values in order, each with the percentage that does not exceed it."""
    ordered = sorted(values)
    return [(value, 100 * place / len(ordered)) for place, value in enumerate(ordered, 1)]
