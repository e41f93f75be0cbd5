"""What may happen while partitions come and go: each order of things forced, over real stores and a real leader."""

from collections.abc import AsyncIterator

import pytest

from projector.core.operations import Put
from projector.loads.loads import Loader
from projector.tail.letterbox import Letterbox
from projector.view.writer import ViewWriter
from readmodel.view.reader import ViewPage
from tests.support.barriers import after, before, doing
from tests.support.partitions import MONTHLY, at, bounds, month
from tests.support.projecting import Bench, bench
from tests.support.racing import NEVER_SECONDS
from tests.support.servers import connected


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Events by month, a writer, and readers of both stores."""
    async with connected(database_url) as connection:
        await MONTHLY.make(connection)
    async with bench(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as made:
        yield made


async def attach(stage: Bench, session_id: str) -> None:
    """A table with two events of the session becomes a partition, and no letter tells of them."""
    connection = stage.writer.connection
    await connection.execute("CREATE TABLE events_4 (LIKE events INCLUDING ALL)")
    for _ in range(2):
        await connection.execute(
            f"INSERT INTO events_4 VALUES (gen_random_uuid(), '{session_id}', NULL, 'x', '{{}}', NULL, '{at(4)}')"
        )
    await connection.execute(f"ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES {bounds(4)}")


@pytest.mark.parametrize("point", ["registered", "snapped"])
async def test_race_load_against_attach(stage: Bench, patch: pytest.MonkeyPatch, point: str) -> None:
    """A load begins, a partition with events of its session is attached, the load goes on: no put lacks them."""
    sid = await stage.writer.session()
    await stage.writer.event(sid, timestamp=at(1))
    barrier = before(patch, Loader, "_try") if point == "registered" else before(patch, ViewWriter, "stage")
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    barrier.close()
    put.close()
    async with stage.projector() as telemetry:
        await barrier.reached()
        await attach(stage, sid)
        await stage.caught_up()
        barrier.open()
        await put.reached()
        found = await stage.read(sid)
        put.open()

        assert isinstance(found, ViewPage)
        assert found.total == 3
        assert telemetry.terms == 1


async def test_race_a_beat_sees_the_partition_before_it_is_compared(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A beat has seen a partition come whose rows are not in the view yet: as-of stands until they are looked for."""
    sid = await stage.writer.session()
    await stage.writer.event(sid, timestamp=at(1))
    judged = before(patch, Letterbox, "layouts")
    async with stage.projector() as telemetry:
        await stage.hot(sid)
        await stage.caught_up()
        judged.close()
        await attach(stage, sid)
        await judged.reached()
        held = await stage.read(sid)
        attached_us = await stage.writer.connection.fetchval(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        assert isinstance(held, ViewPage)
        assert held.total == 1
        assert held.as_of_us < attached_us
        judged.open()
        await stage.caught_up()
        await stage.hot(sid)

        assert (await stage.same(sid)).total == 3
        assert telemetry.terms == 1


async def test_race_a_partition_that_is_gone_before_it_is_looked_at(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A beat saw it come; it was detached again before it is judged: nothing of it is in the view."""
    sid = await stage.writer.session()
    await stage.writer.event(sid, timestamp=at(1))
    judged = before(patch, Letterbox, "layouts")
    async with stage.projector() as telemetry:
        await stage.hot(sid)
        await stage.caught_up()
        judged.close()
        await attach(stage, sid)
        await judged.reached()
        await stage.writer.connection.execute("ALTER TABLE events DETACH PARTITION events_4")
        judged.open()
        await stage.caught_up()
        await stage.hot(sid)

        assert (await stage.same(sid)).total == 1
        assert telemetry.terms == 1


async def test_race_a_write_before_the_leader_knows_the_partition(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A partition comes and is written to while a beat is held back: it is there once, by letter or by comparing."""
    sid = await stage.writer.session()
    reading = before(patch, Letterbox, "read")
    async with stage.projector() as telemetry:
        await stage.hot(sid)
        await stage.caught_up()
        reading.close()
        await reading.reached()
        await stage.writer.connection.execute(month(4))
        await stage.writer.connection.execute(
            f"INSERT INTO events_4 VALUES (gen_random_uuid(), '{sid}', NULL, 'x', '{{}}', NULL, '{at(4)}')"
        )
        reading.open()
        await stage.caught_up()
        await stage.hot(sid)

        assert (await stage.same(sid)).total == 1
        assert telemetry.terms == 1
