"""The servers and processes under measurement: embedded PostgreSQL and Redis, and readside as it is typed."""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from bench.polling_client import PollingClient
from bench.table import BenchError
from readmodel.postgres.client import Connection
from readmodel.redis.client import connect
from readmodel.redis.servers import open_servers
from readmodel.view.whole import WholeView
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK, Child, free_port, last_words, spawn

ROOT = Path(__file__).parents[1]
API_KEY = secrets.token_urlsafe(16)
START_SECONDS = 30.0
COMMAND_SECONDS = 120.0
_PATH = os.environ.get("PATH", os.defpath)
_READSIDE = (sys.executable, "-m", "readside")
# The shell becomes the program: the process id stays the same.
_LIMITED = ("/bin/sh", "-c", 'ulimit -S -n "$0" && exec "$@"')
_SCHEMA = files("readside.demo").joinpath("schema.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line chose; None leaves it to each measurement.

    `postgres` is the directory of another PostgreSQL's programs, `base` an earlier revision to measure beside.
    """

    seconds: int | None = None
    rounds: int | None = None
    base: str | None = None
    postgres: Path | None = None


class Site:
    """One database with the write side's tables, an empty view, and the readside processes on them.

    `source` is the tree whose code the processes run, this one by default. `redis` is the server of all keys, but for
    those of a view over a cluster.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        redis_urls: tuple[str, str],
        connection: Connection,
        redis: Redis,
        view: WholeView,
        *,
        source: Path = ROOT,
    ) -> None:
        self.directory = directory
        self._source = source
        self.database_url = database_url
        self.redis_url, self.plain_url = redis_urls
        self.connection = connection
        self.redis = redis
        self.view = view

    async def run(self, *command: str) -> None:
        """Run a command of readside to its end. Raises BenchError when it fails."""
        child = await self._ended(*command)
        if child.process.returncode != 0:
            raise BenchError(f"{child.name} failed.{last_words(child.log)}")

    @asynccontextmanager
    async def projector(self, **settings: str) -> AsyncIterator[Child]:
        """Run a projector, live when the block begins; `settings` without READSIDE_, in small letters."""
        async with self._running("readside projector", [*_READSIDE, "projector"], self.live, settings) as child:
            yield child

    @asynccontextmanager
    async def mortal_projector(self, program: list[str] | None = None, **settings: str) -> AsyncIterator[Child]:
        """Run a projector, live when the block begins, which the block may kill; `program` runs it another way."""
        child = self._spawn("readside projector", program or [*_READSIDE, "projector"], settings)
        try:
            await until(self.live, f"{child.name} is live", child=child)
            yield child
        finally:
            await child.end()

    @asynccontextmanager
    async def api(self, *, workers: int = 1, **settings: str) -> AsyncIterator[int]:
        """Run the query API in one process or several, ready when the block begins; gives its port."""
        port = free_port()
        command = [*_READSIDE, "api", "--port", str(port), "--workers", str(workers)]
        async with self._running(f"readside api {port}", command, lambda: _answers(port, "/health/ready"), settings):
            yield port

    @asynccontextmanager
    async def api_process(self, *, open_files: int, **settings: str) -> AsyncIterator[tuple[int, int]]:
        """Run the query API in one process whose soft limit of open files is this; gives its port and process id."""
        port = free_port()
        command = [*_LIMITED, str(open_files), *_READSIDE, "api", "--port", str(port)]
        ready = partial(_answers, port, "/health/ready")
        async with self._running(f"readside api {port}", command, ready, settings) as child:
            yield port, child.pid

    @asynccontextmanager
    async def traced_api(self, program: list[str], **settings: str) -> AsyncIterator[tuple[int, Child]]:
        """Run the query API by another program; gives its port, and the process."""
        port = free_port()
        ready = partial(_answers, port, "/health/ready")
        async with self._running(f"readside api {port}", [*program, "--port", str(port)], ready, settings) as child:
            yield port, child

    @asynccontextmanager
    async def app(self, module: str, *arguments: str) -> AsyncIterator[int]:
        """Run a peer of bench/peers as a module, with its port as the first argument; gives the port."""
        port = free_port()
        command = [sys.executable, "-m", module, str(port), *arguments]
        async with self.server(f"{module.rpartition('.')[2]} {port}", command, port):
            yield port

    @asynccontextmanager
    async def server(self, name: str, command: list[str], port: int) -> AsyncIterator[None]:
        """Run a program of others that answers /ready on the port once it serves. Raises DemoError as above."""
        async with self._running(name, command, lambda: _answers(port, "/ready"), {}):
            yield

    @asynccontextmanager
    async def _running(
        self, name: str, command: list[str], ready: Callable[[], Awaitable[bool]], settings: dict[str, str]
    ) -> AsyncIterator[Child]:
        """Run a process for as long as the block lasts. Raises DemoError when it ends by itself."""
        child = self._spawn(name, command, settings)
        try:
            await until(ready, f"{name} is ready", child=child)
            yield child
        finally:
            died = None if child.running else child.died()
            await child.end()
            if died:
                raise died

    async def caught_up(self) -> None:
        """Return when all that is committed now is in the view."""
        now = await self.connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

        async def passed() -> bool:
            return bool((await self.as_of_us() or 0) >= now)

        await until(passed, "as-of has passed what was written")

    async def as_of_us(self) -> int | None:
        """The view's as-of, which is that of its oldest slice; None while one is not live."""
        found = []
        for part in self.view.parts:
            position = await part.position()
            if position is None or not position.live or position.as_of_us is None:
                return None
            found.append(position.as_of_us)
        return min(found)

    async def live(self) -> bool:
        """Whether the projection is live. Asks the command: what an earlier version keeps in Redis is its own."""
        return (await self._ended("status")).process.returncode == 0

    async def _ended(self, *command: str) -> Child:
        """Run a command of readside to its end."""
        child = self._spawn(f"readside {command[0]}", [*_READSIDE, *command], {})
        try:
            await child.exited(COMMAND_SECONDS)
        finally:
            await child.end()
        return child

    def _spawn(self, name: str, command: list[str], settings: dict[str, str]) -> Child:
        environment = {
            "PATH": _PATH,
            "BENCH_API_KEY": API_KEY,
            "BENCH_DATABASE_URL": self.database_url,
            "BENCH_REDIS_URL": self.plain_url,
            "READSIDE_DATABASE_URL": self.database_url,
            "READSIDE_REDIS_URL": self.redis_url,
            "READSIDE_API_KEYS": f"bench:{API_KEY}:read+ops",
            "READSIDE_LOG_LEVEL": "warning",
            **({"READSIDE_SLICES": str(slices)} if (slices := self.view.slices.count) > 1 else {}),
            **{f"READSIDE_{name.upper()}": value for name, value in settings.items()},
        }
        log = self.directory / f"{name.replace(' ', '-')}.log"
        return spawn(name, command, log=log, environment=environment, directory=self._source)


class Servers:
    """The embedded servers of a whole run, with the settings that they have by default (so commits reach the disk)."""

    def __init__(self, directory: Path, choices: Choices) -> None:
        self.directory = directory
        self.choices = choices
        self.postgres = EmbeddedPostgres(directory / "postgres", programs=choices.postgres)
        self.redis = EmbeddedRedis(directory / "redis")

    @asynccontextmanager
    async def site(
        self, number: int = 0, *, source: Path = ROOT, slices: int = 1, cluster: str = ""
    ) -> AsyncIterator[Site]:
        """Make a new database, and empty two of Redis'; the database is dropped after the block.

        `source` is the tree whose code readside's processes run. Sites that are there at the same time need different
        numbers, from 0 to 7. The second Redis database is for the peers' plain sorted sets. `cluster` is the URL of an
        empty Redis Cluster that the view's slices are to be on.
        """
        name = f"bench_{secrets.token_hex(4)}"
        urls = self.redis.url(number), self.redis.url(8 + number)
        server = await asyncpg.connect(self.postgres.url())
        redis = connect(urls[0], name="bench")
        holders = open_servers(cluster or urls[0], name="bench")
        try:
            await server.execute(f"CREATE DATABASE {name}")
            for url in urls:
                async with redis_at(url) as emptied:
                    await emptied.flushdb()
            connection = await asyncpg.connect(self.postgres.url(name))
            await connection.execute(_SCHEMA)
            view = WholeView(holders, "readside", slices)
            urls = cluster or urls[0], urls[1]
            yield Site(self.directory, self.postgres.url(name), urls, connection, redis, view, source=source)
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            server.terminate()
            await holders.aclose()
            await redis.aclose()

    async def versions(self) -> tuple[str, str]:
        """The versions of PostgreSQL and Redis."""
        server = await asyncpg.connect(self.postgres.url())
        redis = connect(self.redis.url(), name="bench")
        try:
            info = await redis.info("server")
            return await server.fetchval("SHOW server_version"), str(info["redis_version"])
        finally:
            server.terminate()
            await redis.aclose()


@asynccontextmanager
async def running_servers(choices: Choices) -> AsyncIterator[Servers]:
    """Start the servers in a temporary directory; end them and remove it after the block."""
    with tempfile.TemporaryDirectory(prefix="readside-bench-") as directory:
        os.chmod(directory, 0o711)  # noqa: PTH101 (ASYNC240) - as root, PostgreSQL runs as another user
        servers = Servers(Path(directory), choices)
        async with servers.postgres, servers.redis:
            yield servers


async def output_of(program: str, *arguments: str, **environment: str) -> str:
    """Run a program of others to its end; gives what it wrote. Raises BenchError when it fails."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env={"PATH": _PATH, "LC_ALL": "C", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise BenchError(f"{Path(program).name} failed:\n{output}")
    return output


async def until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    *,
    child: Child | None = None,
    seconds: float = START_SECONDS,
    pause_seconds: float = 0.02,
) -> None:
    """Return when the condition holds. Raises BenchError when the child ends or the time is over first."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if child is not None and not child.running:
            raise child.died()
        if asyncio.get_running_loop().time() > deadline:
            raise BenchError(f"Not within {seconds:g} s: {what}.")
        await asyncio.sleep(pause_seconds)


@asynccontextmanager
async def redis_at(url: str) -> AsyncIterator[Redis]:
    """A client for as long as the block lasts."""
    redis = connect(url, name="bench")
    try:
        yield redis
    finally:
        await redis.aclose()


async def _answers(port: int, path: str) -> bool:
    try:
        async with PollingClient.open(LOOPBACK, port) as client:
            return (await client.get(path)).status == 200
    except OSError:
        return False
