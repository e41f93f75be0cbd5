"""10,000 held polls over 1,000 sessions in one process: memory, idle cost, commit to the last of a session's 1,000."""

import asyncio
import json
import random
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bench.events import session_id
from bench.load import percentile
from bench.processor import processor_seconds
from bench.rows.polling import hot_site
from bench.stack import API_KEY, ROOT, Servers, Site
from bench.table import BenchError, Chart, Figure, Measurement, Row
from bench.watching import resident_mb
from bench.writing import Manner, write

NAME = "held-polls"
SESSIONS, EVENTS_EACH = 1_000, 20
DASHBOARDS, WATCHED = 10_000, 1_000
"""Dashboards in all, and those of the one session to which is committed; each other session has nine."""
EVENTS_PER_SECOND, WRITERS = 100, 2
OPEN_FILES = 1_024
"""The soft limit that a process has by default."""
MAX_CONNECTIONS = str(DASHBOARDS + 1_000)
SETTLE_SECONDS, IDLE_SECONDS, SECONDS = 3.0, 15, 20
"""Until a crowd's first polls are over; for so long nothing is written, and then there are writers."""
SEEN_SECONDS = 20.0
POINTS = 300
"""Of a line in the chart."""
_LOAD = Manner(per_second=EVENTS_PER_SECOND, durable=False)
_INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES (gen_random_uuid(), $1, 'step_created', '{"attempt": 1}', 'went on', clock_timestamp())
"""


class DashboardProcess:
    """The dashboards, in a process of their own."""

    def __init__(self, process: Process, manner: str) -> None:
        self._process = process
        self.name = "waiting" if manner == "wait" else f"polling every {manner} s"
        self.statuses: Counter[str] = Counter()

    @classmethod
    @asynccontextmanager
    async def over(cls, site: Site, port: int, manner: str) -> AsyncIterator["DashboardProcess"]:
        """Have them poll for as long as the block lasts. Raises BenchError when they cannot."""
        names = site.directory / "held-polls.txt"
        names.write_text("".join(f"{session_id(number)}\n" for number in range(1, SESSIONS + 1)), encoding="utf-8")
        program = str(ROOT / "bench" / "held_crowd.py"), str(port), API_KEY, manner, str(names)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, str(WATCHED), str(DASHBOARDS - WATCHED), stdin=PIPE, stdout=PIPE, limit=2**24
        )
        try:
            crowd = cls(process, manner)
            await crowd._line()
            yield crowd
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()

    async def seen(self) -> list[float]:
        """When dashboards of the first session were shown something new since the last time, monotonic seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        told = await self._line()
        self.statuses.update(told["statuses"])
        wrong = set(self.statuses) - {"200", "304"}
        if wrong:
            raise BenchError(f"A dashboard was answered with {', '.join(sorted(wrong))}.")
        found: list[float] = told["seen"]
        return found

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise BenchError("The dashboards' process has ended.")
        told: dict[str, Any] = json.loads(line)
        return told


@dataclass
class CrowdFigures:
    """What a crowd cost, and when it saw what was committed.

    `kb_each` is memory of the process by dashboard; the shares are of one core: without a crowd, beside one that has
    nothing to be shown, and beside writers.
    """

    kb_each: float = 0.0
    alone_share: float = 0.0
    idle_share: float = 0.0
    busy_share: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    """From a commit until a dashboard had it, of each dashboard and commit."""
    last_ms: list[float] = field(default_factory=list)
    """Until the last one had it, of each commit."""
    polls_per_second: float = 0.0
    """While nothing was written."""


async def measure(servers: Servers) -> Measurement:
    """Measure those that wait, and those that poll every second, each over a new process."""
    async with hot_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
        held, polled = [await _followed(site, manner, servers.choices.seconds) for manner in ("wait", "1")]
    return Measurement(rows(held, polled), {NAME: _chart(held, polled)})


def rows(held: CrowdFigures, polled: CrowdFigures) -> list[Row]:
    """What those that wait cost and see, each beside those that poll every second."""
    crowd, peer = f"{DASHBOARDS:,} held polls over {SESSIONS:,} sessions", "as many that poll every second"
    last, each = f"commit to the last of {WATCHED:,} of one session answered", "commit to seen by each of them"
    alone = f"the process alone {held.alone_share:.1f}"
    polls = f"{polled.polls_per_second:,.0f} polls/s"
    commits = f"{len(held.last_ms)} commits beside {EVENTS_PER_SECOND} events/s"

    def row(what: str, ours: float, theirs: float, unit: str, note: str = "", beside: str = "") -> Row:
        return Row(f"{crowd}: {what}", Figure([ours], unit, note), peer, Figure([theirs], unit, beside))

    def shares(of: CrowdFigures, values: Sequence[float]) -> tuple[float, float]:
        assert of.last_ms
        return percentile(values, 50), percentile(values, 99)

    (last50, last99), (peer50, peer99) = shares(held, held.last_ms), shares(polled, polled.last_ms)
    (each50, each99), (theirs50, theirs99) = shares(held, held.delays_ms), shares(polled, polled.delays_ms)
    return [
        row("memory of each, connection included", held.kb_each, polled.kb_each, "kB"),
        row("processor time while nothing is written", held.idle_share, polled.idle_share, "% of a core", alone, polls),
        row(f"the same at {EVENTS_PER_SECOND} events/s", held.busy_share, polled.busy_share, "% of a core"),
        row(f"{last}, p50", last50, peer50, "ms", commits),
        row(f"{last}, p99", last99, peer99, "ms"),
        row(f"{each}, p50", each50, theirs50, "ms"),
        row(f"{each}, p99", each99, theirs99, "ms"),
    ]


async def _followed(site: Site, manner: str, seconds: int | None) -> CrowdFigures:
    found = CrowdFigures()
    async with site.api_process(open_files=OPEN_FILES, max_connections=MAX_CONNECTIONS) as (port, process):
        found.alone_share = await _share(process, SETTLE_SECONDS)
        before_mb = resident_mb(process)
        async with DashboardProcess.over(site, port, manner) as crowd:
            await asyncio.sleep(SETTLE_SECONDS)
            found.kb_each = (resident_mb(process) - before_mb) * 1_000 / DASHBOARDS
            await crowd.seen()
            crowd.statuses.clear()
            began = time.monotonic()
            found.idle_share = await _share(process, seconds or IDLE_SECONDS)
            await crowd.seen()
            found.polls_per_second = crowd.statuses.total() / (time.monotonic() - began)
            used, began = processor_seconds([process]), time.monotonic()
            await _beside_writers(site, crowd, found, seconds or SECONDS)
            found.busy_share = _percent(processor_seconds([process]) - used, began)
    return found


async def _beside_writers(site: Site, crowd: DashboardProcess, found: CrowdFigures, seconds: int) -> None:
    """Commit to the first session now and then, while others write to the rest."""
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(write(site, writers=WRITERS, seconds=seconds, sessions=(2, SESSIONS), manner=_LOAD))
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0.1, 0.3))
            await site.connection.execute(_INSERT, UUID(session_id(1)))
            committed_at = time.monotonic()
            delays = [(seen - committed_at) * 1_000 for seen in await _all_seen(crowd)]
            found.delays_ms += delays
            found.last_ms.append(max(delays))


async def _all_seen(crowd: DashboardProcess) -> list[float]:
    """Return when every dashboard of the first session was shown the event, and give when."""
    seen: list[float] = []
    until = time.monotonic() + SEEN_SECONDS
    while len(seen) < WATCHED:
        if time.monotonic() > until:
            raise BenchError(f"{len(seen)} of {WATCHED} were shown an event within {SEEN_SECONDS:g} s, {crowd.name}.")
        await asyncio.sleep(0.05)
        seen += await crowd.seen()
    return seen


async def _share(process: int, seconds: float) -> float:
    """The processor time that a process takes in the next seconds, in percent of one core."""
    used, began = processor_seconds([process]), time.monotonic()
    await asyncio.sleep(seconds)
    return _percent(processor_seconds([process]) - used, began)


def _percent(used_seconds: float, began: float) -> float:
    return 100 * used_seconds / (time.monotonic() - began)


def _chart(held: CrowdFigures, polled: CrowdFigures) -> Chart:
    title = f"Commit to seen, by {WATCHED:,} dashboards of one session among {DASHBOARDS:,}"
    lines = {"held polls": _line(held.delays_ms), "polls every second": _line(polled.delays_ms)}
    return Chart(title, "ms", "percent of dashboards", lines, log_x=True)


def _line(delays_ms: Sequence[float]) -> list[tuple[float, float]]:
    """The delays in order, some of them, each with the percentage that does not exceed it."""
    ordered = sorted(max(0.1, delay) for delay in delays_ms)
    places = sorted({round(n * (len(ordered) - 1) / POINTS) for n in range(POINTS + 1)})
    return [(ordered[place], 100 * (place + 1) / len(ordered)) for place in places]
