"""The cost of a poll at 100 to 100,000 events a session, from memory and from Redis: it should be flat."""

from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import orjson

from bench.contest import CLIENTS, Contestant, answer_of, contest
from bench.events import fill, session_id
from bench.load import COUNTER
from bench.rows.cost import all_of, rows_of_growth
from bench.stack import Servers
from bench.table import Measurement

NAME = "cost-by-events"
SIZES = (100, 1_000, 10_000, 100_000)
ROUNDS = 3
_MEMORY, _PAGE, _EMPTY = "page of 100 from memory", "page of 100 from Redis", "empty poll from Redis"


async def measure(servers: Servers) -> Measurement:
    """Poll a session of each size in turns."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(servers.site())
        for number, size in enumerate(SIZES, 1):
            await fill(site.connection, 1, size, first=number)
        await site.run("install")
        await stack.enter_async_context(site.projector(warm_limit="0"))
        await site.run("warm", *(session_id(number) for number in range(1, len(SIZES) + 1)))
        memory = await stack.enter_async_context(site.api())
        redis = await stack.enter_async_context(site.api(response_cache_mb="0"))
        by_size: dict[str, dict[int, Contestant]] = {_MEMORY: {}, _PAGE: {}, _EMPTY: {}}
        for number, size in enumerate(SIZES, 1):
            path = f"/api/v2/sessions/{session_id(number)}/events"
            for kind, port, query, source in (
                (_MEMORY, memory, "limit=100", "memory"),
                (_PAGE, redis, f"limit=100&since={await _within_window(memory, path)}", "redis"),
                (_EMPTY, redis, f"since=2100-01-01T00:00:00.{COUNTER}Z", "redis"),
            ):
                target = f"{path}?{query}"
                await answer_of(port, target, source)
                by_size[kind][size] = Contestant(kind, port, [target])
        await contest(all_of(by_size), rounds=ROUNDS)
    rows, chart = rows_of_growth(f"Cost of a poll, {CLIENTS} clients", "events a session", by_size)
    return Measurement(rows, {NAME: chart})


async def _within_window(port: int, path: str) -> str:
    """A `since` ten seconds before the newest event: more than a page ago, and within what is hot of the largest.

    (A session's events lie a millisecond apart. Of very large ones the newest 20,000 are hot.)
    """
    newest = orjson.loads((await answer_of(port, f"{path}?limit=1")).body)["items"][0]["timestamp"]
    since = datetime.fromisoformat(newest) - timedelta(seconds=10)
    return f"{since:%Y-%m-%dT%H:%M:%S}.{COUNTER}Z"
