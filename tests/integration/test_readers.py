"""Who reads letters: one at a time; who was deposed renews and empties nothing, who is gone leaves little behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from projector.tail.connection import open_tail
from projector.tail.letterbox import LEASE_SECONDS, Letterbox, ReaderReplaced
from tests.support.barriers import before
from tests.support.commanding import Site
from tests.support.letterboxes import add, hot_session, lapse, lapsed, lease_ms, settled, shows, sizes, skips
from tests.support.logs import logged
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import STEP_SECONDS, eventually

pytestmark = pytest.mark.installed


ROWS = "SELECT (SELECT count(*) FROM readside.letters_0) + (SELECT count(*) FROM readside.letters_1)"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture
async def boxes(stage: Bench) -> AsyncIterator[list[Letterbox]]:
    """The letterbox from the side of two leaders, each on a connection of its own."""
    url = stage.config.database_url
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            opening = open_tail(url, url, heartbeat_seconds=0.05, statement_cache_size=10)
            tail, reads = await stack.enter_async_context(opening)
            made.append(Letterbox(tail, reads.tables, "readside", 10**9))
        yield made


async def begun(box: Letterbox) -> None:
    """Become the reader."""
    await box.begin()
    await box.begin_reading()


async def test_a_deposed_reader_renews_nothing(stage: Bench, boxes: list[Letterbox]) -> None:
    """Nor does it say which table is in use, or who should ring."""
    old, new = boxes
    await begun(old)
    await begun(new)
    presence = await stage.writer.connection.fetchval("SELECT last_value FROM readside.presence")
    old.turn = 2
    with pytest.raises(ReaderReplaced, match="another projector reads the letters of readside"):
        await old.renew(ring=True)

    assert await stage.writer.connection.fetchval("SELECT last_value FROM readside.presence") == presence


async def test_a_deposed_reader_leaves_without_harm(stage: Bench, boxes: list[Letterbox]) -> None:
    """However late: the lease is another's, and stays."""
    old, new = boxes
    await begun(old)
    await begun(new)
    await old.leave()

    assert await lease_ms(stage.writer.connection) > 5_000
    await new.leave()
    assert await lease_ms(stage.writer.connection) < 0


async def test_a_deposed_reader_ends_at_its_next_beat(boxes: list[Letterbox]) -> None:
    """What it reads until then brings nothing, and moves no as-of."""
    old, new = boxes
    await begun(old)
    await begun(new)
    assert (await old.read(beat=False, busy=False)).fingerprint is None
    with pytest.raises(ReaderReplaced, match="another projector reads the letters of readside"):
        await old.read(beat=True, busy=False)


async def test_a_deposed_reader_ends_where_there_are_letters(stage: Bench, boxes: list[Letterbox]) -> None:
    """Before its beat: a reading that brings letters proves as much as a beat does, and these are the other's."""
    old, new = boxes
    await begun(old)
    await begun(new)
    session_id = await stage.writer.session()
    with pytest.raises(ReaderReplaced, match="another projector reads the letters of readside"):
        await old.read(beat=False, busy=False)

    assert (await new.read(beat=True, busy=False)).letters.created == {session_id: None}


async def test_a_deposed_reader_empties_nothing(stage: Bench, boxes: list[Letterbox]) -> None:
    """It has read them all, and the other has not."""
    old, new = boxes
    await begun(old)
    await stage.writer.session()
    await old.read(beat=False, busy=False)
    old.turn = 1
    await old.renew(ring=False)
    await begun(new)
    await old.empty((0,))
    assert await stage.writer.connection.fetchval(ROWS) == 1
    await new.read(beat=True, busy=True)
    await new.empty((0,))

    assert await stage.writer.connection.fetchval(ROWS) == 0


async def test_what_was_not_read_yet_is_not_emptied(stage: Bench, boxes: list[Letterbox]) -> None:
    """Committed after the last reading, or not even committed."""
    box, connection = boxes[0], stage.writer.connection
    await begun(box)
    await connection.execute("BEGIN")
    session_id = await stage.writer.session()
    box.turn = 1
    await box.renew(ring=False)
    await box.empty((0,))
    await connection.execute("COMMIT")
    await box.empty((0,))
    reading = await box.read(beat=False, busy=False)

    assert reading.letters.created == {session_id: None}
    await box.empty((0,))
    assert await connection.fetchval(ROWS) == 0


async def test_the_table_in_use_is_not_emptied(stage: Bench, boxes: list[Letterbox]) -> None:
    """A writer may have looked where to put its letter, and be on its way."""
    box = boxes[0]
    await begun(box)
    await stage.writer.session()
    await box.read(beat=False, busy=False)
    await box.empty((0, 1, 2))

    assert await stage.writer.connection.fetchval(ROWS) == 1


async def test_a_letter_that_comes_late_into_a_table_that_was_left_is_read(
    stage: Bench, boxes: list[Letterbox]
) -> None:
    """All three are read: who looked before the turn writes into the one before."""
    box, connection = boxes[0], stage.writer.connection
    await begun(box)
    await connection.execute("BEGIN")
    session_id = await stage.writer.session()
    box.turn = 1
    await box.renew(ring=False)
    other = await stage.writer.session()
    await box.read(beat=True, busy=False)
    await connection.execute("COMMIT")

    assert (await box.read(beat=True, busy=False)).letters.created == {session_id: None, other: None}


async def test_two_deployments_in_one_schema_are_told_what_to_do(stage: Bench) -> None:
    """They take the letters from each other again and again; neither is wrong, and both say how to mend it."""
    with logged("info") as lines:
        async with stage.projector() as first:
            await hot_session(stage)
            async with stage.projector(redis_prefix="other") as second:
                await eventually(lambda: first.terms + second.terms > 3, "they disturb each other")
        reasons = {line["reason"] for line in lines.said("the term ended")}

    assert "another projector reads the letters of readside (each deployment needs its own READSIDE_SCHEMA)" in reasons


async def test_a_leader_that_goes_in_order_ends_the_lease(stage: Bench) -> None:
    """From then on nothing is written, at once."""
    async with stage.projector():
        session_id = await hot_session(stage)
    before_us = await sizes(stage.writer.connection)
    await stage.writer.events(session_id, 5_000)

    assert await lease_ms(stage.writer.connection) < 0
    assert await sizes(stage.writer.connection) == before_us
    assert await skips(stage.writer.connection) == 1


async def test_nothing_grows_while_no_projector_runs(stage: Bench) -> None:
    """Ten thousand events, half of them one by one in one transaction: not a byte of ours."""
    connection = stage.writer.connection
    session_id = await stage.writer.session()
    before_us = await sizes(connection)
    await add(connection, session_id, 5_000)
    await connection.execute(f"""
        DO $$ BEGIN FOR i IN 1..5000 LOOP
          INSERT INTO events (id, session_id, event_type, event_data, timestamp)
          VALUES (gen_random_uuid(), '{session_id}', 'x', '{{}}', now());
        END LOOP; END $$""")

    assert await connection.fetchval("SELECT count(*) FROM events") == 10_000
    assert await sizes(connection) == before_us


async def test_a_projector_that_is_killed_leaves_letters_for_a_lease_and_no_more(
    stage: Bench, database_url: str, redis_url: str
) -> None:
    """SIGKILL under load: writers go on as they were, and after the lease nothing of ours grows."""
    site = Site.of(database_url, redis_url, REDIS_PREFIX="readside")
    async with site.projector() as projector, connected(database_url) as writer:
        await projector.says("live")
        session_id = await hot_session(stage)
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                await add(writer, session_id, 10)
                await asyncio.sleep(STEP_SECONDS)

        loading = asyncio.create_task(load())
        projector.process.kill()
        await projector.process.wait()
        assert 0 < await lease_ms(stage.writer.connection) <= LEASE_SECONDS * 1000
        await lapsed(stage.writer.connection)
        await skipping(stage)
        left = await sizes(stage.writer.connection)
        counted = await skips(stage.writer.connection)
        await eventually(lambda: more_skips(stage, counted + 200), "writers go on")
        assert await sizes(stage.writer.connection) == left
        stop.set()
        await loading
        async with stage.projector():
            total = int(await writer.fetchval("SELECT count(*) FROM events"))
            assert (await settled(stage, session_id)).total == total


async def skipping(stage: Bench) -> None:
    """Wait until writers skip their letters."""
    counted = await skips(stage.writer.connection)
    await eventually(lambda: more_skips(stage, counted + 5), "letters are skipped")


async def more_skips(stage: Bench, wanted: int) -> bool:
    """Whether so many letters were skipped."""
    return await skips(stage.writer.connection) >= wanted


async def test_a_leader_whose_loop_stood_still_past_its_lease_misses_nothing(
    stage: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither renewed nor read meanwhile, and nobody took its place: what was skipped is compared."""
    reading, renewing = before(monkeypatch, Letterbox, "read"), before(monkeypatch, Letterbox, "renew")
    async with connected(stage.config.database_url) as slow, stage.projector() as told:
        session_id = await hot_session(stage)
        await slow.execute("BEGIN")
        await add(slow, session_id)
        reading.close()
        await lapse(stage.writer.connection, renewing)
        await stage.writer.event(session_id)
        assert await skips(stage.writer.connection) == 1
        reading.open()
        renewing.open()
        await shows(stage, session_id, 1)
        await slow.execute("COMMIT")
        await shows(stage, session_id, 2)

        assert (told.terms, told.drift) == (1, 0)
