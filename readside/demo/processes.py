"""Child processes that end with us: start, watch, end, and the last lines that they wrote."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from readmodel.errors import DemoError
from readmodel.runtime.supervise import end, first_to_end

T = TypeVar("T")

LAUNCHER = Path(__file__).with_name("launch.py")
LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.01
STOP_SECONDS = 15.0  # the API lets running polls finish for ten
# Below the range from which Linux gives out ports for outgoing connections: a client that retries while its server
# restarts could otherwise connect to itself, and keep the server's port.
PORTS = range(15_000, 32_000)
_given: deque[int] = deque(maxlen=100)
"""Ports that this process gave last: their servers may not listen yet."""


@dataclass(frozen=True)
class Child:
    """One process started by `spawn`, in a session of its own so that Ctrl-C on the terminal reaches only us."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id; stays the same through the launcher's exec."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not exited yet (reaps it when it has)."""
        return self.process.poll() is None

    async def exited(self, timeout_seconds: float | None = None) -> bool:
        """Wait until it has exited; False when the time is over first."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_seconds is None else loop.time() + timeout_seconds
        while self.running:
            if deadline is not None and loop.time() >= deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def end(self, signal_number: int = signal.SIGTERM, *, grace_seconds: float = 10) -> None:
        """Ask it to end, and kill it and its process group when it does not within `grace_seconds`."""
        if not self.running:
            return
        self.process.send_signal(signal_number)
        if await self.exited(grace_seconds):
            return
        self.kill()
        await self.exited()

    def kill(self) -> None:
        """Kill it and whatever it started in its process group, without waiting."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)

    async def group_gone(self, timeout_seconds: float = 2) -> None:
        """Wait until nothing of its process group is left (a zombie that nobody reaps is not waited for)."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        with suppress(ProcessLookupError):
            while asyncio.get_running_loop().time() < deadline:
                os.killpg(self.pid, 0)
                await asyncio.sleep(POLL_SECONDS)

    def died(self) -> DemoError:
        """The error that says it ended by itself, with its last words."""
        return DemoError(f"{self.name} ended unexpectedly ({ending(self.process.poll())}).{last_words(self.log)}")


def spawn(
    name: str,
    program: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path | None = None,
    uid: int | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    death_signal: int = signal.SIGTERM,
) -> Child:
    """Start a program whose output goes to the end of `log`, and which gets `death_signal` when we die.

    Call it from a thread that lives as long as the child should (the main one): Linux takes the death of the very
    thread that started it for ours.
    """
    user = "-" if uid is None else str(uid)
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal)), user]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*launcher, *program],
            stdin=stdin,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    return Child(name, process, log)


def program(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours; what lies in the current directory cannot stand in for it (-P)."""
    return [sys.executable, "-P", "-m", module, *arguments]


def free_port() -> int:
    """A loopback TCP port on which nothing listens now, and none of those given last.

    Another process may take it before its server does.
    """
    for port in random.sample(PORTS, 200):
        if port not in _given and port_is_free(port):
            _given.append(port)
            return port
    raise DemoError("No free TCP port was found on the loopback interface.")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port (one in TIME_WAIT counts as free, as it does for servers)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


async def side_by_side(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run these until all have returned; one that raises ends the others, and is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run this until it returns or raises, or `stop` is set, which cancels it."""

    async def stopped() -> None:
        await stop.wait()

    await first_to_end(stopped(), work)


async def first_true(question: Callable[[], Awaitable[T | None]]) -> T:
    """Ask again and again until the answer is true; that answer."""
    while True:
        if answer := await question():
            return answer
        await asyncio.sleep(POLL_SECONDS * 5)


async def until(condition: Callable[[], bool], child: Child, timeout_seconds: float) -> bool:
    """Wait until the condition holds; False when the child has exited or the time is over first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while child.running and loop.time() < deadline:
        if condition():
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


def log_since(log: Path, start: int) -> str:
    """What was written to the log after its first `start` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def last_lines(log: Path, count: int = 12) -> list[str]:
    """The last lines of a log, without what is blank; empty when there is no log."""
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(max(0, size - 65_536))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def last_words(log: Path) -> str:
    """The last lines of a log as the tail of an error's sentence; empty when it wrote nothing."""
    lines = last_lines(log)
    return "".join(["\nIts last lines:", *(f"\n  {line}" for line in lines)]) if lines else ""


def ending(return_code: int | None) -> str:
    """How a process ended, in words."""
    if return_code is None:
        return "still running"
    if return_code >= 0:
        return f"exit code {return_code}"
    return f"killed by {signal.Signals(-return_code).name}"
