"""Child processes: started under a launcher, watched, ended, and quoted when they fail."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from readside.demo.processes import LAUNCHER, PORTS, Child, free_port, last_lines, port_is_free, side_by_side, spawn
from tests.support.waiting import eventually

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def python(tmp_path: Path, code: str) -> Child:
    """A child that runs some Python."""
    return spawn("sample", [sys.executable, "-c", code], log=tmp_path / "log", environment={"NAME": "value"})


async def test_a_child_gets_just_its_environment_and_writes_its_log(tmp_path: Path) -> None:
    """Output and errors go to the log; the process id is that of the program."""
    child = python(tmp_path, "import os; print(os.getpid(), os.environ['NAME'], 'HOME' in os.environ)")
    await child.exited()

    assert last_lines(child.log) == [f"{child.pid} value False"]


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """Asked first, and then not asked."""
    child = python(tmp_path, DEAF)
    await eventually(lambda: last_lines(child.log) == ["deaf"], "it is deaf")
    await child.end(grace_seconds=0.05)

    assert child.process.returncode == -signal.SIGKILL


async def test_an_unexpected_end_is_quoted(tmp_path: Path) -> None:
    """Name, exit code and last words, in order."""
    child = python(tmp_path, "import sys; print('one', flush=True); sys.exit('two')")
    await child.exited()

    assert str(child.died()) == "sample ended unexpectedly (exit code 1).\nIts last lines:\n  one\n  two"


async def test_side_by_side_ends_all_with_the_first_that_fails(tmp_path: Path) -> None:
    """What one of them raises is what is raised."""
    child = python(tmp_path, "import time; time.sleep(60)")

    async def watch() -> None:
        try:
            await child.exited()
        finally:
            await child.end()

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await side_by_side(watch(), fail())

    assert not child.running


def test_nothing_is_started_for_a_parent_that_is_gone() -> None:
    """The parent may die before the kernel was asked to tell of it."""
    nobody = str(os.getpid() + 1)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), nobody, "15", "-", sys.executable, "-c", "print('started')"]
    done = subprocess.run(launch, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The process that started this one is gone.\n"


def test_a_port_that_is_listened_on_is_not_free() -> None:
    """And one that nobody has is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not port_is_free(listener.getsockname()[1])
    assert port_is_free(free_port())


def test_free_ports_are_none_that_clients_are_given() -> None:
    """A client that retries a server's port could be given that very port, and would then talk to itself."""
    assert free_port() in PORTS
    assert max(PORTS) < 32_768


def test_last_lines_of_no_log_are_none(tmp_path: Path) -> None:
    """Whoever failed before it wrote has no last words."""
    assert last_lines(tmp_path / "log") == []
