"""A slice of the view on a Redis Cluster: whatever happens to its slot, an answer is right or it is not given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from projector.core.operations import Add
from projector.view.writer import TermRefused
from readmodel.errors import ViewUnavailable
from readmodel.redis.client import translated
from readmodel.redis.moving import MovingServers
from readmodel.redis.servers import open_servers
from readmodel.values.messages import decode_change
from readmodel.view.keys import Keys
from readmodel.view.reader import Cold, ViewPage
from readmodel.view.slices import slot_of
from readmodel.view.subscription import heard
from tests.support.redis_clusters import Node, RedisCluster
from tests.support.viewing import Stage, event
from tests.support.waiting import eventually

KEYS = Keys("readside", 0, "0", 32, sharded=True)
SLOT = slot_of(KEYS.tag)
NOW_US = 1_768_400_000_000_000


@pytest.fixture
async def servers(cluster: RedisCluster) -> AsyncIterator[MovingServers]:
    """The cluster as our clients see it."""
    made: Any = open_servers(cluster.url(), name="readside-test", timeout_seconds=1.0)
    yield made
    await made.aclose()


@pytest.fixture
async def stage(servers: MovingServers) -> Stage:
    """One slice, in its first term."""
    made = Stage(servers.client(SLOT), keys=KEYS)
    await made.begin()
    return made


async def through(stage: Stage, session_id: str, *events: Any) -> None:
    """Add events in one batch, sent until it is answered, as the committer does."""
    number = stage.n + 1

    async def sent() -> bool:
        with suppress(ViewUnavailable):
            await stage.apply(*_add(session_id, events), n=number)
            return True
        return False

    await eventually(sent, "the batch is answered")


def _add(session_id: str, events: Any) -> list[Any]:
    return [Add(session_id, events)]


async def total(stage: Stage, session_id: str) -> int | str:
    """How many events are shown, or why none are."""
    try:
        found = await stage.read(session_id)
    except ViewUnavailable:
        return "away"
    return found.total if isinstance(found, ViewPage) else "cold"


async def test_batches_are_applied_read_and_heard(stage: Stage) -> None:
    """The scripts publish to the slot's own channel."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    messages = heard(stage.redis, KEYS.changes)
    async with aclosing(messages):
        assert await anext(messages) is None

        await stage.apply(*_add(session_id, [event(session_id, NOW_US + 1)]), named=[session_id])

        data = await anext(messages)
    change = decode_change(data or b"")
    assert change is not None
    assert change.n == stage.n
    assert await total(stage, session_id) == 2


async def test_a_promoted_replica_has_no_scripts_and_gets_them(stage: Stage, cluster: RedisCluster) -> None:
    """A failover by hand loses nothing: the term goes on."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    new = await cluster.fail_over(SLOT)
    await new.run("SCRIPT FLUSH")

    await through(stage, session_id, event(session_id, NOW_US + 1))

    assert await total(stage, session_id) == 2


async def test_a_slot_that_has_moved_takes_its_term_along(stage: Stage, cluster: RedisCluster) -> None:
    """The next batch goes where it is."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    await cluster.move(SLOT, await cluster.other_master(await cluster.master_of(SLOT)))

    await stage.add(session_id, event(session_id, NOW_US + 1))

    assert await total(stage, session_id) == 2


async def test_a_failover_that_loses_the_last_batches_ends_the_term(stage: Stage, cluster: RedisCluster) -> None:
    """The replica's (term, n) is older than ours: it is an old dump, as the protocol calls it."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    old = await cluster.master_of(SLOT)
    replica = await cluster.replica_of(old)
    await eventually(partial(holds, replica, session_id), "the replica has it")
    replica.pause()
    try:
        await old.run("CLIENT", "KILL", "TYPE", "replica")  # else it would find the batch in its socket
        await stage.add(session_id, event(session_id, NOW_US + 1))
        await cluster.kill(old)
    finally:
        replica.resume()

    with pytest.raises(TermRefused, match="the view is at term term-1, batch 1"):
        await through(stage, session_id, event(session_id, NOW_US + 2))

    assert await total(stage, session_id) == 1  # as of then
    assert await stage.begin("term-2", "term-1")
    assert await stage.read(session_id) is not None


async def holds(replica: Node, session_id: str) -> bool:
    """Whether a replica has a session."""
    async with replica.client() as redis:
        await redis.readonly()
        return bool(await redis.exists(KEYS.events(session_id)))


@pytest.mark.parametrize("moved", ["position", "hot", "header", "events", "index", "other"])
async def test_a_half_moved_slice_is_away_and_then_whole(stage: Stage, cluster: RedisCluster, moved: str) -> None:
    """Whichever key has moved: no batch, and no read, makes anything of what is left; the batch goes through later."""
    session_id, other = str(uuid4()), str(uuid4())
    for sid in (session_id, other):
        await stage.put(sid, [event(sid, NOW_US)], as_of_us=NOW_US)
    key = {
        "position": KEYS.position,
        "hot": KEYS.hot,
        "header": KEYS.header(session_id),
        "events": KEYS.events(session_id),
        "index": KEYS.index(session_id),
        "other": KEYS.header(other),
    }[moved]
    to = await cluster.other_master(await cluster.master_of(SLOT))
    source = await cluster.begin_moving(SLOT, to)
    await cluster.move_keys(SLOT, source, to, lambda name: name == key)
    batch = [*_add(other, [event(other, NOW_US + 1)]), *_add(session_id, [event(session_id, NOW_US + 1)])]

    for _ in range(2):
        with suppress(ViewUnavailable):
            await stage.apply(*batch, n=3)
    shown = [await total(stage, sid) for sid in (session_id, other)]
    await cluster.end_moving(SLOT, source, to)

    async def applied() -> bool:
        with suppress(ViewUnavailable):
            await stage.apply(*batch, n=3)
            return True
        return False

    await eventually(applied, "the batch is answered")
    after = [await total(stage, sid) for sid in (session_id, other)]

    assert set(shown) <= {1, 2, "away", "cold"}
    assert set(after) <= {2, "cold"}
    for sid in (session_id, other):
        await eventually(partial(whole_or_cold, stage, sid), "no page is partial")


async def whole_or_cold(stage: Stage, session_id: str) -> bool:
    """Whether a session reads as it should, or not at all."""
    found = await stage.read(session_id)
    return isinstance(found, Cold) or (found.total == 2 and found.page.count(b'"id"') == 2)


async def test_nothing_is_called_damaged_because_its_slot_moves(stage: Stage, cluster: RedisCluster) -> None:
    """A key that has moved away is not one that is lost."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    to = await cluster.other_master(await cluster.master_of(SLOT))
    source = await cluster.begin_moving(SLOT, to)
    await cluster.move_keys(SLOT, source, to, lambda name: name == KEYS.header(session_id))

    with pytest.raises(ViewUnavailable, match="its slot moves to another node"), translated(stage.redis):
        await stage.add(session_id, event(session_id, NOW_US + 1))
    with pytest.raises(ViewUnavailable, match="its slot moves to another node"):
        await stage.read(session_id)

    await cluster.end_moving(SLOT, source, to)
    await through(stage, session_id, event(session_id, NOW_US + 1))
    assert await total(stage, session_id) == 2


async def test_nothing_is_lost_or_doubled_while_the_slot_moves_to_and_fro(stage: Stage, cluster: RedisCluster) -> None:
    """Under load: whatever is shown is what was acknowledged, or one batch more, and in the end all of it."""
    session_id = str(uuid4())
    await stage.put(session_id, [event(session_id, NOW_US)], as_of_us=NOW_US)
    there = await cluster.master_of(SLOT)
    back = await cluster.other_master(there)
    acknowledged, moving = 1, True
    wrong: list[object] = []

    async def read() -> None:
        while moving:
            before = acknowledged
            shown = await total(stage, session_id)
            if isinstance(shown, int) and not before <= shown <= acknowledged + 1:
                wrong.append((before, shown, acknowledged))
            await asyncio.sleep(0)

    async def write() -> None:
        nonlocal acknowledged
        while moving:
            await through(stage, session_id, event(session_id, NOW_US + acknowledged))
            acknowledged += 1

    busy = [asyncio.create_task(read()), asyncio.create_task(write())]
    for to in (back, there) * 5:
        await cluster.move(SLOT, to)
    moving = False
    await asyncio.gather(*busy)

    assert wrong == []
    assert acknowledged > 10
    assert await total(stage, session_id) in {acknowledged, "cold"}
