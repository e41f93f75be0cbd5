"""The embedded servers: started anywhere, restarted in place, and gone when their user is gone."""

import asyncio
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from readmodel.errors import DemoError
from readside.demo.embedded_postgres import EmbeddedPostgres, bundled_programs
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.unprivileged import copy_programs
from tests.support.servers import (
    another_postgres,
    connected,
    embedded_postgres,
    embedded_redis,
    fresh_database,
    server_directory,
)
from tests.support.waiting import eventually


async def test_fresh_database_holds_the_write_sides_tables(database_url: str) -> None:
    """Each test finds the two tables, empty."""
    async with connected(database_url) as connection:
        counts = await connection.fetchrow("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM events)")

    assert tuple(counts or ()) == (0, 0)


async def test_databases_of_tests_are_apart(postgres_server: EmbeddedPostgres, database_url: str) -> None:
    """What happens in one database is not seen in the next, and a database goes with its connections."""
    async with fresh_database(postgres_server) as other:
        left_open = await asyncpg.connect(other)
        await left_open.execute("CREATE TABLE mine ()")
    async with connected(database_url) as connection:
        mine = await connection.fetchval("SELECT to_regclass('mine')")
        databases = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'test_%'")

    assert (mine, databases) == (None, 1)
    left_open.terminate()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgres_restarts_in_place(postgres_server: EmbeddedPostgres, database_url: str, mode: str) -> None:
    """A restart keeps data, port and password, and changes the process."""
    before = postgres_server.pid
    async with connected(database_url) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")

    await postgres_server.restart("fast" if mode == "fast" else "immediate")
    async with connected(database_url) as connection:
        kept = await connection.fetchval("SELECT one FROM kept")

    assert kept == 1
    assert postgres_server.pid != before


async def test_redis_restarts_in_place_and_empty(redis_server: EmbeddedRedis, redis_url: str) -> None:
    """A restart keeps port and password, and loses the data."""
    async with Redis.from_url(redis_url) as redis:
        await redis.set("key", "value")
    await redis_server.restart()

    async with Redis.from_url(redis_url) as redis:
        assert await redis.get("key") is None


async def test_servers_ask_for_their_password(postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis) -> None:
    """Nobody else on the machine gets in, loopback or not."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.url(password="wrong"))
    async with Redis(port=redis_server.port, retry=Retry(NoBackoff(), 0)) as redis:
        with pytest.raises(AuthenticationError):
            await redis.ping()


async def test_second_start_finds_the_data_of_the_first() -> None:
    """A directory is a whole server: cluster, password, and settings given anew."""
    with server_directory() as directory:
        async with embedded_postgres(directory) as first, connected(first.url()) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        async with embedded_postgres(directory, max_connections="7") as second, connected(second.url()) as connection:
            kept = await connection.fetchrow("SELECT one, current_setting('max_connections') FROM kept")

    assert tuple(kept or ()) == (1, "7")


async def test_a_cluster_left_half_made_is_made_again() -> None:
    """A start that was killed during initdb does not spoil the directory."""
    with server_directory() as directory:
        cluster = directory / "cluster"
        cluster.mkdir()
        (cluster / "PG_VERSION").write_text("18\n")

        async with another_postgres(directory) as server, connected(server.url()) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_postgres_18_runs_in_a_directory_closed_to_others() -> None:
    """The demo's data may lie in somebody's private home, root's included."""
    with tempfile.TemporaryDirectory() as directory:
        async with EmbeddedPostgres(Path(directory) / "home") as server, connected(server.url()) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_postgres_runs_from_an_environment_closed_to_others() -> None:
    """A virtual environment may lie in somebody's private home; what root cannot run there is copied."""
    with tempfile.TemporaryDirectory() as home, server_directory() as directory:
        programs = closed_programs(Path(home))
        async with EmbeddedPostgres(directory, programs=programs) as server, connected(server.url()) as connection:
            assert await connection.fetchval("SELECT 1") == 1


def closed_programs(home: Path) -> Path:
    """The bundled programs, in a directory that is closed to other users."""
    programs = copy_programs(bundled_programs(), home)
    home.chmod(0o700)
    return programs


async def test_a_taken_port_is_changed_for_another() -> None:
    """Whoever takes the port between our looking and the server's start does not stop us."""
    with server_directory() as directory:
        postgres, redis = embedded_postgres(directory / "postgres"), embedded_redis(directory / "redis")
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1") as listener:
            taken = listener.sockets[0].getsockname()[1]
            postgres.port = redis.port = taken
            async with postgres, redis:
                assert taken not in {postgres.port, redis.port}


async def test_a_failed_start_tells_the_servers_last_words() -> None:
    """The server's own reason stands in the error, and nothing is left running."""
    with server_directory() as directory:
        postgres = embedded_postgres(directory / "postgres", shared_buffers="none at all")
        redis = embedded_redis(directory / "redis", "--maxmemory", "none at all")
        with pytest.raises(DemoError, match=r'(?s)PostgreSQL did not start.*"shared_buffers": "none at all"'):
            await postgres.start()
        with pytest.raises(DemoError, match=r"(?s)Redis did not start.*maxmemory"):
            await redis.start()
        with pytest.raises(DemoError, match="not running"):
            _ = postgres.pid
        with pytest.raises(DemoError, match="not running"):
            _ = redis.pid


async def test_a_missing_program_is_one_clear_line() -> None:
    """A wrong path is named, with no traceback of the launcher's."""
    with server_directory() as directory:
        redis = EmbeddedRedis(directory, program=Path("/nowhere/redis-server"))
        with pytest.raises(DemoError) as failure:
            await redis.start()

    assert str(failure.value).splitlines()[1:] == [
        "Its last lines:",
        "  /nowhere/redis-server: No such file or directory",
    ]


OWNER = """
import asyncio, sys
from pathlib import Path
from readside.demo.unprivileged import copy_programs
from tests.support.servers import another_postgres, embedded_postgres, embedded_redis

async def main():
    directory = Path(sys.argv[1])
    async with embedded_postgres(directory / "postgres") as postgres, embedded_redis(directory / "redis") as redis:
        print(postgres.pid, redis.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
async def test_servers_end_when_their_owner_is_killed() -> None:
    """No cleanup runs in a killed process; the kernel tells the servers."""
    with server_directory() as directory:
        owner = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", OWNER, str(directory)],
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert owner.stdout is not None
        servers = [int(pid) for pid in (await owner.stdout.readline()).split()]
        owner.kill()
        await owner.wait()

        assert len(servers) == 2
        await eventually(lambda: not any(alive(pid) for pid in servers), "the servers end with their owner")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
