"""`rebuild --all`, asked as the command asks it, beside `psql` piping ready-made ZADDs into `redis-cli --pipe`."""

import time
from typing import Any, Literal

from bench.events import EVENT_BYTES, fill, session_id
from bench.peers import psql_pipe
from bench.peers.plain import key_of
from bench.stack import Servers, Site, redis_at
from bench.table import BenchError, Figure, Measurement, Row, Target
from readmodel.values.messages import ProjectorRequest
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold
from readside.commands.projector_client import ask

NAME = "rebuild"
ROUNDS = 7
SESSIONS, EVENTS_EACH = 150, 1_000
_EVENTS = SESSIONS * EVENTS_EACH
_WHAT = f"of {_EVENTS:,} events ({EVENT_BYTES} bytes each) in {SESSIONS} sessions, type index included"
_PEERS: dict[Literal["built", "ready"], str] = {
    "built": "psql making ZADDs of the tables \\| redis-cli --pipe, no type index",
    "ready": "psql giving ZADDs that lie ready in a table \\| redis-cli --pipe, no type index",
}


async def measure(servers: Servers) -> Measurement:
    """Load every session into an empty view, reload them beneath their readers, and pipe, in turns."""
    ours: dict[str, list[float]] = {"none hot": [], "all hot": []}
    theirs: dict[Literal["built", "ready"], list[float]] = {"built": [], "ready": []}
    missing = psql_pipe.missing()
    async with servers.site() as site:
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await psql_pipe.prepare(site)
        await site.run("install")
        for _ in range(ROUNDS):
            await site.redis.flushdb()
            async with site.projector(warm_limit="0"):
                for rates in ours.values():
                    rates.append(await rebuilt(site, SESSIONS, EVENTS_EACH))
                for query, rates in theirs.items():
                    if not missing:
                        rates.append(await _pipe(site, query))
    rows = []
    for state, rates in ours.items():
        for query, name in _PEERS.items():
            figure, measured = Figure(rates, "events/s"), f"`rebuild --all` {_WHAT}, {state}"
            beside = None if missing else Figure(theirs[query], "events/s")
            rows.append(Row(measured, figure, f"{name}: {missing}" if missing else name, beside, Target(1.0)))
    return Measurement(rows)


async def rebuilt(site: Site, sessions: int, events_each: int) -> float:
    """Rebuild all sessions; gives events a second. Raises BenchError where not all are whole afterwards."""
    began = time.perf_counter()
    hot = 0
    async for reply in ask(site.view.reporting, ProjectorRequest("rebuild", (), everything=True, reply=True)):
        hot += sum(outcome == "hot" for outcome in reply.sessions.values())
        if reply.state == "failed":
            raise BenchError(f"The rebuild was cut short: {reply.detail}.")
    seconds = time.perf_counter() - began
    headers = await site.view.headers([session_id(number) for number in range(1, sessions + 1)])
    if hot != sessions or any(not it or not it.complete or it.count != events_each for it in headers):
        raise BenchError(f"Only {hot} of {sessions} sessions became hot, or not all of their events did.")
    return sessions * events_each / seconds


async def _pipe(site: Site, query: Literal["built", "ready"]) -> float:
    """Pipe all events into an empty Redis database; gives events a second."""
    async with redis_at(site.plain_url) as redis:
        await redis.flushdb()
    began = time.perf_counter()
    await psql_pipe.pipe(site, query)
    seconds = time.perf_counter() - began
    async with redis_at(site.plain_url) as redis:
        sizes = [await redis.zcard(key_of(session_id(number))) for number in range(1, SESSIONS + 1)]
        events: list[Any] = await redis.zrevrange(key_of(session_id(1)), 0, 99)
    answer = await site.view.read(Poll(session_id(1)), 1_000_000)
    if sum(sizes) != _EVENTS or isinstance(answer, Cold) or answer.page != b",".join(events):
        raise BenchError("The pipe did not bring the same events into Redis as the rebuild.")
    return _EVENTS / seconds
