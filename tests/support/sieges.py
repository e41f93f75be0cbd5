"""An API's process under attack: what it grows by, and how long other clients wait meanwhile."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import asyncpg
from redis.asyncio import Redis

from projector.core.operations import Put
from readmodel.postgres_client import check_server
from readmodel.redis_client import connect
from tests.integration.test_api_process import environment, running
from tests.support.attackers import Target
from tests.support.stands import rows
from tests.support.viewing import Stage
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
KEY = "secret"
EVENTS = 1_000
PAUSE_SECONDS = 0.02
"""Between two polls of the client that is served meanwhile."""


class Siege(NamedTuple):
    """What an attack did: MB by which the process grew at most and in the end, and the slowest poll of another."""

    name: str
    gained_mb: float
    left_mb: float
    slowest_seconds: float
    polls: int
    failed: int
    told: str


class Besieged:
    """The process."""

    def __init__(self, process: Process, target: Target) -> None:
        self.process = process
        self.target = target
        self.at_rest_mb = self.resident_mb()

    def resident_mb(self, name: str = "VmRSS") -> float:
        """The memory that it has now, or (`VmHWM`) had at most since `forget_peak`."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1_000_000

    def forget_peak(self) -> None:
        """Begin to measure the peak anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    async def under(self, name: str, seconds: float) -> Siege:
        """Have it attacked for so long, and poll meanwhile as any client does."""
        self.forget_peak()
        arguments = (name, *map(str, (self.target.port, seconds, self.target.session_id, self.target.key)))
        attackers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.attackers", *arguments, cwd=ROOT, stdout=PIPE
        )
        waits: list[float] = []
        failed = 0
        ended = asyncio.create_task(attackers.communicate())
        client = await _Poller.connected(self.target)
        while not ended.done():
            began = time.monotonic()
            try:
                await asyncio.wait_for(client.poll(), 30)
            except OSError:
                failed += 1
                client = await _Poller.connected(self.target)
            waits.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)
        client.close()
        told, _ = await ended
        peak, now = self.resident_mb("VmHWM"), self.resident_mb()
        rest = self.at_rest_mb
        return Siege(name, peak - rest, now - rest, max(waits), len(waits), failed, told.decode().strip())


class _Poller:
    """One connection of an honest client, that asks for one event."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._head = target.poll("limit=1")
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, target: Target) -> "_Poller":
        return cls(target, *await asyncio.open_connection("127.0.0.1", target.port))

    async def poll(self) -> None:
        """Poll, and take the answer; raises OSError where it is another one than 200."""
        self._writer.write(self._head)
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise ConnectionResetError from None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionRefusedError
        await self._reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def besieged(database_url: str, redis_url: str, **settings: str) -> AsyncIterator[Besieged]:
    """Run `readside api` over both stores, with a long page in its memory."""
    # The view stands still: it is fresh enough for as long as an attack lasts.
    settings = {"MAX_STALENESS_SECONDS": "86400", **settings}
    connection = await asyncpg.connect(database_url)
    redis: Redis = connect(redis_url, name="test")
    try:
        stage = Stage(redis, database=(await check_server(connection, database_url)).database)
        async with running(environment(database_url, redis_url, **settings)) as (process, client):
            session_id = str(uuid4())
            target = Target(client.base_url.port or 0, session_id, KEY)
            await stage.begin()
            staged = await stage.staged([row.event() for row in rows(session_id, EVENTS)])
            await stage.apply(Put(session_id, staged), named=[session_id])

            async def comes_from_memory() -> bool:
                await stage.apply(as_of_us=time.time_ns() // 1000)
                path = target.poll().split()[1].decode()
                return (await client.get(path)).headers.get("readside-source") == "memory"

            await eventually(comes_from_memory, "the page is in memory")
            for path in ("/openapi.json", "/health/ready", "/metrics", target.poll("limit=1").split()[1].decode()):
                await client.get(path)
            yield Besieged(process, target)
    finally:
        await connection.close()
        await redis.aclose()
