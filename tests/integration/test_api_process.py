"""`readside api` as a process: ports, signals, workers, and what a wrong setting ends in."""

import asyncio
import json
import os
import re
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import pytest

from readside.api_server import listening
from readside.demo.processes import free_port
from tests.support import fork_server
from tests.support.builders import events_path
from tests.support.keys import HEADERS, KEY
from tests.support.servers import connected
from tests.support.waiting import eventually


def environment(database_url: str, redis_url: str, **changes: str) -> dict[str, str]:
    """An environment with these settings, no others of ours, and none for Postgres' clients."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("READSIDE_", "PG"))}
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "API_KEYS": f"test:{KEY}:read+ops", **changes}
    return kept | {f"READSIDE_{name}": value for name, value in settings.items()}


async def start(settings: dict[str, str], *arguments: str) -> Process:
    """Start `readside api`."""
    return await fork_server.start("api", *arguments, environment=settings)


async def start_by_itself(settings: dict[str, str], *arguments: str) -> Process:
    """Start it, and its workers, as a shell does."""
    command = [*fork_server.PROGRAM, "api", *arguments]
    return await asyncio.create_subprocess_exec(*command, env=settings, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def running(
    settings: dict[str, str], *arguments: str, begin: Callable[..., Awaitable[Process]] = start
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The process, answering, and a client of it; ended by SIGTERM unless it has ended."""
    port = free_port()
    process = await begin(settings, "--port", str(port), *arguments)
    try:
        async with httpx.AsyncClient(
            verify=False, base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60
        ) as client:
            await eventually(lambda: answers(client), "the API answers", 90)
            yield process, client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def answers(client: httpx.AsyncClient) -> bool:
    """Whether the process is up."""
    try:
        return (await client.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False


async def both_serve(client: httpx.AsyncClient) -> bool:
    """Whether two workers are up."""
    return "readside_workers 2.0" in (await client.get("/metrics")).text


async def test_it_serves_polls_and_ends_in_good_order(database_url: str, redis_url: str) -> None:
    """On SIGTERM, with exit code 0, and without naming its server program."""
    async with running(environment(database_url, redis_url)) as (process, client):
        answer = await client.get(events_path(str(uuid4())))
        process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), 60)

    assert answer.status_code == 404
    assert "server" not in answer.headers
    assert process.returncode == 0
    assert b"Traceback" not in log


async def test_a_request_under_way_is_finished(database_url: str, redis_url: str) -> None:
    """SIGTERM drains."""
    session_id = str(uuid4())
    async with running(environment(database_url, redis_url)) as (process, client), connected(database_url) as blocker:
        await blocker.execute("BEGIN")
        await blocker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        poll = asyncio.create_task(client.get(events_path(session_id)))
        await eventually(lambda: is_waiting(database_url), "the poll's query waits")
        process.terminate()
        await eventually(lambda: refuses(client), "no new connection is taken")
        await blocker.execute("ROLLBACK")

        assert (await poll).status_code == 404
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def is_waiting(database_url: str) -> bool:
    """Whether a query of the API waits for a lock; it tells its name."""
    async with connected(database_url) as connection:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'readside-api' AND wait_event_type = 'Lock'"
        )
    return bool(waiting)


async def refuses(client: httpx.AsyncClient) -> bool:
    """Whether a new connection is refused."""
    try:
        async with httpx.AsyncClient(base_url=client.base_url, verify=False) as other:
            await other.get("/health/live")
    except httpx.TransportError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_taken_port_is_one_clear_line(database_url: str, redis_url: str, workers: str) -> None:
    """With any number of workers."""
    with listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        process = await start(environment(database_url, redis_url), "--port", port, "--workers", workers)
        _, log = await process.communicate()

    assert process.returncode not in {0, None}
    assert re.fullmatch(rf"readside: The API cannot listen on 127\.0\.0\.1, port {port}: .*\.\n", log.decode())


async def test_several_workers_serve(database_url: str, redis_url: str) -> None:
    """Each with a cache and connections of its own; all end with their parent."""
    settings = environment(database_url, redis_url)
    arguments = "--workers", "2", "--root-path", "/readside"
    async with running(settings, *arguments, begin=start_by_itself) as (process, client):
        answer = await client.get(f"/readside{events_path(str(uuid4()))}")
        described = (await client.get("/openapi.json")).json()
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 60)

    assert answer.status_code == 404
    assert described["servers"] == [{"url": "/readside"}]
    assert process.returncode == 0
    assert b"Traceback" not in log


async def test_workers_end_with_a_parent_that_was_killed() -> None:
    """None keeps the port, and serves on as if somebody would look after it."""
    settings = environment("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0")
    async with running(settings, "--workers", "2", begin=start_by_itself) as (process, client):
        await eventually(lambda: both_serve(client), "both workers are there")
        serving = workers(process.pid)
        process.kill()
        try:  # it ends when nobody holds its pipes any more
            _, log = await asyncio.wait_for(process.communicate(), 60)
        except TimeoutError:
            for pid in serving:
                os.kill(pid, signal.SIGKILL)
            raise
        with listening("127.0.0.1", client.base_url.port or 0):
            pass

    assert log.count(b"the worker ends: its parent has died") == 2
    assert b"Traceback" not in log


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"API_KEYS": ""}, "READSIDE_API_KEYS holds no key"),
        ({"DATABASE_URL": ""}, "READSIDE_DATABASE_URL is not set"),
        ({"DATABASE_URL": "mysql://x"}, "READSIDE_DATABASE_URL must begin with"),
        ({"REDIS_URL": "http://x"}, "READSIDE_REDIS_URL must begin with"),
        ({"REDIS_URL": "redis://localhost:port/0"}, "READSIDE_REDIS_URL"),
        ({"MAX_STALENESS_SECONDS": "soon"}, "READSIDE_MAX_STALENESS_SECONDS is wrong"),
        ({"FALLBACK_CONCURRENCY": "0"}, "READSIDE_FALLBACK_CONCURRENCY is wrong"),
        ({"AUTH": "none", "HOST": "0.0.0.0"}, "READSIDE_AUTH=none on 0.0.0.0 would let everybody read"),
        ({"AUTH": "none", "CORS_ORIGINS": "*"}, "READSIDE_CORS_ORIGINS=* with READSIDE_AUTH=none would let every page"),
        ({"API_KEYS": "", "API_KEYS_FILE": "/dev/null"}, "READSIDE_API_KEYS_FILE (/dev/null) is no regular file"),
    ],
)
async def test_a_wrong_setting_is_one_clear_line(changes: dict[str, str], sentence: str) -> None:
    """Before anything starts."""
    settings = environment("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0", **changes)
    host = settings.pop("READSIDE_HOST", "127.0.0.1")
    process = await start(settings, "--host", host, "--port", str(free_port()))
    _, log = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 2
    assert log.decode().startswith(f"readside: {sentence}")
    assert len(log.decode().splitlines()) == 1


async def test_it_starts_without_stores_and_says_so_once() -> None:
    """No line a poll, no traceback."""
    settings = environment("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0", LOG_FORMAT="json")
    async with running(settings) as (process, client):
        for _ in range(20):
            assert (await client.get(events_path(str(uuid4())))).status_code == 503
        process.terminate()
        _, log = await process.communicate()

    assert log.count(b"store is away") == 2
    assert b"Traceback" not in log


def put(file: Path, *keys: str) -> None:
    """Replace a file of keys."""
    put_text(file, json.dumps([{"name": "test", "key": key} for key in keys]))


def put_text(file: Path, text: str) -> None:
    """Replace a file, as careful writers do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(file)


async def test_no_log_shows_a_password_of_a_query() -> None:
    """At its most talkative, with both stores away."""
    settings = environment(
        "postgresql://127.0.0.1:1/x?user=app&password=hunter2%21",
        "redis://127.0.0.1:1/0?password=hunter2%21",
        LOG_LEVEL="debug",
    )
    async with running(settings) as (process, client):
        assert (await client.get(events_path(str(uuid4())))).status_code == 503
        process.terminate()
        _, log = await process.communicate()

    assert b"store is away" in log
    assert b"hunter2" not in log


def workers(parent: int) -> set[int]:
    """The processes of an API that serve."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {int(pid) for pid in children if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}


def taken_up(log: list[bytes]) -> int:
    """How often a worker said that it took up a file."""
    return sum(b"a changed file is in force" in line for line in log)


@asynccontextmanager
async def read_along(process: Process) -> AsyncIterator[list[bytes]]:
    """The lines of a process' log, as they come."""
    lines: list[bytes] = []

    async def read() -> None:
        assert process.stderr
        async for line in process.stderr:
            lines.append(line)  # noqa: PERF401 (each as it comes)

    reading = asyncio.create_task(read())
    try:
        yield lines
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_keys_are_changed_without_a_restart(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """In every worker: both keys while both are in the file, then the new one alone; no log shows either."""
    file, new = tmp_path / "keys", f"{KEY}-from-now-on"
    put(file, KEY)
    settings = environment(database_url, redis_url, API_KEYS="", API_KEYS_FILE=str(file))
    path = events_path(str(uuid4()))

    async def statuses(client: httpx.AsyncClient) -> list[set[int]]:
        """What the two keys are told, on connections that the workers share."""
        told: list[set[int]] = []
        for key in (KEY, new):
            headers = {"x-api-key": key, "connection": "close"}
            told.append({(await client.get(path, headers=headers)).status_code for _ in range(20)})
        return told

    async with running(settings, "--workers", "2") as (process, client), read_along(process) as log:
        await eventually(lambda: both_serve(client), "both workers are there")
        assert await statuses(client) == [{404}, {401}]
        put(file, KEY, new)
        await eventually(lambda: taken_up(log) == 2, "both workers let the new key in", 60)
        assert await statuses(client) == [{404}, {404}]
        put(file, new)
        await eventually(lambda: taken_up(log) == 4, "no worker lets the old key in", 60)
        assert await statuses(client) == [{401}, {404}]
        process.terminate()
        await process.wait()

    assert KEY.encode() not in b"".join(log)


async def test_a_worker_in_a_dead_ones_place_knows_no_key_that_was_withdrawn(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The parent, which starts it, has read the file before the key left it."""
    file, new = tmp_path / "keys", f"{KEY}-from-now-on"
    put(file, KEY)
    settings = environment(database_url, redis_url, API_KEYS="", API_KEYS_FILE=str(file))
    path, seen = events_path(str(uuid4())), set[int]()

    async def withdrawn() -> int:
        """What the old key is told, by whichever worker takes a new connection."""
        headers = {"x-api-key": KEY, "connection": "close"}
        return (await client.get(path, headers=headers)).status_code

    async def replaced() -> bool:
        """Whether the old key was refused by those there are, and others are there."""
        with suppress(httpx.TransportError):
            seen.add(await withdrawn())
        return len(workers(process.pid) - before) == 2 and await answers(client)

    async with running(settings, "--workers", "2") as (process, client), read_along(process) as log:
        await eventually(lambda: both_serve(client), "both workers are there")
        put(file, new)
        await eventually(lambda: taken_up(log) == 2, "no worker lets the old key in", 60)
        before = workers(process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually(replaced, "others are in their place", 60)
        seen.update([await withdrawn() for _ in range(20)])
        replaced_lines = [line for line in log if b"a worker is replaced" in line]

    assert seen == {401}
    assert [str(pid).encode() in b"".join(replaced_lines) for pid in before] == [True, True]
    assert all(b"-9" in line for line in replaced_lines)


async def test_secrets_of_tokens_are_changed_without_a_restart(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A token that the old secret signed is refused once the new one stands alone; no log shows either."""
    file, old, new = tmp_path / "secrets", f"{KEY}-old-secret-of-tokens", f"{KEY}-new-secret-of-tokens"
    put_text(file, old)
    settings = environment(database_url, redis_url, API_KEYS="", JWT_SECRET_FILE=str(file))
    path = events_path(str(uuid4()))

    async def status(client: httpx.AsyncClient, secret: str) -> int:
        """What a token for every session is told."""
        claims = {"aud": "readside", "sessions": "*", "exp": int(time.time()) + 600}
        token = jwt.encode(claims, secret, algorithm="HS256")
        return (await client.get(path, headers={"authorization": f"Bearer {token}"})).status_code

    async with running(settings) as (process, client), read_along(process) as log:
        client.headers.pop("x-api-key")
        assert [await status(client, secret) for secret in (old, new)] == [404, 401]
        put_text(file, f"{new}\n{old}\n")
        await eventually(lambda: taken_up(log) == 1, "both secrets are in force", 60)
        assert [await status(client, secret) for secret in (old, new)] == [404, 404]
        put_text(file, new)
        await eventually(lambda: taken_up(log) == 2, "the old secret is no longer", 60)
        assert [await status(client, secret) for secret in (old, new)] == [401, 404]
        process.terminate()
        await process.wait()

    assert KEY.encode() not in b"".join(log)
