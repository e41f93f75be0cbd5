"""A projector process under load, measured from outside: its memory, and how long as-of stood still."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from readmodel.runtime.supervise import end
from readside.inspection.verify import Verifier
from tests.support.projecting import Bench
from tests.support.servers import TABLES
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

LOOK_SECONDS = 0.02
SETTLED_SECONDS = 180.0


@dataclass
class Gauges:
    """What is seen of one projector from its first as-of on; seconds."""

    stage: Bench
    process: asyncio.subprocess.Process
    longest_gap: float = 0.0

    def peak_mb(self) -> float:
        """The most memory that the process ever held, MB (resident)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1000

    async def watch(self) -> None:
        """Look at as-of for ever."""
        seen: int | None = None
        moved_at = time.monotonic()
        while True:
            position = await self.stage.view.position()
            as_of, now = (position.as_of_us if position else None), time.monotonic()
            self.longest_gap = max(self.longest_gap, now - moved_at)
            if as_of != seen:
                seen, moved_at = as_of, now
            await asyncio.sleep(LOOK_SECONDS)


async def settled(stage: Bench) -> None:
    """Wait as long as a busy machine needs until as-of has passed all that is committed now."""
    now = await stage.writer.connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

    async def passed() -> bool:
        position = await stage.view.position()
        return position is not None and position.live and (position.as_of_us or 0) >= now

    await eventually(passed, "as-of has passed", SETTLED_SECONDS)


async def hot(stage: Bench, session_ids: Iterable[str]) -> None:
    """Wait as long as a busy machine needs until the view answers for all of these."""
    for session_id in session_ids:
        await eventually(partial(stage.is_hot, session_id), f"{session_id} is hot", SETTLED_SECONDS)


async def states(stage: Bench, session_ids: Iterable[str]) -> set[str]:
    """Compare sessions with Postgres, event by event; give the verdicts that there were."""
    verifier = Verifier(whole_view(stage.view), stage.log._pool, stage.config.database_url, TABLES)
    return {verdict.state async for verdict in verifier.verify(list(session_ids))}


@asynccontextmanager
async def projector_process(stage: Bench, **settings: object) -> AsyncIterator[Gauges]:
    """Run `readside projector` until the block ends, and watch it once it is live; it must not end by itself."""
    given = {"DATABASE_URL": stage.config.database_url, "REDIS_URL": stage.config.redis_url, **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("READSIDE_")}
    environment |= {f"READSIDE_{name}": str(value) for name, value in given.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "readside", "projector", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    gauges = Gauges(stage, process)
    watching: list[asyncio.Task[None]] = []
    try:
        await settled(stage)
        watching.append(asyncio.create_task(gauges.watch()))
        yield gauges
        assert process.returncode is None
        assert not watching[0].done()
    finally:
        await end(watching)
        if process.returncode is None:
            process.terminate()
        await process.wait()
