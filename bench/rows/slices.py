"""32 slices on one Redis, and over three masters, beside a single one: polls, projection, rebuild, memory, rest."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bench.cluster import running_cluster
from bench.contest import CLIENTS, Contestant, answer_of, contest
from bench.events import fill, session_id
from bench.load import COUNTER
from bench.processor import processor_seconds
from bench.rows.rebuild import rebuilt
from bench.stack import Servers, Site, redis_at
from bench.table import Figure, Measurement, Row, Target
from bench.writing import Manner, write
from readmodel.redis.overrides import pack
from readmodel.view.subscription import heard_all
from readside.demo.embedded_redis import EmbeddedRedis

NAME = "slices"
SLICES, MASTERS = 32, 3
ROUNDS, SECONDS = 5, 4
SESSIONS, EVENTS_EACH = 200, 250
WRITERS, EVENTS_A_COMMIT = 4, 10
REST_SECONDS = 5
EVENTS_AT_ONCE = 20_000
"""Of one commit: nobody writes any more while they are projected, so it shows what the projector can do."""
OPEN_FILES = 4_096
ASKED = {"empty poll": "2100-01-01T00:00:00", "page of 100": "2000-01-01T00:00:00"}
"""What is asked, and since when."""
AS_GOOD, AS_SMALL = Target(0.9), Target(1.1, at_most=True)

_READERS = "SELECT pid FROM pg_stat_activity WHERE application_name IN ('readside-listener', 'readside-projector')"
_ONE_COMMIT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), md5('session ' || 1 + e % $1)::uuid, 'step_created', '{"attempt": 1}', 'went on',
       clock_timestamp()
FROM generate_series(1, $2::int) AS e
"""


@dataclass(slots=True)
class Layout:
    """One way to cut the view and to spread it, with what was measured of it, by what that is."""

    name: str
    site: Site
    redis: Sequence[EmbeddedRedis]
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        """Add a round's figure."""
        self.found.setdefault(what, []).append(value)

    async def used_bytes(self) -> int:
        """The bytes in use, without those of buffers of clients and of the cluster's bus, which come and go."""
        return sum([await _used(server.url()) for server in self.redis])


async def measure(servers: Servers) -> Measurement:
    """Measure all three in turns on one PostgreSQL, each on a database of its own."""
    choices = servers.choices
    rounds, seconds = choices.rounds or ROUNDS, choices.seconds or SECONDS
    async with AsyncExitStack() as stack:
        url, nodes = await stack.enter_async_context(running_cluster(servers.directory, MASTERS))
        layouts = [
            Layout("1 slice", await stack.enter_async_context(servers.site(0)), [servers.redis]),
            Layout(
                f"{SLICES} slices on one Redis",
                await stack.enter_async_context(servers.site(1, slices=SLICES)),
                [servers.redis],
            ),
            Layout(
                f"{SLICES} slices over {MASTERS} masters",
                await stack.enter_async_context(servers.site(2, slices=SLICES, cluster=url)),
                nodes,
            ),
        ]
        for layout in layouts:
            await fill(layout.site.connection, SESSIONS, EVENTS_EACH)
            await layout.site.run("install")
            await fill_view(layout)
        await _poll(layouts, rounds, seconds)
        for number in range(rounds):
            for layout in layouts if number % 2 else reversed(layouts):
                await press(layout, seconds)
    rows = [row for layout in layouts[1:] for row in _rows(layouts[0], layout)]
    spread = layouts[-1]
    for what in ASKED:
        figure = Figure(spread.found[f"{what}: Redis"], "µs/poll")
        rows.append(Row(f"{spread.name}: processor time of Redis, {what}", figure))
    return Measurement(rows)


async def fill_view(layout: Layout) -> None:
    """Make all sessions hot, and see what that takes."""
    async with layout.site.projector(warm_limit="0"):
        empty = await layout.used_bytes()
        await layout.site.run("warm", *map(session_id, range(1, SESSIONS + 1)))
        layout.note("memory", (await layout.used_bytes() - empty) / (SESSIONS * EVENTS_EACH))


async def _poll(layouts: Sequence[Layout], rounds: int, seconds: int) -> None:
    """Poll all sessions in turn, of processes that keep no answers; one projector keeps each view fresh meanwhile."""
    sessions = [f"/api/v2/sessions/{session_id(number)}/events?since=" for number in range(1, SESSIONS + 1)]
    asked = {what: [f"{path}{since}.{COUNTER}Z&limit=100" for path in sessions] for what, since in ASKED.items()}
    async with AsyncExitStack() as stack:
        ports = []
        for layout in layouts:
            await stack.enter_async_context(layout.site.projector())
            await layout.site.run("warm", *map(session_id, range(1, SESSIONS + 1)))
            ports.append(await stack.enter_async_context(layout.site.api(response_cache_mb="0")))
        for what, targets in asked.items():
            for port in ports:
                await answer_of(port, targets[-1], "redis")
            polled = [Contestant(one.name, port, targets) for one, port in zip(layouts, ports, strict=True)]
            spread, before = layouts[-1], await _scripts(layouts[-1])
            used = processor_seconds([server.pid for server in spread.redis])
            await contest(polled, rounds=rounds, seconds=seconds)
            used = processor_seconds([server.pid for server in spread.redis]) - used
            spread.note(f"{what}: Redis", used / (await _scripts(spread) - before) * 1_000_000)
            for layout, one in zip(layouts, polled, strict=True):
                layout.found[what] = [load.polls_per_second for load in one.rounds]


async def _scripts(layout: Layout) -> int:
    """Count the scripts that its Redis servers have run: one a poll, and few beats."""
    calls = 0
    for server in layout.redis:
        async with redis_at(server.url()) as redis:
            told: dict[str, Any] = await redis.info("commandstats")
        calls += told.get("cmdstat_evalsha", {"calls": 0})["calls"]
    return calls


async def press(layout: Layout, seconds: int) -> None:
    """Rebuild everything, rest, and write as fast as possible, beside an API that hears it all."""
    site = layout.site
    async with site.projector() as projector, site.api_process(open_files=OPEN_FILES) as (_, api):
        layout.note("rebuild", await rebuilt(site, SESSIONS, EVENTS_EACH))
        await site.caught_up()
        readers = [row["pid"] for row in await site.connection.fetch(_READERS)]
        whose = {
            "projector": [projector.pid],
            "API": [api],
            "Redis": [server.pid for server in layout.redis],
            "PostgreSQL": readers,
        }
        async with counted_bytes(site) as heard:
            spent = Spent(whose, heard)
            await asyncio.sleep(REST_SECONDS)
            for what, value in spent.by_second().items():
                layout.note(f"rest: {what}", value)
            spent = Spent(whose, heard)
            manner = Manner(events=EVENTS_A_COMMIT, durable=False)
            events = seconds * await write(
                site, seconds=seconds, manner=manner, writers=WRITERS, sessions=(1, SESSIONS)
            )
            await site.caught_up()
            layout.note("projection", events / spent.seconds)
            for what, value in spent.by(events).items():
                layout.note(what, value)
            await site.connection.execute(_ONE_COMMIT, SESSIONS, EVENTS_AT_ONCE)
            began = time.perf_counter()
            await site.caught_up()
            layout.note("at once", EVENTS_AT_ONCE / (time.perf_counter() - began))
    await restore(site)


class Spent:
    """Processor time that processes take, and bytes that an API hears, from now on."""

    def __init__(self, whose: Mapping[str, Sequence[int]], heard: list[int]) -> None:
        self._whose = whose
        self._heard = heard
        self._began = time.perf_counter()
        self._before = self._now()

    @property
    def seconds(self) -> float:
        """How long it is."""
        return time.perf_counter() - self._began

    def by_second(self) -> dict[str, float]:
        """Milliseconds of processor time, and bytes, a second."""
        return self._divided(self.seconds, 1_000)

    def by(self, events: float) -> dict[str, float]:
        """Microseconds of processor time, and bytes, an event."""
        return self._divided(events, 1_000_000)

    def _now(self) -> dict[str, float]:
        return {name: processor_seconds(pids) for name, pids in self._whose.items()} | {"heard": sum(self._heard)}

    def _divided(self, by: float, unit: int) -> dict[str, float]:
        spent = {name: value - self._before[name] for name, value in self._now().items()}
        return {name: value / by * (1 if name == "heard" else unit) for name, value in spent.items()}


@asynccontextmanager
async def counted_bytes(site: Site) -> AsyncIterator[list[int]]:
    """Hear what every API process hears; gives how long each message is on the wire, its channel included."""
    lengths: list[int] = []

    async def hear() -> None:
        async with aclosing(heard_all(site.view.servers, site.view.change_channels())) as messages:
            async for channel, data in messages:
                if data is not None:
                    lengths.append(len(b"".join(pack(("message", channel, data)))))

    hearing = asyncio.create_task(hear())
    try:
        yield lengths
    finally:
        hearing.cancel()
        with suppress(asyncio.CancelledError):
            await hearing


async def restore(site: Site) -> None:
    """Take away what was written: each round begins alike."""
    await site.connection.execute("DELETE FROM events WHERE event_data = '{\"attempt\": 1}'")
    await site.connection.execute("VACUUM (ANALYZE) events")


def _rows(one: Layout, many: Layout) -> list[Row]:
    def row(measure: str, what: str, unit: str, target: Target | None = None, note: str = "") -> Row:
        figures = [Figure(layout.found[what], unit, note) for layout in (many, one)]
        return Row(f"{many.name}: {measure}", figures[0], one.name, figures[1], target)

    written = f"{WRITERS} writers at full speed, {EVENTS_A_COMMIT} events a commit"
    return [
        *(
            row(f"{what} of {SESSIONS} sessions in turn, from Redis, {CLIENTS} clients", what, "polls/s", AS_GOOD)
            for what in ASKED
        ),
        row(f"projection, {written}", "projection", "events/s", AS_GOOD),
        *(
            row(f"the same: processor time of {whose}", whose, "µs/event")
            for whose in ("projector", "Redis", "PostgreSQL", "API")
        ),
        row("the same: messages to each API process", "heard", "bytes/event"),
        row(f"projection of {EVENTS_AT_ONCE:,} events of one commit", "at once", "events/s", AS_GOOD),
        row(f"`rebuild --all` of {SESSIONS * EVENTS_EACH:,} events", "rebuild", "events/s", AS_GOOD),
        row(f"Redis memory, {EVENTS_EACH} events a session", "memory", "bytes/event", AS_SMALL),
        *(
            row(f"at rest, processor time of {whose}", f"rest: {whose}", "ms/s")
            for whose in ("projector", "Redis", "PostgreSQL", "API")
        ),
        row("at rest, messages to each API process", "rest: heard", "bytes/s"),
    ]


async def _used(url: str) -> int:
    async with redis_at(url) as redis:
        info: dict[str, Any] = await redis.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info.get("mem_cluster_links", 0))
