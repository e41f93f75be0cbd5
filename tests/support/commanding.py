"""The program as people run it: a process of its own, with settings in its environment and nothing else."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import orjson

from projector.tail import triggers
from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer
from readmodel.view.keys import Keys
from readmodel.view.projection import read_projection
from readmodel.view.reader import ViewReader
from readside.demo.processes import free_port
from tests.support import fork_server
from tests.support.fork_server import PROGRAM
from tests.support.servers import connected
from tests.support.viewing import whole_view
from tests.support.waiting import PATIENCE_SECONDS, eventually

STOP_SECONDS = 20.0
"""A projector that is told to stop has stopped within five seconds; a slow machine gets four times that."""
COMMAND_SECONDS = 120.0
"""A command that hangs is ended after this; one that starts Python on a slow machine that others use takes long."""


class Ended(NamedTuple):
    """A command that has ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    def refusal(self, code: int = 2) -> str:
        """Check that it failed with one clear line on stderr and nothing else; give the line."""
        assert (self.code, self.out) == (code, ""), self
        assert self.err.startswith("readside: "), self
        assert self.err.endswith(".\n"), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err
        return self.err.removeprefix("readside: ").rstrip("\n")


@dataclass(frozen=True)
class Site:
    """Settings that one view's commands and projectors share, and how the program is started."""

    settings: Mapping[str, str]
    program: tuple[str, ...] = PROGRAM

    @classmethod
    def of(cls, database_url: str, redis_url: str, **settings: str) -> "Site":
        """Both servers, a short heartbeat, and a prefix of its own."""
        own = {"REDIS_PREFIX": f"test-{uuid4().hex[:8]}", "HEARTBEAT_SECONDS": "0.1", "LOG_FORMAT": "json"}
        return cls({"DATABASE_URL": database_url, "REDIS_URL": redis_url, **own, **settings})

    @property
    def database_url(self) -> str:
        """Where Postgres is."""
        return self.settings["DATABASE_URL"]

    def with_settings(self, **changes: str | None) -> "Site":
        """The same with other settings; None takes one away."""
        settings = {**self.settings, **changes}
        return replace(self, settings={name: value for name, value in settings.items() if value is not None})

    def started_by(self, *program: str) -> "Site":
        """The same by another program."""
        return replace(self, program=program)

    async def start(self, *arguments: str) -> Process:
        """Start the program, by the fork server where it is the usual one."""
        settings = {f"READSIDE_{name}": value for name, value in self.settings.items()}
        environment = {"PATH": os.environ["PATH"], **settings}
        if self.program == PROGRAM:
            return await fork_server.start(*arguments, environment=environment)
        return await asyncio.create_subprocess_exec(
            *[*self.program, *arguments],
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        process = await self.start(*arguments)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            raise
        assert process.returncode is not None
        assert b"Traceback" not in out + err, (out + err).decode()
        return Ended(process.returncode, out.decode(), err.decode())

    async def status(self, **changes: str) -> dict[str, Any]:
        """Ask `readside status --json`, and check that its exit code says the same."""
        ended = await self.with_settings(**changes).run("status", "--json")
        projection: dict[str, Any] = orjson.loads(ended.out)
        codes = {"live": 0, "catching_up": 1, "stale": 1, "down": 2}
        assert ended.code == codes[projection["status"]], ended
        assert ended.err in {"", f"readside: {projection['reason']}\n"}, ended
        return projection

    async def becomes(self, status: str, **changes: str) -> dict[str, Any]:
        """Wait until the projection has this status, and `readside status` says so.

        Each try to lead is reported as one, for a moment: the command may look just then.
        """
        told: dict[str, Any] = {}

        async def said() -> bool:
            told.update(await self.status(**changes))
            return bool(told["status"] == status)

        await self.reaches(status, **changes)
        await eventually(said, f"`readside status` says {status}")
        return told

    async def reaches(self, status: str, **changes: str) -> None:
        """Wait until the projection has this status."""
        settings = {**self.settings, **changes}
        staleness = float(settings.get("MAX_STALENESS_SECONDS", "5"))
        redis = connect(settings["REDIS_URL"], name="test")
        view = ViewReader(redis, Keys(settings["REDIS_PREFIX"], OneServer(redis).database))

        async def reached() -> bool:
            return (await read_projection(whole_view(view), staleness)).status == status

        try:
            await eventually(reached, f"the projection is {status}")
        finally:
            await redis.aclose()

    async def install(self, role: str | None = None) -> None:
        """Install the triggers, without a process of its own, and grant a role what it needs."""
        async with connected(self.database_url) as connection:
            assert await triggers.install(connection, warn=lambda _: None, role=role)

    @asynccontextmanager
    async def projector(self) -> AsyncIterator["Projector"]:
        """Run a projector for as long as the block lasts."""
        running = Projector(await self.start("projector"))
        reading = asyncio.create_task(running.read())
        try:
            yield running
        finally:
            if running.process.returncode is None:
                running.process.send_signal(signal.SIGCONT)
                running.process.kill()
            await running.process.wait()
            await reading
        assert "Traceback" not in running.text, running.text

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run a query API for as long as the block lasts; gives a client without a key once it is ready."""
        port = free_port()
        process = await self.start("api", "--port", str(port))
        try:
            async with httpx.AsyncClient(
                verify=False, base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS
            ) as client:

                async def ready() -> bool:
                    assert process.returncode is None
                    try:
                        return (await client.get("/health/ready")).status_code == 200
                    except httpx.TransportError:
                        return False

                await eventually(ready, "the API is ready")
                yield client
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                async with asyncio.timeout(COMMAND_SECONDS):
                    _, err = await process.communicate()
            except TimeoutError:
                process.kill()
                raise
        assert process.returncode == 0, err.decode()


@dataclass
class Projector:
    """A projector's process and what it logged."""

    process: Process
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its whole log."""
        return "\n".join(self.lines)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [orjson.loads(line) for line in self.lines]

    async def read(self) -> None:
        """Collect what it logs."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode().rstrip())

    def said(self, event: str, text: str = "") -> list[dict[str, Any]]:
        """The lines of one event that contain a text."""
        return [line for line in self.log if line["event"] == event and text in orjson.dumps(line).decode()]

    async def says(self, event: str, text: str = "", times: int = 1) -> None:
        """Wait until it has said something so many times."""
        await eventually(lambda: len(self.said(event, text)) >= times, f"it says {event!r} {text!r}: {self.text}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order: within the time it has, exit code 0, its last line says so."""
        self.process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        assert code == 0, self.text
        await eventually(lambda: self.said("projector stopped"), "its last line is read")


async def execute(url: str, *statements: str) -> None:
    """Run statements on a database."""
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)
