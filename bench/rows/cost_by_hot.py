"""The cost of a poll at 10 to 10,000 hot sessions, all of them polled in turn, from memory and from Redis."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from bench.contest import CLIENTS, Contestant, answer_of, contest
from bench.events import fill, session_id
from bench.load import COUNTER, crowd
from bench.rows.cost import all_of, rows_of_growth
from bench.stack import Servers
from bench.table import Measurement

NAME = "cost-by-hot"
SIZES = (10, 300, 10_000)
EVENTS_EACH = 10
ROUNDS, FILLING_SECONDS = 3, 6
_EMPTY, _PAGE = "empty poll from memory", "page of 10 from Redis"


async def measure(servers: Servers) -> Measurement:
    """Poll as many deployments as there are sizes in turns, each on a database of its own."""
    by_size: dict[str, dict[int, Contestant]] = {_EMPTY: {}, _PAGE: {}}
    async with AsyncExitStack() as stack:
        for number, size in enumerate(SIZES):
            site = await stack.enter_async_context(servers.site(number))
            await fill(site.connection, size, EVENTS_EACH)
            await site.run("install")
            await stack.enter_async_context(site.projector(warm_limit="0"))
            await site.run("warm", *map(session_id, range(1, size + 1)))
            memory = await stack.enter_async_context(site.api())
            redis = await stack.enter_async_context(site.api(response_cache_mb="0"))
            empty = _targets(size, lambda sid: f"/api/v2/sessions/{sid}/events?since=2100-01-01T00:00:00Z")
            page = _targets(size, lambda sid: f"/api/v2/sessions/{sid}/events?since=2000-01-01T00:00:00.{COUNTER}Z")
            await answer_of(redis, page[-1], "redis")
            await crowd(memory, empty, clients=CLIENTS, seconds=FILLING_SECONDS if size > 1_000 else 1)
            await answer_of(memory, empty[-1], "memory")
            by_size[_EMPTY][size] = Contestant(_EMPTY, memory, empty)
            by_size[_PAGE][size] = Contestant(_PAGE, redis, page)
        await contest(all_of(by_size), rounds=ROUNDS)
    rows, chart = rows_of_growth(f"Cost of a poll, {CLIENTS} clients", "hot sessions", by_size)
    return Measurement(rows, {NAME: chart})


def _targets(size: int, target: Callable[[str], str]) -> list[str]:
    return [target(session_id(number)) for number in range(1, size + 1)]
