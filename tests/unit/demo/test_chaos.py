"""Faults of `readside demo --chaos`: a series for each seed, and what a freeze leaves behind."""

import asyncio
import io
import signal
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from rich.console import Console

from readside.demo import chaos, heal_meter
from readside.demo.access import DemoAccess
from readside.demo.announcer import Announcer
from readside.demo.chaos import FREEZER, Chaos
from readside.demo.faults import FREEZE_SECONDS, PAUSE_SECONDS, DemoFault, FaultKind, faults
from readside.demo.heal_meter import HealMeter, Recovery
from readside.demo.keeper import Keeper
from readside.demo.moves import Record
from readside.demo.parts import DemoProgram
from readside.demo.processes import Child, free_port, spawn
from tests.support.waiting import eventually


def test_a_seed_gives_one_series() -> None:
    """So that what went wrong once can be looked at again."""
    first, again, other = (list(islice(faults(Random(seed)), 50)) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_every_kind_of_fault_comes() -> None:
    """With pauses in which one sees that all is well."""
    drawn = list(islice(faults(Random(1)), 200))

    assert {fault.kind for fault in drawn} == {"kill", "freeze", "flush", "cut"}
    assert {fault.part for fault in drawn} == {"PostgreSQL", "Redis", "the API", "the projector"}
    assert all(PAUSE_SECONDS[0] <= fault.after_seconds <= PAUSE_SECONDS[1] for fault in drawn)
    assert {fault.frozen_seconds > 0 for fault in drawn if fault.kind != "freeze"} == {False}
    assert all(fault.frozen_seconds >= FREEZE_SECONDS[0] for fault in drawn if fault.kind == "freeze")


def test_a_recovery_says_who_answered_meanwhile() -> None:
    """PostgreSQL, where the view could not."""
    assert Recovery("Redis had been emptied", "redis", 0.3, 0.3).line() == "Redis had been emptied: healed in 0.3 s."
    assert Recovery("the projector had ended", "postgres", 0.2, 2.5).line() == (
        "the projector had ended: healed in 2.5 s (PostgreSQL answered from 0.2 s on)."
    )


@dataclass
class Struck:
    """Chaos on parts of which none runs, and what it says and has measured."""

    chaos: Chaos
    output: io.StringIO
    measured: list[str]


@pytest.fixture
def struck(tmp_path: Path) -> Struck:
    """Nobody listens where its servers should be."""
    output, measured = io.StringIO(), []
    announcer = Announcer(Console(file=output, width=200))

    class ListingMeter:
        async def measure(self, what: str, since: float) -> None:
            measured.append(what)

    program = DemoProgram("the API", [sys.executable, "-c", ""], log=tmp_path / "log", environment={})
    keeper, meter = cast("Keeper", None), cast("HealMeter", ListingMeter())
    nobody = f"127.0.0.1:{free_port()}"
    stores = f"postgresql://me:secret@{nobody}/x", f"redis://{nobody}"
    return Struck(Chaos(announcer, keeper, meter, {"the API": program}, *stores, tmp_path), output, measured)


@pytest.mark.parametrize("kind", ["flush", "cut"])
async def test_a_server_that_is_down_by_itself_is_left_to_its_keeper(struck: Struck, kind: FaultKind) -> None:
    """Chaos says so and goes on."""
    await struck.chaos.run([DemoFault(kind, "Redis", 0.0), DemoFault(kind, "Redis", 0.0)])

    assert struck.output.getvalue().count("Chaos cannot do that: ") == 2
    assert "secret" not in struck.output.getvalue()
    assert struck.measured == []


async def test_telling_of_a_recovery_takes_none_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has healed in time has healed, though PostgreSQL is slow to write that down."""
    committed: list[str] = []

    async def at_once(_: object, event_id: object) -> str:
        return "redis"

    async def slowly_in_the_end(_: object, event: Record) -> None:
        if event.event_type == "fault_healed":
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        committed.append(event.event_type)

    monkeypatch.setattr(heal_meter, "HEAL_SECONDS", 0.0)  # over as soon as anything waits
    monkeypatch.setattr(HealMeter, "_source_of", at_once)
    monkeypatch.setattr(HealMeter, "_commit", slowly_in_the_end)
    meter = HealMeter(Announcer(Console(file=io.StringIO())), "", 1, cast("DemoAccess", None))
    await meter.measure("Redis had been emptied", 0.0)

    assert committed == ["fault_injected", "fault_healed"]
    assert len(meter.recoveries) == 1


async def test_a_part_that_is_down_is_not_frozen(struck: Struck) -> None:
    """Its process' number may be another's by now."""
    part = struck.chaos.parts["the API"]
    await part.start()
    await part.child.exited()
    await struck.chaos.run([DemoFault("freeze", "the API", 0.0, 60.0)])

    assert struck.output.getvalue().endswith("Chaos leaves the API alone, which is down.\n")
    assert struck.measured == []


def state(pid: int) -> str:
    """A process' state: S for one that sleeps, T for one that is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_what_is_frozen_goes_on_though_the_freezer_is_killed(
    struck: Struck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but us can let it go on then."""
    freezers: list[Child] = []

    def spawn_freezer(*arguments: Any, **options: Any) -> Child:
        freezers.append(spawn(*arguments, **options))
        return freezers[-1]

    monkeypatch.setattr(chaos, "spawn", spawn_freezer)
    sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    part = DemoProgram("frozen", sleep, log=tmp_path / "frozen", environment={})
    await part.start()
    freezing = asyncio.ensure_future(struck.chaos._freeze(part, 60.0))
    try:
        await eventually(lambda: state(part.child.pid) == "T", "it is frozen")
        freezers[0].kill()
        await freezing

        await eventually(lambda: state(part.child.pid) in "RS", "it goes on")
    finally:
        await part.stop()


async def test_what_is_frozen_goes_on_whoever_ends_the_freezer(tmp_path: Path) -> None:
    """SIGTERM is what the kernel sends it when the demo is killed."""
    sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    frozen = spawn("frozen", sleep, log=tmp_path / "frozen", environment={})
    command = [sys.executable, "-I", "-S", str(FREEZER), str(frozen.pid), "60"]
    freezer = spawn("freezer", command, log=tmp_path / "log", environment={})
    try:
        await eventually(lambda: state(frozen.pid) == "T", "it is frozen")
        await freezer.end(signal.SIGTERM)

        assert state(frozen.pid) in "RS"
    finally:
        await freezer.end()
        await frozen.end()
