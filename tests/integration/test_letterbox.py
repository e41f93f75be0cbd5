"""Each letter is read exactly once: whatever the order of commits, savepoints, and how long transactions stay open."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letterboxes import add, hot_session, own_server, prepared, preparing_bench, settled, writers
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

MANY = 1_000


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def preparing_server() -> Iterator[EmbeddedPostgres]:
    """A server on which transactions can be prepared."""
    with own_server(max_prepared_transactions=str(MANY + 10), max_locks_per_transaction="256") as server:
        yield server


@pytest.mark.parametrize("busy", [False, True])
async def test_each_letter_is_read_once_in_whatever_order_transactions_commit(stage: Bench, busy: bool) -> None:
    """Twenty are open at once, begun in one order, ended in another; readings lie in between."""
    chance = random.Random(7)
    async with stage.projector(doorbell=not busy) as told, writers(stage.config.database_url, 20) as connections:
        session_id = await hot_session(stage)
        before, total = told.letters, 0
        for _ in range(5):
            for connection in chance.sample(connections, 20):
                await connection.execute("BEGIN")
                await add(connection, session_id, count := chance.randint(1, 3))
                total += count
            for connection in chance.sample(connections, 20):
                await connection.execute("COMMIT")
        await stage.same(session_id)

        assert (await stage.same(session_id)).total == total
        assert told.letters - before == total
        assert (told.comparisons, told.terms, told.drift) == (0, 1, 0)


async def test_what_is_rolled_back_leaves_no_letter(stage: Bench) -> None:
    """Neither a transaction nor a savepoint, at whatever depth."""
    connection = stage.writer.connection
    async with stage.projector() as told:
        session_id = await hot_session(stage)
        before = told.letters
        await connection.execute("BEGIN")
        await add(connection, session_id)
        await connection.execute("ROLLBACK")
        await connection.execute("BEGIN; SAVEPOINT a")
        await add(connection, session_id)
        await connection.execute("SAVEPOINT b")
        await add(connection, session_id, 2)
        await connection.execute("ROLLBACK TO b; RELEASE a; SAVEPOINT c")
        await add(connection, session_id, 3)
        await connection.execute("ROLLBACK TO c; COMMIT")

        assert (await stage.same(session_id)).total == 1
        assert told.letters - before == 1


async def test_thousands_of_savepoints_are_one_transaction(stage: Bench) -> None:
    """Letters bear the id of the whole transaction; more of its parts than a snapshot lists are no matter."""
    connection = stage.writer.connection
    async with stage.projector() as told:
        session_id = await hot_session(stage)
        before = told.letters
        await connection.execute("BEGIN")
        for n in range(2_000):
            await connection.execute(f"SAVEPOINT s{n}")
            await add(connection, session_id)
        await connection.execute("COMMIT")

        assert (await settled(stage, session_id)).total == 2_000
        assert told.letters - before == 2_000


async def test_a_long_transaction_is_told_when_it_ends(stage: Bench) -> None:
    """It wrote before all others and between them; its letters are read once, at its end."""
    async with stage.projector() as told, connected(stage.config.database_url) as slow:
        session_id = await hot_session(stage)
        before = told.letters
        await slow.execute("BEGIN")
        for n in range(1, 21):
            await add(slow, session_id)
            await stage.writer.event(session_id)
            assert (await stage.same(session_id)).total == n
        await slow.execute("COMMIT")

        assert (await stage.same(session_id)).total == 40
        assert told.letters - before == 40


async def test_thousands_of_open_transactions_are_told_one_by_one(
    preparing_server: EmbeddedPostgres, redis_url: str
) -> None:
    """Prepared, they stand in each snapshot; each is told when it ends, and the rolled back ones never."""
    async with preparing_bench(preparing_server, redis_url) as stage, stage.projector() as told:
        session_id = await hot_session(stage)
        before = told.letters
        names = [await prepared(stage.writer.connection, session_id) for _ in range(MANY)]
        assert (await stage.same(session_id)).total == 0
        random.Random(3).shuffle(names)
        for name in names[::2]:
            await stage.writer.connection.execute(f"COMMIT PREPARED '{name}'")
        for name in names[1::2]:
            await stage.writer.connection.execute(f"ROLLBACK PREPARED '{name}'")

        assert (await stage.same(session_id)).total == MANY // 2
        assert told.letters - before == MANY // 2
        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)


async def test_readings_stop_nobody_and_miss_nobody_while_many_write(stage: Bench) -> None:
    """Eight writers in their own loops of transactions, some rolled back: the letters read are those committed."""
    chance = random.Random(11)
    committed = 0

    async with stage.projector() as told, writers(stage.config.database_url, 8) as connections:
        session_id = await hot_session(stage)
        before = told.letters

        async def write(number: int) -> int:
            written = 0
            for _ in range(60):
                await connections[number].execute("BEGIN")
                await add(connections[number], session_id, 2)
                await asyncio.sleep(0)
                kept = chance.random() < 0.8
                await connections[number].execute("COMMIT" if kept else "ROLLBACK")
                written += 2 * kept
            return written

        committed = sum(await asyncio.gather(*map(write, range(8))))
        assert (await stage.same(session_id)).total == committed
        await eventually(lambda: told.letters - before >= committed, "every letter is read")

        assert told.letters - before == committed
        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)


async def test_letters_of_another_cluster_say_nothing(stage: Bench) -> None:
    """A dump brought them: their ids are not reached here, so an `x` ends no term, and the table is emptied."""
    async with stage.projector() as telemetry:
        await stage.caught_up()
        await stage.writer.connection.execute(
            "INSERT INTO readside.letters_1 SELECT '9000000000'::xid8, 'x' FROM generate_series(1, 10)"
        )

        async def emptied() -> bool:
            size = await stage.writer.connection.fetchval("SELECT pg_relation_size('readside.letters_1')")
            return bool(size == 0)

        await eventually(emptied, "the table is emptied")
        await stage.caught_up()

        assert (telemetry.terms, telemetry.state, telemetry.letters) == (1, "live", 0)
