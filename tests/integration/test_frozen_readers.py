"""A leader that was frozen and thaws: another reads the letters, and the first ends with one sentence and no harm."""

from __future__ import annotations

import signal

import pytest

from tests.support.commanding import Site
from tests.support.letterboxes import add, hot_session, lapsed, lease_ms, settled, shows, skips
from tests.support.projecting import bench
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

READER = "SELECT last_value FROM readside.reader"


async def test_a_frozen_leader_that_thaws_does_no_harm(database_url: str, redis_url: str) -> None:
    """Frozen, replaced, thawed under load: it neither renews, reads on, empties nor writes."""
    site = Site.of(database_url, redis_url, REDIS_PREFIX="readside")
    async with bench(database_url, redis_url) as stage, site.projector() as frozen, connected(database_url) as slow:
        await frozen.says("live")
        session_id = await hot_session(stage)
        await slow.execute("BEGIN")
        await add(slow, session_id)
        frozen.process.send_signal(signal.SIGSTOP)
        async with stage.projector(heartbeat_seconds=0.2) as told:
            await eventually(lambda: told.role == "leader", "another leads")
            await stage.caught_up()
            await stage.hot(session_id)
            await stage.writer.event(session_id)
            await shows(stage, session_id, 1)
            reader = await stage.writer.connection.fetchval(READER)
            frozen.process.send_signal(signal.SIGCONT)
            for total in range(2, 12):
                await stage.writer.event(session_id)
                await shows(stage, session_id, total)
            await frozen.says("standing by")
            await slow.execute("COMMIT")
            await shows(stage, session_id, 12)

            assert await stage.writer.connection.fetchval(READER) == reader
            assert await lease_ms(stage.writer.connection) > 5_000
            assert (told.terms, told.drift) == (1, 0)
        # What was under way when it froze decides whether it names Redis first, whose answer came late.
        assert [len(frozen.said(state)) for state in ("leading", "live")] == [1, 1], frozen.text
        assert frozen.said("not live", "closed the leader's connection"), frozen.text


async def test_a_frozen_leader_that_nobody_replaces_goes_on(database_url: str, redis_url: str) -> None:
    """Frozen past its lease: what was skipped meanwhile is compared before as-of moves; no term ends."""
    site = Site.of(database_url, redis_url, REDIS_PREFIX="readside")
    async with bench(database_url, redis_url) as stage, site.projector() as frozen, connected(database_url) as slow:
        await frozen.says("live")
        session_id = await hot_session(stage)
        await slow.execute("BEGIN")
        await add(slow, session_id)
        frozen.process.send_signal(signal.SIGSTOP)
        await lapsed(stage.writer.connection)
        await stage.writer.event(session_id)
        assert await skips(stage.writer.connection) == 1
        frozen.process.send_signal(signal.SIGCONT)
        await shows(stage, session_id, 1)
        await slow.execute("COMMIT")
        await shows(stage, session_id, 2)

        assert (await settled(stage, session_id)).total == 2
        assert frozen.said("the term ended") == []
        # A statement that it had sent when it froze took too long by its clock: it may connect anew.
        assert all("sent the leader nothing" in said["reason"] for said in frozen.said("not live"))
