"""A page of 100 of a session of 1,000 events that does not change, from memory, beside nginx with Lua and Redis."""

from contextlib import AsyncExitStack

from bench.contest import CLIENTS, Contestant, Peers, answer_of, beside, contest, same_bytes
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers
from bench.table import Measurement, Target

NAME = "page"
SESSIONS, EVENTS_EACH = 10, 1_000


async def measure(servers: Servers) -> Measurement:
    """Poll for the newest page."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port, peers = await stack.enter_async_context(site.api()), Peers(stack, site)
        target = f"{EVENTS_PATH}?limit=100"
        await answer_of(port, target, "memory")
        ours = Contestant("readside", port, [target])
        others = [await peers.bare(port, target), await peers.lua(target), await peers.lua(target, workers=2)]
        await same_bytes([ours, *others])
        await contest([ours, *others])
    measured = f"page of 100 of {EVENTS_EACH:,} events, unchanged, {CLIENTS} clients, from memory"
    return Measurement(beside(measured, ours, *zip(others, [None, Target(1.0), None], strict=True)))
