"""The limit of open files, on real processes: raised at the start, and the bound of connections where it is low."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from readside.demo.processes import free_port
from readside.descriptors import OWN_DESCRIPTORS
from tests.support import fork_server
from tests.support.builders import events_path
from tests.support.commanding import Site
from tests.support.keys import HEADERS, KEY
from tests.support.scraping import Scrape, series
from tests.support.waiting import eventually

OWN = OWN_DESCRIPTORS + 8  # READSIDE_FALLBACK_CONCURRENCY
TOO_LOW = "the limit of open files leaves room for fewer connections than READSIDE_MAX_CONNECTIONS"
PROGRAM = (sys.executable, "-m", "readside")
UVICORN = (sys.executable, "-m", "uvicorn", "--factory", "readside.api:create_app_from_environment")


@dataclass
class Run:
    """A process under a limit, and what it has logged."""

    process: Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> None:
        """Gather what it logs; what is no line of ours (uvicorn's own) is passed over."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            if line.startswith(b"{"):
                self.lines.append(orjson.loads(line))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event that begins so."""
        return [line for line in self.lines if line["event"].startswith(event)]

    def limits(self, pid: int | None = None) -> tuple[int, int]:
        """The soft and the hard limit of open files of it, or of one of its workers."""
        text = Path(f"/proc/{pid or self.process.pid}/limits").read_text()
        match = re.search(r"^Max open files\s+(\d+)\s+(\d+)", text, re.MULTILINE)
        assert match
        return int(match[1]), int(match[2])

    def workers(self) -> list[int]:
        """The workers' process ids."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [pid for pid in map(int, pids) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def site(database_url: str, redis_url: str) -> Site:
    """Both stores, and a key."""
    return Site.of(database_url, redis_url, API_KEYS=f"test:{KEY}:read+ops")


@asynccontextmanager
async def under(limit: str, site: Site, *command: str) -> AsyncIterator[Run]:
    """Run a command under a limit of open files, `soft:hard`; ended by SIGTERM unless it has ended."""
    process = await _started(limit, site, *command)
    run = Run(process)
    reading = asyncio.create_task(run.read())
    try:
        yield run
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def _started(limit: str, site: Site, *command: str) -> Process:
    """Start it: ours as a fork, unless it has workers, which inherit what a shell gave it."""
    environment = {"PATH": os.environ["PATH"], **{f"READSIDE_{name}": value for name, value in site.settings.items()}}
    if command[:3] == PROGRAM and "--workers" not in command:
        soft, _, hard = limit.partition(":")
        limits = int(soft), int(hard)
        return await fork_server.start(*command[3:], environment=environment, open_files=limits)
    return await asyncio.create_subprocess_exec(
        *["prlimit", f"--nofile={limit}", *command],  # it becomes the command: the process id is the same
        env=environment,
        stdout=PIPE,
        stderr=PIPE,
    )


@asynccontextmanager
async def api_under(
    limit: str, site: Site, *arguments: str, program: Sequence[str] = (*PROGRAM, "api")
) -> AsyncIterator[tuple[Run, httpx.AsyncClient]]:
    """Run the API so, and a client of it that makes a connection for each request."""
    port = free_port()
    async with (
        under(limit, site, *program, "--port", str(port), *arguments) as run,
        httpx.AsyncClient(
            verify=False,
            base_url=f"http://127.0.0.1:{port}",
            headers=HEADERS,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
    ):
        await eventually(lambda: answers(client), "the API answers")
        yield run, client


async def answers(client: httpx.AsyncClient) -> bool:
    """Whether the process is up."""
    try:
        return (await client.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False


async def scrape(client: httpx.AsyncClient) -> Scrape:
    """Scrape it."""
    return series((await client.get("/metrics")).text)


@pytest.mark.parametrize("program", [(*PROGRAM, "api"), UVICORN], ids=["readside", "uvicorn"])
async def test_the_soft_limit_is_raised_to_the_hard_one(site: Site, program: tuple[str, ...]) -> None:
    """However it was started; that is enough for READSIDE_MAX_CONNECTIONS, so that the log says nothing of it."""
    async with api_under("256:12000", site, program=program) as (run, client):
        bound = (await scrape(client))["readside_connections_bound"]

        assert run.limits() == (12_000, 12_000)

    assert bound == 10_000
    assert run.said(TOO_LOW) == []


async def test_workers_inherit_it(site: Site) -> None:
    """Each has the bound for itself, and is shown with it by `readside status`; the log tells of a low one once."""
    async with api_under("256:1500", site, "--workers", "2") as (run, client):

        async def told() -> bool:
            return (await scrape(client))["readside_connections_bound"] == 2 * (1500 - OWN)

        await eventually(told, "both workers are in the scrape")
        limits = [run.limits(pid) for pid in run.workers()]

        async def both() -> bool:
            return len((await site.status())["apis"]) == 2

        await eventually(both, "both workers are in the status")
        shown = (await site.status())["apis"]
        assert {report["pid"] for report in shown} == set(run.workers())

    assert limits == [(1500, 1500)] * 2
    assert [report["connections_bound"] for report in shown] == [1500 - OWN] * 2
    assert len(run.said(TOO_LOW)) == 1
    assert (await site.status())["apis"] == []


@pytest.mark.parametrize("program", [(*PROGRAM, "api"), UVICORN], ids=["readside", "uvicorn"])
async def test_a_low_limit_is_the_bound_and_the_log_says_what_to_do(site: Site, program: tuple[str, ...]) -> None:
    """In one line; metrics say the bound that holds."""
    async with api_under("256:1024", site, program=program) as (run, client):
        bound = (await scrape(client))["readside_connections_bound"]

    (line,) = run.said(TOO_LOW)
    assert bound == line["connections"] == 1024 - OWN
    assert (line["level"], line["max_connections"], line["open_files"]) == ("warning", 10_000, 1024)
    assert f"`ulimit -n {10_000 + OWN}`; LimitNOFILE={10_000 + OWN} in a systemd unit" in line["event"]


async def test_a_setting_that_a_low_limit_has_room_for(site: Site) -> None:
    """Nothing is said."""
    async with api_under("256:1024", site.with_settings(MAX_CONNECTIONS="500"), program=(*PROGRAM, "api")) as (
        run,
        client,
    ):
        bound = (await scrape(client))["readside_connections_bound"]

    assert (bound, run.said(TOO_LOW)) == (500, [])


async def test_a_very_low_limit_stops_nothing(site: Site) -> None:
    """Fewer than are our own at the worst: clients get half, and polls are answered."""
    async with api_under("64:64", site) as (run, client):
        answered = await client.get(events_path(str(uuid4())))
        bound = (await scrape(client))["readside_connections_bound"]

    assert answered.status_code == 404
    assert bound == 32
    assert len(run.said(TOO_LOW)) == 1


async def test_the_projector_raises_it_too(site: Site) -> None:
    """Idle clients of its port would else take what the stores' connections need."""
    async with under("256:4096", site, *PROGRAM, "projector") as run:
        await eventually(lambda: run.said("projector started"), "it has started")

        assert run.limits() == (4096, 4096)
