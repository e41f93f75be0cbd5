"""The feed: which slices are told of a reading, and which are waited for."""

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from projector.core.letters import Letters
from projector.core.pace import Pace
from projector.feed import BEHIND_SECONDS, FedSlice, Feed
from projector.tail.letterbox import Reading
from projector.tail.reader import Wake
from projector.telemetry import Telemetry
from readmodel.runtime.supervise import end
from readmodel.view.slices import Slices
from tests.support.builders import projector_config
from tests.support.viewing import NO_PARTITIONS, SHAPE
from tests.support.waiting import eventually

FINGERPRINT = "triggers" + NO_PARTITIONS + SHAPE
OTHER_PARTITIONS = "triggers" + "2" * 32 + SHAPE
SLICES = Slices("readside", 0, 2)
SESSIONS = ("22222222-aaaa-4aaa-8aaa-000000000002", "33333333-aaaa-4aaa-8aaa-000000000003")


class LetterboxOfTheTest:
    """The readings that a test puts into it; each is a beat."""

    turn, open, max_bytes = 0, True, 10**9

    def __init__(self) -> None:
        self.readings: asyncio.Queue[Letters] = asyncio.Queue()
        self.asked = 0
        self.fingerprinted = FINGERPRINT
        self.held: set[str] = set()

    async def begin(self) -> str:
        """Become the reader."""
        return ""

    async def incarnation(self) -> int:
        """The only one."""
        return 1

    async def begin_reading(self) -> None:
        """Take a snapshot."""

    async def renew(self, *, ring: bool) -> None:
        """Renew the lease."""

    async def holders(self) -> set[str]:
        """Who may have skipped a letter."""
        return self.held

    async def household(self) -> dict[str, Any]:
        """The tables are empty."""
        return {"queue_usage": 0.0, "sizes": (0, 0, 0), "heaps": (0, 0, 0), "waiting": 0}

    async def empty(self, _places: object) -> bool:
        """Nothing is to be emptied."""
        return False

    async def fingerprint(self) -> str:
        """The fingerprint of now."""
        return self.fingerprinted

    async def layouts(self) -> dict[str, str]:
        """The partitions of now."""
        return {} if self.fingerprinted == FINGERPRINT else {"7": "layout"}

    async def read(self, *, beat: bool, busy: bool) -> Reading:
        """The next reading."""
        self.asked += 1
        letters = await self.readings.get()
        return Reading(letters, 1, 1, time.monotonic(), "", self.fingerprinted)


class ReadsOfTheTest:
    """Triggers and rights are as they should be, and no table is partitioned."""

    tables = SimpleNamespace(partitioned=False)

    async def check_rights(self) -> None:
        """We have them."""

    async def inspect_triggers(self, _schema: str) -> None:
        """They are sound."""


@pytest.fixture
def letterbox() -> LetterboxOfTheTest:
    """What is read from."""
    return LetterboxOfTheTest()


@pytest.fixture
async def feed(letterbox: LetterboxOfTheTest) -> AsyncIterator[Feed]:
    """A feed that reads."""
    config = projector_config("", "", heartbeat_seconds=0.0)
    made = Feed(
        cast("Any", SimpleNamespace(server=SimpleNamespace(database="7/5"))),
        cast("Any", letterbox),
        cast("Any", ReadsOfTheTest()),
        SLICES,
        Pace(allowed=False),
        Wake(asyncio.Event()),
        Telemetry(),
        config,
    )
    await made.begin()
    reading = asyncio.create_task(made.run())
    yield made
    assert not reading.done()
    await end([reading])


@pytest.fixture
async def fed(feed: Feed) -> list[FedSlice]:
    """Two slices that have caught up."""
    joined = [feed.join(index, asyncio.Event()) for index in range(2)]
    for one in joined:
        one.done()
    return joined


async def test_other_partitions_are_told_to_every_slice(
    letterbox: LetterboxOfTheTest, feed: Feed, fed: list[FedSlice]
) -> None:
    """Each is compared, and keeps by what name its rows read from now on, whether it is named in the letters or not."""
    before = feed.shape
    letterbox.fingerprinted = OTHER_PARTITIONS
    letterbox.readings.put_nowait(Letters(looks={SESSIONS[0]}))
    await eventually(lambda: all(one.has_some for one in fed), "both are fed")
    taken = [one.take() for one in fed]

    assert [(one.letters.incomplete, one.shape) for one in taken] == [(True, feed.shape)] * 2
    assert before != feed.shape


async def test_a_slice_that_joins_in_the_middle_of_a_reading_is_fed_it(
    letterbox: LetterboxOfTheTest, feed: Feed, fed: list[FedSlice]
) -> None:
    """Its view is older than the reading, perhaps: what that tells must not be lost on it."""
    index = SLICES.index_of(SESSIONS[0])
    await eventually(lambda: letterbox.asked, "a reading is under way")
    feed.leave(fed[index])
    late = feed.join(index, asyncio.Event())
    letterbox.readings.put_nowait(Letters(looks={SESSIONS[0]}))
    await eventually(lambda: late.has_some, "it is fed")

    assert late.take().letters.looks == {SESSIONS[0]}
    assert not fed[index].has_some


async def test_a_slice_that_works_for_long_is_not_waited_for(
    letterbox: LetterboxOfTheTest, fed: list[FedSlice]
) -> None:
    """The other one is fed on, and what was read for the first meanwhile is there, all of it, when it comes back."""
    slow, quick = SLICES.index_of(SESSIONS[0]), SLICES.index_of(SESSIONS[1])
    for asked in range(3):
        letterbox.readings.put_nowait(Letters(added={SESSIONS[0]: {f"{asked}": None}}))
        await eventually(lambda: fed[quick].has_some, "the quick one has the beat")
        fed[quick].take()
        fed[quick].done()

    assert list(fed[slow].take().letters.added[SESSIONS[0]]) == ["0", "1", "2"]


async def test_nothing_is_read_while_every_slice_works(letterbox: LetterboxOfTheTest, fed: list[FedSlice]) -> None:
    """What nobody takes is best left where it is bounded: in Postgres."""
    letterbox.readings.put_nowait(Letters())
    await eventually(lambda: all(one.has_some for one in fed), "both are fed")
    asked = letterbox.asked
    for one in fed:
        one.take()
    with pytest.raises(AssertionError, match="it reads"):
        await eventually(lambda: letterbox.asked > asked, "it reads", 4 * BEHIND_SECONDS)
    fed[0].done()

    await eventually(lambda: letterbox.asked > asked, "it reads on")


async def test_letters_tell_all_unless_somebody_may_have_skipped_one(
    letterbox: LetterboxOfTheTest, feed: Feed, fed: list[FedSlice]
) -> None:
    """Such a commit may be visible a moment before its locks go: then no stream's cut is told of."""
    index, told = SLICES.index_of(SESSIONS[0]), []
    for held in ({"3/7"}, set[str]()):
        letterbox.held = held
        feed._reader._skips.holders = set(held)
        letterbox.readings.put_nowait(Letters(added={SESSIONS[0]: {"1": None}}))
        await eventually(lambda: fed[index].has_some, "it is fed")
        told.append(fed[index].take().letters.is_exact)
        for one in fed:
            one.take()
            one.done()

    assert told == [False, True]
