"""What a client without a key can do: the memory gained by each attack, and another client's slowest poll meanwhile."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bench.attack import UNFINISHED, Outcome
from bench.bystander import Bystander
from bench.contest import answer_of, nothing_new
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import ROOT, Servers, Site, output_of
from bench.table import BenchError, Figure, Measurement, Row, Target
from bench.watching import Point, resident_mb, watched

NAME = "attacks"
SESSIONS, EVENTS_EACH = 2, 100
OPEN_FILES = 1_024
"""The soft limit that a process has by default."""
WARM_UP_POLLS = 500
MEMORY_PAUSE_SECONDS = 0.05
SETTLE_SECONDS = 2.0
MEMORY, SLOWEST = Target(40, at_most=True, unit="MB"), Target(0.5, at_most=True, unit="s")


@dataclass(frozen=True, slots=True)
class Attack:
    """One of `bench.attack`, how it stands in the table, and how long it lasts at most.

    `left_open` connections are for the server to end.
    """

    name: str
    what: str
    seconds: int
    left_open: int = 0


SHOWN = (
    Attack("pipelined", "13 MB of pipelined GET /health/live, no answer read", 10),
    Attack("pipelined-polls", "13 MB of pipelined polls without a key, no answer read", 10),
    Attack("endless-headers", "header fields without end for 10 s", 10),
    Attack("huge-header", "one header field of 100 MB", 20),
    Attack("unfinished", f"{UNFINISHED} silent connections and {UNFINISHED} with half a head", 90, 2 * UNFINISHED),
    Attack("idle-1500", "1,500 idle connections, soft limit of 1,024 files", 10),
)


@dataclass(frozen=True, slots=True)
class Damage:
    """What an attack did: megabytes of the process before, during and after it, another client's polls, its outcome."""

    before_mb: float
    during_mb: Sequence[Point]
    after_mb: float
    bystander: Bystander
    outcome: Outcome

    @property
    def gained_mb(self) -> float:
        """What the process had more, at its largest."""
        return max(megabytes for _, megabytes in (*self.during_mb, (0.0, self.after_mb))) - self.before_mb


async def measure(servers: Servers) -> Measurement:
    """Attack one process after the other, each new: memory that one attack leaves behind would hide the next one's."""
    async with polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
        found = [row for attack in SHOWN for row in rows(attack, await attacked(site, attack, servers.choices.seconds))]
    return Measurement(found)


async def attacked(site: Site, attack: Attack, seconds: int | None) -> Damage:
    """Attack a new API process. Raises BenchError when the attack itself fails, DemoError when the process dies."""
    async with site.api_process(open_files=OPEN_FILES) as (port, process):
        target = await nothing_new(port, EVENTS_PATH)
        for _ in range(WARM_UP_POLLS):
            await answer_of(port, target)
        before = resident_mb(process)

        async def now_mb() -> float:
            return resident_mb(process)

        async with watched(now_mb, MEMORY_PAUSE_SECONDS) as during, Bystander.polling(port, target) as bystander:
            outcome = await _outcome(attack.name, port, seconds or attack.seconds)
        await asyncio.sleep(SETTLE_SECONDS)
        return Damage(before, during, resident_mb(process), bystander, outcome)


async def _outcome(name: str, port: int, seconds: int) -> Outcome:
    output = await output_of(sys.executable, "-m", "bench.attack", name, str(port), str(seconds), PYTHONPATH=str(ROOT))
    try:
        return Outcome(**orjson.loads(output))
    except orjson.JSONDecodeError:
        raise BenchError(f"The attack {name} did not end well:\n{output}") from None


def rows(attack: Attack, damage: Damage) -> list[Row]:
    """Give the memory that was gained and the slowest poll."""
    left = f"{damage.after_mb - damage.before_mb:+.0f} MB {SETTLE_SECONDS:g} s after; {damage.outcome.words}"
    slowest = Figure([max(damage.bystander.seconds)], "s", damage.bystander.words())
    found = [
        Row(f"memory gained by {attack.what}", Figure([damage.gained_mb], "MB", left), target=MEMORY),
        Row(f"slowest poll of another client beside {attack.what}", slowest, target=SLOWEST),
    ]
    if attack.left_open:
        ended = Figure([float(damage.outcome.connections)], "connections")
        wanted = Target(attack.left_open, unit="connections")
        found.append(Row(f"{attack.what}: ended by the server", ended, target=wanted))
    return found
