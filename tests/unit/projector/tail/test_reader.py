"""When letters are read, and what a reading leads to: over a letterbox that notes what it is asked."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import orjson
import pytest

from projector.core.letters import Letters
from projector.core.pace import CONTENDED_LOOKS, LOOK_SECONDS, Pace
from projector.tail.letterbox import Letterbox, Reading
from projector.tail.reader import SETTLING_SECONDS, SPACE_SECONDS, LetterReader, Wake
from readmodel.errors import DiskFull
from tests.support.logs import logged

BEAT_SECONDS = 0.5


class FakeLetterbox:
    """The readings and holders that it was handed, and notes what was done."""

    def __init__(self) -> None:
        self.turn, self.open, self.max_bytes = 0, True, 1000
        self.count = 0
        self.held: set[str] = set()
        self.house: dict[str, Any] = {"heaps": [0, 0, 0], "sizes": [0, 0, 0], "queue_usage": 0.0, "waiting": 0}
        self.done: list[object] = []
        self.empties = True
        self.full: DiskFull | None = None
        self.emptied, self.told = asyncio.Event(), asyncio.Event()

    async def begin(self) -> str:
        """Become the reader."""
        self.done.append("begin")
        return "1 false"

    async def begin_reading(self) -> None:
        """Take the first snapshot."""
        self.done.append("begin reading")

    async def holders(self) -> set[str]:
        """List who skipped."""
        self.done.append("holders")
        return self.held

    async def read(self, *, beat: bool, busy: bool) -> Reading:
        """Read."""
        self.done.append(("read", beat, busy))
        return Reading(Letters(), self.count, 1, time.monotonic())

    async def renew(self, *, ring: bool) -> None:
        """Tell writers."""
        self.done.append(("renew", ring))
        self.told.set()

    async def empty(self, places: Sequence[int]) -> bool:
        """Empty, unless the disk is full or somebody locks the tables."""
        self.done.append(("empty", tuple(places)))
        self.emptied.set()
        if self.full is not None:
            raise self.full
        return self.empties

    async def household(self) -> dict[str, Any]:
        """Tell how it is."""
        self.done.append("household")
        return self.house


class Clock:
    """The monotonic clock in the test's hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)


def reader(box: FakeLetterbox, pace: Pace, wake: Wake | None = None) -> LetterReader:
    """A reader of a box."""
    return LetterReader(cast(Letterbox, box), pace, wake or Wake(asyncio.Event()), BEAT_SECONDS)


async def settled(box: FakeLetterbox, pace: Pace, clock: Clock, wake: Wake | None = None) -> LetterReader:
    """A reader that told writers to ring, and looked by itself as long as some may not have heard it."""
    made = reader(box, pace, wake)
    await made.read()
    clock.now += SETTLING_SECONDS
    await made.read()
    return made


async def test_a_reader_begins_in_the_one_right_order() -> None:
    """The counter, then who holds it, then the snapshot: another order loses events."""
    box = FakeLetterbox()
    box.held = {"3/7"}

    assert await reader(box, Pace(allowed=True)).begin() == 1
    assert box.done == ["begin", "holders", "begin reading"]


async def test_the_first_reading_is_due_at_once_and_a_beat(clock: Clock) -> None:
    """So that the view is live soon."""
    box = FakeLetterbox()
    made = reader(box, Pace(allowed=False))

    assert made.due() <= clock.now
    await made.read()
    assert box.done == [("read", True, False)]


async def test_while_writers_ring_a_reading_is_due_each_beat(clock: Clock) -> None:
    """Nobody looks in between."""
    made = await settled(FakeLetterbox(), Pace(allowed=True, connected=True), clock)

    assert made.due() == clock.now + BEAT_SECONDS


async def test_where_nobody_rings_we_look(clock: Clock) -> None:
    """Some fifty times a second."""
    made = await settled(FakeLetterbox(), Pace(allowed=False), clock)

    assert made.due() == clock.now + LOOK_SECONDS


async def test_we_go_on_looking_for_a_while_when_writers_may_ring_again(clock: Clock) -> None:
    """Some have read that they should not, and commit later."""
    made = reader(FakeLetterbox(), Pace(allowed=True, connected=True))
    await made.read()
    assert made.due() == clock.now + LOOK_SECONDS
    clock.now += SETTLING_SECONDS - 0.01
    await made.read()
    assert made.due() == clock.now + LOOK_SECONDS
    clock.now += 0.02
    await made.read()

    assert made.due() > clock.now + LOOK_SECONDS


async def test_a_ring_is_due_at_once(clock: Clock) -> None:
    """Its reading is no beat, and the ring is used up."""
    box, wake = FakeLetterbox(), Wake(asyncio.Event())
    made = await settled(box, Pace(allowed=True, connected=True), clock, wake)
    clock.now += 0.1
    wake.ring()
    assert made.due() <= clock.now
    await made.read()

    assert box.done[-1] == ("read", False, False)
    assert made.due() == clock.now + BEAT_SECONDS - 0.1


async def test_the_next_ring_waits_for_its_gap(clock: Clock) -> None:
    """A flood of rings is read as often as the pace says."""
    wake, pace = Wake(asyncio.Event()), Pace(allowed=True, connected=True)
    made = await settled(FakeLetterbox(), pace, clock, wake)
    wake.ring()
    await made.read()
    wake.ring()

    assert made.due() == pace.next_ring_at > clock.now


async def test_under_load_nobody_is_heard_ringing(clock: Clock) -> None:
    """Ours do not ring then; a stranger's rings would have each letter read by itself."""
    wake, pace = Wake(asyncio.Event()), Pace(allowed=True, connected=True, busy=True)
    made = await settled(FakeLetterbox(), pace, clock, wake)
    wake.ring()

    assert made.due() > clock.now


async def test_a_ring_does_not_put_a_beat_off(clock: Clock) -> None:
    """However far the gap has grown."""
    wake, pace = Wake(asyncio.Event()), Pace(allowed=True, connected=True)
    made = await settled(FakeLetterbox(), pace, clock, wake)
    pace.next_ring_at = clock.now + 60
    wake.ring()

    assert made.due() == clock.now + BEAT_SECONDS


async def test_a_beat_that_a_ring_brought_says_nothing_about_rings(clock: Clock) -> None:
    """It was due anyhow."""
    wake, pace = Wake(asyncio.Event()), Pace(allowed=True, connected=True)
    made = await settled(FakeLetterbox(), pace, clock, wake)
    clock.now += BEAT_SECONDS
    wake.ring()
    await made.read()

    assert pace.next_ring_at == 0.0


async def test_a_busy_pace_reads_by_sessions(clock: Clock) -> None:
    """Events are fetched only of hot sessions then."""
    box = FakeLetterbox()
    await reader(box, Pace(allowed=True, busy=True)).read()

    assert box.done[0] == ("read", True, True)
    assert clock.now == 1_000.0


async def test_writers_are_told_at_once_when_the_mode_changes(clock: Clock) -> None:
    """Under load each beat that they go on ringing is lost."""
    box, pace = FakeLetterbox(), Pace(allowed=True, connected=True)
    made = await settled(box, pace, clock)
    assert ("renew", True) in box.done
    clock.now += 1
    box.count = 5_000
    await made.read()

    assert box.done[-1] == ("renew", False)
    assert not made.ringing


async def test_nobody_is_told_again_what_is_known(clock: Clock) -> None:
    """The lease is renewed beside the readings."""
    box = FakeLetterbox()
    made = await settled(box, Pace(allowed=True, connected=True), clock)
    told = len(box.done)
    for _ in range(3):
        clock.now += 1
        await made.read()

    assert [done for done in box.done[told:] if done == ("renew", True)] == []


async def kept_once(made: LetterReader, box: FakeLetterbox) -> list[object]:
    """What one round of keeping house did."""
    box.done.clear()
    box.emptied.clear()
    task = asyncio.create_task(made.keep_house())
    async with asyncio.timeout(60):
        await box.emptied.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return list(box.done)


async def test_keeping_house_turns_before_it_empties() -> None:
    """Writers must be told of another table before this one may be emptied."""
    box = FakeLetterbox()
    box.max_bytes = 10**9
    box.house |= {"heaps": [5_000_000, 0, 8192], "sizes": [6_000_000, 8192, 16384], "queue_usage": 0.05}
    made = reader(box, Pace(allowed=False))

    assert await kept_once(made, box) == ["household", ("renew", False), ("empty", (2,))]
    assert (box.turn, made.bytes, made.queue_usage) == (1, 6_024_576, 0.05)


async def test_keeping_house_closes_the_box_past_its_bound_and_opens_it_again() -> None:
    """The lease is renewed as a closed one meanwhile."""
    box = FakeLetterbox()
    made = reader(box, Pace(allowed=False))
    box.house["sizes"] = [1001, 0, 0]
    await kept_once(made, box)
    assert not box.open
    box.house["sizes"] = [1000, 0, 0]
    await kept_once(made, box)

    assert box.open


def left_with_letters() -> FakeLetterbox:
    """One whose second table was left and can be emptied."""
    box = FakeLetterbox()
    box.max_bytes = 10**9
    box.house |= {"heaps": [8192, 5_000_000, 0], "sizes": [16384, 6_000_000, 8192]}
    return box


async def test_a_disk_that_has_no_space_to_empty_is_told_once_and_tried_again_after_a_while(clock: Clock) -> None:
    """Keeping house goes on meanwhile; each try would leave dead rows."""
    box = left_with_letters()
    made = reader(box, Pace(allowed=False))
    box.full = DiskFull("No space for file 1.")
    with logged("info") as lines:
        await kept_once(made, box)
        clock.now += SPACE_SECONDS
        box.full = DiskFull("No space for file 2.")
        done = await kept_once(made, box)
        clock.now += SPACE_SECONDS - 0.01
        box.told.clear()
        task = asyncio.create_task(made.keep_house())
        await box.told.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert ("empty", (1,)) in done
        assert box.done == [*done, "household", ("renew", False)]
        assert made.disk_full == "No space for file 1."
        assert lines.text.count("no space left on its disk") == 1


@pytest.mark.parametrize("empties", [True, False])
async def test_a_disk_with_space_again_is_told_once_a_table_was_emptied(clock: Clock, empties: bool) -> None:
    """One that somebody locks proves nothing."""
    box = left_with_letters()
    made = reader(box, Pace(allowed=False))
    box.full = DiskFull("No space.")
    with logged("info") as lines:
        await kept_once(made, box)
        box.full, box.empties = None, empties
        for _ in range(2):
            clock.now += SPACE_SECONDS
            await kept_once(made, box)

        assert made.disk_full == (None if empties else "No space.")
        assert len(lines.said("letters are emptied again: the disk has space")) == int(empties)


async def test_a_disk_is_no_matter_where_nothing_is_to_be_emptied(clock: Clock) -> None:
    """What lay there went some other way."""
    box = left_with_letters()
    made = reader(box, Pace(allowed=False))
    box.full = DiskFull("No space.")
    await kept_once(made, box)
    box.full, box.empties, box.house["heaps"] = None, False, [8192, 0, 0]
    clock.now += SPACE_SECONDS
    await kept_once(made, box)

    assert made.disk_full is None


@pytest.mark.parametrize(
    ("full", "why"),
    [
        (None, "a dump or an old transaction keeps them from us"),
        (DiskFull("No space."), "PostgreSQL's disk has no space"),
    ],
)
async def test_a_box_past_its_bound_says_why(clock: Clock, full: DiskFull | None, why: str) -> None:
    """Nobody is sent to look for a transaction where the disk is full."""
    box = left_with_letters()
    made = reader(box, Pace(allowed=False))
    box.full = full
    with logged("info") as lines:
        await kept_once(made, box)
        box.max_bytes = 1000
        clock.now += SPACE_SECONDS
        await kept_once(made, box)
        (said,) = [line for line in map(orjson.loads, lines.text.splitlines()) if "bound" in line]

        assert (said["why"], said["bytes"]) == (why, made.bytes)


async def test_keeping_house_hears_of_writers_that_wait() -> None:
    """Where they stand in line look after look they are told not to ring."""
    box = FakeLetterbox()
    made = reader(box, Pace(allowed=True, connected=True))
    await kept_once(made, box)
    assert made.ringing
    box.house["waiting"] = 2
    done = [await kept_once(made, box) for _ in range(CONTENDED_LOOKS)]

    assert ("renew", False) in done[-1]
    assert not made.ringing
