"""A part that ends is started again and says so; one that does not stay up ends the demo."""

import asyncio
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from readmodel.errors import DemoError
from readmodel.runtime.supervise import end
from readside.demo.announcer import Announcer
from readside.demo.heal_meter import HealMeter
from readside.demo.keeper import STARTS, Keeper
from readside.demo.parts import DemoProgram
from tests.support.waiting import eventually

STAYS = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
FALLS = [sys.executable, "-I", "-S", "-c", "import sys; sys.exit('no such setting')"]


@dataclass
class SilentMeter:
    """Measures nothing, and keeps what it was asked to measure."""

    able: bool = True
    measured: list[str] = field(default_factory=list)

    async def measure(self, what: str, since: float) -> None:
        """All is well at once."""
        self.measured.append(what)


@dataclass
class Kept:
    """A program that is kept, and what was said."""

    part: DemoProgram
    meter: SilentMeter
    output: io.StringIO
    keeper: Keeper


def kept(tmp_path: Path, command: Sequence[str], *, able: bool = True) -> Kept:
    """A keeper of one program."""
    output, meter = io.StringIO(), SilentMeter(able)
    keeper = Keeper(Announcer(Console(file=output)), cast("HealMeter", meter), (0.001, 0.002))
    return Kept(DemoProgram("the part", command, log=tmp_path / "log", environment={}), meter, output, keeper)


async def test_a_killed_part_is_started_again_and_measured(tmp_path: Path) -> None:
    """Whoever kills it waits until it has healed."""
    one = kept(tmp_path, STAYS)
    await one.part.start()
    before = one.part.child.pid
    task = asyncio.ensure_future(one.keeper.keep(one.part))
    try:
        await one.keeper.kill(one.part)

        assert one.part.child.running
        assert one.part.child.pid != before
        assert one.meter.measured == ["the part had ended (killed by SIGKILL)"]
        assert "The part has ended (killed by SIGKILL). It is started again.\n" in one.output.getvalue()
    finally:
        await end([task])
        await one.part.stop()


async def test_a_part_that_is_killed_often_stays_up_all_the_same(tmp_path: Path) -> None:
    """What chaos does to it says nothing of the part."""
    one = kept(tmp_path, STAYS)
    await one.part.start()
    task = asyncio.ensure_future(one.keeper.keep(one.part))
    try:
        for _ in range(STARTS + 2):
            await one.keeper.kill(one.part)

        assert not task.done()
        assert one.part.child.running
        assert len(one.meter.measured) == STARTS + 2
    finally:
        await end([task])
        await one.part.stop()


async def test_a_part_that_does_not_stay_up_ends_the_demo(tmp_path: Path) -> None:
    """After so many starts, with its last words."""
    one = kept(tmp_path, FALLS, able=False)
    await one.part.start()
    with pytest.raises(DemoError) as given_up:
        await one.keeper.keep(one.part)

    assert str(given_up.value).startswith(
        f"The part does not stay up: it ended {STARTS + 1} times within 60 s (exit code 1).\nIts last lines:\n"
    )
    assert str(given_up.value).endswith("  no such setting")
    assert one.output.getvalue().count("It is started again.") == STARTS


async def test_a_part_that_cannot_be_started_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its last start says is what is said."""
    one = kept(tmp_path, STAYS)
    await one.part.start()
    one.part.child.kill()
    tries = []

    async def refuse() -> None:
        tries.append(1)
        raise DemoError(f"No room ({len(tries)}).")

    monkeypatch.setattr(one.part, "start", refuse)
    with pytest.raises(DemoError, match=rf"No room \({STARTS}\)\."):
        await one.keeper.keep(one.part)


async def test_a_part_that_ends_while_it_heals_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the healing of what is down."""
    one = kept(tmp_path, STAYS)
    await one.part.start()
    measuring = asyncio.Event()

    async def for_ever(what: str, since: float) -> None:
        measuring.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(one.meter, "measure", for_ever)
    task = asyncio.ensure_future(one.keeper.keep(one.part))
    try:
        one.part.child.kill()
        await measuring.wait()
        first = one.part.child
        first.kill()
        await eventually(lambda: one.part.child is not first and one.part.child.running, "it is started once more")
    finally:
        await end([task])
        await one.part.stop()
