"""What each node carries at 10⁴ to 10⁶ dashboards, by arithmetic from what was measured: `python -m bench.scale`.

It writes the tables of specs/operate/scale.md anew, and the figures of the calculator beside it, from the results that
`python -m bench` keeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp
from statistics import median

from bench.archive import kept
from bench.stack import ROOT
from bench.table import BenchError, number

PAGE = ROOT / "specs" / "operate" / "scale.md"
CALCULATOR = ROOT / "specs" / "operate" / "sizing-figures.js"
FIGURES, LOADS = "figures", "loads"
DASHBOARDS = (10_000, 100_000, 1_000_000)
EVENTS_PER_SECOND = (1_000, 10_000, 100_000)
PERIOD_SECONDS = 2
"""Between two polls of a dashboard."""
DASHBOARDS_A_SESSION, EVENTS_A_SESSION = 10, 500
SLICES, BEATS_PER_SECOND, READINGS_PER_SECOND = 32, 2, 10
"""Under load the letters are read each tenth of a second."""
NAME_BYTES = 37
"""A session's id in a message, with its space."""
CONNECTIONS = 10_000
"""READSIDE_MAX_CONNECTIONS of an API process."""
BUSY = 0.7
"""What a core may be used of: the rest is for bursts."""
MASTER_GB, MASTER_MB_PER_SECOND = 25.0, 100.0
"""Of a Redis server: memory, and what a network of 1 Gbit/s takes."""
_SPREAD, _ONE = "32 slices over 3 masters", "1 slice"
_WRITTEN = f"{_SPREAD}: the same: processor time of"


@dataclass(frozen=True, slots=True)
class Cost:
    """One measured figure: what it is of, its row and measurement, whether it is the figure beside, and its unit."""

    what: str
    measurement: str
    row: str
    beside: bool = False


COSTS = {
    "from_memory": Cost(
        "API: a poll from memory", "cost-by-hot", "cost of a poll, empty poll from memory, 10,000 hot sessions"
    ),
    "from_redis": Cost(
        "API: a poll from Redis", "cost-by-events", "cost of a poll, empty poll from Redis, 100,000 events a session"
    ),
    "redis_poll": Cost("Redis: a poll", "slices", f"{_SPREAD}: processor time of Redis, empty poll"),
    "projector": Cost("projector: an event, 32 slices", "slices", f"{_WRITTEN} projector"),
    "projector_of_one": Cost("projector: an event, 1 slice", "slices", f"{_WRITTEN} projector", beside=True),
    "postgres": Cost("PostgreSQL: an event, read by the projector", "slices", f"{_WRITTEN} PostgreSQL"),
    "redis": Cost("Redis: an event", "slices", f"{_WRITTEN} Redis"),
    "hearing": Cost("each API process: an event that it hears of", "slices", f"{_WRITTEN} API"),
    "memory": Cost(
        "Redis: memory of an event of 474 bytes", "slices", f"{_SPREAD}: Redis memory, 250 events a session"
    ),
    "at_rest": Cost(
        "messages of 32 slices at rest, to each API process",
        "slices",
        f"{_SPREAD}: at rest, messages to each API process",
    ),
    "at_rest_of_one": Cost(
        "messages of 1 slice at rest, to each API process",
        "slices",
        f"{_SPREAD}: at rest, messages to each API process",
        beside=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """So many dashboards poll sessions into which so many events a second are written; `costs` are µs and bytes."""

    dashboards: int
    events: int
    costs: Mapping[str, float]

    @property
    def sessions(self) -> int:
        """Hot ones."""
        return self.dashboards // DASHBOARDS_A_SESSION

    @property
    def polls(self) -> float:
        """A second."""
        return self.dashboards / PERIOD_SECONDS

    @property
    def reads(self) -> float:
        """Polls a second that read Redis: those of sessions that have changed since the dashboard's last poll.

        That is a bound. Where dashboards of one session come to one process, they share what the first has read.
        """
        return self.polls * (1 - exp(-PERIOD_SECONDS * self.events / self.sessions))

    @property
    def api_processes(self) -> int:
        """By the connections that each takes, or by the processor: each hears of every event besides."""
        spare = BUSY - self.events * self.costs["hearing"] / 1e6
        by_processor = ceil(self.polling_cores / spare) if spare > 0 else 0
        return max(ceil(self.dashboards / CONNECTIONS), by_processor)

    @property
    def polling_cores(self) -> float:
        """Of all API processes, for answers."""
        memory = self.polls - self.reads
        return (memory * self.costs["from_memory"] + self.reads * self.costs["from_redis"]) / 1e6

    @property
    def api_cores(self) -> float:
        """Of all API processes."""
        return self.polling_cores + self.api_processes * self.events * self.costs["hearing"] / 1e6

    @property
    def redis_cores(self) -> float:
        """Of all masters."""
        return (self.events * self.costs["redis"] + self.reads * self.costs["redis_poll"]) / 1e6

    @property
    def redis_gb(self) -> float:
        """Of all masters."""
        return self.sessions * EVENTS_A_SESSION * self.costs["memory"] / 1e9

    @property
    def heard_mb(self) -> float:
        """Megabytes a second that each API process hears: messages of beats and batches, and the names in them."""
        message = self.costs["at_rest"] / (SLICES * BEATS_PER_SECOND)
        named = self.sessions * (1 - exp(-self.events / READINGS_PER_SECOND / self.sessions))
        messages = SLICES * (BEATS_PER_SECOND + READINGS_PER_SECOND) * message
        return (messages + READINGS_PER_SECOND * named * NAME_BYTES) / 1e6

    @property
    def sent_mb(self) -> float:
        """Megabytes a second that all masters send to all API processes."""
        return self.heard_mb * self.api_processes

    @property
    def masters(self) -> int:
        """By processor, memory or network."""
        return ceil(max(self.redis_cores / BUSY, self.redis_gb / MASTER_GB, self.sent_mb / MASTER_MB_PER_SECOND))

    @property
    def projector(self) -> float:
        """What the projector uses of the one core that it can."""
        return self.events * self.costs["projector"] / 1e6

    @property
    def first_limit(self) -> str:
        """Tell which of one projector, one API process and one Redis is short first, and how far."""
        shares = {
            "the projector's core": self.projector / BUSY,
            "connections of an API process": self.dashboards / CONNECTIONS,
            "the core of an API process": (self.polling_cores + self.events * self.costs["hearing"] / 1e6) / BUSY,
            "Redis' core": self.redis_cores / BUSY,
            "Redis' memory": self.redis_gb / MASTER_GB,
        }
        name = max(shares, key=lambda one: shares[one])
        return f"none ({name}: {shares[name]:.0%})" if shares[name] <= 1 else f"{name}: {shares[name]:.1f} ×"


def costs() -> dict[str, float]:
    """Read the measured figures. Raises BenchError where one was never measured."""
    rows = {
        (record.name, row.measure): row
        for record in kept(sorted({cost.measurement for cost in COSTS.values()}))
        for row in record.measurement.rows
    }
    found = {}
    for name, cost in COSTS.items():
        row = rows.get((cost.measurement, cost.row))
        figure = (row.beside if cost.beside else row.figure) if row is not None else None
        if figure is None:
            raise BenchError(f"«{cost.row}» was not measured yet: python -m bench {cost.measurement}.")
        found[name] = median(figure.rounds)
    return found


def tables(found: Mapping[str, float]) -> dict[str, str]:
    """Write the tables, by the names of their places in the page."""
    figures = [
        (cost.what, f"{number(found[name])} {_unit(name)}", f"`python -m bench {cost.measurement}`")
        for name, cost in COSTS.items()
    ]
    ceiling = 1e6 / found["projector"]
    figures.append(
        (
            "**the ceiling of one projector**, 1 s by the time of an event",
            f"**{number(ceiling)} events/s**",
            "`python -m bench.scale`",
        )
    )
    return {FIGURES: _table(("what", "figure", "command"), figures), LOADS: _table(_HEADINGS, list(_loads(found)))}


_HEADINGS = (
    "dashboards",
    "events/s",
    "polls/s (from Redis)",
    "API processes (cores busy)",
    "masters (cores busy, memory)",
    "messages, MB/s: each process (all)",
    "projector's core",
    "first limit with one of each",
)


def _loads(found: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    for dashboards in DASHBOARDS:
        for events in EVENTS_PER_SECOND:
            demand = Demand(dashboards, events, found)
            yield (
                f"{dashboards:,}",
                f"{events:,}",
                f"{demand.polls:,.0f} ({demand.reads:,.0f})",
                f"{demand.api_processes} ({demand.api_cores:.1f})",
                f"{demand.masters} ({demand.redis_cores:.2f}, {demand.redis_gb:.1f} GB)",
                f"{demand.heard_mb:.2f} ({demand.sent_mb:.1f})",
                f"{demand.projector:.0%}" + (" **past its ceiling**" if demand.projector > 1 else ""),
                demand.first_limit,
            )


def calculator(found: Mapping[str, float]) -> str:
    """Write the figures that the calculator of specs/operate/sizing.md counts with: µs, and bytes."""
    lines = "".join(f"  {name}: {found[name]:.4f}, // {cost.what}\n" for name, cost in COSTS.items())
    head = "// Measured; written by `python -m bench.scale`: µs, bytes, and bytes a second."
    return f"{head}\nexport const FIGURES = {{\n{lines}}};\n"


def _unit(name: str) -> str:
    return {"memory": "bytes", "at_rest": "bytes/s", "at_rest_of_one": "bytes/s"}.get(name, "µs")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(page: str, by_place: Mapping[str, str]) -> str:
    """Put tables into their places. Raises BenchError where a place is not there."""
    for place, table in by_place.items():
        begin, end = f"<!-- {place} -->\n", f"<!-- /{place} -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise BenchError(f"{PAGE.name} needs the lines {begin.strip()} and {end}.")
        page = f"{before}{begin}{table}{end}{after}"
    return page


if __name__ == "__main__":
    CALCULATOR.write_text(calculator(costs()), encoding="utf-8")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables(costs())), encoding="utf-8")
