"""`readside demo` as a stranger runs it: a real process with nothing configured, which leaves nothing behind.

A demo takes seconds to start, so that most tests share the first one; the last of them ends it. The others are forks of
a process that has imported what a demo imports; their parts start by themselves.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from readside.demo.processes import free_port
from tests.support.commanding import Site
from tests.support.demos import END_SECONDS, RunningDemo, demo, key_in, token_in, url_in
from tests.support.keys import HEADERS, KEY
from tests.support.servers import place_of_files
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMPTIES_REDIS_FIRST = "806"
HOSTS = ("localhost:1", "[::1]", "rebound.example", "127.0.0.1.rebound.example")
"""Two of this machine, and two names that a page could have point at it."""
BEGINNING = "The demo starts on this machine, with its API on port {}. Ctrl-C ends it.\n"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files of the demo's own, closed to other users."""
    with TemporaryDirectory(prefix="readside-test-", dir=place_of_files()) as directory:
        yield Path(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[RunningDemo]:
    """A demo that has printed its summary, with a directory for its data."""
    with (
        TemporaryDirectory(prefix="readside-test-", dir=place_of_files()) as directory,
        TemporaryDirectory(prefix="readside-test-", dir=place_of_files()) as data,
    ):
        async with demo(Path(directory), data=Path(data), by_itself=True) as running:
            await running.summary()
            yield running


async def test_a_stranger_sees_live_sessions(shared: RunningDemo) -> None:
    """The summary's key opens the summary's URL, and its token opens the one session that it names."""
    summary = await shared.summary()
    key, url = key_in(summary), url_in(summary)
    async with httpx.AsyncClient(verify=False, headers={"X-API-Key": key}) as client:
        poll = await client.get(url)
        projection = await client.get(f"http://127.0.0.1:{shared.port}/api/v2/projection")
        elsewhere = await client.get(url, headers={"host": "evil.example"})
        stream = url.replace("/events", "/stream")
        read = await client.get(stream, params={"offset": "now", "live": "long-poll"}, timeout=60)
    async with httpx.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token_in(summary)}"}) as visitor:
        allowed = await visitor.get(url)
        other = await visitor.get(url.replace(url.split("/")[-2], str(uuid4())))

    assert summary.startswith(BEGINNING.format(shared.port))
    assert poll.status_code == 200
    assert poll.json()["total"] >= 3
    assert poll.headers["readside-source"] in {"memory", "redis"}
    assert projection.json()["status"] == "live"
    assert (allowed.status_code, other.status_code, elsewhere.status_code) == (200, 403, 400)
    assert read.status_code in {200, 204}
    assert f'curl -i -H "X-API-Key: {key}" "{url}?limit=3"\n' in summary
    assert f'curl -i -H "X-API-Key: {key}" "{stream}?offset=now&live=long-poll"\n' in summary


async def test_the_session_goes_on(shared: RunningDemo) -> None:
    """Whoever polls again sees more."""
    summary = await shared.summary()
    url = url_in(summary)
    async with httpx.AsyncClient(verify=False, headers={"X-API-Key": key_in(summary)}) as client:
        before = (await client.get(url)).json()["total"]

        async def more() -> bool:
            return bool((await client.get(url)).json()["total"] > before)

        await eventually(more, "events come")


PARTS: dict[str, Callable[[RunningDemo], int]] = {
    "The API": lambda running: running.pid_of("readside", "api"),
    "The projector": lambda running: running.pid_of("readside", "projector"),
    "The writer": lambda running: running.pid_of("readside.demo.writer"),
    "PostgreSQL": lambda running: running.server("postgres"),
    "Redis": lambda running: running.server("redis"),
}


@pytest.mark.parametrize("part", PARTS)
async def test_a_killed_part_is_started_again_and_heals(shared: RunningDemo, part: str) -> None:
    """It says so, and how long it took until a poll showed what was committed since."""
    await shared.summary()
    os.kill(PARTS[part](shared), signal.SIGKILL)

    await shared.line(f"{part} has ended (killed by SIGKILL). It is started again.")
    await shared.line(f"{part} had ended (killed by SIGKILL): healed in ")


async def test_data_is_in_use_by_one_demo(shared: RunningDemo) -> None:
    """A second one beside it is refused."""
    port = str(free_port())
    code, output, errors = await Site({}).run("demo", "--port", port, "--data", str(shared.data))

    assert (code, output) == (2, BEGINNING.format(port))
    assert errors == f"readside: {shared.data} is in use by another demo.\n"


async def test_a_signal_ends_it_and_its_data_is_there_for_the_next(shared: RunningDemo, temporary: Path) -> None:
    """The next one honours the user's own keys and slices, and has chaos that heals; killed, it takes all along."""
    assert shared.left()
    code, output, errors = await shared.end()

    assert (code, errors) == (0, "")
    assert output.endswith("Everything has ended.\n")
    assert shared.left() == []

    elsewhere = temporary / "elsewhere"
    elsewhere.write_text("postgresql://nowhere.invalid/x")
    environment = {"READSIDE_DATABASE_URL_FILE": str(elsewhere), "READSIDE_LISTEN_URL": elsewhere.read_text()}
    environment |= {"READSIDE_REPLICA_URLS": elsewhere.read_text(), "PGSSLMODE": "require"}
    environment |= {"PGTARGETSESSIONATTRS": "standby"}
    environment |= {"READSIDE_API_KEYS": f"me:{KEY}:read+ops", "READSIDE_SLICES": "8"}
    arguments = ("--chaos", "--seed", EMPTIES_REDIS_FIRST)
    async with demo(temporary, *arguments, data=shared.data, port=shared.port, environment=environment) as second:
        summary = await second.summary()
        async with httpx.AsyncClient(verify=False, headers=HEADERS) as client:
            kept = await client.get(url_in("".join(shared.lines)))
            projection = (await client.get(f"http://127.0.0.1:{second.port}/api/v2/projection")).json()
            told = [(await client.get(url_in(summary), headers={"host": host})).status_code for host in HOSTS]

        assert (kept.status_code, kept.json()["total"] > 0) == (200, True)
        assert len(projection["slices"]) == 8
        assert told == [200, 200, 400, 400]
        assert KEY not in summary
        assert '-H "X-API-Key: $KEY"' in summary

        await second.line("Chaos empties Redis.")
        await second.line("Redis had been emptied: healed in ")
        await second.end(signal.SIGKILL)
        await eventually(lambda: not [one for one in second.left() if one.startswith("/proc")], "all ends")


STAGES: dict[str, Callable[[Path], bool]] = {
    "initdb": lambda temporary: any(temporary.glob("readside-demo-*/postgres/cluster")),
    "postgres": lambda temporary: any(temporary.glob("readside-demo-*/postgres/cluster/postmaster.pid")),
    "writer": lambda temporary: any(temporary.glob("readside-demo-*/writer.log")),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(("stage", "number"), list(zip(STAGES, SIGNALS, strict=True)))
async def test_a_signal_during_start_up_ends_what_has_started(
    temporary: Path, stage: str, number: signal.Signals
) -> None:
    """However far it has come, nothing is left and nothing is complained about."""
    async with demo(temporary) as running:
        await eventually(lambda: STAGES[stage](temporary), stage)
        code, _, errors = await running.end(number)

        assert (code, errors) == (0, "")
        assert running.left() == []


async def test_a_part_that_dies_before_the_first_value_is_named_and_takes_the_rest_along(temporary: Path) -> None:
    """What is wrong with it would be wrong again."""
    async with demo(temporary) as running:
        await eventually(lambda: STAGES["writer"](temporary), "all have started")
        os.kill(running.pid_of("readside", "projector"), signal.SIGKILL)
        code, _, errors = await running.ended()

        assert code == 2
        first, *words = errors.splitlines()
        assert first == "readside: The projector ended unexpectedly (killed by SIGKILL)."
        assert all(words)
        assert "\\u000a" not in errors
        assert "Traceback" not in errors
        assert running.left() == []


async def test_a_taken_port_is_one_clear_line() -> None:
    """Said before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, output, errors = await Site({}).run("demo", "--port", str(port))

    assert (code, output) == (2, BEGINNING.format(port))
    assert errors == f"readside: Port {port} on 127.0.0.1 cannot be had; choose another with --port.\n"


async def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """`--data` with other things in it is refused by name."""
    (tmp_path / "theirs").touch()
    code, _, errors = await Site({}).run("demo", "--port", str(free_port()), "--data", str(tmp_path))

    assert code == 2
    assert errors.startswith(f"readside: {tmp_path} holds other things")
    assert os.listdir(tmp_path) == ["theirs"]  # noqa: PTH208 - a directory of pytest's, listed at once


async def test_a_reader_who_goes_away_ends_it(temporary: Path) -> None:
    """`readside demo | head` leaves nothing behind."""
    async with demo(temporary) as running:
        await running.line("PostgreSQL and Redis start")
        transport = running.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()
        async with asyncio.timeout(END_SECONDS):
            await running.process.wait()

        assert running.left() == []
