"""A fork server: one process that has imported what ours import; a fork of it runs a `readside` command.

To start Python and to import takes a second of a processor, a fork some milliseconds. The command has its environment,
streams, directory and signals as from a shell. That each starts by itself as well, tests/e2e/test_environment.py proves
of every command, test_units.py and test_slim_install.py of what is installed. A fork ends without taking apart what the
server imported, which would cost as much as the command. The workers of an API are forks of their parent; that they
start by themselves as well, test_workers.py, test_api_process.py and test_open_files.py prove.

A test may start a server of its own, in an environment of its own: Python begins there once, for several commands.
"""

import asyncio
import asyncio.base_subprocess
import atexit
import fcntl
import functools
import gc
import importlib
import json
import multiprocessing
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import typer.main

from readside.demo.launch import end_with_parent
from readside.demo.processes import Child

PRELOADED = (
    "readside.cli", "readside.api_server", "readside.projector", "readside.commands.doctor",
    "readside.commands.explain", "readside.commands.sessions", "readside.commands.status", "readside.commands.token",
    "readside.commands.triggers", "readside.demo.run", "typer.rich_utils", "typer._adapters", "uvloop",
    "query_api.doorway.protocol", "uvicorn.lifespan.on", "uvicorn.loops.uvloop", "encodings.idna",
    "importlib.resources.readers",
)  # fmt: skip
PROGRAM = (sys.executable, "-m", "readside")
SERVER = (sys.executable, "-m", "tests.support.fork_server")
NUMBER = struct.Struct("=i")
STREAM_LIMIT = 2**16
UVICORNS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
)  # fmt: skip
"""The signals that the parent of an API's workers takes for itself."""


class ForkServer:
    """The server's end in this process. It ends with us.

    `shell` is run before it, in the environment given. The standard streams in `closed` are closed, when Python starts
    and for each command. `preloaded` are the modules that it imports; a command imports by itself what it lacks.
    """

    def __init__(
        self,
        environment: Mapping[bytes, bytes] | None = None,
        shell: str = "",
        closed: Collection[int] = (),
        preloaded: Sequence[str] = PRELOADED,
    ) -> None:
        self._closed = list(closed)
        self._control, theirs = socket.socketpair()
        redirected = " ".join(f"{number}>&-" for number in closed)
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f'{shell} exec "$0" "$@" {redirected}', *SERVER, str(theirs.fileno()), *preloaded],
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ["PATH"]} if environment is None else environment,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self.end)

    def end(self) -> None:
        """End it; what it forked goes on."""
        atexit.unregister(self.end)
        self._control.close()
        self._process.wait()

    async def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int = PIPE,
        stderr: int = PIPE,
        closed: Collection[int] = (),
        open_files: tuple[int, int] | None = None,
    ) -> Process:
        """Start `readside` with these arguments; its output and its log are pipes, or descriptors.

        Without an environment it has the server's, and its directory. The standard streams in `closed` are closed too.
        `open_files` are its limits of those, the soft and the hard one.
        """
        loop = asyncio.get_running_loop()
        protocol = SubprocessStreamProtocol(limit=STREAM_LIMIT, loop=loop)
        connected = loop.create_future()
        options: dict[str, Any] = {"waiter": connected, "env": environment, "server": self, "closed": closed}
        options["open_files"] = open_files
        transport = _Transport(loop, protocol, arguments, False, stdin, stdout, stderr, 0, **options)
        await connected
        return Process(transport, protocol, loop)

    def fork(
        self,
        arguments: tuple[str, ...],
        environment: Mapping[str, str] | None,
        streams: list[int],
        in_session: bool = False,
        closed: Collection[int] = (),
        open_files: tuple[int, int] | None = None,
    ) -> tuple[int, int]:
        """Start a command; give its id, and the descriptor that gives its exit code when it has ended.

        In a session of its own it ends with the server.
        """
        status, told = os.pipe()
        place = None if environment is None else [dict(environment), str(Path.cwd())]
        request = json.dumps([arguments, place, [*self._closed, *closed], open_files, in_session]).encode()
        try:
            socket.send_fds(self._control, [NUMBER.pack(len(request))], [*streams, told])
        finally:
            os.close(told)
        self._control.sendall(request)
        return _number(status), status


class _Forked:
    """What asyncio asks of a process."""

    def __init__(self, pid: int, stdout: IO[bytes] | None = None, stderr: IO[bytes] | None = None) -> None:
        self.pid = pid
        self.stdin = None
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # its end was not told yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Spawned(_Forked):
    """What a Child asks of a process."""

    def __init__(self, pid: int, status: int) -> None:
        super().__init__(pid)
        self._status = status
        os.set_blocking(status, False)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                self.returncode = _number(self._status)
                os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class _Transport(asyncio.base_subprocess.BaseSubprocessTransport):
    """asyncio's, with a process that another one forked."""

    def _start(self, args: Any, shell: Any, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **kwargs: Any) -> None:
        pipes = [os.pipe() if wished == PIPE else None for wished in (stdout, stderr)]
        theirs = [wished if pipe is None else pipe[1] for pipe, wished in zip(pipes, (stdout, stderr), strict=True)]
        with Path(os.devnull).open("rb") as nothing:
            streams = [nothing.fileno() if stdin is None else stdin, *theirs]
            try:
                how = {name: kwargs[name] for name in ("closed", "open_files")}
                pid, status = kwargs["server"].fork(args, kwargs["env"], streams, **how)
            finally:
                for pipe in filter(None, pipes):
                    os.close(pipe[1])
        out, err = (None if pipe is None else os.fdopen(pipe[0], "rb", buffering=0) for pipe in pipes)
        self._proc: Any = _Forked(pid, out, err)
        self._loop: asyncio.AbstractEventLoop
        self._loop.add_reader(status, self._ended, status)

    def _ended(self, status: int) -> None:
        self._loop.remove_reader(status)
        try:
            code = _number(status)
        except RuntimeError:
            code = os.EX_SOFTWARE  # nobody knows what became of it, and who waits for its end need not wait for ever
        os.close(status)
        self._process_exited(code)


async def start(*arguments: str, environment: Mapping[str, str], **streams: Any) -> Process:
    """Start `readside` with these arguments and this environment; `streams` as ForkServer.start has them."""
    return await _server().start(*arguments, environment=environment, **streams)


def spawn(name: str, *arguments: str, log: Path, environment: Mapping[str, str]) -> Child:
    """Start `readside` as `readside.demo.processes.spawn` does: in its own session, its output behind the log's."""
    with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
        streams = [nothing.fileno(), output.fileno(), output.fileno()]
        process: Any = _Spawned(*_server().fork(arguments, environment, streams, in_session=True))
    return Child(name, process, log)


_servers: list[ForkServer] = []


def _server() -> ForkServer:
    """One a run, from the first command on."""
    if not _servers:
        _servers.append(ForkServer())
    return _servers[0]


def _number(descriptor: int) -> int:
    told = os.read(descriptor, NUMBER.size)
    if not told:
        raise RuntimeError("the fork server has ended")
    (number,) = NUMBER.unpack(told)
    return int(number)


def serve(control: socket.socket, preloaded: Sequence[str]) -> None:
    """Fork a command for each request until the other end is closed; returns in the fork, to run the command."""
    for name in preloaded:
        importlib.import_module(name)
    _build_command_line()
    gc.freeze()
    by_keyboard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    request = _next_fork(control, ended)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, by_keyboard)
    control.detach()
    _become(*request)


def _build_command_line() -> None:
    """Have typer make of our functions what they are on the command line: to do so takes longer than most commands."""
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(importlib.import_module("readside.cli").app)


Place = tuple[dict[str, str], str]
"""An environment, and a directory."""


def _next_fork(
    control: socket.socket, ended: int
) -> tuple[list[int], list[str], Place | None, list[int], list[int] | None]:
    """Fork at each request, and tell of those that end. Returns in a fork alone: what its command is to have."""
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if ended in ready:
                os.read(ended, 4096)
                _report(statuses)
            if control not in ready:
                continue
            head, (*streams, status), _, _ = _received(control)
            (length,) = NUMBER.unpack(head)
            arguments, place, closed, open_files, in_session = json.loads(control.recv(length, socket.MSG_WAITALL))
            server = os.getpid()
            pid = os.fork()
            if not pid:
                if in_session:
                    os.setsid()
                    end_with_parent(server, signal.SIGTERM)
                return streams, arguments, place, closed, open_files
            statuses[pid] = status
            os.write(status, NUMBER.pack(pid))
            for stream in streams:
                os.close(stream)


def _received(control: socket.socket) -> tuple[bytes, list[int], int, Any]:
    """Read how long a request is, and its descriptors; exits where the other end is closed."""
    received = socket.recv_fds(control, NUMBER.size, 4)
    if not received[0]:
        raise SystemExit
    return received


def _become(
    streams: list[int], arguments: list[str], place: Place | None, closed: list[int], open_files: list[int] | None
) -> None:
    """Have what the command is to have, and nothing else."""
    above = [
        fcntl.fcntl(stream, fcntl.F_DUPFD, 3) for stream in streams
    ]  # where ours are closed, these took their numbers
    for number, stream in enumerate(above):
        os.dup2(stream, number)
    os.closerange(3, max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 1)
    for number in closed:
        os.close(number)
    if open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files[0], open_files[1]))
    if place is not None:
        environment, directory = place
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
    _set_streams(closed, "" if place is None else os.environ.get("PYTHONIOENCODING", "").partition(":")[0])
    sys.argv[1:] = arguments


def _set_streams(closed: list[int], encoding: str) -> None:
    """Have the streams that Python makes of such descriptors, in the encoding that its environment tells."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if number in closed:
            setattr(sys, name, None)
        elif encoding and number:
            setattr(sys, name, open(number, "w", encoding=encoding, closefd=False))  # noqa: SIM115 (for good)


def _report(statuses: dict[int, int]) -> None:
    """Tell of each command that has ended."""
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        told = statuses.pop(pid)
        with suppress(BrokenPipeError):  # the test has ended
            os.write(told, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(told)


def _fork_workers() -> None:
    """Have uvicorn fork an API's workers, which would each import all of it; no signal is handled in them yet."""
    subprocesses: Any = importlib.import_module("uvicorn._subprocess")
    subprocesses.spawn = multiprocessing.get_context("fork")

    def begin_anew() -> None:
        for number in UVICORNS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    os.register_at_fork(after_in_child=begin_anew)


def run() -> None:
    """Run the command, and end as Python does, but for taking apart what the server imported: half of a fork's cost."""
    code = 0
    if "--workers" in sys.argv:
        _fork_workers()
    try:
        importlib.import_module("readside.cli").main()
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    run()
