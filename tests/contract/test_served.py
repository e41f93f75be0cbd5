"""The script that reads a part of what is served: in one instant, and damage is called damage."""

from typing import Any

import pytest

from projector.view.scripts import source
from readmodel.redis.evaluate import Script
from readmodel.values.event import ENCODING_VERSION
from tests.support.damage import SERVED, SHOWN_BY_POLLS, UNSERVED_NUMBERS
from tests.support.viewing import Stage, event

pytestmark = pytest.mark.asyncio(loop_scope="module")

SID = "11111111-aaaa-4aaa-8aaa-000000000001"
NOON = 1_768_314_600_000_000
ELSEWHERE = {"header is a hash", "term is another", "term is gone", "version is another", "version is gone"}
"""Whoever changed these made the session cold, which is no damage that anybody is served."""
INVISIBLE = {
    f"{name} is {value!r}" for name in ("hi", "lo") for value in (None, "", "x", "1.5", "1e3", "nan", "0x10", " 5")
}
"""The header's comparison finds these."""
ORDER = {"a chunk holds others"}
"""The order of entries is for who reads the reply."""


async def served(
    stage: Stage, first: int = 0, most: int = 100, size: int = 10**6, chunk: int = 0, chunks: int = 9
) -> Any:
    """Read a part."""
    keys = [stage.keys.header(SID), stage.keys.events(SID), stage.keys.index(SID)]
    arguments = [stage.term, ENCODING_VERSION, first, most, size, chunk, chunks]
    [reply] = await Script(stage.redis, source("served")).run([(keys, arguments)])
    return reply


async def test_a_whole_session(stage: Stage) -> None:
    """Members with their scores, oldest first; chunks of each type; how many of both there are."""
    events = [event(SID, NOON + n, "ab"[n % 2]) for n in range(100)]
    await stage.put(SID, events)
    _, members, chunks, held, in_all = await served(stage)

    assert members[::2] == [one.member for one in events]
    assert [int(score) for score in members[1::2]] == [one.score for one in events]
    places = [(chunks[at], chunks[at + 1], len(chunks[at + 2]), len(chunks[at + 3])) for at in range(0, len(chunks), 4)]
    assert places == [(b"a", 0, 1008, 0), (b"a", 1, 192, 24), (b"b", 0, 1008, 0), (b"b", 1, 192, 24)]
    assert (held, in_all) == (100, 4)


async def test_a_part_has_its_bounds(stage: Stage) -> None:
    """In members, in their bytes, and in chunks."""
    events = [event(SID, NOON + n, "ab"[n % 2]) for n in range(100)]
    await stage.put(SID, events)
    _, members, chunks, _, _ = await served(stage, first=10, most=5, chunk=1, chunks=2)
    _, few, _, _, _ = await served(stage, size=3 * len(events[0].member))

    assert members[::2] == [one.member for one in events[10:15]]
    assert [tuple(chunks[place : place + 2]) for place in (0, 4)] == [(b"a", 1), (b"b", 0)]
    assert len(few) // 2 == 3


async def test_an_empty_session_and_a_windowed_one(stage: Stage) -> None:
    """Nothing of theirs contradicts itself."""
    await stage.put(SID, [])
    assert await served(stage) == [b"ok", [], [], 0, 0]
    await stage.put(SID, [event(SID, NOON + n) for n in range(20)], held=7)

    assert (await served(stage))[3:] == [7, 1]


async def test_a_session_that_is_not_hot_is_cold(stage: Stage) -> None:
    """There is none, or it is another term's."""
    assert await served(stage) == [b"cold"]


@pytest.mark.parametrize("name", SERVED | UNSERVED_NUMBERS | SHOWN_BY_POLLS)
async def test_damage_is_called_damage(stage: Stage, name: str) -> None:
    """Whatever a poll would find, and more."""
    await stage.put(SID, [event(SID, NOON + n) for n in range(5)])
    await (SERVED | UNSERVED_NUMBERS | SHOWN_BY_POLLS)[name](stage.redis, stage.keys, SID)
    outcome = (await served(stage))[0]

    assert outcome == (b"cold" if name in ELSEWHERE else b"ok" if name in INVISIBLE | ORDER else b"damaged")
