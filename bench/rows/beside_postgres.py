"""Polls of a session of 10,000 events, from memory, beside the same endpoint on FastAPI, asyncpg and Postgres."""

from contextlib import AsyncExitStack

from bench.contest import CLIENTS, POSTGRES_APP, Contestant, Peers, answer_of, beside, contest, nothing_new, same_bytes
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers
from bench.table import Measurement, Row, Target

NAME = "beside-postgres"
SESSIONS, EVENTS_EACH = 20, 10_000


async def measure(servers: Servers) -> Measurement:
    """Poll for what is newer than the newest event, and for the newest page."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port = await stack.enter_async_context(site.api())
        peer = await Peers(stack, site).postgres_app()
        for what, target, wanted in (
            ("empty poll", await nothing_new(port, EVENTS_PATH), Target(10)),
            ("page of 100", f"{EVENTS_PATH}?limit=100", Target(25)),
        ):
            await answer_of(port, target, "memory")
            ours, theirs = Contestant("readside", port, [target]), Contestant(POSTGRES_APP, peer, [target])
            await same_bytes([ours, theirs])
            await contest([ours, theirs])
            measured = f"{what} of {EVENTS_EACH:,} events, {CLIENTS} clients, from memory"
            rows += beside(measured, ours, (theirs, wanted))
    return Measurement(rows)
