"""The notices of events, statement by statement, on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from tests.support.notices import Notices, eid, events, notice, noticed, only, sessions, sid


@pytest.fixture
async def notices(database_url: str) -> AsyncIterator[Notices]:
    """The triggers installed, ten sessions there, and a listener."""
    async with noticed(database_url) as notices:
        yield notices


async def test_one_event_is_named_with_its_session(notices: Notices) -> None:
    """The hot case, to the letter."""
    await notices.writer.execute(events(7, 7))

    assert await notices.heard() == [f"a {sid(1)} {eid(7)}"]


async def test_a_statements_events_are_named_by_session(notices: Notices) -> None:
    """Three events of two sessions are two notices."""
    heard = await notices.of(events(1, 3, "1 + i % 2"))

    assert heard == only(notice("a", sid(2), eid(1), eid(3)), notice("a", sid(1), eid(2)))


async def test_a_notice_names_200_events_at_most(notices: Notices) -> None:
    """A thousand events of one session, the most that are named, make five full notices."""
    heard = await notices.of(events(1, 1000))

    assert [verb for verb, _ in heard.elements()] == ["a"] * 5
    assert [len(words) for _, words in heard] == [201] * 5
    assert frozenset().union(*(words for _, words in heard)) == {sid(1), *(eid(i) for i in range(1, 1001))}


async def test_a_session_with_more_than_1000_new_events_is_looked_at(notices: Notices) -> None:
    """Counted per session: the others of the same statement are named."""
    heard = await notices.of(events(1, 2004, "CASE WHEN i <= 1001 THEN 1 WHEN i <= 2002 THEN 2 ELSE 3 END"))

    assert heard == only(notice("l", sid(1), sid(2)), notice("a", sid(3), eid(2003), eid(2004)))


async def test_a_statement_over_5000_sessions_names_them_all(notices: Notices) -> None:
    """At the bound each session has its notice."""
    heard = await notices.of(sessions(11, 5000), events(1, 5000, "i"))

    assert sum(verb == "a" for verb, _ in heard) == 5000


async def test_events_of_more_than_5000_sessions_end_the_term(notices: Notices) -> None:
    """Past the bound one notice says it all."""
    await notices.of(sessions(11, 5001))
    heard = await notices.of(events(1, 5001, "i"))

    assert heard == only(notice("x"))


async def test_copy_is_seen(notices: Notices) -> None:
    """COPY is one statement."""
    rows = [(UUID(eid(i)), UUID(sid(1)), "x", "{}") for i in (1, 2)]
    await notices.writer.execute("ALTER TABLE events ALTER timestamp SET DEFAULT now()")
    await notices.writer.copy_records_to_table(
        "events", records=rows, columns=["id", "session_id", "event_type", "event_data"]
    )

    assert await notices.of() == only(notice("a", sid(1), eid(1), eid(2)))


async def test_an_upsert_is_an_insert_and_an_update(notices: Notices) -> None:
    """ON CONFLICT DO UPDATE fires both, each with its own rows; DO NOTHING names what came in."""
    await notices.of(events(1, 1))
    upsert = await notices.of(events(1, 2) + " ON CONFLICT (id) DO UPDATE SET message = 'again'")
    ignored = await notices.of(events(2, 3) + " ON CONFLICT DO NOTHING")

    assert upsert == only(notice("a", sid(1), eid(2)), notice("l", sid(1)))
    assert ignored == only(notice("a", sid(1), eid(3)))


async def test_merge_is_all_that_it_does(notices: Notices) -> None:
    """MERGE fires the triggers of each of its actions."""
    await notices.of(events(1, 3, "i"))
    heard = await notices.of(f"""
        MERGE INTO events USING (VALUES (1), (2), (4)) AS given (i)
           ON events.id = ('00000000-0000-0000-0001-' || lpad(i::text, 12, '0'))::uuid
         WHEN MATCHED AND i = 1 THEN UPDATE SET message = 'changed'
         WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED THEN INSERT (id, session_id, event_type, event_data, timestamp)
              VALUES ('{UUID(eid(4))}', '{sid(4)}', 'x', '{{}}', now())""")

    assert heard == only(notice("l", sid(1)), notice("l", sid(2)), notice("a", sid(4), eid(4)))


async def test_inserts_within_one_statement_are_seen_together(notices: Notices) -> None:
    """A writable CTE adds its rows to the same transition table."""
    heard = await notices.of(f"WITH first AS ({events(1, 1)} RETURNING 1) {events(2, 2, '2')}")

    assert heard == only(notice("a", sid(1), eid(1)), notice("a", sid(2), eid(2)))


async def test_an_insert_through_a_view_is_seen(notices: Notices) -> None:
    """A simple view writes to its table."""
    view = "CREATE VIEW seen AS SELECT * FROM events"
    heard = await notices.of(view, events(1, 1).replace("INTO events", "INTO seen"))

    assert heard == only(notice("a", sid(1), eid(1)))


async def test_what_is_rolled_back_is_not_heard(notices: Notices) -> None:
    """A savepoint takes its notices with it."""
    async with notices.writer.transaction():
        await notices.writer.execute(events(1, 1))
        savepoint = notices.writer.transaction()
        await savepoint.start()
        await notices.writer.execute(events(2, 2))
        await savepoint.rollback()
        await notices.writer.execute(events(3, 3))

    assert await notices.of() == only(notice("a", sid(1), eid(1)), notice("a", sid(1), eid(3)))


async def test_a_changed_event_asks_for_a_look(notices: Notices) -> None:
    """Whatever changed."""
    await notices.of(events(1, 3, "i"))
    heard = await notices.of("UPDATE events SET message = 'changed'")

    assert heard == only(notice("l", sid(1), sid(2), sid(3)))


async def test_a_moved_event_asks_for_a_look_at_both_sessions(notices: Notices) -> None:
    """It left one and came to the other."""
    await notices.of(events(1, 1))
    heard = await notices.of(f"UPDATE events SET session_id = '{sid(2)}'")

    assert heard == only(notice("l", sid(1), sid(2)))


async def test_deleted_events_ask_for_a_look(notices: Notices) -> None:
    """Each session is named once, 200 a notice."""
    await notices.of(sessions(11, 201), events(1, 402, "1 + i % 201"))
    heard = await notices.of("DELETE FROM events")

    assert sorted(len(words) for _, words in heard) == [1, 200]
    assert frozenset().union(*(words for _, words in heard)) == {sid(i) for i in range(1, 202)}


@pytest.mark.parametrize("statement", ["UPDATE events SET message = 'm'", "DELETE FROM events"])
async def test_changes_over_more_than_5000_sessions_end_the_term(notices: Notices, statement: str) -> None:
    """Past the bound one notice says it all."""
    await notices.of(sessions(11, 5001), "ALTER TABLE events DISABLE TRIGGER USER", events(1, 5001, "i"))
    await notices.writer.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER readside_update")
    await notices.writer.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER readside_delete")

    assert await notices.of(statement) == only(notice("x"))


async def test_events_that_go_with_their_step_ask_for_a_look(notices: Notices) -> None:
    """A cascade from a table that we do not know."""
    step = UUID(int=1)
    await notices.of(
        "CREATE TABLE steps (id uuid PRIMARY KEY)",
        f"INSERT INTO steps VALUES ('{step}')",
        "ALTER TABLE events ADD FOREIGN KEY (step_id) REFERENCES steps ON DELETE CASCADE",
        events(1, 2),
        f"UPDATE events SET step_id = '{step}' WHERE id = '{UUID(eid(1))}'",
    )

    assert await notices.of("DELETE FROM steps") == only(notice("l", sid(1)))


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE events", "TRUNCATE sessions CASCADE", "TRUNCATE sessions, events", "TRUNCATE ONLY events"],
)
async def test_truncate_ends_the_term(notices: Notices, statement: str) -> None:
    """Once, whichever tables it empties."""
    await notices.of(events(1, 3))

    assert await notices.of(statement) == only(notice("x"))


@pytest.mark.parametrize(
    "statement",
    [
        events(1, 0),
        "UPDATE events SET message = 'm' WHERE false",
        "DELETE FROM events WHERE false",
        sessions(1, 0),
        sessions(1, 10) + " ON CONFLICT DO NOTHING",
        "UPDATE sessions SET status = 'paused' WHERE false",
        "DELETE FROM sessions WHERE false",
        "COPY events FROM PROGRAM 'true'",
        "SELECT * FROM sessions FOR UPDATE",
    ],
)
async def test_a_statement_that_touches_no_row_says_nothing(notices: Notices, statement: str) -> None:
    """No notice, no lock on the notification queue."""
    assert await notices.of(statement) == only()
