"""Real servers for tests: PostgreSQL and Redis of our own, one of each a run, and a fresh database for each test.

READSIDE_TEST_POSTGRES_BIN names a directory with another PostgreSQL's programs (15 or newer), and
READSIDE_TEST_REDIS_SERVER another redis-server or valkey-server. Their files lie in memory where it has room, else in
TMPDIR.
"""

import asyncio
import atexit
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path

import asyncpg

from projector.tail.triggers import install
from readmodel.postgres.sql import Tables
from readside.demo.embedded_postgres import SUPERUSER, EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK
from tests.support.administrator import administer

# Tests restart servers and never crash the machine, so nothing needs to reach the disk.
POSTGRES_SETTINGS = {
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "wal_init_zero": "off",
    "max_wal_size": "256MB",
}
MEMORY = Path("/dev/shm")
ROOM_BYTES = 6_000_000_000
"""What the servers of all workers may take together, with room to spare."""
TEMPLATE, INSTALLED, MONTHS = "write_side", "installed", "months"
"""Databases that tests' own are copies of: the write side's empty tables; these with everything of ours; the same
where events are in three monthly partitions."""
Alter = Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]]
"""What alters the tables of a database."""
TABLES = Tables.within("public", "public")
SCHEMA = files("readside.demo").joinpath("schema.sql").read_text()


def program_from_environment(name: str) -> Path | None:
    """The path that an environment variable holds, if any."""
    return Path(value) if (value := os.environ.get(name)) else None


class CopiedPostgres(EmbeddedPostgres):
    """A server that begins as a copy of one that this process has made: initdb takes ten times as long.

    So all of them have one system identifier and one password.
    """

    async def _make_cluster(self) -> None:
        first = await _first_cluster()
        copied(first / "cluster", self._cluster)
        copied(first / "password", self._password_file)


def embedded_postgres(directory: Path, **settings: str) -> EmbeddedPostgres:
    """A PostgreSQL server as tests want it, not started yet; `settings` on top of the usual ones."""
    return CopiedPostgres(directory, settings={**POSTGRES_SETTINGS, **settings}, programs=_programs())


def another_postgres(directory: Path) -> EmbeddedPostgres:
    """The same, of which nothing is like another one's."""
    return EmbeddedPostgres(directory, settings=POSTGRES_SETTINGS, programs=_programs())


def copied(source: Path, target: Path) -> None:
    """Copy a stopped server, for the user that it runs as: a thousand files, for which Python takes a while."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def _programs() -> Path | None:
    return program_from_environment("READSIDE_TEST_POSTGRES_BIN")


_made: list[Path] = []


async def _first_cluster() -> Path:
    """The directory of a server that was never started. It goes when this process ends."""
    if not _made:
        stack = ExitStack()
        directory = stack.enter_context(server_directory())
        server = another_postgres(directory)
        await server._prepare()
        server._drop_copies()
        atexit.register(stack.close)
        _made.append(directory)
    return _made[0]


def embedded_redis(directory: Path, *options: str) -> EmbeddedRedis:
    """A Redis server as tests want it, not started yet; `options` as on its command line."""
    program = program_from_environment("READSIDE_TEST_REDIS_SERVER")
    return EmbeddedRedis(directory, options=options, program=program)


def place_of_files() -> Path | None:
    """Memory, where it has room: to make a database takes a fifth of the time that it takes on a disk."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    available = int(found[1]) * 1024 if found else 0
    return MEMORY if min(shutil.disk_usage(MEMORY).free, available) > ROOM_BYTES else None


@contextmanager
def server_directory() -> Iterator[Path]:
    """A temporary directory that other users may pass through, as PostgreSQL 15 needs when tests run as root."""
    with tempfile.TemporaryDirectory(prefix="readside-test-", dir=place_of_files()) as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@contextmanager
def running_postgres(**settings: str) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for as long as the block lasts, for synchronous callers."""
    with server_directory() as directory:
        server = embedded_postgres(directory, **settings)
        asyncio.run(server.start())
        try:
            yield server
        finally:
            asyncio.run(server.stop())


@contextmanager
def running_redis(*options: str) -> Iterator[EmbeddedRedis]:
    """A Redis server for as long as the block lasts, for synchronous callers."""
    with server_directory() as directory:
        server = embedded_redis(directory, *options)
        asyncio.run(server.start())
        try:
            yield server
        finally:
            asyncio.run(server.stop())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection for as long as the block lasts."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def make_template(server: EmbeddedPostgres) -> None:
    """Make TEMPLATE, and have passwords cost less: each test connects a dozen times."""
    async with connected(server.url()) as connection:
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        if connection.get_server_version().major >= 16:
            await connection.execute("ALTER SYSTEM SET scram_iterations = 1")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.execute(f"SET scram_iterations = 1; ALTER ROLE {SUPERUSER} PASSWORD '{server.password}'")
    async with connected(server.url(TEMPLATE)) as connection:
        await connection.execute(SCHEMA)


async def make_installed(server: EmbeddedPostgres, name: str = INSTALLED, alter: Alter | None = None) -> None:
    """Make INSTALLED, or another whose tables are altered first, once TEMPLATE is there."""
    async with connected(server.url()) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    async with connected(server.url(name)) as connection:
        if alter is not None:
            await alter(connection)
        await install(connection, warn=_refuse)


def _refuse(warning: str) -> None:
    raise AssertionError(warning)


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, template: str = TEMPLATE) -> AsyncIterator[str]:
    """The URL of a new database with the write side's tables; dropped, connections and all, after the block.

    `template="template0"` gives one without tables.
    """
    name = f"test_{secrets.token_hex(6)}"
    await administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield server.url(name)
    finally:
        await server.start()  # a test may have stopped it
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def empty(server: EmbeddedRedis) -> None:
    """Forget all that a Redis holds: keys, scripts and statistics. A client would cost ten times as much."""
    commands = f"AUTH {server.password}", "FLUSHALL", "CONFIG RESETSTAT", "SCRIPT FLUSH"
    with socket.create_connection((LOOPBACK, server.port), timeout=30) as connection:
        connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
        answers = connection.makefile("rb")
        for command in commands:
            if (answer := answers.readline()) != b"+OK\r\n":
                raise AssertionError(f"Redis answers {answer!r} to {command.partition(' ')[0]}")
