"""`readside demo` as a stranger runs it: a real process with nothing configured, which leaves nothing behind."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pytest

from readside.demo.processes import free_port
from tests.support.commanding import Site
from tests.support.demos import END_SECONDS, RunningDemo, demo, key_in, token_in, url_in
from tests.support.keys import HEADERS, KEY
from tests.support.servers import place_of_files
from tests.support.waiting import eventually


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files of the demo's own, closed to other users."""
    with TemporaryDirectory(prefix="readside-test-", dir=place_of_files()) as directory:
        yield Path(directory)


async def test_a_stranger_sees_live_sessions_and_nothing_is_left(temporary: Path) -> None:
    """The summary's key opens the summary's URL, where more comes; SIGTERM ends servers, children and files."""
    async with demo(temporary) as running:
        summary = await running.summary()
        key, url = key_in(summary), url_in(summary)
        async with httpx.AsyncClient(verify=False, headers={"X-API-Key": key}) as client:
            poll = await client.get(url)
            projection = await client.get(f"http://127.0.0.1:{running.port}/api/v2/projection")
            elsewhere = await client.get(url, headers={"host": "evil.example"})
        async with httpx.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token_in(summary)}"}) as visitor:
            allowed = await visitor.get(url)
            other = await visitor.get(url.replace(url.split("/")[-2], str(uuid4())))

        assert poll.status_code == 200
        assert poll.json()["total"] >= 3
        assert poll.headers["readside-source"] in {"memory", "redis"}
        assert projection.json()["status"] == "live"
        assert (allowed.status_code, other.status_code, elsewhere.status_code) == (200, 403, 400)
        assert f'curl -i -H "X-API-Key: {key}" "{url}?limit=3"\n' in summary
        assert running.left()
        await goes_on(url, key, poll.json()["total"])

        code, output, errors = await running.end()

        assert (code, errors) == (0, "")
        assert output.endswith("Everything has ended.\n")
        assert running.left() == []


async def goes_on(url: str, key: str, before: int) -> None:
    """Wait until whoever polls again sees more."""
    async with httpx.AsyncClient(verify=False, headers={"X-API-Key": key}) as client:

        async def more() -> bool:
            return bool((await client.get(url)).json()["total"] > before)

        await eventually(more, "events come")


STAGES: dict[str, Callable[[Path], bool]] = {
    "initdb": lambda temporary: any(temporary.glob("readside-demo-*/postgres/cluster")),
    "postgres": lambda temporary: any(temporary.glob("readside-demo-*/postgres/cluster/postmaster.pid")),
    "projector": lambda temporary: any(temporary.glob("readside-demo-*/projector.log")),
    "writer": lambda temporary: any(temporary.glob("readside-demo-*/writer.log")),
}


@pytest.mark.parametrize(("stage", "number"), [*zip(STAGES, [signal.SIGINT, signal.SIGTERM] * 2, strict=True)])
async def test_a_signal_during_start_up_ends_what_has_started(
    temporary: Path, stage: str, number: signal.Signals
) -> None:
    """However far it has come, nothing is left and nothing is complained about."""
    async with demo(temporary) as running:
        await eventually(lambda: STAGES[stage](temporary), stage)
        code, _, errors = await running.end(number)

        assert (code, errors) == (0, "")
        assert running.left() == []


async def test_a_taken_port_is_one_clear_line() -> None:
    """Said before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, output, errors = await Site({}).run("demo", "--port", str(port))

    assert (code, output) == (2, "")
    assert errors == f"readside: Port {port} on 127.0.0.1 cannot be had; choose another with --port.\n"


async def test_data_is_kept_for_the_next_demo(temporary: Path, tmp_path: Path) -> None:
    """The first demo's sessions are there in the second; a third beside it is refused.

    On the way the first has own keys and slices, and ends with its reader; the second has keys of a file, and is
    killed: to start a demo costs seconds.
    """
    data = tmp_path / "data"
    async with demo(temporary, "--data", str(data), environment=OWN_KEYS) as first:
        url = await own_keys_are_honoured_and_never_printed(first)
        await a_reader_who_goes_away_ends_it(first)
    environment = files_of_settings(temporary)
    async with demo(temporary, "--data", str(data), port=first.port, environment=environment) as second:
        await own_keys_of_a_file_hold_and_other_hosts_are_refused(second)
        async with httpx.AsyncClient(verify=False, headers=HEADERS) as client:
            poll = await client.get(url)
        async with demo(temporary, "--data", str(data)) as third:
            refused = await third.ended()
        await second.end(signal.SIGKILL)
        await eventually(lambda: not processes(second), "a killed demo takes its processes along", 60)

    assert poll.status_code == 200
    assert poll.json()["total"] > 0
    assert refused == (2, "", f"readside: {data} is in use by another demo.\n")


OWN_KEYS = {
    "READSIDE_LISTEN_URL": "postgresql://nowhere.invalid/x",  # servers that the environment names are not touched
    "READSIDE_API_KEYS": f"me:{KEY}:read+ops",
    "READSIDE_SLICES": "8",
}


async def own_keys_are_honoured_and_never_printed(running: RunningDemo) -> str:
    """READSIDE_API_KEYS is the user's, and READSIDE_SLICES. Gives the URL of the summary."""
    summary = await running.summary()
    async with httpx.AsyncClient(verify=False, headers=HEADERS) as client:
        assert (await client.get(url_in(summary))).status_code == 200
        base = url_in(summary).partition("/api/")[0]
        projection = (await client.get(f"{base}/api/v2/projection")).json()

    assert [one["status"] for one in projection["slices"]] == ["live"] * 8
    assert KEY not in summary
    assert '-H "X-API-Key: $KEY"' in summary
    return url_in(summary)


async def a_reader_who_goes_away_ends_it(running: RunningDemo) -> None:
    """`readside demo | head` leaves nothing behind."""
    transport = running.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    transport.close()
    async with asyncio.timeout(END_SECONDS):
        await running.process.wait()

    assert running.left() == []


def files_of_settings(directory: Path) -> dict[str, str]:
    """An environment that names files: of keys, and of another server's URL."""
    keys, elsewhere = directory / "keys", directory / "elsewhere"
    for file, text in ((keys, f'[{{"name": "me", "key": "{KEY}"}}]'), (elsewhere, "postgresql://nowhere.invalid/x")):
        file.write_text(text)
    return {"READSIDE_API_KEYS_FILE": str(keys), "READSIDE_DATABASE_URL_FILE": str(elsewhere)}


async def own_keys_of_a_file_hold_and_other_hosts_are_refused(running: RunningDemo) -> None:
    """The user's keys hold, files that name other servers do not; a page that points its name here is told nothing."""
    summary = await running.summary()
    async with httpx.AsyncClient(verify=False, headers=HEADERS) as client:
        hosts = ("localhost:1", "[::1]", "rebound.example", "127.0.0.1.rebound.example")
        told = [(await client.get(url_in(summary), headers={"host": host})).status_code for host in hosts]

    assert told == [200, 200, 400, 400]
    assert KEY not in summary


def processes(running: RunningDemo) -> list[str]:
    """What of it still runs."""
    return [left for left in running.left() if left.startswith("/proc")]


async def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """`--data` with other things in it is refused by name."""
    (tmp_path / "theirs").touch()
    code, _, errors = await Site({}).run("demo", "--port", str(free_port()), "--data", str(tmp_path))

    assert code == 2
    assert errors.startswith(f"readside: {tmp_path} holds other things")
    assert os.listdir(tmp_path) == ["theirs"]  # noqa: PTH208 - a directory of pytest's, listed at once


@pytest.mark.parametrize(("part", "words"), [("api", ("readside", "api")), ("projector", ("readside", "projector"))])
async def test_a_part_that_dies_is_named_and_takes_the_rest_along(
    temporary: Path, part: str, words: tuple[str, str]
) -> None:
    """A demo that is half there would mislead."""
    async with demo(temporary) as running:
        await running.summary()
        os.kill(running.pid_of(*words), signal.SIGKILL)
        code, _, errors = await running.ended()

        assert code == 2
        assert errors.startswith(f"readside: {part} ended unexpectedly (killed by SIGKILL).")
        assert "Traceback" not in errors
        assert running.left() == []
