"""The processes of an API that has several: when one is replaced, and what those leave behind that were killed."""

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from readside import workers
from readside.workers import ANSWER_SECONDS, Workers, clear_abandoned, shared_directory

ROUNDS = ANSWER_SECONDS * 2


class FakeWorker:
    """A worker that answers when it is told to."""

    def __init__(self, *_: object) -> None:
        self.pid, self.exitcode, self.started, self.ended = 7, -9, False, False
        self.parent_conn: Connection
        self.parent_conn, self.far_end = multiprocessing.Pipe()
        self.process = self

    def is_alive(self) -> bool:
        return not self.ended

    def start(self) -> None:
        self.started = True

    def kill(self) -> None:
        self.parent_conn.close()
        self.far_end.close()

    def join(self) -> None:
        self.ended = True


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """One of two workers that answer nothing by themselves."""
    monkeypatch.setattr(workers, "Process", FakeWorker)
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    made = Workers(uvicorn.Config("nothing:at_all", workers=2), [])
    watched: Any = [FakeWorker(), FakeWorker()]
    made.processes = watched
    yield made
    for number, handler in before.items():
        if handler is not signal.getsignal(number):
            signal.signal(number, handler)
    for worker in {*watched, *made.processes}:
        worker.kill()


def test_a_worker_has_a_minute_to_start(supervisor: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    """It answers nothing until all is imported; one that answers is asked on."""
    slow: Any
    other: Any
    slow, other = supervisor.processes
    for _ in range(ROUNDS):
        supervisor.keep_subprocess_alive()
        other.far_end.send(True)
    assert supervisor.processes == [slow, other]
    slow.far_end.send(False)
    for _ in range(ROUNDS):
        supervisor.keep_subprocess_alive()
        other.far_end.send(True)
    assert supervisor.processes == [slow, other]
    supervisor.keep_subprocess_alive()
    supervisor.keep_subprocess_alive()

    assert supervisor.processes[1] is other
    assert supervisor.processes[0] is not slow
    line = capsys.readouterr().out
    assert "a worker is replaced" in line
    assert "no sign of life for 60 s" in line


def test_a_worker_that_ended_is_told_of(supervisor: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    """With its exit code: -9 is what the kernel does where memory ends."""
    ended: Any = supervisor.processes[1]
    ended.ended = True
    supervisor.keep_subprocess_alive()
    new: Any = supervisor.processes[1]
    line = capsys.readouterr().out

    assert new is not ended
    assert new.started
    assert "it ended" in line
    assert "-9" in line
    assert not supervisor.failed


def test_a_worker_that_cannot_start_ends_all(supervisor: Workers) -> None:
    """As a failure."""
    first: Any = supervisor.processes[0]
    first.ended, first.exitcode = True, STARTUP_FAILURE
    supervisor.keep_subprocess_alive()

    assert supervisor.should_exit.is_set()
    assert supervisor.failed
    assert supervisor.processes[0] is first


def made_in(place: Path, name: str) -> Path:
    """A shared directory, with a worker's lock."""
    directory = place / f"readside-metrics-{name}"
    directory.mkdir()
    (directory / "0.lock").touch()
    return directory


def test_what_an_api_left_that_was_killed_is_cleared_away(tmp_path: Path) -> None:
    """Nothing else is: what an API, or a worker that outlived it, holds; what a link leads to."""
    left, of_an_api, of_a_worker = (made_in(tmp_path, name) for name in ("left", "api", "worker"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "readside-metrics-link"
    link.symlink_to(elsewhere)
    api = os.open(of_an_api, os.O_RDONLY)
    worker = os.open(of_a_worker / "0.lock", os.O_RDWR)
    fcntl.flock(api, fcntl.LOCK_SH)
    fcntl.flock(worker, fcntl.LOCK_EX)
    clear_abandoned(tmp_path)
    os.close(api)
    os.close(worker)

    assert set(tmp_path.iterdir()) == {of_an_api, of_a_worker, elsewhere, link}
    assert not left.exists()


def test_a_shared_directory_is_held_while_it_is_used() -> None:
    """No other API clears it away; then it is gone."""
    with shared_directory() as directory:
        clear_abandoned(Path(directory).parent)

        assert Path(directory).is_dir()
    assert not Path(directory).exists()
