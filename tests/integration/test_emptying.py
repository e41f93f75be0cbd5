"""Emptying the letterbox: it stays small under load, nobody waits, and past its bound the view is compared."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from projector.core import household
from projector.tail.letterbox import Letterbox
from projector.telemetry import Telemetry
from tests.support.letterboxes import add, hot_session, settled, shows, sizes
from tests.support.logs import logged
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import STEP_SECONDS, eventually

pytestmark = pytest.mark.installed

TURN_BYTES = 50_000
"""About five hundred letters."""
BATCH = 250
RUNBOOK = (Path(__file__).parents[2] / "specs" / "runbook.md").read_text()


@pytest.fixture
async def stage(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; tables of letters are full soon."""
    monkeypatch.setattr(household, "TURN_BYTES", TURN_BYTES)
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tables that were emptied, in order."""
    places: list[int] = []
    really = Letterbox.empty

    async def noted(self: Letterbox, wanted: list[int]) -> bool:
        before = {place: await heap(self, place) for place in wanted}
        done = await really(self, wanted)
        places.extend([place for place in wanted if before[place] and not await heap(self, place)])
        return done

    monkeypatch.setattr(Letterbox, "empty", noted)
    return places


async def heap(box: Letterbox, place: int) -> int:
    """Bytes of a table of letters."""
    return int(await box._tail.value(f"SELECT pg_relation_size('readside.letters_{place}')"))


async def fill(stage: Bench, told: Telemetry, session_id: str, turn: int) -> None:
    """Write until another table is in use."""

    async def turned() -> bool:
        await add(stage.writer.connection, session_id, BATCH)
        return (
            int(await stage.writer.connection.fetchval("SELECT (last_value >> 1) & 3 FROM readside.presence")) == turn
        )

    await eventually(turned, f"table {turn} is in use")
    assert told.letters_open


@asynccontextmanager
async def open_in_each_table(stage: Bench, told: Telemetry, session_id: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Three old transactions, each with a letter in another table, so that none can be emptied."""
    async with AsyncExitStack() as stack:
        held = []
        for turn in (1, 2, 0):
            connection = await stack.enter_async_context(connected(stage.config.database_url))
            await connection.execute("BEGIN")
            await add(connection, session_id)
            held.append(connection)
            if turn:
                await fill(stage, told, session_id, turn)
        yield held


async def test_tables_turn_and_are_emptied_under_load(stage: Bench, emptied: list[int]) -> None:
    """Twelve times what one table holds goes through; what lies there stays a few tables' worth."""
    async with stage.projector() as told:
        session_id, largest = await hot_session(stage), 0
        for _ in range(24):
            await add(stage.writer.connection, session_id, BATCH)
            await stage.caught_up()
            largest = max(largest, await sizes(stage.writer.connection))
        assert (await settled(stage, session_id)).total == 24 * BATCH

        assert len(emptied) > 5
        assert largest < 12 * TURN_BYTES
        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)


async def test_an_old_transaction_keeps_one_table_and_the_others_take_turns(stage: Bench, emptied: list[int]) -> None:
    """It has a letter in the first; its letters are read when it ends, and then that one is emptied too."""
    async with connected(stage.config.database_url) as old, stage.projector() as told:
        session_id = await hot_session(stage)
        await old.execute("BEGIN")
        await add(old, session_id)
        turns = 0

        async def often() -> bool:
            await add(stage.writer.connection, session_id, BATCH)
            return len(emptied) > 6

        await eventually(often, "the others are emptied again and again")
        turns = len(emptied)
        assert set(emptied) == {1, 2}
        before = (await settled(stage, session_id)).total
        await old.execute("COMMIT")
        await shows(stage, session_id, before + 1)
        await eventually(lambda: 0 in emptied[turns:], "the first is emptied")

        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)


async def test_past_the_bound_no_letter_is_written_and_the_view_is_compared(stage: Bench) -> None:
    """Three old transactions keep all tables from us; the operator is told, the view stays right, and it heals."""
    with logged("info") as lines:
        async with stage.projector(letters_max_bytes=10 * TURN_BYTES) as told:
            session_id = await hot_session(stage)
            async with open_in_each_table(stage, told, session_id) as held:

                async def closed() -> bool:
                    await add(stage.writer.connection, session_id, BATCH)
                    return not told.letters_open

                await eventually(closed, "no letter is written any more")
                ours = await sizes(stage.writer.connection)
                total = int(await stage.writer.connection.fetchval("SELECT count(*) FROM events"))
                for _ in range(5):
                    await stage.writer.event(session_id)
                    total += 1
                    await shows(stage, session_id, total)
                await add(stage.writer.connection, session_id, 5_000)
                assert await sizes(stage.writer.connection) == ours
                (said,) = lines.said(
                    "the letters take more than READSIDE_LETTERS_MAX_MB and cannot be emptied: none is written "
                    "meanwhile, and the view is compared instead"
                )
                assert said["why"] == "a dump or an old transaction keeps them from us"
                assert said["bound"] == 10 * TURN_BYTES < said["bytes"]
                for connection in held:
                    await connection.execute("COMMIT")
            await eventually(lambda: told.letters_open, "letters are written again")
            await stage.caught_up()
            compared = told.comparisons
            await stage.writer.event(session_id)
            assert (await settled(stage, session_id)).total == total + 5_000 + 3 + 1
            assert await sizes(stage.writer.connection) < 12 * TURN_BYTES

            assert told.comparisons == compared
            assert (told.terms, told.drift) == (1, 0)
            assert len(lines.said("letters are written again")) == 1


async def test_sessions_come_in_while_no_letter_is_written(stage: Bench) -> None:
    """At each beat the view is compared, for one session is written to all the time; loads that wait are let be."""
    busy, *waiting = [await stage.writer.session() for _ in range(30)]
    for session_id in waiting:
        await stage.writer.events(session_id, 3)
    async with connected(stage.config.database_url) as other:

        async def write() -> None:
            while True:
                await add(other, busy)
                await asyncio.sleep(STEP_SECONDS)

        writing = asyncio.create_task(write())
        try:
            async with stage.projector(letters_max_bytes=1) as told:
                await eventually(lambda: told.comparisons > 1 and not told.letters_open, "no letter is written")
                await stage.view.redis.delete(*map(stage.view.keys.header, waiting))
                for session_id in waiting:
                    await stage.hot(session_id)

                assert not told.letters_open
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def test_a_dump_keeps_all_tables_from_being_emptied(stage: Bench) -> None:
    """It reads, and nothing more; past the bound no letter is written until it ends. The runbook's query names it."""
    query = re.findall(r"```sql\n(SELECT DISTINCT a\.pid.*?);\n```", RUNBOOK, re.DOTALL)[0]
    async with (
        connected(stage.config.database_url) as dump,
        stage.projector(letters_max_bytes=10 * TURN_BYTES) as told,
    ):
        session_id = await hot_session(stage)
        await dump.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET application_name = 'pg_dump'")
        await dump.execute("LOCK TABLE readside.letters_0, readside.letters_1, readside.letters_2 IN ACCESS SHARE MODE")

        async def closed() -> bool:
            await add(stage.writer.connection, session_id, BATCH)
            return not told.letters_open

        await eventually(closed, "no letter is written any more")
        holders = {row["application_name"] for row in await stage.writer.connection.fetch(query)}
        total = int(await stage.writer.connection.fetchval("SELECT count(*) FROM events"))
        await shows(stage, session_id, total)
        assert holders - {"readside-projector"} == {"pg_dump"}
        await dump.execute("COMMIT")
        await eventually(lambda: told.letters_open, "letters are written again")

        assert (await settled(stage, session_id)).total == total
        assert (told.terms, told.drift) == (1, 0)


async def test_a_small_bound_closes_no_box_for_good(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table in use alone goes past it before it would be full; it is left all the same."""
    monkeypatch.setattr(household, "TURN_BYTES", 4_000_000)
    async with stage.projector(letters_max_bytes=3 * TURN_BYTES) as told:
        session_id = await hot_session(stage)
        await add(stage.writer.connection, session_id, 1_000)
        await add(stage.writer.connection, session_id, 1_000)
        await add(stage.writer.connection, session_id, 1_000)
        await eventually(lambda: told.letters_open and told.letters_bytes < TURN_BYTES, "the box is open and small")

        assert (await settled(stage, session_id)).total == 3_000


async def test_no_writer_waits_for_emptying(stage: Bench, emptied: list[int]) -> None:
    """Four writers who would fail after a tenth of a second's wait for a lock, while tables are emptied ten times."""
    failures = []

    async def write(session_id: str) -> None:
        async with connected(stage.config.database_url) as connection:
            await connection.execute("SET lock_timeout = '100ms'")
            while len(emptied) < 10:
                try:
                    await add(connection, session_id, 100)
                except asyncpg.LockNotAvailableError as error:
                    failures.append(error)

    async with stage.projector() as told:
        session_id = await hot_session(stage)
        async with asyncio.timeout(60):
            await asyncio.gather(*(write(session_id) for _ in range(4)))
        await settled(stage, session_id)

        assert failures == []
        assert (told.terms, told.drift) == (1, 0)
