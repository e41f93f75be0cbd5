"""One master of a cluster is killed under load: what the other slices notice, and how long its own are away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from bench.cluster import NODE_TIMEOUT_MS, run, running_cluster, whole
from bench.events import fill, session_id
from bench.load import HEADERS, percentile
from bench.polling_client import PollingClient
from bench.stack import Servers, Site, until
from bench.table import Figure, Measurement, Row, Target
from bench.writing import Manner, write
from readmodel.view.slices import SLOTS, slot_of
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK

NAME = "slice-killed"
MASTERS, SLICES = 3, 32
SESSIONS, EVENTS_EACH = 96, 100
WRITERS, EVENTS_PER_SECOND = 2, 100
POLL_PAUSE_SECONDS, POLL_SECONDS = 0.5, 10.0
SECONDS, ROUNDS = 15, 3
_HARDLY_MOVED = Target(1.1, at_most=True)


@dataclass(frozen=True, slots=True)
class TimedPoll:
    """One answer: when it came, how long it took, its source, its as-of, s since 1970; status 0: there was none."""

    at: float
    seconds: float
    status: int
    source: str = ""
    as_of: float = 0.0


@dataclass
class Watch:
    """Polls sessions, each over a connection of its own, as dashboards do."""

    port: int
    answers: dict[str, list[TimedPoll]] = field(default_factory=dict)

    @asynccontextmanager
    async def polling(self, sessions: Sequence[str]) -> AsyncIterator[None]:
        """Poll for as long as the block lasts."""
        polls = [asyncio.create_task(self._poll(each, n / len(sessions))) for n, each in enumerate(sessions)]
        try:
            yield
        finally:
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)

    def of(self, sessions: Sequence[str], since: float, until_: float) -> list[TimedPoll]:
        """The answers that came within a time to polls of these sessions."""
        return [one for each in sessions for one in self.answers[each] if since <= one.at < until_]

    def first(self, session: str, since: float, sources: Sequence[str]) -> float | None:
        """When a session was first answered from one of these sources, as of a later instant; None: not yet."""
        found = (one.at for one in self.answers[session] if one.as_of >= since and one.source in sources)
        return next(found, None)

    async def _poll(self, session: str, place: float) -> None:
        answers = self.answers.setdefault(session, [])
        await asyncio.sleep(place * POLL_PAUSE_SECONDS)
        while True:
            with suppress(OSError):
                async with PollingClient.open(LOOPBACK, self.port) as client:
                    while True:
                        answers.append(await self._ask(client, session))
                        await asyncio.sleep(POLL_PAUSE_SECONDS)
            answers.append(TimedPoll(time.time(), POLL_SECONDS, 0))

    async def _ask(self, client: PollingClient, session: str) -> TimedPoll:
        began = time.perf_counter()
        async with asyncio.timeout(POLL_SECONDS):
            answer = await client.get(f"/api/v2/sessions/{session}/events?limit=20", HEADERS)
        took = time.perf_counter() - began
        if answer.status != 200:
            return TimedPoll(time.time(), took, answer.status)
        as_of = datetime.fromisoformat(answer.header("readside-as-of")).timestamp()
        return TimedPoll(time.time(), took, answer.status, answer.header("readside-source"), as_of)


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill did. Of the other slices before it and from it on; of the killed master's: how long they took."""

    p99_ms: tuple[float, float]
    lag_ms: tuple[float, float]
    longest_lag_ms: tuple[float, float]
    to_postgres_seconds: float
    failover_seconds: float
    to_redis_seconds: float
    slowest_seconds: float
    refused: int


async def measure(servers: Servers) -> Measurement:
    """Kill one master after the other."""
    seconds, rounds = servers.choices.seconds or SECONDS, servers.choices.rounds or ROUNDS
    async with (
        running_cluster(servers.directory / "cluster", MASTERS, replicas=True) as (url, nodes),
        servers.site(slices=SLICES, cluster=url) as site,
    ):
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await site.run("install")
        async with site.projector(), site.api() as port:
            await site.run("warm", *map(session_id, range(1, SESSIONS + 1)))
            kills = [await _kill(site, nodes, number % MASTERS, port, seconds) for number in range(rounds)]
    return Measurement(rows(kills, seconds))


async def _kill(site: Site, nodes: Sequence[EmbeddedRedis], number: int, port: int, seconds: int) -> Kill:
    """Kill the master of a third of the slots, and have it back in the end."""
    pair = [nodes[number], nodes[MASTERS + number]]
    roles = [str((await run(node, "INFO", "replication"))["role"]) for node in pair]
    master, replica = pair if roles[0] == "master" else pair[::-1]
    struck, others = _parted(site, number)
    manner = Manner(per_second=EVENTS_PER_SECOND, durable=False)
    watch = Watch(port)
    async with asyncio.TaskGroup() as group, watch.polling([*struck, *others]):
        both = 2 * seconds + int(NODE_TIMEOUT_MS / 1000) + 2
        group.create_task(write(site, writers=WRITERS, seconds=both, sessions=(1, SESSIONS), manner=manner))
        await asyncio.sleep(2)
        began = time.time()
        await asyncio.sleep(seconds)
        killed = time.time()
        await master.kill()
        await until(lambda: _is_master(replica), "the replica is the master", pause_seconds=0.02)
        promoted = time.time()
        await until(lambda: _served(watch, struck, promoted), "the killed slices are served from Redis again")
        await asyncio.sleep(max(0.0, killed + seconds - time.time()))
        over = time.time()
    await master.start()
    await whole(nodes)
    return found(watch, struck, others, (began, killed, promoted, over))


def found(
    watch: Watch, struck: Sequence[str], others: Sequence[str], instants: tuple[float, float, float, float]
) -> Kill:
    """Read the figures off the answers; `instants`: of the begin, the kill, the promotion and the end."""
    began, killed, promoted, over = instants
    before, after = watch.of(others, began, killed), watch.of(others, killed, over)
    own = watch.of(struck, killed, over)
    to_postgres = [watch.first(each, killed, ["postgres"]) for each in struck]
    to_redis = [watch.first(each, promoted, ["redis", "memory"]) for each in struck]
    return Kill(
        (_p99_ms(before), _p99_ms(after)),
        (median(_lags_ms(before)), median(_lags_ms(after))),
        (max(_lags_ms(before)), max(_lags_ms(after))),
        max(at - killed for at in to_postgres if at is not None),
        promoted - killed,
        max(at - promoted for at in to_redis if at is not None),
        max(one.seconds for one in own),
        sum(one.status != 200 for one in [*own, *after]),
    )


def rows(kills: Sequence[Kill], seconds: int) -> list[Row]:
    """What was seen at each kill."""
    what = f"{SLICES} slices over {MASTERS} masters, one killed by SIGKILL under load"
    before = f"the {seconds} s before"
    slowest, refused = max(kill.slowest_seconds for kill in kills), sum(kill.refused for kill in kills)
    promoted = median(kill.failover_seconds for kill in kills)
    note = f"slowest poll {slowest:.2f} s; {refused} polls not answered by 200"
    longest = [f"at most {max(kill.longest_lag_ms[n] for kill in kills):.0f} ms" for n in (0, 1)]
    failover = f"failover {promoted:.1f} s after the kill, cluster-node-timeout {NODE_TIMEOUT_MS} ms"
    return [
        Row(
            f"p99 of polls of the other slices, {what}",
            Figure([kill.p99_ms[1] for kill in kills], "ms"),
            before,
            Figure([kill.p99_ms[0] for kill in kills], "ms"),
            _HARDLY_MOVED,
        ),
        Row(
            "age of as-of in answers of the other slices, median",
            Figure([kill.lag_ms[1] for kill in kills], "ms", longest[1]),
            before,
            Figure([kill.lag_ms[0] for kill in kills], "ms", longest[0]),
            _HARDLY_MOVED,
        ),
        Row(
            "from the kill until every session of the killed slices was answered from Postgres",
            Figure([kill.to_postgres_seconds for kill in kills], "s", note),
            target=Target(2, at_most=True, unit="s"),
        ),
        Row(
            "from the failover until every one of them was answered from Redis or memory again",
            Figure([kill.to_redis_seconds for kill in kills], "s", failover),
            target=Target(5, at_most=True, unit="s"),
        ),
    ]


def _parted(site: Site, master: int) -> tuple[list[str], list[str]]:
    """Part the sessions into those of a master's slots, and those of the others."""
    slices = site.view.slices
    sessions = [session_id(number) for number in range(1, SESSIONS + 1)]
    struck = [each for each in sessions if slot_of(slices.of(each).tag) * MASTERS // SLOTS == master]
    return struck, [each for each in sessions if each not in struck]


async def _is_master(server: EmbeddedRedis) -> bool:
    return bool((await run(server, "INFO", "replication"))["role"] == "master")


async def _served(watch: Watch, sessions: Sequence[str], since: float) -> bool:
    return all(watch.first(each, since, ["redis", "memory"]) for each in sessions)


def _p99_ms(answers: Sequence[TimedPoll]) -> float:
    return 1000 * percentile([one.seconds for one in answers], 99)


def _lags_ms(answers: Sequence[TimedPoll]) -> list[float]:
    return [1000 * (one.at - one.as_of) for one in answers if one.as_of]
