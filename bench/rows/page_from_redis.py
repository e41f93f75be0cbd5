"""A page of 100, nothing kept in memory and no two polls alike, so that each reads Redis: beside FastAPI + redis-py."""

from contextlib import AsyncExitStack

from bench.contest import CLIENTS, REDIS_APP, Contestant, Peers, answer_of, beside, contest, same_bytes
from bench.load import COUNTER
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers
from bench.table import Measurement, Row, Target

NAME = "page-from-redis"
SESSIONS, EVENTS_EACH = 10, 1_000
# Two polls alike that arrive in one turn of the event loop would share a read.
_TARGETS = {
    "page of 100": f"{EVENTS_PATH}?since=2000-01-01T00:00:00.{COUNTER}Z&limit=100",
    "empty poll": f"{EVENTS_PATH}?since=2100-01-01T00:00:00.{COUNTER}Z",
}


async def measure(servers: Servers) -> Measurement:
    """Poll with a `since` that differs each time, of a process that keeps no answers."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port = await stack.enter_async_context(site.api(response_cache_mb="0"))
        peers = Peers(stack, site)
        redis_app = await peers.redis_app()
        for what, target in _TARGETS.items():
            await answer_of(port, target, "redis")
            ours = Contestant("readside", port, [target])
            others = [Contestant(REDIS_APP, redis_app, [target]), await peers.lua(target)]
            await same_bytes([ours, *others])
            await contest([ours, *others])
            target_of_page = Target(2.0) if what == "page of 100" else None
            measured = f"{what}, cache emptied before every poll, {CLIENTS} clients, from Redis"
            rows += beside(measured, ours, (others[0], target_of_page), (others[1], None))
    return Measurement(rows)
