"""5,000 dashboards that poll every 2 s over 200 sessions while 500 events a second are written to them, by wrk."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.events import session_id
from bench.load import wrk
from bench.rows.polling import hot_site
from bench.stack import Servers, Site
from bench.table import BenchError, Chart, Figure, Measurement, Row, Target
from bench.writing import Manner, write
from readside.demo.processes import LOOPBACK

NAME = "dashboards"
ROUNDS, SECONDS = 3, 16
DASHBOARDS, PERIOD_MS, SESSIONS, EVENTS_EACH = 5_000, 2_000, 200, 100
EVENTS_PER_SECOND, WRITERS = 500, 4
_LOAD = Manner(per_second=EVENTS_PER_SECOND, durable=False)
_SCRIPT = Path(__file__).parents[1] / "dashboards.lua"


@dataclass(frozen=True, slots=True)
class _Round:
    """Latencies in milliseconds by percentile; polls that failed; polls a second; answers by source."""

    latencies: dict[float, float]
    errors: int
    rate: float
    sources: dict[str, int]
    events_per_second: float = 0.0


async def measure(servers: Servers) -> Measurement:
    """Poll in rounds, each with the writers beside it."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(hot_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port = await stack.enter_async_context(site.api())
        rounds = [await _round(site, port) for _ in range(ROUNDS)]
    crowd = f"{DASHBOARDS:,} dashboards polling every {PERIOD_MS // 1000} s"
    what = f"{crowd} over {SESSIONS} sessions, {EVENTS_PER_SECOND} events/s"
    sources = {name: sum(one.sources[name] for one in rounds) for name in rounds[0].sources}
    shares = ", ".join(f"{count / max(1, sum(sources.values())):.0%} {name}" for name, count in sources.items())
    p50, polls, events = (
        median(values)
        for values in zip(*((one.latencies[50], one.rate, one.events_per_second) for one in rounds), strict=True)
    )
    note = f"p50 {p50:.1f} ms, {polls:.0f} polls/s from {shares}, {events:.0f} events/s written"
    errors = float(sum(one.errors for one in rounds))
    rows = [
        Row(f"p99, {what}", Figure([one.latencies[99] for one in rounds], "ms", note), target=Target(20, True, "ms")),
        Row(f"polls that failed, {what}", Figure([errors], "polls"), target=Target(0, True, "polls")),
    ]
    lines = {f"round {n}": list(one.latencies.items()) for n, one in enumerate(rounds, 1)}
    return Measurement(rows, {"dashboards-latency": Chart(what, "percent of polls", "ms at most", lines, log_y=True)})


async def _round(site: Site, port: int) -> _Round:
    names = site.directory / "dashboards.txt"
    names.write_text("".join(f"{session_id(number)}\n" for number in range(1, SESSIONS + 1)), encoding="utf-8")
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write(site, writers=WRITERS, seconds=SECONDS, sessions=(1, SESSIONS), manner=_LOAD))
        output = await wrk(
            *("-t1", f"-c{DASHBOARDS}", f"-d{SECONDS}s", "--timeout", "10s", "--script", str(_SCRIPT)),
            *(f"http://{LOOPBACK}:{port}", "--", str(names), str(DASHBOARDS), since, str(PERIOD_MS)),
        )
    return replace(parse(output), events_per_second=writing.result())


def parse(output: str) -> _Round:
    """Read what the script prints at the end. Raises BenchError when it did not."""
    words = [line.split() for line in output.splitlines()]
    found = {line[0]: float(line[1]) for line in words if len(line) == 2 and line[0] in _FIELDS}
    latencies = {float(line[1]): float(line[2]) for line in words if len(line) == 3 and line[0] == "latency"}
    if set(found) != set(_FIELDS) or not latencies:
        raise BenchError(f"wrk did not end well:\n{output}")
    sources = {name: int(found[name]) for name in _FIELDS[3:]}
    # In the first period the dashboards begin one after the other: on average, half of it is lost.
    rate = found["polls"] / (found["seconds"] - PERIOD_MS / 2000)
    return _Round(latencies, int(found["errors"]), rate, sources)


_FIELDS = ("errors", "seconds", "polls", "memory", "redis", "postgres")
