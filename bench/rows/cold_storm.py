"""A crowd polls sessions of which none is hot, beside 0, 1 and 2 hot standbys: who answers, how fast, and hot polls."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from bench.bystander import Bystander
from bench.contest import answer_of
from bench.events import fill, session_id
from bench.load import HEADERS, crowd, percentile
from bench.polling_client import PollingClient
from bench.rows.polling import EVENTS_PATH
from bench.stack import API_KEY, Servers, Site, until
from bench.standbys import running_standbys
from bench.table import BenchError, Figure, Measurement, Row
from readside.demo.processes import LOOPBACK

NAME = "cold-storm"
ROUNDS, SECONDS = 5, 3
SESSIONS, EVENTS_EACH = 10_000, 20
CLIENTS = 24
"""Of more some would be refused: few queries may wait."""
STANDBYS = 2
_COLD = [f"/api/v2/sessions/{session_id(number)}/events" for number in range(2, SESSIONS + 1)]


@dataclass(slots=True)
class Storm:
    """An API with so many standbys, and what its rounds gave."""

    standbys: int
    urls: str
    rates: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    hot_p99_ms: list[float] = field(default_factory=list)
    by_primary: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.standbys} standby" if self.standbys == 1 else f"{self.standbys} standbys"


async def measure(servers: Servers) -> Measurement:
    """Poll each session about once in a round, in turns; the projector makes hot what is polled meanwhile."""
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    async with AsyncExitStack() as stack:
        standbys = await stack.enter_async_context(running_standbys(servers, STANDBYS))
        site = await stack.enter_async_context(servers.site())
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await site.run("install")
        database = site.database_url.rpartition("/")[2]
        urls = [standby.url(database) for standby in standbys]
        storms = [Storm(count, " ".join(urls[:count])) for count in range(STANDBYS + 1)]
        for number in range(rounds):
            for storm in storms if number % 2 else reversed(storms):
                await _strike(site, storm, seconds)
    return Measurement(_rows(storms))


async def _strike(site: Site, storm: Storm, seconds: int) -> None:
    """Let the crowd come while one session alone is hot, whose polls go on beside it."""
    await site.redis.flushdb()
    # An empty setting counts as none.
    async with site.projector(warm_limit="0"), site.api(response_cache_mb="0", replica_urls=storm.urls) as port:
        await site.run("warm", session_id(1))
        await answer_of(port, EVENTS_PATH, "redis")

        async def fit() -> bool:
            return list((await _values(port, "readside_replica_fit")).values()).count(1.0) == storm.standbys

        await until(fit, "the standbys may answer")
        async with Bystander.polling(port, EVENTS_PATH, API_KEY) as bystander:
            load = await crowd(port, _COLD, clients=CLIENTS, seconds=seconds)
        if bystander.failed:
            raise BenchError(f"Polls of a hot session failed beside the storm: {bystander.words()}.")
        answered = await _values(port, "readside_cold_polls_total")
        storm.rates.append(load.polls_per_second)
        storm.p99_ms.append(load.p99_ms)
        storm.hot_p99_ms.append(percentile(bystander.seconds, 99) * 1_000)
        storm.by_primary.append(100 * answered["primary"] / sum(answered.values()))


async def _values(port: int, name: str) -> dict[str, float]:
    """Read a metric's values, by its one label."""
    async with PollingClient.open(LOOPBACK, port) as client:
        text = (await client.get("/metrics", HEADERS)).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {next(iter(one.labels.values())): one.value for one in samples if one.name == name}


def _rows(storms: Sequence[Storm]) -> list[Row]:
    none, *some = storms
    what = f"cold storm ({CLIENTS} clients poll {SESSIONS:,} sessions once)"

    def figures(storm: Storm) -> list[tuple[str, Figure]]:
        return [
            ("polls answered", Figure(storm.rates, "cold polls/s")),
            ("p99 of a cold poll", Figure(storm.p99_ms, "ms")),
            ("p99 of a hot poll beside it", Figure(storm.hot_p99_ms, "ms")),
            ("cold polls that the primary answered", Figure(storm.by_primary, "%")),
        ]

    rows = [Row(f"{what}, no standby: {measure}", figure) for measure, figure in figures(none)]
    for storm in some:
        for (measure, figure), (_, alone) in zip(figures(storm), figures(none), strict=True):
            rows.append(Row(f"{what}, {storm.name}: {measure}", figure, "no standby", alone))
    return rows
