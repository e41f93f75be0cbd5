"""What a server refuses is told in its own words, whole, and with what to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncpg
import pytest
from redis.asyncio import Redis

from readmodel.errors import AccessRefused, ServiceError, ViewFull, ViewUnavailable
from readmodel.postgres.client import check_server
from readmodel.postgres.client import connect as connect_postgres
from readmodel.redis.client import connect, translated
from readmodel.view.keys import Keys
from readmodel.view.projection import read_projection
from readmodel.view.reader import ViewReader
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import free_port
from tests.support.commanding import Site, execute
from tests.support.servers import connected, embedded_redis, running_postgres, server_directory
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

CLUSTER = (
    "it is a node of a Redis Cluster, and a redis:// URL needs one Redis that holds every key: "
    "begin READSIDE_REDIS_URL with redis+cluster://"
)
SSL_REQUEST = (80877103).to_bytes(4)
SLOT = 13907
"""Where all keys of ours lie: CLUSTER KEYSLOT 0."""


@asynccontextmanager
async def cluster_of_two() -> AsyncIterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    """A real cluster: the first node has the lower half of the slots, the second the others."""
    with server_directory() as directory:
        options = [("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(2)]
        async with (
            embedded_redis(directory / "a", *options[0]) as first,
            embedded_redis(directory / "b", *options[1]) as second,
            Redis.from_url(first.url()) as client,
            Redis.from_url(second.url()) as other_client,
        ):
            one, other = cast("Any", client), cast("Any", other_client)  # its stubs know no CLUSTER
            await one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            await other.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
            await other.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)
            await one.execute_command("CLUSTER", "MEET", "127.0.0.1", second.port, options[1][3])

            async def whole() -> bool:
                told = [await node.execute_command("CLUSTER", "INFO") for node in (one, other)]
                return all(b"cluster_state:ok" in each.replace(b" ", b"") for each in map(_bytes, told))

            await eventually(whole, "the cluster is whole")
            yield first, second


def _bytes(told: object) -> bytes:
    """CLUSTER INFO as it came, or as redis-py parsed it."""
    if isinstance(told, dict):
        return "\n".join(f"{name}:{value}" for name, value in told.items()).encode()
    return told if isinstance(told, bytes) else str(told).encode()


async def test_a_node_of_a_cluster() -> None:
    """MOVED, with slot and node: by status, doctor, and every command."""
    async with cluster_of_two() as (first, second):
        site = Site.of("postgresql://127.0.0.1:1/shop", first.url())
        told = (await site.run("status")).refusal()
        doctored = (await site.run("doctor")).out

    assert told == (
        f"Redis at 127.0.0.1:{first.port}/0 refuses a command (MOVED {SLOT} 127.0.0.1:{second.port}): {CLUSTER}."
    )
    assert "is a cluster's, not a server by itself" in doctored


@asynccontextmanager
async def refusing(line: str) -> AsyncIterator[Redis]:
    """A client of a server that greets everybody, and refuses every command with this line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = [await reader.readexactly(int((await reader.readline())[1:]) + 2) for _ in range(int(head[1:]))]
            is_greeting = words[0].strip().upper() in {b"HELLO", b"CLIENT", b"SELECT", b"AUTH"}
            writer.write(b"+OK\r\n" if is_greeting else f"-{line}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = connect(f"redis://:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2", name="test")
    try:
        yield client
    finally:
        await client.aclose()
        server.close()


REFUSALS: dict[str, tuple[type[ServiceError], str]] = {
    "MOVED 13907 127.0.0.1:6394": (ViewUnavailable, CLUSTER),
    "ASK 13907 [::1]:6394": (ViewUnavailable, CLUSTER),
    "TRYAGAIN Multiple keys request during rehashing of slot": (ViewUnavailable, CLUSTER),
    "CLUSTERDOWN Hash slot not served": (ViewUnavailable, CLUSTER),
    "CROSSSLOT Keys in request don't hash to the same slot": (ViewUnavailable, CLUSTER),
    "READONLY You can't write against a read only replica": (ViewUnavailable, "it is read-only, as a replica is"),
    "MASTERDOWN Link with MASTER is down": (ViewUnavailable, "have READSIDE_REDIS_URL lead to the primary"),
    "NOAUTH Authentication required": (AccessRefused, "put its user and password into READSIDE_REDIS_URL"),
    "WRONGPASS invalid username-password pair": (AccessRefused, "mend user and password in READSIDE_REDIS_URL"),
    "NOPERM User x has no permissions to run the 'time' command": (AccessRefused, "the rights of its access list"),
    "LOADING Redis is loading the dataset in memory": (ViewUnavailable, "serves nobody until then"),
    "BUSY Redis is busy running a script": (ViewUnavailable, "SCRIPT KILL ends it"),
    "MISCONF Errors writing to the AOF file: No space left on device": (ViewUnavailable, "mend its disk"),
    "NOREPLICAS Not enough good replicas to write": (ViewUnavailable, "bring its replicas back"),
    "OOM command not allowed when used memory > 'maxmemory'": (ViewFull, "is full"),
    "EXECABORT Transaction discarded because of previous errors": (ViewUnavailable, "a command before it was refused"),
    "NOSCRIPT No matching script": (ViewUnavailable, "loaded anew with the next try"),
    "ERR max number of clients reached": (ViewUnavailable, "raise its maxclients"),
    "ERR something that nobody has heard of": (ViewUnavailable, "refuses a command"),
    "NEWWORD something of a later version": (ViewUnavailable, "refuses a command"),
}


@pytest.mark.parametrize("line", REFUSALS)
async def test_what_redis_refuses(line: str) -> None:
    """Its first word is part of what it says; only ERR says nothing."""
    kind, advice = REFUSALS[line]
    async with refusing(line) as client:
        with pytest.raises(ServiceError) as caught, translated(client):
            await client.time()
        projection = await read_projection(whole_view(ViewReader(client, Keys("p"))), 5.0)

    assert type(caught.value) is kind
    assert line.removeprefix("ERR ") in str(caught.value)
    assert advice in str(caught.value)
    assert "does not answer" not in str(caught.value)
    assert (projection.status, str(projection.reason)) == ("down", str(caught.value))


async def test_too_many_clients_of_a_real_redis() -> None:
    """It says so on the way in."""
    with server_directory() as directory:
        async with embedded_redis(directory / "redis", "--maxclients", "2") as server:
            clients = [Redis.from_url(server.url()) for _ in range(2)]
            for client in clients:
                await client.ping()
            told = (await Site.of("postgresql://127.0.0.1:1/shop", server.url()).run("status")).refusal()
            for client in clients:
                await client.aclose()

    assert "max number of clients reached" in told
    assert "raise its maxclients" in told


async def said_by(url: str) -> str:
    """Connect to a Postgres as ours do, and be refused: its sentence."""
    with pytest.raises(ServiceError) as caught:
        await check_server(await connect_postgres(url, application_name="test"), url)
    return str(caught.value)


async def test_what_postgres_refuses_of_a_connection(database_url: str) -> None:
    """A wrong password, a database that there is not, a setting of the URL that it does not know or take."""
    credentials, _, place = database_url.partition("@")
    wrong = f"{credentials.rpartition(':')[0]}:hunter2@{place}"

    assert await said_by(wrong) == (
        f'PostgreSQL at {place} refuses us: password authentication failed for user "postgres".'
    )
    assert 'refuses us: database "nowhere" does not exist.' in await said_by(
        database_url.rpartition("/")[0] + "/nowhere"
    )
    assert await said_by(f"{database_url}?nothing=1") == (
        f'PostgreSQL at {place} refuses us: unrecognized configuration parameter "nothing". '
        "Take it out of the query of its URL."
    )
    assert "Take it out of the query" in await said_by(f"{database_url}?max_connections=5")
    assert "Take it out of the query" in await said_by(f"{database_url}?work_mem=lots")


def test_what_postgres_refuses_for_want_of_places() -> None:
    """Of the server, of a role, of a database; a role that may not log in; no line in pg_hba.conf."""
    with running_postgres(max_connections="6", superuser_reserved_connections="1") as server:
        asyncio.run(_refused_places(server.url()))


async def _refused_places(url: str) -> None:
    async with connected(url) as owner:
        await owner.execute("CREATE ROLE one LOGIN PASSWORD 'x' CONNECTION LIMIT 1; CREATE ROLE shut PASSWORD 'x'")
        await owner.execute("CREATE DATABASE few CONNECTION LIMIT 0")
        place = url.rpartition("@")[2]
        as_one = f"postgresql://one:x@{place}"
        held = await asyncpg.connect(as_one)
        assert 'too many connections for role "one"' in await said_by(as_one)
        await held.close()
        assert 'role "shut" is not permitted to log in' in await said_by(f"postgresql://shut:x@{place}")
        assert 'too many connections for database "few"' in await said_by(as_one.rpartition("/")[0] + "/few")
        await owner.execute("ALTER ROLE one CONNECTION LIMIT -1")
        opened = []
        told = ""
        while not told:
            try:
                opened.append(await connect_postgres(as_one, application_name="test"))
            except ServiceError as error:
                told = str(error)
        for connection in opened:
            connection.terminate()
    assert "has no place for a connection of ours: " in told
    assert "raise max_connections" in told


async def test_a_right_that_is_missing(database_url: str) -> None:
    """Postgres' own words."""
    place = database_url.rpartition("@")[2]
    await execute(database_url, "DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN PASSWORD 'x'")
    try:
        site = Site.of(f"postgresql://poor:x@{place}", "redis://127.0.0.1:1/0")
        told = (await site.run("install")).refusal()
    finally:
        await execute(database_url, "DROP ROLE poor")

    assert "role poor must own table public.sessions" in told


HOSTILE = "\x1b]0;a title\x07\x1b[2J\u202e hunter2"


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what would steer a terminal, in the place of a PostgreSQL that lets nobody in."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while (head := await reader.readexactly(8))[4:] == SSL_REQUEST:
            writer.write(b"N")
        await reader.readexactly(int.from_bytes(head[:4]) - 8)
        told = f"SFATAL\0VFATAL\0C28P01\0M{HOSTILE}\0\0".encode()
        writer.write(b"E" + (len(told) + 4).to_bytes(4) + told)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("command", [("install",), ("doctor",), ("doctor", "--json")], ids=" ".join)
async def test_a_hostile_servers_words_steer_no_terminal(command: tuple[str, ...], redis_url: str) -> None:
    """And our password in them is hidden."""
    async with await asyncio.start_server(_refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        site = Site.of(f"postgresql://app:hunter2@127.0.0.1:{port}/shop", redis_url)
        ended = await site.run(*command)
    told = (ended.out + ended.err).replace("\\\\", "\\")  # JSON escapes the escapes

    assert "hunter2" not in told
    assert "\\u001b]0;a title\\u0007\\u001b[2J\\u202e ***" in told
    assert set(told).isdisjoint({"\x1b", "\x07", "\u202e"})
