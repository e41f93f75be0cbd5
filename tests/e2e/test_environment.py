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
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import pytest
from hypothesis import strategies as st

from readside.demo.processes import free_port
from tests.support import fork_server
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
LIBRARIES = ("asyncpg", "jwt", "orjson", "pydantic_settings", "redis.asyncio", "structlog", "uvloop")
COMMAND_LINE = ("readside.cli", *LIBRARIES)
SERVICES = ("readside.cli", "readside.api_server", "readside.projector", "uvloop")
"""What a Python of our own imports before it forks. A command imports what is ours by itself."""
FULL = Path("/dev/full")
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


def surroundings(changes: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    """The environment of a process: both servers are away."""
    own = {"PATH": os.environ["PATH"], **AWAY, **changes}
    return {
        name.encode("utf-8"): value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        for name, value in own.items()
    }


async def ended(process: Process) -> Ran:
    """How it ended."""
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Ran(process.returncode, out or b"", err or b"")


async def start(command: str, environment: Mapping[str, str | bytes] | None = None, **streams: Any) -> Process:
    """Start the program as a fork of the server of the whole run, with these streams."""
    changed = {os.fsdecode(name): os.fsdecode(value) for name, value in surroundings(environment or {}).items()}
    return await fork_server.start(*command.split(), environment=changed, **streams)


async def run(command: str, environment: Mapping[str, str | bytes] | None = None, **streams: Any) -> Ran:
    """Run it to its end."""
    return await ended(await start(command, environment, **streams))


def in_order(ran: Mapping[str, Ran]) -> None:
    """Check that each command did what it always does."""
    for each in ran.values():
        each.in_order()
    assert {command: each.code for command, each in ran.items()} == {command: COMMANDS[command] for command in ran}


async def run_each(server: ForkServer, commands: Iterable[str] = SOME) -> None:
    """Run commands as forks of a server, and check that each did what it always does."""
    in_order({command: await ended(await server.start(*command.split())) for command in commands})


@contextmanager
def started(
    environment: Mapping[str, str | bytes], preloaded: Sequence[str] = COMMAND_LINE, **how: Any
) -> Iterator[ForkServer]:
    """Python, started in this environment: it imports once, as it is told to, and each command is a fork of it."""
    server = ForkServer(surroundings(environment), preloaded=preloaded, **how)
    try:
        yield server
    finally:
        server.end()


ENVIRONMENTS: dict[str, Mapping[str, str | bytes]] = {
    "PYTHONUTF8=0 LC_ALL=C": {"PYTHONUTF8": "0", "LC_ALL": "C"},
    "LC_ALL=POSIX LANG=C TERM=dumb COLUMNS=1": {
        "LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1",
    },
    "PYTHONIOENCODING=ascii FORCE_COLOR COLUMNS=0": {
        "PYTHONIOENCODING": "ascii:strict", "FORCE_COLOR": "1", "COLUMNS": "0", "LINES": "-1",
    },
    "PYTHONOPTIMIZE=2, no PATH, and HOME, TZ and TMPDIR that are none": {
        "PYTHONOPTIMIZE": "2",
        "PATH": "", "HOME": "/nowhere/\u00e9", "TZ": "Nowhere/Land:\u00e9", "TMPDIR": "/proc",
    },
    "PYTHONDONTWRITEBYTECODE, and bytes that are no UTF-8": {
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error",
        "READSIDE_DATABASE_URL": b"postgresql://a\xff/b\xe9", "READSIDE_X": b"\xff",
    },
}  # fmt: skip
"""Each a Python of its own; one may have several oddities that touch different things."""


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
async def test_every_command_in(environment: Mapping[str, str | bytes]) -> None:
    """It does what it always does, and imports by itself what it needs of ours: the command line alone is there."""
    with started(environment) as server:
        await run_each(server, COMMANDS if environment.get("LC_ALL") == "C" else SOME)


@dataclass(frozen=True)
class Bare:
    """A server whose working directory was deleted, whose standard streams are closed, and the projector's port."""

    server: ForkServer
    projector_port: int


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    """Python started so; it imports the services too."""
    port = free_port()
    gone = 'cd "$(mktemp -d)" && rmdir "$PWD";'
    with started({"READSIDE_PROJECTOR_PORT": str(port)}, fork_server.PRELOADED, shell=gone, closed=(0, 1, 2)) as server:
        yield Bare(server, port)


async def test_commands_without_streams_and_working_directory(bare: Bare) -> None:
    """Libuv would take the free descriptors, and abort; nothing is looked for in the directory that was deleted."""
    await run_each(bare.server)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,)])
async def test_commands_with_closed_streams(closed: tuple[int, ...]) -> None:
    """One of them."""
    in_order({command: await run(command, closed=closed) for command in SOME})


@pytest.mark.parametrize("command", ["--help", "--version", "status --json", "doctor", "install --dry-run"])
async def test_a_full_device(command: str) -> None:
    """What could not be told is an error, in one line."""
    with FULL.open("wb") as full:  # noqa: ASYNC230 (a device)
        ran = await run(command, stdout=full.fileno())

    assert ran.code == 2
    assert ran.err.endswith(b"readside: The output cannot be written: no space left on device.\n")
    ran.in_order()


@pytest.mark.parametrize("command", ["--help", "status --json", "doctor", "install --dry-run"])
async def test_a_pipe_whose_reader_has_gone(command: str) -> None:
    """`| head -0`: the code is that of SIGPIPE in a shell, and nothing is said of it."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = await run(command, stdout=writing)
    os.close(writing)

    assert ran.code == 141
    assert b"Traceback" not in ran.err
    assert b"Broken pipe" not in ran.err


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


async def doctors_json(environment: Mapping[str, str]) -> bytes:
    """What it prints where a variable has a name of more than ASCII."""
    return (await run("doctor --json", {"READSIDE_NO_SUCH_\u00e9\U0001f600": "x", **environment})).out


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "shift_jis", "utf-16"])
async def test_json_where_the_stream_cannot_hold_it(encoding: str) -> None:
    """It can be parsed, and says the same."""
    plain, escaped = await doctors_json({}), await doctors_json({"PYTHONIOENCODING": f"{encoding}:strict"})

    assert "\u00e9\U0001f600".encode() in plain
    assert orjson.loads(escaped.decode(encoding)) == orjson.loads(plain)


@asynccontextmanager
async def serving(starting: Awaitable[Process], port: int, path: str = "/health/live") -> AsyncIterator[Process]:
    """A service, once it answers on its port; its streams are nowhere, or read in the end."""
    process = await starting
    try:
        async with httpx.AsyncClient(verify=False) as client:

            async def answers() -> bool:
                try:
                    return (await client.get(f"http://127.0.0.1:{port}{path}")).status_code == 200
                except httpx.HTTPError:
                    return False

            await eventually(answers, f"{path} answers")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ends_in_order(starting: Awaitable[Process], port: int) -> None:
    """Check that a service answers, and ends when it is told to."""
    async with serving(starting, port) as process:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            code = await process.wait()

    assert code == 0


async def test_services_without_streams_and_working_directory(bare: Bare) -> None:
    """They serve, and end in order."""
    api_port = free_port()
    await ends_in_order(bare.server.start("projector"), bare.projector_port)
    await ends_in_order(bare.server.start("api", "--port", str(api_port)), api_port)


@pytest.mark.parametrize("streams", [("stderr",), ("stdout", "stderr")], ids=" ".join)
@pytest.mark.parametrize("command", ["projector", "api"])
async def test_a_service_whose_log_cannot_be_written(streams: tuple[str, ...], command: str) -> None:
    """A full disk: it serves, and ends in order."""
    port = free_port()
    with FULL.open("wb") as full:  # noqa: ASYNC230 (a device)
        told = f"api --port {port}" if command == "api" else command
        starting = start(told, {"READSIDE_PROJECTOR_PORT": str(port)}, **dict.fromkeys(streams, full.fileno()))
        await ends_in_order(starting, port)


@pytest.mark.parametrize(
    ("environment", "columns"),
    [({"TERM": "dumb"}, 80), ({"TERM": "xterm", "COLUMNS": "1"}, 80), ({"TERM": "xterm"}, 3),
     ({"TERM": "xterm", "COLUMNS": "0"}, 80), ({"TERM": "xterm", "PYTHONIOENCODING": "ascii"}, 120)],
)  # fmt: skip
@pytest.mark.parametrize("command", ["doctor", "status --watch --interval 0.1"])
async def test_a_terminal_that_cannot_be_drawn_on(command: str, environment: dict[str, str], columns: int) -> None:
    """A dumb one, one column, none: lines as on a pipe, whole."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = bytearray()
    process = await start(command, environment, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    try:
        async with asyncio.timeout(SECONDS):
            while b"127.0.0.1:1/3 does not answer" not in shown:
                shown += await asyncio.to_thread(os.read, leader, 10_000)
    finally:
        with suppress(ProcessLookupError):  # the doctor ends by itself
            process.kill()
        await process.wait()
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


async def test_any_environment() -> None:
    """One line or what was asked for, and a code of ours: never a trace."""
    for command, environment in drawn(st.tuples(st.sampled_from([*COMMANDS]), environments), 30):
        (await run(command, environment)).in_order()
    for chosen, environment in drawn(st.tuples(st.permutations([*COMMANDS]), environments), 3):
        with started(environment) as server:  # what Python reads when it starts
            for command in chosen[:3]:
                (await ended(await server.start(*command.split()))).in_order()


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
    with started({**environment, "READSIDE_PROJECTOR_PORT": str(own)}, SERVICES) as server:
        async with (
            serving(server.start("projector"), own, "/health/ready"),
            serving(server.start("api", "--port", str(api)), api, "/health/ready"),
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
        for environment in drawn(st.fixed_dictionaries(surrounding), 2):
            assert await answered(session_id, {**environment, **stores}) == (logged, seen, told), environment
