"""Strikes the parts of a demo at random, one fault at a time, and has each recovery measured."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from readmodel.causes import cause
from readmodel.errors import EventLogUnavailable
from readmodel.postgres.client import connect, translated
from readside.demo.announcer import Announcer
from readside.demo.faults import DemoFault
from readside.demo.heal_meter import APPLICATION_NAME, HealMeter
from readside.demo.keeper import Keeper
from readside.demo.parts import DemoPart
from readside.demo.processes import spawn
from readside.demo.writer import APPLICATION_NAME as WRITERS_NAME

FREEZER = Path(__file__).with_name("freeze.py")
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND application_name LIKE 'readside-%' AND application_name <> $1
"""


@dataclass(frozen=True, slots=True)
class Chaos:
    """`parts` by their names; `home` is where the freezer's log goes."""

    announcer: Announcer
    keeper: Keeper
    meter: HealMeter
    parts: Mapping[str, DemoPart]
    database_url: str
    redis_url: str
    home: Path

    async def run(self, faults: Iterable[DemoFault]) -> None:
        """Strike with one after the other, each when the last has healed. Raises DemoError where one does not.

        A part that is down by itself is left alone.
        """
        for fault in faults:
            await asyncio.sleep(fault.after_seconds)
            await self._strike(fault)

    async def _strike(self, fault: DemoFault) -> None:
        match fault.kind:
            case "kill":
                self._say(f"kills {fault.part}")
                await self.keeper.kill(self.parts[fault.part])
            case "freeze":
                await self._strike_by_freezing(self.parts[fault.part], fault.frozen_seconds)
            case "flush":
                await self._strike_by(self._flush, "empties Redis", "Redis had been emptied")
            case "cut":
                connections = "our connections to PostgreSQL"
                await self._strike_by(self._cut, f"cuts {connections}", f"{connections} had been cut")

    async def _strike_by(self, work: Callable[[], Awaitable[None]], what: str, done: str) -> None:
        """Ask a server for it; one that is down by itself just then is its keeper's to mend."""
        self._say(what)
        since = time.monotonic()
        try:
            await work()
        except (RedisError, EventLogUnavailable) as error:
            self._say(f"cannot do that: {cause(error)}")
            return
        await self.meter.measure(done, since)

    async def _strike_by_freezing(self, part: DemoPart, seconds: float) -> None:
        if not part.child.running:
            self._say(f"leaves {part.name} alone, which is down")
            return
        self._say(f"freezes {part.name} for {seconds:.1f} s")
        await self._freeze(part, seconds)
        await self.meter.measure(f"{part.name} had been frozen for {seconds:.1f} s", time.monotonic())

    async def _freeze(self, part: DemoPart, seconds: float) -> None:
        """Freeze it by a process of its own: whichever of us is killed, the other lets the part go on."""
        frozen = part.child
        command = [sys.executable, "-I", "-S", str(FREEZER), str(frozen.pid), str(seconds)]
        freezer = spawn("freezer", command, log=self.home / "freezer.log", environment={})
        try:
            await freezer.exited()
        finally:
            try:
                await freezer.end()
            finally:
                frozen.process.send_signal(signal.SIGCONT)

    async def _flush(self) -> None:
        async with Redis.from_url(self.redis_url) as redis:
            await redis.flushall()

    async def _cut(self) -> None:
        connection = await connect(self.database_url, application_name=APPLICATION_NAME)
        try:
            with translated(self.database_url):
                await connection.execute(CUT, WRITERS_NAME)
        finally:
            connection.terminate()

    def _say(self, what: str) -> None:
        self.announcer.news(f"Chaos {what}.", "magenta")
