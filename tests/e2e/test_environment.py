"""The program in environments that nobody would choose: locales, streams, directories, terminals."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readside.demo.processes import free_port
from tests.support.drawing import drawn
from tests.support.fork_server import ForkServer
from tests.support.keys import KEY
from tests.support.projecting import bench
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PYTHONPATH = f"{ROOT}{os.pathsep}{ROOT / 'clients/python/src'}"
SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
AWAY = {
    "READSIDE_DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/shop",
    "READSIDE_REDIS_URL": "redis://:hunter2@127.0.0.1:1/3",
    "READSIDE_JWT_SECRET": "x" * 40,
    "READSIDE_API_KEYS": f"k:{KEY}",
    "READSIDE_LOG_FORMAT": "json",
    "PYTHONPATH": str(ROOT),  # some start elsewhere
}
COMMANDS = {
    "--help": 0, "--version": 0, "install --dry-run": 0, f"token {SESSION}": 0, "status --help": 0,
    "install": 2, "uninstall": 2, "status": 2, "status --json": 2, "doctor": 2, "doctor --json": 2,
    f"explain {SESSION}": 2, f"warm {SESSION}": 2, "rebuild": 2, "verify": 2, "warm nonsense": 2, "no-such-command": 2,
}  # fmt: skip
"""Every command that ends by itself where both servers are away, and how."""
SOME = ("--help", "install --dry-run", "doctor", "status --json")
"""Those that print most, and most differently."""
SECONDS = 60.0


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: bytes
    err: bytes

    def in_order(self) -> None:
        """Check that it ended with a code of its own, and showed no trace and no secret."""
        assert self.code in {0, 1, 2}, self
        assert b"Traceback" not in self.out + self.err, self
        assert b"hunter2" not in self.out + self.err, self


def program(command: str) -> list[str]:
    """What runs a command."""
    return [sys.executable, "-m", "readside", *command.split()]


def surroundings(changes: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    """The environment of a process: both servers are away."""
    own = {"PATH": os.environ["PATH"], **AWAY, **changes}
    return {
        name.encode("utf-8"): value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        for name, value in own.items()
    }


async def start(
    command: str, redirected: str = "", shell: str = "", environment: Mapping[str, str | bytes] | None = None
) -> Process:
    """Start the program by a shell that redirects its streams; `shell` comes before it."""
    return await asyncio.create_subprocess_exec(
        *["/bin/sh", "-c", f'{shell} exec "$0" -m readside {command} {redirected}', sys.executable],
        env=surroundings(environment or {}),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(
    command: str, redirected: str = "", shell: str = "", environment: Mapping[str, str | bytes] | None = None
) -> Ran:
    """Run it to its end."""
    process = await start(command, redirected, shell, environment)
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Ran(process.returncode, out, err)


def in_order(ran: Mapping[str, Ran]) -> None:
    """Check that each command did what it always does."""
    for each in ran.values():
        each.in_order()
    assert {command: each.code for command, each in ran.items()} == {command: COMMANDS[command] for command in ran}


async def run_all(environment: Mapping[str, str | bytes], commands: Iterable[str]) -> None:
    """Run commands, each a Python of its own, a few at a time."""
    places = asyncio.Semaphore(4)

    async def one(command: str) -> Ran:
        async with places:
            return await run(command, environment=environment)

    in_order(dict(zip(commands, await asyncio.gather(*map(one, commands)), strict=True)))


async def run_some(
    environment: Mapping[str, str | bytes],
    shell: str = "",
    closed: Collection[int] = (),
    commands: Iterable[str] = SOME,
) -> None:
    """Run those that print most: Python starts and imports once, as it is told to, and each is a fork of it."""
    server = ForkServer(surroundings(environment), shell, closed)
    ran: dict[str, Ran] = {}
    try:
        for command in commands:
            process = await server.start(*command.split())
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate()
            assert process.returncode is not None
            ran[command] = Ran(process.returncode, out, err)
    finally:
        server.end()
    in_order(ran)


ENVIRONMENTS: dict[str, Mapping[str, str | bytes]] = {
    "PYTHONUTF8=0 LC_ALL=C": {"PYTHONUTF8": "0", "LC_ALL": "C"},
    "LC_ALL=POSIX LANG=C": {"LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "TERM=dumb COLUMNS=1": {"TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1"},
    "FORCE_COLOR COLUMNS=0": {"FORCE_COLOR": "1", "COLUMNS": "0", "LINES": "-1"},
    "no PATH, and HOME, TZ and TMPDIR that are none": {
        "PATH": "",
        "HOME": "/nowhere/\u00e9",
        "TZ": "Nowhere/Land:\u00e9",
        "TMPDIR": "/proc",
    },
    "PYTHONOPTIMIZE=2": {"PYTHONOPTIMIZE": "2"},
    "PYTHONDONTWRITEBYTECODE": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"},
    "bytes that are no UTF-8": {"READSIDE_DATABASE_URL": b"postgresql://a\xff/b\xe9", "READSIDE_X": b"\xff"},
}


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
async def test_every_command_in(environment: Mapping[str, str | bytes]) -> None:
    """It does what it always does."""
    if environment.get("LC_ALL") == "C":
        await run_all(environment, COMMANDS)
    else:
        await run_some(environment)


async def test_a_working_directory_that_was_deleted() -> None:
    """Nothing is looked for there."""
    await run_some({}, shell='cd "$(mktemp -d)" && rmdir "$PWD";')


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
async def test_commands_with_closed_streams(closed: tuple[int, ...]) -> None:
    """Libuv would take the free descriptors, and abort."""
    await run_some({}, closed=closed)


@pytest.mark.parametrize("command", ["--help", "--version", "status --json", "doctor", "install --dry-run"])
async def test_a_full_device(command: str) -> None:
    """What could not be told is an error, in one line."""
    ran = await run(command, ">/dev/full")

    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.endswith(b"readside: The output cannot be written: no space left on device.\n")
    ran.in_order()


@pytest.mark.parametrize("command", ["--help", "status --json", "doctor", "install --dry-run"])
def test_a_pipe_whose_reader_has_gone(command: str) -> None:
    """`| head -0`: the code is that of SIGPIPE in a shell, and nothing is said of it."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        program(command), check=False, env=surroundings({}), stdout=writing, stderr=subprocess.PIPE, timeout=SECONDS
    )
    os.close(writing)

    assert ended.returncode == 141
    assert b"Traceback" not in ended.stderr
    assert b"Broken pipe" not in ended.stderr


async def test_a_watch_ends_with_its_reader() -> None:
    """It would go on for ever."""
    process = await start("status --watch --interval 0.1 --json")
    assert process.stdout is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    async with asyncio.timeout(SECONDS):
        code = await process.wait()
    assert process.stderr is not None

    assert (code, await process.stderr.read()) == (141, b"")


def doctors_json(environment: Mapping[str, str]) -> bytes:
    """What it prints where a variable has a name of more than ASCII."""
    wrong = {"READSIDE_NO_SUCH_\u00e9\U0001f600": "x", **environment}
    return subprocess.run(program("doctor --json"), check=False, env=surroundings(wrong), stdout=PIPE).stdout


@pytest.fixture(scope="module")
def plain() -> bytes:
    """What it prints where the stream can hold it."""
    return doctors_json({})


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "shift_jis", "utf-16"])
def test_json_where_the_stream_cannot_hold_it(encoding: str, plain: bytes) -> None:
    """It can be parsed, and says the same."""
    escaped = doctors_json({"PYTHONIOENCODING": f"{encoding}:strict"})

    assert "\u00e9\U0001f600".encode() in plain
    assert orjson.loads(escaped.decode(encoding)) == orjson.loads(plain)


@asynccontextmanager
async def serving(
    command: str,
    redirected: str,
    path: str,
    port: int,
    shell: str = "",
    environment: Mapping[str, str | bytes] | None = None,
) -> AsyncIterator[Process]:
    """A service with these streams, once it answers on its port."""
    process = await start(command, redirected, shell, {"READSIDE_PROJECTOR_PORT": str(port), **(environment or {})})
    try:
        async with httpx.AsyncClient(verify=False) as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"http://127.0.0.1:{port}{path}")).status_code == 200
                except httpx.HTTPError:
                    return False

            await eventually(answers, f"{command} answers")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("redirected", ["<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>&1"])
@pytest.mark.parametrize(("command", "path"), [("projector", "/health/live"), ("api --port", "/health/live")])
async def test_a_service_whose_log_cannot_be_written(redirected: str, command: str, path: str) -> None:
    """Closed streams, a full disk: it serves, and ends in order."""
    port = free_port()
    full = f"{command} {port}" if command.endswith("--port") else command
    async with serving(full, redirected, path, port) as process:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            code = await process.wait()

    assert code == 0


async def test_workers_without_a_working_directory() -> None:
    """Each begins by going there."""
    port = free_port()
    gone = 'cd "$(mktemp -d)" && rmdir "$PWD";'
    async with serving(f"api --workers 2 --port {port}", "<&- >&- 2>&-", "/health/live", port, gone) as process:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()


@pytest.mark.parametrize(
    ("environment", "columns"),
    [({"TERM": "dumb"}, 80), ({"TERM": "xterm", "COLUMNS": "1"}, 80), ({"TERM": "xterm"}, 3),
     ({"TERM": "xterm", "COLUMNS": "0"}, 80), ({"TERM": "xterm", "PYTHONIOENCODING": "ascii"}, 120)],
)  # fmt: skip
@pytest.mark.parametrize("command", ["doctor", "status --watch --interval 0.1"])
def test_a_terminal_that_cannot_be_drawn_on(command: str, environment: dict[str, str], columns: int) -> None:
    """A dumb one, one column, none: lines as on a pipe, whole."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = bytearray()
    process = subprocess.Popen(
        program(command), env=surroundings(environment), stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    try:
        while b"127.0.0.1:1/3 does not answer" not in shown:
            shown += os.read(leader, 10_000)
    finally:
        process.kill()
        process.wait()
        os.close(leader)

    assert b"Traceback" not in shown


encodings = st.sampled_from(["ascii", "latin-1", "cp437", "koi8-r", "shift_jis", "utf-16", "utf-7", "utf-8", "gb18030"])
errors = st.sampled_from(["", ":strict", ":ignore", ":replace", ":surrogateescape"])
texts = st.text(st.characters(exclude_characters="\0"), max_size=12)
surrounding = {
    "PYTHONIOENCODING": st.builds("{}{}".format, encodings, errors),
    "PYTHONUTF8": st.sampled_from(["0", "1"]),
    "PYTHONCOERCECLOCALE": st.sampled_from(["0", "1", "warn"]),
    "LC_ALL": st.sampled_from(["", "C", "POSIX", "C.UTF-8", "de_DE", "tr_TR.UTF-8", "nonsense"]),
    "LANG": st.sampled_from(["", "C", "ja_JP.SJIS", "en_US.UTF-8"]),
    "TERM": st.sampled_from(["", "dumb", "xterm-256color", "unknown"]),
    "COLUMNS": st.sampled_from(["", "0", "1", "-1", "x", "99999"]),
    "LINES": st.sampled_from(["0", "1", "x"]),
    "NO_COLOR": st.sampled_from(["", "1"]),
    "FORCE_COLOR": st.sampled_from(["", "1"]),
    "TZ": st.one_of(st.sampled_from(["", "UTC", "Asia/Kathmandu", ":/etc/passwd", "AAA+99"]), texts),
    "HOME": st.sampled_from(["", "/", "/nowhere", "relative", "/dev/null"]),
    "PATH": st.sampled_from(["", "/nowhere"]),
    "TMPDIR": st.sampled_from(["", "/proc", "/nowhere"]),
    "PYTHONOPTIMIZE": st.just("2"),  # all that 1 leaves out, and more
    "PYTHONHASHSEED": st.sampled_from(["0", "random"]),
}
"""What changes nothing that is answered.

PYTHONDONTWRITEBYTECODE is in ENVIRONMENTS alone: beside PYTHONOPTIMIZE each start would compile a thousand modules.
"""
environments = st.fixed_dictionaries(
    {},
    optional={
        **surrounding,
        "PGHOST": texts,
        "PGPORT": st.sampled_from(["", "x", "1,2"]), "PGSSLMODE": st.sampled_from(["", "x", "require"]),
        "PGTARGETSESSIONATTRS": st.sampled_from(["any", "x"]), "PGSERVICE": texts, "PGPASSFILE": texts,
        "READSIDE_DATABASE_URL": st.one_of(texts, texts.map("postgresql://h/x?{}".format)),
        "READSIDE_REDIS_URL": st.one_of(texts, texts.map("redis://127.0.0.1:1/0?{}".format)),
        "READSIDE_REDIS_PREFIX": texts,
        "READSIDE_LOG_LEVEL": st.sampled_from(["debug", "LOUD", "\u00e9"]),
        "READSIDE_JWT_SECRET": texts,
        "READSIDE_API_KEYS_FILE": texts,
    },
)  # fmt: skip


@settings(max_examples=8, derandomize=True, deadline=None)
@given(command=st.sampled_from([*COMMANDS]), environment=environments)
def test_any_environment(command: str, environment: dict[str, str]) -> None:
    """One line or what was asked for, and a code of ours: never a trace."""
    ended = subprocess.run(
        program(command), check=False, env=surroundings(environment), capture_output=True, timeout=SECONDS
    )

    Ran(ended.returncode, ended.stdout, ended.stderr).in_order()


ODD = [
    (
        '{"n": 1.10, "\u00e9\U0001f600": "\u202e\u2028"}',
        "na\u00efve \u05e9\u05dc\u05d5\u05dd \U0001f600",
        "2026-03-29 02:30:00.1+01:00",
    ),
    ("[" * 3_000 + "0.0000001" + "]" * 3_000, None, "2026-10-25 02:30:00+02:00"),
    ("12345678901234567890.10", "\x7f\u00ad", "1970-01-01 00:00:00Z"),
]
CLIENT = """
import sys
from readside_client import Client
with Client(sys.argv[1], sys.argv[2]) as client:
    events = client.events(sys.argv[3]).items
    told = [(event.json, event.event_data_json, event.message, str(event.at)) for event in events]
    sys.stdout.buffer.write(ascii(told).encode())
"""


async def answered(session_id: str, environment: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """What Postgres and Redis answer where both processes have this environment, and what a client of it gives."""
    own, api = free_port(), free_port()
    async with (
        serving(
            "projector", "", "/health/ready", own, environment={**environment, "READSIDE_PROJECTOR_PORT": str(own)}
        ),
        serving(f"api --port {api}", "", "/health/ready", api, environment=environment),
        httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{api}", headers={"X-API-Key": KEY}) as polls,
    ):
        path = f"/api/v2/sessions/{session_id}/events"
        logged = await polls.get(path, headers={"Readside-Max-Staleness": "0"})
        seen: list[httpx.Response] = []

        async def hot() -> bool:
            seen.append(await polls.get(path))
            return seen[-1].headers["Readside-Source"] in {"redis", "memory"}

        await eventually(hot, "the session is hot")
        told = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{api}", KEY, session_id],
            env=surroundings({**environment, "PYTHONPATH": PYTHONPATH}),
            stdout=PIPE,
            check=True,
        )
        return logged.content, seen[-1].content, told.stdout


async def test_no_environment_changes_an_answer(database_url: str, redis_url: str) -> None:
    """Projector, API and client in any of them: the same bytes from both stores, the same texts and instants."""
    stores = {"READSIDE_DATABASE_URL": database_url, "READSIDE_REDIS_URL": redis_url}
    async with bench(database_url, redis_url) as stage:
        session_id = await stage.writer.session()
        for data, message, at in ODD:
            await stage.writer.event(session_id, data=data, message=message, timestamp=at)
        logged, seen, told = await answered(session_id, stores)

        assert logged == seen
        assert all(data.encode() in logged for data, _, _ in ODD)
        for environment in drawn(st.fixed_dictionaries(surrounding), 3):
            assert await answered(session_id, {**environment, **stores}) == (logged, seen, told), environment
