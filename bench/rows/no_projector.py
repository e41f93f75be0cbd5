"""Nothing of ours grows while no projector runs, nor once one was killed by SIGKILL while writers write."""

import asyncio
import time
from collections.abc import Sequence

from bench.events import fill
from bench.stack import Servers, Site
from bench.table import Figure, Measurement, Row, Target
from bench.watching import Point, sizes_mb, stopped_growing
from bench.writing import write

NAME = "no-projector"
WRITERS, SESSIONS, EVENTS_EACH = 8, 200, 10
LIVE_SECONDS, SECONDS = 10, 60
_NO_GROWTH = Target(0, at_most=True, unit="MB")


async def measure(servers: Servers) -> Measurement:
    """Write where no projector ever ran, then where one is killed."""
    seconds = servers.choices.seconds or SECONDS
    async with servers.site() as site:
        await fill(site.connection, SESSIONS, EVENTS_EACH)
        await site.run("install")
        never = await _never(site, seconds)
        killed, killed_at = await _killed(site, seconds)
    return Measurement([never_row(never, seconds), *killed_rows(killed, killed_at)])


async def _never(site: Site, seconds: int) -> list[Point]:
    async with sizes_mb(site.database_url) as sizes:
        await _write(site, seconds)
        return sizes


async def _killed(site: Site, seconds: int) -> tuple[list[Point], float]:
    """Kill a live projector under load, and go on writing; gives the sizes and when it was killed."""
    live_seconds = min(LIVE_SECONDS, seconds)
    async with site.mortal_projector(warm_limit="0") as projector, sizes_mb(site.database_url) as sizes:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(site, live_seconds + seconds))
            await asyncio.sleep(live_seconds)
            projector.kill()
            await projector.exited()
            killed_at = time.perf_counter() - began
        return sizes, killed_at


async def _write(site: Site, seconds: int) -> None:
    await write(site, writers=WRITERS, seconds=seconds, sessions=(1, SESSIONS))


def never_row(sizes: Sequence[Point], seconds: int) -> Row:
    """The growth where no projector ran."""
    before, after = sizes[0][1], sizes[-1][1]
    what = f"growth of our tables, no projector ever, {WRITERS} writers at full speed for {seconds} s"
    return Row(what, Figure([after - before], "MB", f"{before:.2f} MB before, {after:.2f} MB after"), target=_NO_GROWTH)


def killed_rows(sizes: Sequence[Point], killed_at: float) -> list[Row]:
    """The size after the kill, and the growth in the second half of the time since."""
    when_killed = [size for at, size in sizes if at <= killed_at][-1]
    since = [(0.0, when_killed), *((at - killed_at, size) for at, size in sizes if at > killed_at)]
    seconds, last = since[-1]
    middle = next(size for at, size in since if at >= seconds / 2)
    what = f"projector killed by SIGKILL under load, {WRITERS} writers at full speed"
    note = f"{when_killed:.2f} MB when killed; no growth any more {stopped_growing(since):.1f} s after"
    return [
        Row(f"our tables {seconds:.0f} s later, {what}", Figure([last], "MB", note)),
        Row(f"their growth in the last {seconds / 2:.0f} s of it", Figure([last - middle], "MB"), target=_NO_GROWTH),
    ]
