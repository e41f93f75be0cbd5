"""Polls beside what many would pick: nginx that keeps the Postgres endpoint's answers for a second, blind to keys."""

from contextlib import AsyncExitStack

from bench.contest import CLIENTS, Contestant, Peers, answer_of, beside, contest, nothing_new, same_bytes
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers
from bench.table import Measurement, Row

NAME = "micro-cache"
SESSIONS, EVENTS_EACH = 20, 10_000


async def measure(servers: Servers) -> Measurement:
    """Poll one session, so that all but one poll a second find their answer kept."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port, peers = await stack.enter_async_context(site.api()), Peers(stack, site)
        empty = await nothing_new(port, EVENTS_PATH)
        kept = await peers.micro_cache(empty, await peers.postgres_app())
        for what, target in (("empty poll", empty), ("page of 100", f"{EVENTS_PATH}?limit=100")):
            await answer_of(port, target, "memory")
            ours = Contestant("readside", port, [target])
            theirs = Contestant(kept.name, kept.port, [target], kept.missing)
            await same_bytes([ours, theirs])
            await contest([ours, theirs])
            measured = f"{what} of {EVENTS_EACH:,} events, {CLIENTS} clients, from memory; theirs up to 1 s stale"
            rows += beside(measured, ours, (theirs, None))
    return Measurement(rows)
