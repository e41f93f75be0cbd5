"""Bursts and sizes: a projector process stays small, as-of moves on for everybody, and the view is exact in the end."""

from collections.abc import AsyncIterator
from uuid import uuid4

import orjson
import pytest

from projector.catch_up import SESSIONS_PER_QUERY
from projector.core.operations import Add, Operation, Put, StagedSession
from projector.sql import statement
from readmodel.values.event import EventRow
from readmodel.view.reader import Cold, ViewPage
from tests.support.gauges import Gauges, hot, projector_process, settled, states
from tests.support.healing import end_the_lead
from tests.support.projecting import MAX_BYTES, Bench, bench
from tests.support.servers import TABLES, connected
from tests.support.viewing import Stage
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

MOST_MB = 300
"""Resident, at any time; 117 MB was the most that was measured, of which 60 are the program at rest."""
MOST_MB_OF_LETTERS = 130
"""What letters alone add to a projector at rest: 56 MB was measured, on another machine about 85."""
MOST_SECONDS = 60.0
"""As-of stands still: 5 s were measured on a busy machine, and others are slower."""

INSERT_SESSIONS = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
SELECT gen_random_uuid(), 'workflow', 'in_progress', 'auto', '/p', '{}', now(), now() FROM generate_series(1, $1::int)
RETURNING id::text
"""
INSERT_EVENTS = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), s.id::uuid, 'step_created', '{"n": 1}', now() + n * interval '1 ms'
FROM unnest($1::text[]) s (id), generate_series(1, $2::int) n
"""
LETTERS = """
INSERT INTO readside.letters_0 (txid, kind, session_id, event_id)
SELECT pg_current_xact_id(), '{kind}', {session}, {event} FROM generate_series({first}, {last}) n
"""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made


async def sessions(stage: Bench, count: int) -> list[str]:
    """Insert so many sessions in one statement."""
    return [row["id"] for row in await stage.writer.connection.fetch(INSERT_SESSIONS, count)]


def within_bounds(gauges: Gauges) -> None:
    """Memory, and as-of's progress."""
    assert gauges.peak_mb() < MOST_MB
    assert gauges.longest_gap < MOST_SECONDS


async def test_half_a_million_letters(stage: Bench) -> None:
    """Cold sessions, a hot one with ids that are no events; and 40,000 rows in 200 statements."""
    connection = stage.writer.connection
    some = await sessions(stage, 20)
    letters = (
        ("l", "md5((n % 50000)::text)::uuid", "NULL", 150_000),
        ("a", "md5((n % 50000)::text)::uuid", "md5('e' || n)::uuid", 300_000),
        ("a", f"'{some[0]}'::uuid", "md5(n::text)::uuid", 50_000),
    )
    async with projector_process(stage) as gauges:
        await hot(stage, some)
        at_rest = gauges.peak_mb()
        for kind, session, event, count in letters:
            for first in range(1, count, 50_000):
                bounds = {"first": first, "last": first + 49_999}
                await connection.execute(LETTERS.format(kind=kind, session=session, event=event, **bounds))
        for _ in range(200):
            await connection.execute(INSERT_EVENTS, some, 10)
        await settled(stage)
        await hot(stage, some)

        assert gauges.peak_mb() - at_rest < MOST_MB_OF_LETTERS
        assert await states(stage, some) == {"same"}
        assert (await stage.same(some[0])).total == 2_000
        within_bounds(gauges)
        reports = [orjson.loads(report) for report in (await stage.view.projectors()).values()]
        assert [report["connections"] for report in reports] == [1]  # busy is not broken


async def test_two_hundred_thousand_events_in_one_transaction(stage: Bench) -> None:
    """60,000 of one session and 140,000 of 140; the large one keeps its newest hot, and its total is exact."""
    connection = stage.writer.connection
    other, large, *many = await sessions(stage, 142)
    async with projector_process(stage) as gauges:
        await hot(stage, [other, large, *many])
        async with connection.transaction():
            await connection.execute(INSERT_EVENTS, many, 1_000)
            await connection.execute(INSERT_EVENTS, [large], 60_000)
        await stage.writer.event(other)
        await settled(stage)
        await hot(stage, [other, large, *many])
        assert (await stage.same(other)).total == 1
        assert [header.count if header else 0 for header in await stage.view.headers(many)] == [1_000] * 140
        assert await states(stage, [large, *many[::20]]) == {"same"}

        assert (await stage.same(large, limit=1000, page=20)).total == 60_000
        assert await stage.read(large, limit=1000, page=21) == Cold("older than the window")
        await stage.writer.event(large, timestamp="2001-01-01T00:00:00Z")
        await settled(stage)
        await hot(stage, [large])
        assert (await stage.same(large, types=("step_created",))).total == 60_001
        within_bounds(gauges)
    commands = await stage.view.redis.info("commandstats")
    assert commands["cmdstat_unlink"]["calls"] > 140
    assert commands["cmdstat_del"]["calls"] == 1  # of the position; a large session's would have everybody wait


async def fill(stage: Bench, count: int) -> list[str]:
    """Leave a view of `count` sessions of two events each, as a term would."""
    async with stage.projector(warm_limit=0):
        await stage.caught_up()
    position = await stage.view.position()
    assert position
    written = await sessions(stage, count)
    await stage.writer.connection.execute(INSERT_EVENTS, written, 2)
    view = Stage(stage.view.redis)
    await view.begin("filled", position.term, position.database)
    for start in range(0, count, 500):
        chunk = written[start : start + 500]
        ids = await stage.writer.connection.fetch("SELECT id FROM events WHERE session_id = ANY ($1::uuid[])", chunk)
        rows = await stage.writer.connection.fetch(
            statement("added", TABLES), [row["id"].hex for row in ids], MAX_BYTES, MAX_BYTES
        )
        events: dict[str, list[EventRow]] = {}
        for row in rows:
            events.setdefault(row["session_id"], []).append(EventRow(*(row[name] for name in EventRow._fields)))
        empty = StagedSession("", 0, {"status": "in_progress", "count": 0, "hi": 0, "lo": 0, "bytes": 0})
        operations: list[Operation] = []
        for session_id in chunk:
            operations += [Put(session_id, empty), Add(session_id, tuple(events[session_id]))]
        await view.apply(*operations, as_of_us=1)
    return written


async def test_eight_thousand_hot_sessions_are_caught_up(stage: Bench) -> None:
    """After a restart and in a new term all of them are stamped, none is loaded, and as-of goes on soon."""
    written = await fill(stage, 8_000)
    async with projector_process(stage, WARM_LIMIT=0) as gauges:
        await stage.writer.end_the_term()
        await settled(stage)
        position = await stage.view.position()
        headers = [
            header
            for start in range(0, len(written), SESSIONS_PER_QUERY)
            for header in await stage.view.headers(written[start : start + SESSIONS_PER_QUERY])
        ]
        assert position
        assert {header.term if header else None for header in headers} == {position.term}
        assert (await stage.same(written[-1])).total == 2
        within_bounds(gauges)


async def test_catching_up_reads_what_is_hot(stage: Bench) -> None:
    """200 hot events beside 40,000 cold ones: no scan of the table, and few more rows than the hot ones."""
    cold, *some = await sessions(stage, 21)
    await stage.writer.connection.execute("UPDATE sessions SET status = 'completed' WHERE id = $1::uuid", cold)
    await stage.writer.events(cold, 40_000)
    await stage.writer.connection.execute(INSERT_EVENTS, some, 10)
    await stage.writer.connection.execute("ANALYZE")
    async with stage.projector():
        await hot(stage, some)
    before = await rows_read(stage)
    async with stage.projector():
        await stage.caught_up()
        assert isinstance(await stage.read(some[0]), ViewPage)
    after = await rows_read(stage)

    assert after[0] == before[0]
    assert 200 <= after[1] - before[1] < 20_000


async def rows_read(stage: Bench) -> tuple[int, int]:
    """Sequential scans of the events, and rows of them that indexes fetched, once all other connections have gone."""
    connection = stage.writer.connection

    async def alone() -> bool:
        others = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'readside%'"
        return bool(await connection.fetchval(f"{others} AND datname = current_database()") == 0)

    await eventually(alone, "the projector's connections are closed")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    row = await connection.fetchrow(
        "SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events' AND schemaname = 'public'"
    )
    assert row
    return row["seq_scan"], row["idx_tup_fetch"]


async def test_a_transaction_outlives_a_reconnect(stage: Bench) -> None:
    """Begun before the leader is cut off, committed after the next term is live: nothing of it is missed."""
    async with stage.projector() as telemetry, connected(stage.config.database_url) as slow:
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(INSERT_EVENTS, [session_id], 500)
        await stage.writer.event(session_id)
        connections = telemetry.connections
        await end_the_lead(stage)
        await eventually(lambda: telemetry.connections > connections and telemetry.state == "live", "it is live again")
        assert (await stage.same(session_id)).total == 1
        await transaction.commit()

        assert (await stage.same(session_id, limit=1000)).total == 501


async def test_bad_sessions_are_set_aside_and_odd_ones_are_not(stage: Bench) -> None:
    """Instants that no double holds and an event larger than the window; but any type, and 10,000 equal timestamps."""
    writer, name = stage.writer, "tïpe \"'\\ \n:{}"
    async with stage.projector(window_bytes=3_000_000) as telemetry:
        good, odd, large, equal, *bad = await sessions(stage, 8)
        await hot(stage, [good, odd, large, equal, *bad])
        for session_id, instant in zip(
            bad, ["infinity", "-infinity", "1500-01-01T00:00:00Z", "0044-03-15 00:00:00+00 BC"], strict=True
        ):
            await writer.event(session_id, timestamp=instant)
        await writer.event(large, message="x" * 4_000_000)
        for event_type in (name, "", "x" * 100, "t:step_created", "step_created"):
            await writer.event(odd, event_type=event_type)
        await writer.connection.execute(
            "INSERT INTO events SELECT gen_random_uuid(), $1::uuid, NULL, 'step_created', '{}', NULL, '2026-01-01' "
            "FROM generate_series(1, 10000)",
            equal,
        )
        await writer.event(good)
        await stage.caught_up()
        await eventually(lambda: set(telemetry.set_aside()) == {*bad, large}, "the bad ones are set aside")
        await hot(stage, [equal])

        assert (await stage.same(good)).total == 1
        assert (await stage.same(odd)).total == 5
        assert (await stage.same(odd, types=("step_created",))).total == 1
        for page in (1, 7, 10):
            assert (await stage.same(equal, types=("step_created",), limit=1000, page=page)).total == 10_000
        assert isinstance(await stage.read(str(uuid4())), Cold)
