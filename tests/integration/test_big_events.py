"""Events of a megabyte and more: loads and steps read them a few at a time, and as-of moves on for everybody."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from projector.core.new_events import BYTES_OF_ALL
from projector.reads import Reads
from readmodel.view.reader import ViewPage
from tests.support.gauges import SETTLED_SECONDS, hot, projector_process, settled, states
from tests.support.projecting import Bench, bench
from tests.support.servers import TABLES
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

MOST_MB = 300
"""Resident, at any time: as in test_bounds."""
MOST_MB_OF_STEPS = 170
"""The same while sessions of one event are written to: twice 86 MB."""
MOST_SECONDS = 60.0

MAKE_BIG = "CREATE TEMP TABLE big AS SELECT jsonb_build_object('text', repeat('bytes of it ', $1::int / 12)) AS data"
INSERT_BIG = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), s.id::uuid, 'artifact_created', big.data, now() - interval '1 day' + n * interval '1 ms'
FROM big, unnest($1::text[]) s (id), generate_series(1, $2::int) n
"""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made


async def answered(stage: Bench, session_id: str) -> bool:
    """Whether the view answers for a session; a usual page would be longer than an answer may be."""
    return isinstance(await stage.read(session_id, limit=10), ViewPage)


@pytest.mark.parametrize(("tiny", "big", "size"), [(20, 60, 2_000_000), (2_020, 300, 1_000_000)])
async def test_big_events_behind_tiny_ones(stage: Bench, tiny: int, big: int, size: int) -> None:
    """What was fetched last says nothing of what comes next: four such sessions, of 300 MB, are loaded at once."""
    await stage.writer.connection.execute(MAKE_BIG.replace("$1", str(size)))
    large = [await stage.writer.session() for _ in range(4)]
    bystander = await stage.writer.session()
    for session_id in large:
        await stage.writer.events(session_id, tiny)
        await stage.writer.connection.execute(INSERT_BIG, [session_id], big)
    async with projector_process(stage) as gauges:
        await hot(stage, [bystander])
        await stage.writer.event(bystander)
        await settled(stage)
        for session_id in large:
            await eventually(partial(answered, stage, session_id), f"{session_id} is hot", SETTLED_SECONDS)

        assert (await stage.same(large[0], limit=10)).total == tiny + big
        assert await states(stage, [bystander]) == {"same"}
        assert gauges.peak_mb() < MOST_MB
        assert gauges.longest_gap < MOST_SECONDS


async def test_big_events_of_many_sessions_at_once(stage: Bench) -> None:
    """A transaction adds 900 kB to each of 200 hot sessions: few are added, the rest are loaded, a few at a time."""
    connection = stage.writer.connection
    await connection.execute(MAKE_BIG.replace("$1", "900000"))
    many = [await stage.writer.session() for _ in range(200)]
    bystander = await stage.writer.session()
    async with projector_process(stage) as gauges:
        await hot(stage, [*many, bystander])
        async with connection.transaction():
            await connection.execute(INSERT_BIG, many, 1)
            await stage.writer.event(bystander)
        await settled(stage)
        await hot(stage, [*many, bystander])

        assert await states(stage, [*many[::20], bystander]) == {"same"}
        assert gauges.peak_mb() < MOST_MB_OF_STEPS
        assert gauges.longest_gap < MOST_SECONDS


async def test_what_was_added_is_fetched_within_bounds(stage: Bench) -> None:
    """However many sessions one query names; the small events of others are added all the same."""
    connection = stage.writer.connection
    await connection.execute(MAKE_BIG.replace("$1", "900000"))
    many = [await stage.writer.session() for _ in range(60)]
    await connection.execute(INSERT_BIG, many[:40], 1)
    await connection.execute(INSERT_BIG, many[40:41], 2)
    for session_id in many[50:]:
        await stage.writer.event(session_id)
    wanted: dict[str, dict[str, None]] = {}
    for row in await connection.fetch("SELECT session_id::text, id FROM events"):
        wanted.setdefault(row["session_id"], {})[row["id"].hex] = None
    added = await Reads(stage.log._pool, stage.config.database_url, TABLES).added(wanted)

    assert added.rows.keys() | added.big == wanted.keys()
    assert added.rows.keys() >= set(many[50:])
    assert many[40] in added.big
    assert BYTES_OF_ALL * 0.8 < added.bytes <= BYTES_OF_ALL
    assert {sid: set(events) for sid, events in added.rows.items()} == {sid: set(wanted[sid]) for sid in added.rows}
