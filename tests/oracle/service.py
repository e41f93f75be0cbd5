"""The processes of a run: two projectors, two APIs (one of two workers), the stores, and what their logs say."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from readside.demo.processes import Child, ending, free_port, log_since
from readside.settings import child_environment
from tests.oracle.asking import Client, NoAnswer
from tests.oracle.installation import Installation
from tests.support import fork_server
from tests.support.keys import HEADERS, KEY
from tests.support.scraping import series
from tests.support.waiting import eventually

MAX_STALENESS_SECONDS = 2.0
START_SECONDS = 90
"""An API's first answer comes within a second; on a machine that others use, it has taken thirty."""
COLD_POLLS, STANDBY_FIT = "readside_cold_polls_total", "readside_replica_fit{"
# Small bounds, so that windows, evictions and expiry have their part in it.
SETTINGS = {
    "API_KEYS": f"oracle:{KEY}:read+ops",
    "HEARTBEAT_SECONDS": "0.2",
    "MAX_STALENESS_SECONDS": str(MAX_STALENESS_SECONDS),
    "HOT_TTL_SECONDS": "20",
    "MAX_HOT_SESSIONS": "20",
    "WINDOW_EVENTS": "800",
    "LETTERS_MAX_MB": "1",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
}


@dataclass
class Service:
    """All processes of one run."""

    installation: Installation
    directory: Path
    random: random.Random
    projectors: list[Child] = field(default_factory=list)
    apis: list[Child] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    """Processes that a fault ended."""

    @property
    def database_url(self) -> str:
        """Where the database is, for its superuser."""
        return self.installation.database_url

    def environment(self, **changes: str) -> dict[str, str]:
        """The settings of each process."""
        built_on = self.installation
        stores = {
            "DATABASE_URL": built_on.database_url,
            "REDIS_URL": built_on.redis_url,
            "SLICES": str(built_on.slices),
        }
        return child_environment({**SETTINGS, **stores, **built_on.settings, **changes})

    def url_of(self, role: str, password: str) -> str:
        """Where another role finds the database."""
        database = self.database_url.rpartition("/")[2]
        return self.installation.postgres.url(database, user=role, password=password)

    def start(self, name: str, *arguments: str, **changes: str) -> Child:
        """Start one of our programs; its log goes on where the last one of that name ended."""
        log = self.directory / f"{name}.log"
        return fork_server.spawn(name, *arguments, log=log, environment=self.environment(**changes))

    def start_projector(self, place: int) -> None:
        """Start a projector in a place of the list; while one leads that wants no bells, transactions are prepared."""
        child = self.start(f"projector-{place}", "projector", DOORBELL=self.random.choice(("on", "on", "off")))
        self.projectors[place : place + 1] = [child]

    async def start_api(self, *options: str) -> None:
        """Start an API and wait until it answers."""
        port = free_port()
        name = f"api-{len(self.apis)}"
        child = self.start(name, "api", "--port", str(port), *options)
        self.apis.append(child)
        client = Client(port, HEADERS)
        self.clients.append(client)

        async def answers() -> bool:
            assert child.running, log_since(child.log, 0)
            try:
                return (await client.get("/health/live")).status_code == 200
            except NoAnswer:
                return False

        await eventually(answers, f"{name} answers", START_SECONDS)

    async def leader(self) -> int | None:
        """Which projector leads, as the projection says."""
        told = (await self.clients[0].get("/api/v2/projection")).json()["leader"]
        pids = [child.pid for child in self.projectors]
        return pids.index(told["pid"]) if told and told["pid"] in pids else None

    async def standbys_are_fit(self) -> bool:
        """Whether every API process would ask every hot standby that it was told of."""
        await asyncio.sleep(0.1)  # a scrape is dear
        told = [series((await client.get("/metrics")).text) for client in self.clients]
        return all(is_fit for each in told for name, is_fit in each.items() if name.startswith(STANDBY_FIT))

    async def answered_by_standbys(self) -> int:
        """How many cold polls other servers than the primary answered, as the API processes tell."""
        told = [series((await client.get("/metrics")).text) for client in self.clients]
        counts = [count for each in told for name, count in each.items() if name.startswith(COLD_POLLS)]
        ours = [each.get(f"{COLD_POLLS}{{server=primary}}", 0.0) for each in told]
        return round(sum(counts) - sum(ours))

    async def command(self, *arguments: str) -> tuple[int | None, str]:
        """Run a command to its end: exit code and what it printed."""
        name = f"command-{arguments[0]}"
        child = self.start(name, *arguments)
        await child.exited(120)
        return child.process.returncode, log_since(child.log, 0)

    @asynccontextmanager
    async def redis_client(self, slot: int) -> AsyncIterator[Redis]:
        """A client of our own of the server that has a hash slot, for what faults do."""
        node = await self.installation.master_of(slot)
        async with node.client() as redis:
            yield redis

    def deaths(self) -> list[str]:
        """Processes that ended by themselves."""
        all_of_them = [*self.projectors, *self.apis]
        return [
            f"{child.name} ended by itself: {ending(child.process.poll())}"
            for child in all_of_them
            if not child.running and child.pid not in self.killed
        ]

    def tracebacks(self) -> list[str]:
        """Lines of the logs that tell of a bug."""
        words = ("Traceback", '"exception"', "a poll failed", "a request failed", "never retrieved", "was destroyed")
        return [
            f"{log.name}: {line[:1500]}"
            for log in sorted(self.directory.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if any(word in line for word in words)
        ]

    async def end(self) -> list[str]:
        """End all processes in good order; gives those that did not."""
        for client in self.clients:
            client.close()
        wrong = []
        for child in [*self.projectors, *self.apis]:
            if child.running:
                child.process.send_signal(signal.SIGCONT)
                await child.end(grace_seconds=20)
                if child.process.returncode != 0:
                    wrong.append(f"{child.name} ended with {ending(child.process.returncode)} on SIGTERM")
        return wrong


@asynccontextmanager
async def running(installation: Installation, directory: Path, chance: random.Random) -> AsyncIterator[Service]:
    """A service whose triggers are installed; ended with the block."""
    service = Service(installation, directory, chance)
    try:
        for place in range(2):
            service.start_projector(place)
        await service.start_api()
        await service.start_api("--workers", "2")
        yield service
    finally:
        await service.end()
