"""The type index as the scripts keep it: whatever the order of arrival, each type's events are found in their order."""

import random
from uuid import UUID

import pytest

from readmodel.values.poll import Poll
from readmodel.view.reader import Cold
from readmodel.view.type_index import CHUNK_ENTRIES, unpack_index
from tests.support.viewing import Stage, event, expected, indexed

pytestmark = pytest.mark.asyncio(loop_scope="module")

SID = "11111111-1111-4111-8111-111111111111"
NOON = 1_768_314_600_000_000
TYPES = ["step_created", "status_changed", "artifact_created"]
STEPS = [f"{number:08}-3333-4333-8333-333333333333" for number in range(3)]


@pytest.mark.parametrize("seed", range(4))
async def test_events_that_arrive_in_any_order(stage: Stage, seed: int) -> None:
    """Late ones go into the middle of full chunks, many share an instant: every poll by type is as by hand."""
    dice = random.Random(seed)
    events = [
        event(
            SID,
            NOON + dice.randrange(60),
            dice.choice(TYPES),
            UUID(int=dice.getrandbits(128)),
            step_id=dice.choice([None, *STEPS]),
        )
        for _ in range(6 * CHUNK_ENTRIES)
    ]
    await stage.put(SID, events[:CHUNK_ENTRIES], as_of_us=NOON)
    rest = events[CHUNK_ENTRIES:]
    while rest:
        batch, rest = rest[: (size := dice.randrange(1, 60))], rest[size:]
        await stage.add(SID, *batch, *dice.sample(events[:CHUNK_ENTRIES], 2))  # two come a second time

    for _ in range(60):
        poll = Poll(
            SID,
            since_us=dice.choice([None, NOON + dice.randrange(-2, 62)]),
            types=tuple(dice.sample(TYPES, dice.randrange(1, 4))),
            limit=dice.choice([1, 7, 100]),
            page=dice.randrange(1, 4),
            steps=tuple(dice.sample(STEPS, dice.choice([0, 0, 1, 2]))),
            oldest_first=dice.random() < 0.5,
        )
        asked = poll._asdict()
        assert await stage.page(asked.pop("session_id"), **asked) == expected(events, poll)


async def test_what_is_added_one_by_one_is_packed_as_what_is_loaded(stage: Stage) -> None:
    """Chunks are full, but for the last of each type."""
    events = [event(SID, NOON + n % 50, TYPES[n % 3]) for n in range(3 * CHUNK_ENTRIES)]
    await stage.put(SID, [])
    for one in events:
        await stage.add(SID, one)
    whole = await stage.reader.whole(SID)

    assert whole
    assert whole.header.complete
    wanted = frozenset((name, entry) for name, entries in indexed(events).items() for entry in entries)
    assert unpack_index(whole.type_index) == wanted


@pytest.mark.parametrize("damage", [b"", b"short", None])
async def test_a_damaged_chunk_makes_the_session_cold(stage: Stage, damage: bytes | None) -> None:
    """Too short, or gone: never a short page, and what arrives then has the session loaded anew."""
    await stage.put(SID, [event(SID, NOON + n) for n in range(2 * CHUNK_ENTRIES)], as_of_us=NOON)
    key, field = stage.keys.index(SID), "step_created/1"
    await (stage.redis.hdel(key, field) if damage is None else stage.redis.hset(key, field, damage))

    assert await stage.read(SID, types=("step_created",)) == Cold("damaged")
    assert (await stage.add(SID, event(SID, NOON + 1_000))).forgotten == (SID,)
    assert await stage.read(SID) == Cold("not hot")


@pytest.mark.parametrize("since", [None, NOON - 1, NOON + 20, NOON + 10_000])
async def test_a_type_that_nobody_wrote(stage: Stage, since: int | None) -> None:
    """An empty page, from the view."""
    await stage.put(SID, [event(SID, NOON + n) for n in range(50)], as_of_us=NOON)

    assert await stage.page(SID, types=("workflow_failed",), since_us=since) == (b"", 0)
