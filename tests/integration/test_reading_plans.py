"""What a reading costs: its plans use the right indexes, on tables without statistics, after dead rows, at any time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from projector.tail.connection import Tail, open_tail
from projector.tail.letterbox import MAX_IDS, MAX_RENDERED, MAX_SESSIONS, RENDERED_BYTES, Letterbox
from tests.support.letterboxes import add
from tests.support.projecting import Bench, bench

pytestmark = pytest.mark.installed

BOUNDS = {"quiet": (MAX_RENDERED, RENDERED_BYTES), "busy": (MAX_IDS, MAX_SESSIONS)}
SCANS = re.compile(r"Seq Scan on (?:readside\.)?(letters_\d|events|sessions)\b")
PAGES = re.compile(r"Buffers: shared hit=(\d+)(?: read=(\d+))?|Buffers: shared read=(\d+)")


class Plans:
    """The leader's connection, and a letterbox on it."""

    def __init__(self, tail: Tail, box: Letterbox) -> None:
        self.tail = tail
        self.box = box

    async def explained(self, name: str, snapshot: str) -> str:
        """How a reading is done, with what it touched."""
        sql = self.box._sql[name]
        rows = await self.tail.rows(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {bound(sql, snapshot, *BOUNDS[name])}", timeout=60
        )
        return "\n".join(row[0] for row in rows)

    async def generic(self, name: str) -> str:
        """The plan that the leader's prepared statement has: made once, for whatever comes."""
        await self.tail.rows(f"PREPARE {name} (text, boolean, bigint, bigint) AS {self.box._sql[name]}")
        given = ", ".join(map(str, BOUNDS[name]))
        rows = await self.tail.rows(f"EXPLAIN EXECUTE {name} ('1:1:', true, {given})")
        await self.tail.rows(f"DEALLOCATE {name}")
        return "\n".join(row[0] for row in rows)

    async def snapshot(self) -> str:
        """What is seen now."""
        return str(await self.tail.value("SELECT pg_current_snapshot()::text"))


def bound(sql: str, snapshot: str, *bounds: int) -> str:
    """The statement with its arguments written out."""
    values = (f"'{snapshot}'", "true", *map(str, bounds))
    return re.sub(r"\$(\d)", lambda found: values[int(found[1]) - 1], sql)


def pages(plan: str) -> int:
    """How many pages the whole statement touched."""
    found = PAGES.search(plan)
    assert found is not None, plan
    return sum(int(number or 0) for number in found.groups())


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@asynccontextmanager
async def reading(stage: Bench) -> AsyncIterator[Plans]:
    """A leader that has begun to read, with its real connection."""
    url = stage.config.database_url
    async with open_tail(url, url, heartbeat_seconds=0.05, statement_cache_size=10) as (tail, reads):
        box = Letterbox(tail, reads.tables, "readside", 10**9)
        await box.begin()
        await box.begin_reading()
        yield Plans(tail, box)


@pytest.fixture
async def plans(stage: Bench) -> AsyncIterator[Plans]:
    """One over empty tables."""
    async with reading(stage) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers, for tests of what a reading costs where much lies."""
    async with bench(lasting_database_url, lasting_redis_url) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plans_of_full(full: Bench) -> AsyncIterator[Plans]:
    """Thirty thousand old letters, as many dead ones, a hundred thousand events."""
    async with reading(full) as made:
        connection, session_id = full.writer.connection, await full.writer.session()
        for _ in range(30):
            await made.box.renew(ring=False)
            await add(connection, session_id, 1_000)
            await connection.execute("BEGIN")
            await add(connection, session_id, 1_000)
            await connection.execute("ROLLBACK")
        yield made


@pytest.mark.parametrize("name", ["quiet", "busy"])
async def test_the_plan_made_once_reads_nothing_from_end_to_end(plans: Plans, name: str) -> None:
    """On tables that are empty and that nobody has analysed: the worst moment to make it."""
    plan = await plans.generic(name)

    assert SCANS.findall(plan) == []
    assert plan.count("letters_0_txid") == plan.count("letters_1_txid") == plan.count("letters_2_txid") >= 2
    if name == "quiet":
        assert re.findall(r"using (\S+) on events", plan) == ["events_pkey"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["quiet", "busy"])
async def test_a_reading_costs_what_is_new_however_much_lies_there(
    full: Bench, plans_of_full: Plans, name: str
) -> None:
    """One new letter costs a few pages."""
    plans = plans_of_full
    await plans.box.renew(ring=False)
    session_id = await full.writer.session()
    nothing = pages(await plans.explained(name, await plans.snapshot()))
    before = await plans.snapshot()
    await add(full.writer.connection, session_id)
    plan = await plans.explained(name, before)
    made_now = await plans.generic(name)

    assert SCANS.findall(plan + made_now) == []
    assert nothing < 150, plan
    assert pages(plan) < 150, plan
    if name == "quiet":
        assert re.findall(r"using (\S+) on events", made_now) == ["events_pkey"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_snapshot_with_a_thousand_open_transactions_costs_a_lookup_each(plans_of_full: Plans) -> None:
    """Not a scan of all for each."""
    plans = plans_of_full
    xmax = int((await plans.snapshot()).split(":")[1])
    xip = ",".join(str(xmax + n) for n in range(1, 1_001))
    plan = await plans.explained("busy", f"{xmax + 1}:{xmax + 1_002}:{xip}")

    assert SCANS.findall(plan) == []
    assert pages(plan) < 3 * 1_000 * 4


async def test_emptying_looks_for_unread_letters_by_the_index(stage: Bench, plans: Plans) -> None:
    """The table is locked meanwhile: it must not read fifty thousand letters to find none."""
    connection = stage.writer.connection
    session_id = await stage.writer.session()
    for _ in range(20):
        await add(connection, session_id, 1_000)
    plans.box.turn = 1
    await plans.box.renew(ring=False)
    await plans.box.read(beat=True, busy=True)
    before = await scans(plans)
    await plans.box.empty((0,))
    assert await scans(plans) == before

    assert await connection.fetchval("SELECT count(*) FROM readside.letters_0") == 0


async def scans(plans: Plans) -> int:
    """How many letters were read by reading a table from end to end."""
    await plans.tail.rows("SELECT pg_stat_force_next_flush()")
    read = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = 'readside'"
    return int(await plans.tail.value(read))
