"""What writers keep of their rate beside no triggers: with a projector and cold or hot sessions, and with none."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.events import fill, refill
from bench.rows.polling import cold_site, hot_site
from bench.stack import Servers, Site, until
from bench.table import Figure, Measurement, Row, Target
from bench.writing import ONE_BY_ONE, Manner, write

NAME = "writers"
ROUNDS, SECONDS = 7, 4
SESSIONS, EVENTS_EACH = 200, 10
BARE, COLD, HOT, ALONE = "no triggers", "projector live, cold sessions", "projector live, hot sessions", "no projector"
KEPT, KEPT_HOT = 0.75, 0.55
"""The part of their rate that writers are to keep; hot sessions also cost the projector and Redis their work."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Some writers, how they write, and what they are to keep in each variant."""

    writers: int
    targets: Mapping[str, float]
    how: str = "committing single events"
    manner: Manner = ONE_BY_ONE

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"{self.writers} writer{'s' if self.writers > 1 else ''} {self.how}"


CROWDS = (
    Crowd(1, {COLD: KEPT}),
    Crowd(8, {COLD: KEPT, HOT: KEPT_HOT, ALONE: KEPT}),
    Crowd(32, {COLD: KEPT}),
    Crowd(8, {COLD: KEPT}, "committing ten events at a time", Manner(events=10)),
    Crowd(8, {COLD: KEPT}, "committing single events, synchronous_commit off", Manner(durable=False)),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one crowd did in one round of one variant; seconds until all of it was in the view."""

    rate: float
    behind_seconds: float = 0.0


async def measure(servers: Servers) -> Measurement:
    """Let crowds write; the variants take turns on one server, each on a database of its own."""
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    turns: dict[tuple[Crowd, str], list[Turn]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        sites = await _sites(servers, stack)
        for number in range(rounds):
            for crowd in CROWDS:
                for variant in in_turn([BARE, *crowd.targets], number):
                    turns[crowd, variant].append(await _turn(sites[variant], variant, crowd, seconds))
    return Measurement(
        [row for crowd in CROWDS for row in rows(crowd, {v: turns[crowd, v] for v in [BARE, *crowd.targets]})]
    )


def in_turn(variants: Sequence[str], number: int) -> list[str]:
    """The variants in the order of this round: each is first as often as the others."""
    first = number % len(variants)
    return [*variants[first:], *variants[:first]]


def rows(crowd: Crowd, turns: Mapping[str, Sequence[Turn]]) -> list[Row]:
    """A crowd's row of each variant, beside its rate without triggers."""
    bare = [turn.rate for turn in turns[BARE]]
    found = []
    for variant, kept in crowd.targets.items():
        rates = [turn.rate for turn in turns[variant]]
        ratios = [ours / theirs for ours, theirs in zip(rates, bare, strict=True)]
        note = f"{min(ratios):.2f}–{max(ratios):.2f} × by round"
        if variant != ALONE:
            note += f"; all in the view {Figure([turn.behind_seconds for turn in turns[variant]], 's').text()} after"
        ours = Figure(rates, "events/s", note)
        found.append(Row(f"{crowd.name}, {variant}", ours, BARE, Figure(bare, "events/s"), Target(kept)))
    return found


async def _sites(servers: Servers, stack: AsyncExitStack) -> dict[str, Site]:
    """Make a site for each variant. All projectors always run: what they cost idle is the same for all."""
    bare, alone = [await stack.enter_async_context(servers.site(number)) for number in range(2)]
    for site in (bare, alone):
        await fill(site.connection, SESSIONS, EVENTS_EACH)
    await alone.run("install")
    cold = await stack.enter_async_context(cold_site(servers, 2, sessions=SESSIONS, events_each=EVENTS_EACH))
    hot = await stack.enter_async_context(hot_site(servers, 3, sessions=SESSIONS, events_each=EVENTS_EACH))
    return {BARE: bare, COLD: cold, HOT: hot, ALONE: alone}


async def _turn(site: Site, variant: str, crowd: Crowd, seconds: int) -> Turn:
    """Write for a while into tables that are as small as in every other turn."""
    await refill(site.connection, SESSIONS, EVENTS_EACH)
    if variant in {BARE, ALONE}:
        return Turn(await _write(site, crowd, seconds))
    await _check(site, variant)
    rate = await _write(site, crowd, seconds)
    began = time.perf_counter()
    await site.caught_up()
    behind = time.perf_counter() - began
    await _check(site, variant)
    return Turn(rate, behind)


async def _check(site: Site, variant: str) -> None:
    """Wait until as many sessions are hot as the variant says: emptied tables have all of them loaded anew."""
    wanted = SESSIONS if variant == HOT else 0

    async def ready() -> bool:
        return await site.view.hot_count() == wanted

    await site.caught_up()
    await until(ready, f"{wanted} sessions are hot")


async def _write(site: Site, crowd: Crowd, seconds: int) -> float:
    return await write(site, writers=crowd.writers, seconds=seconds, sessions=(1, SESSIONS), manner=crowd.manner)
