"""A poll that memory answers, beside every peer in one interleaved run: what both rows of hot polls have in common."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from bench.contest import (
    CLIENTS,
    LUA_ON_TWO,
    POSTGRES_APP,
    REDIS_APP,
    ROUNDS,
    SECONDS,
    Contestant,
    Peers,
    answer_of,
    beside,
    contest,
    same_bytes,
)
from bench.load import HEADERS
from bench.polling_client import PollingClient
from bench.rows.polling import polled_site
from bench.stack import Servers
from bench.table import BenchError, Measurement, Row, Target
from readside.demo.processes import LOOPBACK

SESSIONS, EVENTS_EACH = 20, 10_000
PROCESSES = 2
"""As many processes of ours as nginx has workers, and so for each core one where there are two."""


async def beside_peers(
    servers: Servers,
    what: str,
    question: Callable[[int], Awaitable[str]],
    wanted: Mapping[str, Target],
    *,
    of_two: Target | None = None,
    unmodified: str = "",
) -> Measurement:
    """Poll all in turns; `question` gives the target of a poll, `wanted` what one process is to keep, by peer.

    `of_two` is what two processes are to keep beside nginx's two workers. `unmodified` names what polls with the
    answer's ETag get, where these are measured too.
    """
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port = await stack.enter_async_context(site.api())
        target = await question(port)
        await answer_of(port, target, "memory")
        ours = Contestant("readside", port, [target])
        on_two = await stack.enter_async_context(site.api(workers=PROCESSES))
        ours_on_two = Contestant(f"readside, {PROCESSES} processes", on_two, [target])
        others = await _peers(Peers(stack, site), port, target)
        everybody = [ours, ours_on_two, *others]
        await same_bytes(everybody)
        asking = [await asking_again(port, target)] if unmodified else []
        rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
        await contest([*everybody, *asking], rounds=rounds, seconds=seconds)
    crowd = f"of {EVENTS_EACH:,} events, {CLIENTS} clients, from memory"
    found = rows(f"{what} {crowd}", ours, ours_on_two, others, wanted, of_two)
    whole = next(peer for peer in others if peer.name == POSTGRES_APP)
    for one in asking:
        found += beside(f"{unmodified} {crowd}", one, (whole, None))
    return Measurement(found)


async def asking_again(port: int, target: str) -> Contestant:
    """Make a client that says which answer it has. Raises BenchError where it gets more than a 304."""
    headers = {**HEADERS, "If-None-Match": (await answer_of(port, target)).header("etag")}
    async with PollingClient.open(LOOPBACK, port) as client:
        answer = await client.get(target, headers)
    if answer.status != 304:
        raise BenchError(f"{target} was answered {answer.status}, not 304.")
    return Contestant("readside, 304", port, [target], headers=headers)


async def _peers(peers: Peers, port: int, target: str) -> list[Contestant]:
    """Start all of them; the bare apps give the answer of the API on this port."""
    postgres = Contestant(POSTGRES_APP, await peers.postgres_app(), [target])
    return [
        await peers.bare(port, target),
        await peers.granian(port, target),
        await peers.lua(target),
        await peers.lua(target, workers=2),
        await peers.micro_cache(target, postgres.port),
        Contestant(REDIS_APP, await peers.redis_app(), [target]),
        postgres,
    ]


def rows(
    measured: str,
    ours: Contestant,
    ours_on_two: Contestant,
    others: list[Contestant],
    wanted: Mapping[str, Target],
    of_two: Target | None,
) -> list[Row]:
    """One process of ours beside each peer, and two beside nginx's two workers and beside one of ours."""
    two_workers = next(peer for peer in others if peer.name == LUA_ON_TWO)
    return [
        *beside(measured, ours, *((peer, wanted.get(peer.name)) for peer in others)),
        *beside(f"{measured}, {PROCESSES} processes", ours_on_two, (two_workers, of_two), (ours, None)),
    ]
