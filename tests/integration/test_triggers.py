"""The letters about events, statement by statement, on a real Postgres."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.letters import Letterbox, eid, events, letter, only, sessions, sid

pytestmark = pytest.mark.installed


@pytest.mark.asyncio(loop_scope="module")
async def test_one_event_is_named_with_its_session(anew: Letterbox) -> None:
    """The hot case."""
    assert await anew.of(events(7, 7)) == only(letter("a", 1, 7))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_statements_events_are_named_by_session(anew: Letterbox) -> None:
    """Three events of two sessions are three letters."""
    heard = await anew.of(events(1, 3, "1 + i % 2"))

    assert heard == only(letter("a", 2, 1), letter("a", 2, 3), letter("a", 1, 2))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thousand_events_of_a_session_are_named(anew: Letterbox) -> None:
    """They are the most that are."""
    heard = await anew.of(events(1, 1000))

    assert heard == only(*(letter("a", 1, i) for i in range(1, 1001)))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_session_with_more_than_1000_new_events_is_looked_at(anew: Letterbox) -> None:
    """Counted per session: the others of the same statement are named. What came first was named before the count."""
    heard = await anew.of(events(1, 2004, "CASE WHEN i <= 1001 THEN 1 WHEN i <= 2002 THEN 2 ELSE 3 END"))

    assert heard == only(
        *(letter("a", 1, i) for i in range(1, 1002)),
        letter("l", 1),
        letter("l", 2),
        letter("a", 3, 2003),
        letter("a", 3, 2004),
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_a_statement_over_5000_sessions_names_them_all(anew: Letterbox) -> None:
    """At the bound each session's event is named; the first thousand twice, which does no harm."""
    heard = await anew.of(sessions(11, 5000), events(1, 5000, "i"))

    assert {each for each in heard if each[0] == "a"} == {letter("a", i, i) for i in range(1, 5001)}
    assert sum(each[0] == "a" for each in heard.elements()) == 6001


@pytest.mark.asyncio(loop_scope="module")
async def test_events_of_more_than_5000_sessions_end_the_term(anew: Letterbox) -> None:
    """Past the bound one letter says it all."""
    await anew.of(sessions(11, 5001))
    heard = await anew.of(events(1, 5001, "i"))

    assert heard == only(letter("x"), *(letter("a", i, i) for i in range(1, 1002)))


async def test_copy_is_seen(box: Letterbox) -> None:
    """COPY is one statement."""
    rows = [(UUID(eid(i)), UUID(sid(1)), "x", "{}") for i in (1, 2)]
    await box.writer.execute("ALTER TABLE events ALTER timestamp SET DEFAULT now()")
    await box.writer.copy_records_to_table(
        "events", records=rows, columns=["id", "session_id", "event_type", "event_data"]
    )

    assert await box.of() == only(letter("a", 1, 1), letter("a", 1, 2))


@pytest.mark.asyncio(loop_scope="module")
async def test_an_upsert_is_an_insert_and_an_update(anew: Letterbox) -> None:
    """ON CONFLICT DO UPDATE fires both, each with its own rows; DO NOTHING names what came in."""
    await anew.of(events(1, 1))
    upsert = await anew.of(events(1, 2) + " ON CONFLICT (id) DO UPDATE SET message = 'again'")
    ignored = await anew.of(events(2, 3) + " ON CONFLICT DO NOTHING")

    assert upsert == only(letter("a", 1, 2), letter("l", 1))
    assert ignored == only(letter("a", 1, 3))


@pytest.mark.asyncio(loop_scope="module")
async def test_merge_is_all_that_it_does(anew: Letterbox) -> None:
    """MERGE fires the triggers of each of its actions."""
    await anew.of(events(1, 3, "i"))
    heard = await anew.of(f"""
        MERGE INTO events USING (VALUES (1), (2), (4)) AS given (i)
           ON events.id = ('00000000-0000-0000-0001-' || lpad(i::text, 12, '0'))::uuid
         WHEN MATCHED AND i = 1 THEN UPDATE SET message = 'changed'
         WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED THEN INSERT (id, session_id, event_type, event_data, timestamp)
              VALUES ('{UUID(eid(4))}', '{sid(4)}', 'x', '{{}}', now())""")

    assert heard == only(letter("l", 1), letter("l", 2), letter("a", 4, 4))


@pytest.mark.asyncio(loop_scope="module")
async def test_inserts_within_one_statement_are_seen_together(anew: Letterbox) -> None:
    """A writable CTE adds its rows to the same transition table."""
    heard = await anew.of(f"WITH first AS ({events(1, 1)} RETURNING 1) {events(2, 2, '2')}")

    assert heard == only(letter("a", 1, 1), letter("a", 2, 2))


async def test_an_insert_through_a_view_is_seen(box: Letterbox) -> None:
    """A simple view writes to its table."""
    view = "CREATE VIEW seen AS SELECT * FROM events"
    heard = await box.of(view, events(1, 1).replace("INTO events", "INTO seen"))

    assert heard == only(letter("a", 1, 1))


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_rolled_back_is_not_heard(anew: Letterbox) -> None:
    """A savepoint takes its letters with it."""
    async with anew.writer.transaction():
        await anew.writer.execute(events(1, 1))
        savepoint = anew.writer.transaction()
        await savepoint.start()
        await anew.writer.execute(events(2, 2))
        await savepoint.rollback()
        await anew.writer.execute(events(3, 3))

    assert await anew.of() == only(letter("a", 1, 1), letter("a", 1, 3))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_changed_event_asks_for_a_look(anew: Letterbox) -> None:
    """Whatever changed."""
    await anew.of(events(1, 3, "i"))
    heard = await anew.of("UPDATE events SET message = 'changed'")

    assert heard == only(letter("l", 1), letter("l", 2), letter("l", 3))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_moved_event_asks_for_a_look_at_both_sessions(anew: Letterbox) -> None:
    """It left one and came to the other."""
    await anew.of(events(1, 1))
    heard = await anew.of(f"UPDATE events SET session_id = '{sid(2)}'")

    assert heard == only(letter("l", 1), letter("l", 2))


@pytest.mark.asyncio(loop_scope="module")
async def test_deleted_events_ask_for_a_look(anew: Letterbox) -> None:
    """Each session is named once."""
    await anew.of(sessions(11, 201), events(1, 402, "1 + i % 201"))
    heard = await anew.of("DELETE FROM events")

    assert heard == only(*(letter("l", i) for i in range(1, 202)))


@pytest.mark.parametrize("statement", ["UPDATE events SET message = 'm'", "DELETE FROM events"])
async def test_changes_over_more_than_5000_sessions_end_the_term(box: Letterbox, statement: str) -> None:
    """Past the bound one letter says it all, and no more than the bound were written before it."""
    await box.of(sessions(11, 5001), "ALTER TABLE events DISABLE TRIGGER USER", events(1, 5001, "i"))
    await box.writer.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER readside_update")
    await box.writer.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER readside_delete")

    heard = await box.of(statement)

    assert heard[letter("x")] == 1
    assert heard.total() == 5002


async def test_events_that_go_with_their_step_ask_for_a_look(box: Letterbox) -> None:
    """A cascade from a table that we do not know."""
    step = UUID(int=1)
    await box.of(
        "CREATE TABLE steps (id uuid PRIMARY KEY)",
        f"INSERT INTO steps VALUES ('{step}')",
        "ALTER TABLE events ADD FOREIGN KEY (step_id) REFERENCES steps ON DELETE CASCADE",
        events(1, 2),
        f"UPDATE events SET step_id = '{step}' WHERE id = '{UUID(eid(1))}'",
    )

    assert await box.of("DELETE FROM steps") == only(letter("l", 1))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE events", "TRUNCATE sessions CASCADE", "TRUNCATE sessions, events", "TRUNCATE ONLY events"],
)
async def test_truncate_ends_the_term(anew: Letterbox, statement: str) -> None:
    """Whichever tables it empties."""
    await anew.of(events(1, 3))

    assert set(await anew.of(statement)) == {letter("x")}


@pytest.mark.asyncio(loop_scope="module")
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
async def test_a_statement_that_touches_no_row_says_nothing(anew: Letterbox, statement: str) -> None:
    """No letter, and no ring."""
    assert await anew.of(statement) == only()
