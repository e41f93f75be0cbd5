"""`readside status --watch` as people run it: on a pipe, as JSON, on a terminal, while Redis goes and comes."""

import asyncio
import os
import pty
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support import fork_server
from tests.support.commanding import Site
from tests.support.proxy import proxied
from tests.support.servers import fresh_database
from tests.support.waiting import eventually


@pytest.fixture
async def site(postgres_server: EmbeddedPostgres, redis_url: str) -> AsyncIterator[Site]:
    """A live view."""
    async with fresh_database(postgres_server) as url:
        site = Site.of(url, redis_url)
        await site.install()
        async with site.projector() as projector:
            await projector.says("live")
            await site.becomes("live")
            yield site


@pytest.fixture
def nobody(redis_url: str) -> Site:
    """An empty Redis, and no projector."""
    return Site.of("postgresql://127.0.0.1:1/none", redis_url)


@asynccontextmanager
async def watching(site: Site, *options: str) -> AsyncIterator[tuple[Process, bytearray]]:
    """A watch, and what it has written so far."""
    process = await site.start("status", "--watch", "--interval", "0.1", *options)
    written = bytearray()

    async def read() -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(10_000):
            written.extend(data)

    reading = asyncio.create_task(read())
    try:
        yield process, written
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def ended(process: Process, number: signal.Signals = signal.SIGINT) -> tuple[int, bytes]:
    """End it with a signal; its exit code and what it wrote to stderr."""
    process.send_signal(number)
    async with asyncio.timeout(90):
        code = await process.wait()
    assert process.stderr is not None
    return code, await process.stderr.read()


async def test_it_outlives_redis(site: Site) -> None:
    """A line of JSON for each look; away is down, with the reason, and back is live again. The last look's code."""
    async with proxied(site.settings["REDIS_URL"]) as proxy:
        behind = site.with_settings(REDIS_URL=proxy.url(site.settings["REDIS_URL"]))
        async with watching(behind, "--json") as (process, written):

            def looks() -> list[dict[str, Any]]:
                return [orjson.loads(line) for line in bytes(written).split(b"\n")[:-1]]

            await eventually(lambda: len(looks()) >= 2 and looks()[-1]["status"] == "live", "it is live")
            proxy.cut(refuse=True)
            await eventually(lambda: looks()[-1]["status"] == "down", "Redis is away")
            proxy.mend()
            await eventually(lambda: looks()[-1]["status"] == "live", "Redis is back")
            proxy.stall(new=True)
            await eventually(lambda: looks()[-1]["status"] == "down", "Redis says nothing")
            assert await ended(process) == (2, b"")

    away = next(look for look in looks() if look["status"] == "down")
    assert "does not answer" in away["reason"]


async def test_a_block_for_each_look(nobody: Site) -> None:
    """On a pipe; nobody leads: exit code 2, after a SIGTERM too."""
    async with watching(nobody) as (process, written):
        await eventually(lambda: written.count(b"\n\n") >= 2, "two blocks")
        assert await ended(process, signal.SIGTERM) == (2, b"")

    first = written.decode().split("\n\n")[0].splitlines()
    assert [line[:20].strip() for line in first[:5]] == ["at", "projection", "why", "users see", "what to do"]
    assert "\x1b" not in written.decode()


async def test_a_reader_who_leaves(nobody: Site) -> None:
    """`readside status --watch | head -1` ends without a word."""
    reading, writing = os.pipe()
    head = await asyncio.create_subprocess_exec("head", "-1", stdin=reading, stdout=asyncio.subprocess.PIPE)
    environment = {f"READSIDE_{name}": value for name, value in nobody.settings.items()}
    process = await fork_server.start("status", "--watch", "--interval", "0.1", environment=environment, stdout=writing)
    os.close(reading)
    os.close(writing)
    async with asyncio.timeout(90):
        (out, _), (_, err) = await head.communicate(), await process.communicate()

    assert (out[:3], err) == (b"at ", b"")


async def test_a_terminal_is_redrawn(nobody: Site) -> None:
    """In place: the cursor goes up before each look."""
    ours, theirs = pty.openpty()
    process = await fork_server.start(
        *("status", "--watch", "--interval", "0.1"),
        environment={
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "COLUMNS": "120",
            "LINES": "40",
            **{f"READSIDE_{name}": value for name, value in nobody.settings.items()},
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: written.extend(os.read(ours, 10_000)))
    try:
        await eventually(lambda: written.count(b"Ctrl-C ends") >= 3, "it is drawn again and again")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(90):
            assert await process.wait() == 2
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert b"\x1b[1A" in written
    assert b"what to do" in written
    assert b"Traceback" not in written
