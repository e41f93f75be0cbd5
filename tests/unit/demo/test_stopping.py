"""A demo that is told to stop gives each part the time that it needs to end in good order."""

import asyncio
import io
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from readmodel.runtime import supervise
from readside.demo import run, service
from readside.demo.access import DemoAccess
from readside.demo.announcer import Announcer
from readside.demo.options import DemoOptions, DemoSetup
from readside.settings import Settings
from tests.support.waiting import eventually

PARTS = ["API", "projector", "writer", "PostgreSQL", "Redis"]


class SlowPart:
    """Stands for a server or a program: it ends when the test lets it, and tells whether it was left to end."""

    let_end: asyncio.Event
    ending: list[str]
    ended: list[str]
    port, child = 1, SimpleNamespace(running=True)

    def __init__(self, place: Path | str, *_: object, **__: object) -> None:
        self.name = {"postgres": "PostgreSQL", "redis": "Redis"}.get(Path(place).name, str(place).removeprefix("the "))

    def url(self) -> str:
        """Nobody listens there."""
        return "redis://127.0.0.1:1"

    async def start(self) -> None:
        """At once."""

    async def stop(self) -> None:
        """Only when the test says so."""
        self.ending.append(self.name)
        await self.let_end.wait()
        self.ended.append(self.name)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> type[SlowPart]:
    """Every part of the demo is such a one; what is cancelled and goes on is cancelled again very soon."""
    fields = {"let_end": asyncio.Event(), "ending": [], "ended": []}
    kind = type("SlowPartOfThisTest", (SlowPart,), fields)
    monkeypatch.setattr(run, "EmbeddedPostgres", kind)
    monkeypatch.setattr(run, "EmbeddedRedis", kind)
    monkeypatch.setattr(service, "DemoProgram", kind)
    monkeypatch.setattr(supervise, "AGAIN_SECONDS", 0.001)
    return kind


def setup(home: Path) -> DemoSetup:
    """A demo that says nothing."""
    settings = Settings()
    announcer = Announcer(Console(file=io.StringIO()))
    return DemoSetup(announcer, settings, DemoAccess(settings), home, DemoOptions(1), asyncio.Event())


@pytest.fixture
def hang_up() -> Iterator[None]:
    """SIGHUP is ignored, as nohup leaves it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
async def test_nohup_keeps_it_running() -> None:
    """What was to be ignored is; the other signals end it."""
    stop = asyncio.Event()
    run._end_by_signals(stop)
    try:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)
        await stop.wait()
    finally:
        for number in run.SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


async def several_cancellations() -> None:
    """Return when a task that goes on has been cancelled for the fifth time."""
    heard: list[int] = []

    async def deaf() -> None:
        while len(heard) < 5:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(1)

    task = asyncio.ensure_future(deaf())
    await eventually(lambda: task.get_coro().cr_await is not None, "it waits")  # type: ignore[union-attr]
    await supervise.end([task])


async def test_no_stop_is_cut_off(tmp_path: Path, parts: type[SlowPart], monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: first the programs, then the servers that they use."""
    serving = asyncio.Event()

    async def serve(*_: object) -> None:
        serving.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "prepare", serve)
    one = setup(tmp_path)
    task = asyncio.ensure_future(run._run(one))
    await serving.wait()
    one.stop.set()
    await eventually(lambda: sorted(parts.ending) == PARTS[:3], "the programs are to end")
    await several_cancellations()

    assert not task.done()
    assert parts.ended == []
    parts.let_end.set()
    await task
    assert sorted(parts.ended[:3]) == PARTS[:3]
    assert parts.ended[3:] == PARTS[3:]


async def test_a_stop_while_the_servers_start_ends_them(
    tmp_path: Path, parts: type[SlowPart], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And starts nothing more."""
    starting = asyncio.Event()

    async def start(self: SlowPart) -> None:
        starting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(parts, "start", start)
    parts.let_end.set()
    one = setup(tmp_path)
    task = asyncio.ensure_future(run._run(one))
    await starting.wait()
    one.stop.set()
    await task

    assert parts.ended == PARTS[3:]
