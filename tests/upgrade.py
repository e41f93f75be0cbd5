"""An upgrade from version 0.1 under load: `python -m tests.upgrade [SEED]`, from a checkout that has the whole history.

Version 0.1 is checked out into a temporary directory. Its projector and API run, writers write at random and pollers
have every answer judged by the oracle. Then, all under load: `install` of this version, a restart of the projector, a
restart of each API. No answer may be wrong; refusals (503) are counted. On the way each version's projector takes the
lead over what the other installed: it must refuse by name. Prints what it saw, and exits with 1 if anything was wrong.

It takes a minute or two, and is no part of `make test`.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from readside.demo.processes import Child, free_port, spawn
from tests.oracle.asking import Client, NoAnswer
from tests.oracle.judge import Question
from tests.oracle.ledger import Draft, Ledger
from tests.oracle.pollers import REFUSALS, Ask, Poller, microseconds
from tests.oracle.report import Report
from tests.oracle.service import SETTINGS
from tests.oracle.writers import MARKS, Writer, now_us
from tests.support.keys import HEADERS
from tests.support.projecting import INSERT_SESSION
from tests.support.servers import (
    connected,
    embedded_postgres,
    embedded_redis,
    fresh_database,
    make_template,
    server_directory,
)
from tests.support.waiting import eventually

OLD = "58663b64da4cbb389539d5bcbad9899b48187e73"
"""Version 0.1, as it was released."""
HERE = Path(__file__).parent.parent
LOAD_SECONDS = 5.0
WRITERS, POLLERS = 4, 4


@dataclass
class Versions:
    """Programs of both versions, over the same stores."""

    directory: Path
    database_url: str
    redis_url: str
    children: list[Child] = field(default_factory=list)

    def start(self, version: str, *arguments: str) -> Child:
        """Start a program of "old" or "new"."""
        code = self.directory / "old" if version == "old" else HERE
        settings = {**SETTINGS, "DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(code)}
        environment |= {f"READSIDE_{name}": value for name, value in settings.items()}
        log = self.directory / f"{version}-{arguments[0]}-{len(self.children)}.log"
        child = spawn(
            arguments[0], [sys.executable, "-P", "-m", "readside", *arguments], log=log, environment=environment
        )
        self.children.append(child)
        return child

    async def command(self, version: str, *arguments: str) -> tuple[int | None, str]:
        """Run a command to its end."""
        child = self.start(version, *arguments)
        await child.exited(60)
        return child.process.returncode, child.log.read_text()

    async def said(self, child: Child, text: str) -> None:
        """Wait until a program has logged something."""
        try:
            await eventually(lambda: text in child.log.read_text(), f"{child.name} says {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {child.log.read_text()[-2000:]}") from error

    async def end(self) -> None:
        """End all that runs."""
        for child in self.children:
            if child.running:
                await child.end(grace_seconds=20)


@dataclass
class Upgrade:
    """Writers and pollers, and what was seen."""

    versions: Versions
    report: Report
    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    figures: dict[str, object] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        self.kept = frozenset(str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(3))

    async def run(self) -> None:
        """Everything, in order."""
        versions = self.versions
        code, said = await versions.command("old", "install")
        self.expect(code == 0, f"0.1 is installed: {said}")
        await self.begin()
        old_projector = versions.start("old", "projector")
        ports = [await self.api("old") for _ in range(2)]
        await self.live("0.1 serves")
        async with asyncio.TaskGroup() as group:
            for work in self.load():
                group.create_task(work)
            try:
                await self.steps(old_projector, ports)
            finally:
                self.stop.set()
        await self.compare()

    async def steps(self, old_projector: Child, ports: list[Child]) -> None:
        """The upgrade, under load."""
        versions = self.versions
        await self.go_on("before")
        await old_projector.end(grace_seconds=20)
        await self.refused("new", "of version 0.1: run `readside install`")
        old_projector = versions.start("old", "projector")
        await self.live("0.1 serves again")
        await self.timed("install", self.installed())
        await versions.said(old_projector, "not live")
        self.figures["0.1 says of what is installed"] = reason(old_projector)
        await self.go_on("0.1's projector meets what is installed now")
        await old_projector.end(grace_seconds=20)
        projector = versions.start("new", "projector")
        await self.go_on("0.1's API over this version's view")
        for place, old in enumerate(ports):
            await self.timed(f"restart of API {place}", self.restarted(place, old))
        await self.live("this version serves")
        self.figures["seconds until live again"] = round(time.monotonic() - self.began, 2)
        await projector.end(grace_seconds=20)
        await self.refused("old", "not live")
        versions.start("new", "projector")
        await self.live("this version serves again")
        await self.go_on("after")

    async def installed(self) -> None:
        """Install this version, once."""
        self.began = time.monotonic()
        code, said = await self.versions.command("new", "install")
        self.expect(code == 0, f"install: {said}")

    async def refused(self, version: str, sentence: str) -> None:
        """A projector of one version beside the other's: it must say by name why it does not go on."""
        child = self.versions.start(version, "projector")
        await self.versions.said(child, sentence)
        self.figures[f"a projector of the {version} version says"] = reason(child)
        await child.end(grace_seconds=20)

    async def restarted(self, place: int, old: Child) -> None:
        """Stop one API and start the new one in its place; its pollers go to the other meanwhile."""
        self.aside.add(place)
        await asyncio.sleep(0.5)
        await old.end(grace_seconds=20)
        self.clients[place].close()
        await self.api("new", place)
        for poller in self.pollers:
            if poller.name.endswith(f"api {place}"):
                poller.client, poller.bodies = self.clients[place], {}
        self.aside.discard(place)

    async def begin(self) -> None:
        """The sessions that are never purged."""
        async with connected(self.versions.database_url) as connection:
            await connection.execute(MARKS)
            for session_id in sorted(self.kept):
                commit = self.ledger.send(Draft(created=[session_id]), now_us(), "")
                await connection.execute(INSERT_SESSION, session_id, "in_progress")
                self.ledger.acknowledge(commit, now_us())

    async def api(self, version: str, place: int | None = None) -> Child:
        """Start an API and wait until it answers."""
        port = free_port()
        child = self.versions.start(version, "api", "--port", str(port))
        client = Client(port, HEADERS)
        if place is None:
            self.clients.append(client)
        else:
            self.clients[place] = client

        async def answers() -> bool:
            try:
                return (await client.get("/health/live")).status_code == 200
            except NoAnswer:
                return False

        await eventually(answers, "an API answers")
        return child

    def load(self) -> list[Coroutine[None, None, None]]:
        """Writers and pollers that go on until the end."""
        self.aside: set[int] = set()
        self.pollers = [
            Poller(
                f"poller {n} of api {n % 2}",
                self.clients[n % 2],
                self.ledger,
                self.report,
                random.Random(f"{self.seed} poller {n}"),
                self.stop,
            )
            for n in range(POLLERS)
        ]
        writers = [
            Writer(self.versions.database_url, self.ledger, random.Random(f"{self.seed} {n}"), self.stop, self.kept)
            for n in range(WRITERS)
        ]
        return [*(writer.run() for writer in writers), *(self.polls(n) for n in range(POLLERS))]

    async def polls(self, number: int) -> None:
        """Poll as a client does that goes to the other API while its own is restarted."""
        poller = self.pollers[number]
        while not self.stop.is_set():
            own = poller.client
            if number % 2 in self.aside:
                poller.client, poller.bodies = self.clients[1 - number % 2], {}
            ask = poller.next()
            await poller.poll(ask, poller.headers(ask))
            if number % 2 not in self.aside:
                poller.client = self.clients[number % 2]
            elif own is not poller.client:
                poller.bodies = {}
            await asyncio.sleep(poller.random.expovariate(50))

    async def go_on(self, name: str) -> None:
        """Let the load go on for a while, and keep what was answered from where."""
        sources, statuses = dict(self.report.sources), dict(self.report.statuses)
        async with asyncio.timeout(LOAD_SECONDS + 60):
            until = time.monotonic() + LOAD_SECONDS
            await eventually(lambda: time.monotonic() > until or self.stop.is_set(), name, LOAD_SECONDS + 30)
        answered = {key: count - sources.get(key, 0) for key, count in self.report.sources.items()}
        refused = sum(self.report.statuses[status] - statuses.get(status, 0) for status in REFUSALS)
        self.figures[name] = {**answered, "refused": refused}

    async def timed(self, name: str, work: object) -> None:
        """Do it, and keep how long it took."""
        started = time.monotonic()
        await work  # type: ignore[misc]
        self.figures[f"{name}, seconds"] = round(time.monotonic() - started, 2)

    async def live(self, what: str) -> None:
        """Wait until each API serves a kept session from a live view."""
        since, session_id = now_us(), min(self.kept)
        for client in self.clients:

            async def served(client: Client = client) -> bool:
                url = Ask(Question(session_id, limit=random.randrange(1, 1001))).url
                found = await client.get(url)
                as_of = found.headers.get("readside-as-of", "")
                return found.headers.get("readside-source") == "redis" and microseconds(as_of) >= since

            await eventually(served, what)

    async def compare(self) -> None:
        """All is quiet: `verify` of this version finds no difference."""
        code, said = await self.versions.command("new", "verify", "--json")
        self.expect(code == 0, f"verify: {said[-2000:]}")
        self.expect(bool(self.report.sources["redis"] and self.report.sources["memory"]), "the view answered")

    def expect(self, is_so: bool, what: str) -> None:
        """Note what is not as it must be."""
        if not is_so:
            self.report.fail(what)


def reason(child: Child) -> str:
    """The last reason for which a projector said that it is not live."""
    lines = [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{")]
    told = [line["reason"] for line in lines if line.get("reason")]
    return str(told[-1]) if told else "nothing"


def check_out(commit: str, directory: Path) -> None:
    """Put a commit's files into a directory."""
    archive = subprocess.run(["git", "archive", commit], cwd=HERE, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Debian 12's Python
        files.extractall(directory)


@asynccontextmanager
async def both_versions(directory: Path, database_url: str, redis_url: str) -> AsyncIterator[Versions]:
    """Both versions' programs; all that runs is ended with the block."""
    await asyncio.to_thread(check_out, OLD, directory / "old")
    versions = Versions(directory, database_url, redis_url)
    try:
        yield versions
    finally:
        await versions.end()


async def upgrade(seed: int) -> int:
    """Run it; gives the exit code."""
    report = Report(seed)
    with server_directory() as directory:
        async with (
            embedded_postgres(directory / "postgres") as postgres,
            embedded_redis(directory / "redis") as redis,
        ):
            await make_template(postgres)
            async with (
                fresh_database(postgres) as url,
                both_versions(directory, url, redis.url()) as versions,
            ):
                run = Upgrade(versions, report, seed)
                await run.run()
    for name, figure in run.figures.items():
        sys.stdout.write(f"{name}: {figure}\n")
    sys.stdout.write(
        f"answers: {dict(report.sources)}, statuses: {dict(report.statuses)}, commits: {run.ledger.commits}\n"
    )
    for failure in report.failures:
        sys.stdout.write(f"WRONG: {failure}\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(upgrade(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
