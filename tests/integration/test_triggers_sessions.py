"""The notices of sessions, statement by statement, on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.notices import Notices, events, notice, noticed, only, sessions, sid


@pytest.fixture
async def notices(database_url: str) -> AsyncIterator[Notices]:
    """The triggers installed, ten sessions there, and a listener."""
    async with noticed(database_url) as notices:
        yield notices


async def test_new_sessions_are_named(notices: Notices) -> None:
    """One, as a single insert; many, 200 a notice."""
    one = await notices.of(sessions(11, 11))
    many = await notices.of(sessions(12, 212))

    assert one == only(notice("n", sid(11)))
    assert sorted(len(words) for _, words in many) == [1, 200]
    assert {verb for verb, _ in many} == {"n"}
    assert frozenset().union(*(words for _, words in many)) == {sid(i) for i in range(12, 213)}


async def test_5000_new_sessions_are_named_and_one_more_ends_the_term(notices: Notices) -> None:
    """At the bound and past it."""
    at = await notices.of(sessions(10_001, 15_000))
    past = await notices.of(sessions(20_001, 25_001))

    assert len(frozenset().union(*(words for _, words in at))) == 5000
    assert past == only(notice("x"))


async def test_a_sessions_status_is_told_when_it_changes(notices: Notices) -> None:
    """Another column, or the same status again, is nobody's business."""
    same = await notices.of("UPDATE sessions SET status = 'pending', updated_at = now()")
    changed = await notices.of(f"UPDATE sessions SET status = 'paused' WHERE id IN ('{sid(1)}', '{sid(2)}')")

    assert same == only()
    assert changed == only(notice("r", sid(1)), notice("r", sid(2)))


async def test_a_status_that_another_trigger_changes_is_told(notices: Notices) -> None:
    """The row as it was stored counts, not the columns that the statement names."""
    await notices.writer.execute("""
        CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN NEW.status := 'completed'; RETURN NEW; END $$;
        CREATE TRIGGER finish BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION finish()""")
    heard = await notices.of(f"UPDATE sessions SET completed_at = now() WHERE id = '{sid(1)}'")

    assert heard == only(notice("r", sid(1)))


async def test_a_changed_session_id_asks_for_a_look_at_both(notices: Notices) -> None:
    """The one is gone and the other is there."""
    heard = await notices.of(f"UPDATE sessions SET id = '{sid(99)}' WHERE id = '{sid(1)}'")

    assert heard == only(notice("l", sid(1), sid(99)))


async def test_a_deleted_session_asks_for_a_look_once(notices: Notices) -> None:
    """Its events go by cascade with the very same notice, which Postgres sends once a transaction."""
    await notices.of(events(1, 5))
    heard = await notices.of(f"DELETE FROM sessions WHERE id = '{sid(1)}'")

    assert heard == only(notice("l", sid(1)))


async def test_purged_sessions_are_all_looked_at(notices: Notices) -> None:
    """With and without events; the cascade of a whole statement fires its triggers once."""
    await notices.of(events(1, 4, "1 + i % 2"))
    heard = await notices.of(f"DELETE FROM sessions WHERE id <= '{sid(3)}'")

    assert heard == only(notice("l", sid(1), sid(2)), notice("l", sid(1), sid(2), sid(3)))


async def test_a_purge_of_more_than_5000_sessions_ends_the_term(notices: Notices) -> None:
    """Past the bound one notice says it all."""
    await notices.of(sessions(11, 5001), *(events(first, first + 999, "i") for first in range(1, 5001, 1000)))
    await notices.of(events(5001, 5001, "i"))

    assert await notices.of("DELETE FROM sessions") == only(notice("x"))


async def test_their_migrations_may_alter_the_type_of_a_column(notices: Notices) -> None:
    """No trigger of ours names a column: a migration goes through, and statuses are told as before."""
    await notices.of("ALTER TABLE sessions ALTER status TYPE varchar(40), ALTER mode TYPE varchar(40)")

    assert await notices.of(f"UPDATE sessions SET status = 'failed' WHERE id = '{sid(1)}'") == only(notice("r", sid(1)))
