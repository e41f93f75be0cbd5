"""A full disk: letters that were read cannot be emptied; the term goes on, the operator is told, and it heals."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from projector.core import household
from projector.metrics import exposition
from projector.report import Reporter
from projector.tail import reader
from projector.telemetry import Telemetry
from readmodel.redis.client import connect
from readmodel.view.keys import Keys
from readmodel.view.reader import ViewReader
from tests.support.disks import fill_disk, free_disk
from tests.support.letterboxes import add, hot_session, settled, shows, sizes
from tests.support.logs import logged
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

TURN_BYTES = 100_000
LEADER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND mode = 'ExclusiveLock'"
NOT_EMPTIED = (
    "the letters that were read cannot be emptied, since PostgreSQL has no space left on its disk: they stay, writers "
    "may fail, and we try again every few seconds"
)


@pytest.fixture
async def stage(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; tables of letters are full soon."""
    monkeypatch.setattr(household, "TURN_BYTES", TURN_BYTES)
    monkeypatch.setattr(reader, "SPACE_SECONDS", 0.2)
    async with bench(database_url, redis_url) as made:
        yield made


async def left(stage: Bench, told: Telemetry, session_id: str) -> None:
    """Write until the table in use is left, and cannot be emptied."""

    async def stuck() -> bool:
        await add(stage.writer.connection, session_id, 500)
        return told.letters_disk_full is not None

    await eventually(stuck, "a table cannot be emptied")


async def test_a_table_that_cannot_be_emptied_for_want_of_space_ends_no_term(stage: Bench) -> None:
    """Events are shown meanwhile, the log tells it once; with space again all is emptied and exact."""
    with logged("info") as lines:
        async with stage.projector() as told:
            session_id = await hot_session(stage)
            leader = await stage.writer.connection.fetchval(LEADER)
            fill_disk(leader)
            await left(stage, told, session_id)
            total = int(await stage.writer.connection.fetchval("SELECT count(*) FROM events"))
            for _ in range(10):
                await add(stage.writer.connection, session_id, 500)
                total += 500
                await shows(stage, session_id, total)
            assert await sizes(stage.writer.connection) > TURN_BYTES
            (said,) = lines.said(NOT_EMPTIED)
            assert "no space left on its disk: could not extend file" in said["reason"]
            assert lines.said("letters are emptied again: the disk has space") == []
            free_disk(leader)
            await eventually(lambda: told.letters_disk_full is None, "letters are emptied again")
            await eventually(lambda: told.letters_bytes < 2 * TURN_BYTES, "the box is small")

            assert (await settled(stage, session_id)).total == total
            assert (told.terms, told.connections, told.comparisons, told.drift) == (1, 1, 0, 0)
            assert len(lines.said("letters are emptied again: the disk has space")) == 1


async def test_a_writer_that_finds_no_space_fails_by_itself(stage: Bench) -> None:
    """It gets PostgreSQL's own error; nothing of it is shown, and the view stays live and exact."""
    async with connected(stage.config.database_url) as writer, stage.projector() as told:
        session_id = await hot_session(stage)
        await writer.execute("BEGIN")
        fill_disk(await writer.fetchval("SELECT pg_backend_pid()"))
        with pytest.raises(asyncpg.PostgresError, match="could not extend file"):
            await add(writer, session_id, 5_000)
        await writer.execute("ROLLBACK")
        await stage.writer.event(session_id)

        assert (await settled(stage, session_id)).total == 1
        assert (told.state, told.terms, told.drift) == ("live", 1, 0)


async def test_the_operator_sees_that_the_disk_is_full(stage: Bench) -> None:
    """In the report that status and console show, among the last errors and in the metrics; live all the same."""
    redis = connect(stage.config.redis_url, name="test")
    async with stage.projector() as told:
        session_id = await hot_session(stage)
        fill_disk(await stage.writer.connection.fetchval(LEADER))
        await left(stage, told, session_id)
        report = Reporter([ViewReader(redis, Keys("readside"))], told).report(0)

        assert "no space left on its disk" in report["letters_disk_full"]
        assert report["errors"][0]["text"] == report["letters_disk_full"]
        assert (report["state"], report["letters_open"]) == ("live", True)
        assert b"readside_projector_letters_disk_full 1.0" in exposition(told)
    await redis.aclose()
