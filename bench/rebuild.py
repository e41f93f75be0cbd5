"""How fast sessions come into Redis: `rebuild --all`, asked as the command asks it, so without a program's start."""

import time

from bench.events import EVENT_BYTES, fill, session_id
from bench.stack import Servers, Site
from bench.table import BenchError, Figure, Row
from readmodel.messages import Request
from readside.commands.asking import ask

NAME = "rebuild"
ROUNDS = 3
SESSIONS, EVENTS_EACH = 150, 1_000


async def measure(servers: Servers) -> list[Row]:
    """Load every session into an empty view once, then reload them all beneath their readers."""
    async with servers.site() as site:
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await site.run("install")
        async with site.projector(warm_limit="0"):
            first = await _rebuild(site)
            rates = [await _rebuild(site) for _ in range(ROUNDS)]
    what = f"of {SESSIONS * EVENTS_EACH:,} events ({EVENT_BYTES} bytes each) in {SESSIONS} sessions"
    return [
        Row(f"`rebuild --all` {what}, none hot", Figure([first], "events/s")),
        Row(f"`rebuild --all` {what}, all hot", Figure(rates, "events/s")),
    ]


async def _rebuild(site: Site) -> float:
    """Rebuild all sessions; gives events a second."""
    began = time.perf_counter()
    hot = 0
    async for reply in ask(site.redis, site.view.keys, Request("rebuild", (), everything=True, reply=True)):
        hot += sum(outcome == "hot" for outcome in reply.sessions.values())
        if reply.state == "failed":
            raise BenchError(f"The rebuild was cut short: {reply.detail}.")
    seconds = time.perf_counter() - began
    headers = await site.view.headers([session_id(number) for number in range(1, SESSIONS + 1)])
    if hot != SESSIONS or any(not it or not it.complete or it.count != EVENTS_EACH for it in headers):
        raise BenchError(f"Only {hot} of {SESSIONS} sessions became hot, or not all of their events did.")
    return SESSIONS * EVENTS_EACH / seconds
