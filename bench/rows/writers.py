"""What the triggers cost writers: commits by pgbench without them, with them, and with a projector that listens."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bench.events import fill
from bench.stack import Servers, Site
from bench.table import Figure, Measured, Row
from bench.writing import ONE_BY_ONE, Manner, write

NAME = "writers"
ROUNDS, SECONDS = 3, 2
SESSIONS = 200
_TEN, _NOT_DURABLE = Manner(events=10), Manner(durable=False)
_NO_TRIGGERS = "no triggers"


@dataclass(slots=True)
class _Crowd:
    """Some writers, how they write, and their events a second by variant; seconds to catch up after each round."""

    writers: int
    how: str = "committing single events"
    manner: Manner = ONE_BY_ONE
    bare: list[float] = field(default_factory=list)
    triggers: list[float] = field(default_factory=list)
    projector: list[float] = field(default_factory=list)
    behind_seconds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.writers} writer{'s' if self.writers > 1 else ''} {self.how}"


async def measure(servers: Servers) -> Measured:
    """Let crowds write; the variants take turns, each on a database of its own."""
    # The last two are what can be done about it: a commit's price is paid once however many events it brings, and
    # notifying commits wait for one another's disk.
    crowds = [
        *(_Crowd(writers) for writers in (1, 8, 32)),
        _Crowd(8, "committing ten events at a time", _TEN),
        _Crowd(8, "committing single events, synchronous_commit off", _NOT_DURABLE),
    ]
    async with AsyncExitStack() as stack:
        bare, triggers, projected = [await stack.enter_async_context(_site(servers, number)) for number in range(3)]
        await triggers.run("install")
        await projected.run("install")
        await stack.enter_async_context(projected.projector())
        await projected.caught_up()
        for crowd in crowds:
            for _ in range(ROUNDS):
                crowd.bare.append(await _write(bare, crowd))
                if crowd.manner is ONE_BY_ONE and crowd.writers == 8:
                    crowd.triggers.append(await _write(triggers, crowd))
                crowd.projector.append(await _write(projected, crowd))
                began = time.perf_counter()
                await projected.caught_up()
                crowd.behind_seconds.append(time.perf_counter() - began)
    return Measured([row for crowd in crowds for row in _rows(crowd)])


def _rows(crowd: _Crowd) -> list[Row]:
    bare = Figure(crowd.bare, "events/s")
    behind = Figure(crowd.behind_seconds, "s")
    note = f"as-of past the last row {behind.text()} later, of which a heartbeat is up to 0.5 s"
    rows = [Row(f"{crowd.name}, triggers and projector", Figure(crowd.projector, "events/s", note), _NO_TRIGGERS, bare)]
    if crowd.triggers:
        rows.append(
            Row(f"{crowd.name}, triggers, nobody listens", Figure(crowd.triggers, "events/s"), _NO_TRIGGERS, bare)
        )
    return rows


@asynccontextmanager
async def _site(servers: Servers, number: int) -> AsyncIterator[Site]:
    async with servers.site(number) as site:
        await fill(site.connection, SESSIONS, 10)
        yield site


async def _write(site: Site, crowd: _Crowd) -> float:
    return await write(site, writers=crowd.writers, seconds=SECONDS, sessions=(1, SESSIONS), manner=crowd.manner)
