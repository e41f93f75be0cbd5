"""Which files of ours an event crosses from its commit to Redis, and a poll of a cold session: traced one by one."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from redis.asyncio.client import PubSub

from bench.events import fill, session_id
from bench.stack import API_KEY, Choices, Site, running_servers, until
from bench.table import BenchError
from readside.demo.processes import Child

LAYERS = ("readmodel", "projector", "query_api", "readside")
"""The packages, from the ground to the top. The two in the middle do not know one another either."""
TRACED = Path(__file__).with_name("traced.py")
EVENTS = 10
"""What runs by chance while one event travels, such as a report, does not run for each of so many."""
ARRIVED_SECONDS = 10.0
_INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
VALUES (gen_random_uuid(), $1, 'step_created', '{}', clock_timestamp())
"""


async def crossed(tree: Path) -> list[str]:
    """Commit events to a hot session, one after the other; gives the files that all of them crossed, within the tree.

    The tree's own projector runs. Raises DemoError or BenchError when it does not do its work.
    """
    async with running_servers(Choices()) as servers, servers.site(source=tree) as site:
        await fill(site.connection, 1, 3)
        await site.run("install")
        report = site.directory / "trace.json"
        program = [sys.executable, str(TRACED), str(tree), str(report), "projector"]
        async with site.mortal_projector(program) as projector, aclosing(site.redis.pubsub()) as messages:
            await site.run("warm", session_id(1))
            await messages.psubscribe("*")
            windows = [files_of(await _trace(site, projector, report, messages), tree) for _ in range(EVENTS)]
    return sorted(set.intersection(*windows))


async def poll_crossed(tree: Path) -> list[str]:
    """Poll cold sessions, one after the other; gives the files that all polls crossed, within the tree.

    It is the longest way of a poll: memory knows nothing, Redis says that the session is cold, Postgres answers.
    Raises DemoError or BenchError when the tree's own API does not do its work.
    """
    async with running_servers(Choices()) as servers, servers.site(source=tree) as site:
        await fill(site.connection, EVENTS, 3)
        await site.run("install")
        report = site.directory / "trace.json"
        program = [sys.executable, str(TRACED), str(tree), str(report), "api"]
        async with (
            site.projector(warm_limit="0"),
            site.traced_api(program) as (port, api),
        ):
            windows = []
            for number in range(1, EVENTS + 1):
                await _turn(api, report, recording=True)
                await asyncio.to_thread(_poll, port, session_id(number))
                windows.append(files_of(await _turn(api, report, recording=False), tree))
    return sorted(set.intersection(*windows))


def _poll(port: int, session: str) -> None:
    request = Request(f"http://127.0.0.1:{port}/api/v2/sessions/{session}/events", headers={"X-API-Key": API_KEY})
    with urlopen(request, timeout=ARRIVED_SECONDS) as answer:
        if answer.headers["Readside-Source"] != "postgres":
            raise BenchError(f"a poll of a cold session was answered by {answer.headers['Readside-Source']}")


async def _trace(site: Site, projector: Child, report: Path, messages: PubSub) -> list[str]:
    """Trace while one event travels."""
    await _turn(projector, report, recording=True)
    await site.connection.execute(_INSERT, session_id(1))
    async with asyncio.timeout(ARRIVED_SECONDS):
        await _named(messages, session_id(1).encode())
    return await _turn(projector, report, recording=False)


async def _turn(projector: Child, report: Path, *, recording: bool) -> list[str]:
    """Begin or end the trace; gives the files once the projector says that it has."""
    projector.process.send_signal(signal.SIGUSR1)
    said: dict[str, Any] = {}

    async def turned() -> bool:
        said.update(await asyncio.to_thread(_said, report))
        return said.get("recording") is recording

    await until(turned, "the trace has turned", child=projector)
    return list(said["files"])


def _said(report: Path) -> dict[str, Any]:
    """Read what the projector reported last; nothing before its first report."""
    return dict(json.loads(report.read_text(encoding="utf-8"))) if report.exists() else {}


async def _named(messages: PubSub, session: bytes) -> None:
    """Return when a message names the session: the view has changed."""
    async for message in messages.listen():
        if isinstance(message["data"], bytes) and session in message["data"]:
            return


def files_of(files: Sequence[str], tree: Path) -> set[str]:
    """The paths within the tree of those files that are in one of its packages."""
    return {
        str(Path(file).relative_to(tree))
        for file in files
        if any(Path(file).is_relative_to(tree / it) for it in LAYERS)
    }
