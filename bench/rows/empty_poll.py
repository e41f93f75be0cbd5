"""A poll that finds nothing new, from memory, beside a bare uvicorn app and nginx with Lua and Redis."""

from contextlib import AsyncExitStack

from bench.contest import CLIENTS, Contestant, Peers, answer_of, beside, contest, nothing_new, same_bytes
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers
from bench.table import Measurement, Target

NAME = "empty-poll"
SESSIONS, EVENTS_EACH = 10, 1_000


async def measure(servers: Servers) -> Measurement:
    """Poll for what is newer than the newest event."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port, peers = await stack.enter_async_context(site.api()), Peers(stack, site)
        target = await nothing_new(port, EVENTS_PATH)
        await answer_of(port, target, "memory")
        ours = Contestant("readside", port, [target])
        others = [await peers.bare(port, target), await peers.lua(target), await peers.lua(target, workers=2)]
        await same_bytes([ours, *others])
        await contest([ours, *others])
    measured = f"empty poll, {CLIENTS} clients, from memory"
    return Measurement(beside(measured, ours, *zip(others, [Target(0.8), Target(1.0), None], strict=True)))
