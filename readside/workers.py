"""The processes of an API that has several: who watches them, what they share, and that they end with their parent."""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket
from weakref import WeakKeyDictionary

import structlog
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from readmodel.errors import ConfigurationError

ANSWER_SECONDS = 60
"""A worker that has given no sign of life for so long is replaced. It gives none before all is imported, which can take
a crowded machine half a minute."""
_ROUND_SECONDS = 0.5  # how often uvicorn has them looked at
_DIRECTORY, _UNHELD = "readside-metrics-", ".readside-metrics-"

_log = structlog.get_logger(__name__)


class Workers(Multiprocess):
    """uvicorn's, which here says how a worker ended, and never waits for one: a signal is heeded at once.

    `failed` tells whether it ended because a worker could not start.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self.failed = False
        self._silent: WeakKeyDictionary[Process, int] = WeakKeyDictionary()

    def keep_subprocess_alive(self) -> None:
        """Replace each worker that has ended or gives no sign of life; end where one could not start."""
        for place, worker in enumerate(self.processes):
            has_ended = not worker.process.is_alive()
            if self.should_exit.is_set() or not (has_ended or self._is_silent(worker)):
                continue
            worker.kill()
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                _log.error("the API stops: a worker could not start", pid=worker.pid)
                self.failed = True
                self.should_exit.set()
                continue
            reason = "it ended" if has_ended else f"it gave no sign of life for {ANSWER_SECONDS} s"
            _log.warning("a worker is replaced", pid=worker.pid, exit_code=worker.exitcode, reason=reason)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()

    def _is_silent(self, worker: Process) -> bool:
        """Take what a worker answered to earlier rounds, and ask it anew; tell whether it was silent for too many.

        Rounds are counted, not time: after a machine or a container stood still, all have time to answer.
        """
        self._silent[worker] = self._silent.get(worker, 0) + 1
        try:
            while worker.parent_conn.poll():
                worker.parent_conn.recv()
                self._silent[worker] = 0
            worker.parent_conn.send(b"ping")
        except (OSError, EOFError):
            return True
        return self._silent[worker] > ANSWER_SECONDS / _ROUND_SECONDS


def end_with_parent() -> None:
    """Have this worker's event loop end it as SIGTERM does when its parent has died, however that died.

    Else it would keep the port and go on serving. In the first process this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop, sentinel = asyncio.get_running_loop(), parent.sentinel

    def end() -> None:
        loop.remove_reader(sentinel)
        _log.warning("the worker ends: its parent has died", parent=parent.pid)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, end)


@contextmanager
def shared_directory() -> Iterator[str]:
    """Make the directory in which the workers leave their metrics, in memory where the machine has such a place.

    Those of APIs that were killed are cleared away. Raises ConfigurationError where none can be made.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (the name in it is made up safely)
    with ExitStack() as opened:
        try:
            directory = _held_directory(memory, opened)
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise ConfigurationError(
                f"Workers find no directory to share their metrics in (TMPDIR): {reason}."
            ) from exc
        clear_abandoned(directory.parent)
        yield str(directory)


def _held_directory(place: str | None, opened: ExitStack) -> Path:
    """Make a directory that is held until the stack ends, and then removed; a process that dies lets go of it.

    It has its name once it is held: till then another API would take it for abandoned.
    """
    made = Path(tempfile.mkdtemp(prefix=_UNHELD, dir=place))
    handle = os.open(made, os.O_RDONLY)
    opened.callback(os.close, handle)
    fcntl.flock(handle, fcntl.LOCK_SH)
    directory = made.rename(made.with_name(_DIRECTORY + made.name.removeprefix(_UNHELD)))
    opened.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def clear_abandoned(place: Path) -> None:
    """Remove our user's shared directories in here that neither an API nor a worker of one holds."""
    for directory in place.glob(f"{_DIRECTORY}*"):
        try:
            if _is_abandoned(directory):
                shutil.rmtree(directory)
        except OSError:  # another API clears it away too, or somebody holds it
            continue


def _is_abandoned(directory: Path) -> bool:
    """Tell whether it is ours and nobody's; raises OSError where somebody holds it."""
    with ExitStack() as opened:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        opened.callback(os.close, handle)
        if os.fstat(handle).st_uid != os.geteuid():
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for lock in directory.glob("*.lock"):
            held = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
            opened.callback(os.close, held)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
