"""The letters about sessions, statement by statement, on a real Postgres."""

from __future__ import annotations

import pytest

from tests.support.letters import Letterbox, events, letter, only, sessions, sid

pytestmark = pytest.mark.installed


@pytest.mark.asyncio(loop_scope="module")
async def test_new_sessions_are_named(anew: Letterbox) -> None:
    """One, as a single insert, and many."""
    one = await anew.of(sessions(11, 11))
    many = await anew.of(sessions(12, 212))

    assert one == only(letter("n", 11))
    assert many == only(*(letter("n", i) for i in range(12, 213)))


@pytest.mark.asyncio(loop_scope="module")
async def test_5000_new_sessions_are_named_and_one_more_ends_the_term(anew: Letterbox) -> None:
    """At the bound and past it."""
    at = await anew.of(sessions(10_001, 15_000))
    past = await anew.of(sessions(20_001, 25_001))

    assert at == only(*(letter("n", i) for i in range(10_001, 15_001)))
    assert past[letter("x")] == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_a_sessions_status_is_told_when_it_changes(anew: Letterbox) -> None:
    """Another column, or the same status again, is nobody's business."""
    same = await anew.of("UPDATE sessions SET status = 'pending', updated_at = now()")
    changed = await anew.of(f"UPDATE sessions SET status = 'paused' WHERE id IN ('{sid(1)}', '{sid(2)}')")

    assert same == only()
    assert changed == only(letter("r", 1), letter("r", 2))


async def test_a_status_that_another_trigger_changes_is_told(box: Letterbox) -> None:
    """The row as it was stored counts, not the columns that the statement names."""
    await box.writer.execute("""
        CREATE FUNCTION finish() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN NEW.status := 'completed'; RETURN NEW; END $$;
        CREATE TRIGGER finish BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION finish()""")
    heard = await box.of(f"UPDATE sessions SET completed_at = now() WHERE id = '{sid(1)}'")

    assert heard == only(letter("r", 1))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_changed_session_id_asks_for_a_look_at_both(anew: Letterbox) -> None:
    """The one is gone and the other is there."""
    heard = await anew.of(f"UPDATE sessions SET id = '{sid(99)}' WHERE id = '{sid(1)}'")

    assert heard == only(letter("l", 1), letter("l", 99))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_deleted_session_asks_for_a_look(anew: Letterbox) -> None:
    """Once for the row, and once for its events, which go by cascade."""
    await anew.of(events(1, 5))
    heard = await anew.of(f"DELETE FROM sessions WHERE id = '{sid(1)}'")

    assert heard == only(letter("l", 1), letter("l", 1))


@pytest.mark.asyncio(loop_scope="module")
async def test_purged_sessions_are_all_looked_at(anew: Letterbox) -> None:
    """With and without events; the cascade of a whole statement fires its triggers once."""
    await anew.of(events(1, 4, "1 + i % 2"))
    heard = await anew.of(f"DELETE FROM sessions WHERE id <= '{sid(3)}'")

    assert heard == only(letter("l", 1), letter("l", 2), letter("l", 1), letter("l", 2), letter("l", 3))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_purge_of_more_than_5000_sessions_ends_the_term(anew: Letterbox) -> None:
    """Past the bound one letter says it all."""
    await anew.of(sessions(11, 5001), *(events(first, first + 999, "i") for first in range(1, 5001, 1000)))
    await anew.of(events(5001, 5001, "i"))

    heard = await anew.of("DELETE FROM sessions")

    assert heard[letter("x")] == 2
    assert heard.total() == 2 * 5002


async def test_their_migrations_may_alter_the_type_of_a_column(box: Letterbox) -> None:
    """No trigger of ours names a column: a migration goes through, and statuses are told as before."""
    await box.of("ALTER TABLE sessions ALTER status TYPE varchar(40), ALTER mode TYPE varchar(40)")

    assert await box.of(f"UPDATE sessions SET status = 'failed' WHERE id = '{sid(1)}'") == only(letter("r", 1))
