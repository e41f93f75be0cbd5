"""Damage of a session's keys: readers call the session cold, and a batch goes past it."""

import pytest

from projector.core.operations import Add, Drop, Put, Status, Touch
from projector.view.writer import StagingLost
from readmodel.errors import ForeignView
from readmodel.view.reader import Cold
from tests.support.damage import OF_TYPE, SERVED, SHOWN_BY_POLLS, UNSERVED_NUMBERS, make
from tests.support.viewing import Stage, event

pytestmark = pytest.mark.asyncio(loop_scope="module")

SID = "11111111-aaaa-4aaa-8aaa-000000000001"
OTHER = "11111111-aaaa-4aaa-8aaa-000000000002"
NOON = 1_768_314_600_000_000


async def damaged_stage(stage: Stage, name: str) -> None:
    """Two hot sessions of five events, one of them damaged."""
    for session_id in (SID, OTHER):
        await stage.put(session_id, [event(session_id, NOON + n) for n in range(5)])
    await (SERVED | UNSERVED_NUMBERS | SHOWN_BY_POLLS)[name](stage.redis, stage.keys, SID)


@pytest.mark.parametrize("name", SERVED)
async def test_every_poll_of_a_damaged_session_is_cold(stage: Stage, name: str) -> None:
    """Whatever is asked; nothing is raised, and its header says that it is not whole."""
    await damaged_stage(stage, name)

    for poll in ({}, {"since_us": NOON}, {"types": ("step_created",)}, {"types": ("step_created", "x")}):
        assert isinstance(await stage.read(SID, **poll), Cold)
    [header] = await stage.reader.headers([SID])
    assert header is None or not header.complete or header.term != stage.term
    assert (await stage.page(OTHER))[1] == 5


@pytest.mark.parametrize("name", SHOWN_BY_POLLS)
async def test_what_a_header_does_not_show_is_cold_all_the_same(stage: Stage, name: str) -> None:
    """And says that it is damaged, so that the API asks for it to be mended."""
    await damaged_stage(stage, name)

    for types in (("step_created",), ("step_created", "x")):
        assert await stage.read(SID, types=types) == Cold("damaged")


@pytest.mark.parametrize("name", UNSERVED_NUMBERS)
async def test_numbers_that_no_answer_holds(stage: Stage, name: str) -> None:
    """Polls are answered, or not; the header says that it is not whole."""
    await damaged_stage(stage, name)

    found = await stage.read(SID)
    assert isinstance(found, Cold) or found.total == 5
    [header] = await stage.reader.headers([SID])
    assert header is not None
    assert not header.complete


@pytest.mark.parametrize("name", SERVED | UNSERVED_NUMBERS | SHOWN_BY_POLLS)
async def test_a_batch_goes_past_a_damaged_session(stage: Stage, name: str) -> None:
    """It takes effect on all others; what it does to the damaged one is right or leaves it cold."""
    await damaged_stage(stage, name)
    news = [event(session_id, NOON + 100) for session_id in (SID, OTHER)]
    await stage.apply(
        Add(SID, tuple(news[:1])),
        Status(SID, "paused"),
        Touch(SID, 5),
        Add(OTHER, tuple(news[1:])),
        Status(OTHER, "paused"),
    )
    found = await stage.read(SID)

    assert isinstance(found, Cold) or found.total == 6
    assert (await stage.page(OTHER))[1] == 6
    await stage.apply(Drop(SID))
    assert await stage.read(SID) == Cold("not hot")


@pytest.mark.parametrize("name", sorted(OF_TYPE.keys() - {"events is a zset", "index is a hash"}))
async def test_a_key_of_another_type_is_found_by_a_batch(stage: Stage, name: str) -> None:
    """The session is forgotten, keys and all, and told apart from one that was merely gone."""
    await damaged_stage(stage, name)
    told = await stage.apply(Add(SID, (event(SID, NOON + 100),)))

    assert SID in {*told.cold, *told.damaged}
    assert set(told.damaged) <= set(told.forgotten)
    assert told.damaged or "hash" in name


@pytest.mark.parametrize("name", OF_TYPE)
async def test_a_put_replaces_whatever_is_there(stage: Stage, name: str) -> None:
    """A damaged session is loaded anew over its remains."""
    await damaged_stage(stage, name)
    await stage.put(SID, [event(SID, NOON + n) for n in range(7)])

    assert (await stage.page(SID))[1] == 7


@pytest.mark.parametrize(("key", "kind"), [("e", "string"), ("i", "string"), ("e", "hash"), ("i", "zset")])
async def test_a_staging_key_of_another_type_is_a_load_that_was_lost(stage: Stage, key: str, kind: str) -> None:
    """Nothing of the batch is applied, and the load starts over."""
    staged = await stage.staged([event(SID, NOON)])
    await make(stage.redis, staged.staging + key, kind)

    with pytest.raises(StagingLost):
        await stage.apply(Put(SID, staged))


@pytest.mark.parametrize("key", ["position", "hot"])
async def test_keys_of_the_whole_view_are_no_sessions_damage(stage: Stage, key: str) -> None:
    """A position or an index of hot sessions of another type is named, as other data."""
    await damaged_stage(stage, "header is a string")
    await make(stage.redis, getattr(stage.keys, key), "string")

    with pytest.raises(ForeignView, match="holds other data"):
        await stage.apply(Drop(SID))
