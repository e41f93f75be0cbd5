"""What the triggers cost writers: single-row commits by pgbench, without them, with them, and with a projector too."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bench.events import fill
from bench.stack import Servers, Site
from bench.table import Figure, Measured, Row
from bench.writing import write

NAME = "writers"
ROUNDS, SECONDS = 3, 2
WRITERS = (1, 8, 32)
SESSIONS = 200


@dataclass(slots=True)
class _Rounds:
    """Rows a second, by variant; how long the view needed to catch up after each round, seconds."""

    bare: list[float] = field(default_factory=list)
    triggers: list[float] = field(default_factory=list)
    projector: list[float] = field(default_factory=list)
    behind_seconds: list[float] = field(default_factory=list)


async def measure(servers: Servers) -> Measured:
    """Measure each number of writers; the variants take turns, each on a database of its own."""
    async with AsyncExitStack() as stack:
        bare, triggers, projected = [await stack.enter_async_context(_site(servers, number)) for number in range(3)]
        await triggers.run("install")
        await projected.run("install")
        await stack.enter_async_context(projected.projector())
        await projected.caught_up()
        rows: list[Row] = []
        for writers in WRITERS:
            rounds = _Rounds()
            for _ in range(ROUNDS):
                rounds.bare.append(await _write(bare, writers))
                rounds.triggers.append(await _write(triggers, writers))
                rounds.projector.append(await _write(projected, writers))
                began = time.perf_counter()
                await projected.caught_up()
                rounds.behind_seconds.append(time.perf_counter() - began)
            rows += _rows(writers, rounds)
        return Measured(rows)


def _rows(writers: int, rounds: _Rounds) -> list[Row]:
    who = f"{writers} writer{'s' if writers > 1 else ''} committing single rows"
    bare = Figure(rounds.bare, "rows/s")
    behind = Figure(rounds.behind_seconds, "s")
    note = f"as-of past the last row {behind.text()} later, of which a heartbeat is up to 0.5 s"
    return [
        Row(f"{who}, triggers, nobody listens", Figure(rounds.triggers, "rows/s"), "no triggers", bare),
        Row(f"{who}, triggers and projector", Figure(rounds.projector, "rows/s", note), "no triggers", bare),
    ]


@asynccontextmanager
async def _site(servers: Servers, number: int) -> AsyncIterator[Site]:
    async with servers.site(number) as site:
        await fill(site.connection, SESSIONS, 10)
        yield site


async def _write(site: Site, writers: int) -> float:
    return await write(site, writers=writers, seconds=SECONDS, sessions=(1, SESSIONS))
