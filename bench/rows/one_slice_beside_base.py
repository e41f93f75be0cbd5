"""A view of one slice beside an earlier version (--base): keys, Redis' commands, memory, projection."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any

from bench.contest import answer_of
from bench.events import fill, session_id
from bench.load import HEADERS
from bench.polling_client import PollingClient
from bench.revision import tree_of
from bench.rows.polling import EVENTS_PATH
from bench.rows.slices import EVENTS_A_COMMIT, EVENTS_EACH, SESSIONS, WRITERS, Layout, fill_view, press, restore
from bench.stack import Servers
from bench.table import BenchError, Figure, Measurement, Row, Target
from bench.writing import Manner, write
from readside.demo.processes import LOOPBACK

NAME = "one-slice-beside-base"
ROUNDS, SECONDS = 5, 4
REST_SECONDS = 10
POLLS = 4_000
COMMITS_PER_SECOND = 20
"""Of single events: few enough that each commit is a batch of its own."""
NO_SLOWER, NO_MORE = Target(0.95), Target(1.05, at_most=True)
"""A twentieth is what rounds of one version differ by."""
_WRITING = {"hset", "hincrby", "publish", "time"}
"""What batches alone run. The continuous check reads, and each half minute sessions that were written to are kept."""


async def measure(servers: Servers) -> Measurement:
    """Measure both versions in turns on the same servers, each on a database of its own."""
    base = servers.choices.base
    if base is None:
        raise BenchError(f"{NAME} needs an earlier version to measure beside: --base REVISION.")
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    with tree_of(base) as tree:
        async with AsyncExitStack() as stack:
            ours = Layout("ours", await stack.enter_async_context(servers.site(0)), [servers.redis])
            theirs = Layout(base, await stack.enter_async_context(servers.site(1, source=tree)), [servers.redis])
            names = []
            for layout in (ours, theirs):
                await fill(layout.site.connection, SESSIONS, EVENTS_EACH)
                await layout.site.run("install")
                await fill_view(layout)
                names.append({key async for key in layout.site.redis.scan_iter(count=1_000)})
                layout.note("keys", len(names[-1]))
            if names[0] != names[1]:
                raise BenchError(f"The two versions' keys differ: {sorted(names[0] ^ names[1])[:5]}.")
            for number in range(rounds):
                for layout in (ours, theirs) if number % 2 else (theirs, ours):
                    await _count(layout, seconds)
                    await restore(layout.site)
                    await press(layout, seconds)
    return Measurement(_rows(ours, theirs))


async def _count(layout: Layout, seconds: int) -> None:
    """Count the commands that Redis runs, a script's own among them: at rest, while events come, and for polls."""
    site = layout.site
    async with site.projector():
        await site.run("warm", *map(session_id, range(1, SESSIONS + 1)))
        await site.caught_up()
        async with site.api(response_cache_mb="0") as port, PollingClient.open(LOOPBACK, port) as client:
            await answer_of(port, EVENTS_PATH, "redis")
            await asyncio.sleep(1)
            before = await _commands(layout)
            await asyncio.sleep(REST_SECONDS)
            layout.note("at rest", ((await _commands(layout)) - before) / REST_SECONDS)
            scripts = await _commands(layout, {"evalsha"})
            for _ in range(POLLS):
                await client.get(EVENTS_PATH, HEADERS)
            layout.note("polls", (await _commands(layout, {"evalsha"}) - scripts) / POLLS)
            before = await _commands(layout)
            manner = Manner(per_second=COMMITS_PER_SECOND)
            events = seconds * await write(site, writers=1, seconds=seconds, sessions=(1, SESSIONS), manner=manner)
            layout.note("events", ((await _commands(layout)) - before) / events)


async def _commands(layout: Layout, names: Collection[str] = _WRITING) -> int:
    """How many of these commands Redis has run, by whomever."""
    told: dict[str, Any] = await layout.site.redis.info("commandstats")
    return sum(one["calls"] for name, one in told.items() if name.removeprefix("cmdstat_").lower() in names)


def _rows(ours: Layout, theirs: Layout) -> list[Row]:
    def row(measure: str, what: str, unit: str, target: Target | None = NO_MORE) -> Row:
        figures = [Figure(layout.found[what], unit) for layout in (ours, theirs)]
        return Row(f"1 slice: {measure}", figures[0], theirs.name, figures[1], target)

    return [
        row(f"keys of {SESSIONS} hot sessions, by the same names", "keys", "keys", Target(1.0, at_most=True)),
        row(f"Redis memory, {EVENTS_EACH} events a session", "memory", "bytes/event"),
        row("Redis' commands that write, at rest, scripts' own included", "at rest", "/s"),
        row(f"the same at {COMMITS_PER_SECOND} single events a second", "events", "an event"),
        row("scripts for a poll from Redis", "polls", "a poll"),
        row(
            f"projection, {WRITERS} writers at full speed, {EVENTS_A_COMMIT} events a commit",
            "projection",
            "events/s",
            NO_SLOWER,
        ),
        row("the same: processor time of the projector", "projector", "µs/event", None),
        row("the same: processor time of Redis", "Redis", "µs/event", None),
        row("at rest, processor time of the projector", "rest: projector", "ms/s", None),
        row("at rest, processor time of Redis", "rest: Redis", "ms/s", None),
    ]
