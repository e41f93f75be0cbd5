"""The notices that the triggers send, statement by statement, on a real Postgres."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from projector.triggers import install
from readmodel.postgres_client import Connection
from tests.servers import connected

LONGEST_PAYLOAD = 7999


def sid(number: int) -> str:
    """The session id that the statements below make of a number."""
    return f"00000000-0000-0000-0000-{number:012}"


def eid(number: int) -> str:
    """The event id that the statements below make of a number, as a notice writes it."""
    return f"00000000000000000001{number:012}"


def sessions(first: int, last: int) -> str:
    """A statement that inserts sessions by number."""
    return f"""INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
        SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 't', 'pending', 'm', '/p', '{{}}',
               now(), now()
          FROM generate_series({first}, {last}) AS i"""


def events(first: int, last: int, session: str = "1") -> str:
    """A statement that inserts events by number; `session` is an expression of `i`."""
    return f"""INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        SELECT ('00000000-0000-0000-0001-' || lpad(i::text, 12, '0'))::uuid,
               ('00000000-0000-0000-0000-' || lpad(({session})::text, 12, '0'))::uuid, 'x', '{{}}', now()
          FROM generate_series({first}, {last}) AS i"""


class Notices:
    """A writer's connection, and what a listener hears of it."""

    def __init__(self, writer: Connection, listener: Connection) -> None:
        self.writer = writer
        self._listener = listener
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        """Begin to listen."""
        await self._listener.add_listener("readside", lambda *heard: self._heard.put_nowait(str(heard[3])))

    async def heard(self) -> list[str]:
        """Every payload since the last call: a marker sent now comes after all of them."""
        marker = f"marker {secrets.token_hex(8)}"
        await self._listener.execute("SELECT pg_notify('readside', $1)", marker)
        payloads = []
        while (payload := await asyncio.wait_for(self._heard.get(), 30)) != marker:
            payloads.append(payload)
        return payloads

    async def of(self, *statements: str) -> Counter[tuple[str, frozenset[str]]]:
        """Run statements, one transaction each; return verb and words of each notice, and check its length."""
        for statement in statements:
            await self.writer.execute(statement)
        payloads = await self.heard()
        assert all(len(payload) <= LONGEST_PAYLOAD for payload in payloads)
        return Counter(notice(*payload.split()) for payload in payloads)


def notice(verb: str, *words: str) -> tuple[str, frozenset[str]]:
    """A notice without the order of its ids, which is nobody's business (an `a` names its session once, 36 long)."""
    return verb, frozenset(words)


def only(*expected: tuple[str, frozenset[str]]) -> Counter[tuple[str, frozenset[str]]]:
    """Exactly these notices, in any order."""
    return Counter(expected)


@pytest.fixture
async def notices(database_url: str) -> AsyncIterator[Notices]:
    """The triggers installed, ten sessions there, and a listener."""
    async with connected(database_url) as writer, connected(database_url) as listener:
        await writer.execute(sessions(1, 10))
        assert await install(writer, warn=pytest.fail)
        notices = Notices(writer, listener)
        await notices.listen()
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


async def test_a_writer_in_replica_mode_is_seen(notices: Notices) -> None:
    """ENABLE ALWAYS: session_replication_role does not hide a writer."""
    heard = await notices.of(
        "SET session_replication_role = replica",
        sessions(11, 11),
        events(1, 1),
        "UPDATE events SET message = 'changed'",
        f"UPDATE sessions SET status = 'paused' WHERE id = '{sid(2)}'",
        f"DELETE FROM sessions WHERE id = '{sid(11)}'",
        "TRUNCATE events",
    )

    assert heard == only(
        notice("n", sid(11)), notice("a", sid(1), eid(1)), notice("l", sid(1)), notice("r", sid(2)),
        notice("l", sid(11)), notice("x"),
    )  # fmt: skip


@pytest.fixture
async def insert_only_role(notices: Notices) -> AsyncIterator[str]:
    """A role that may only insert into the two tables, and nothing else."""
    role = f"writer_{secrets.token_hex(4)}"
    await notices.writer.execute(f"CREATE ROLE {role}; GRANT INSERT ON sessions, events TO {role}")
    yield role
    await notices.writer.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_role_that_may_only_insert_goes_on_writing(notices: Notices, insert_only_role: str) -> None:
    """It has no right to our schema, and needs none."""
    await notices.writer.execute(f"SET ROLE {insert_only_role}")
    may_look = await notices.writer.fetchval("SELECT has_schema_privilege('readside', 'USAGE')")
    heard = await notices.of(sessions(11, 12), events(1, 1, "11"), events(2, 3, "i"), events(10, 1010))

    assert may_look is False
    assert heard == only(
        notice("n", sid(11), sid(12)), notice("a", sid(11), eid(1)), notice("a", sid(2), eid(2)),
        notice("a", sid(3), eid(3)), notice("l", sid(1)),
    )  # fmt: skip


HIJACK = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.pg_notify(text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.replace(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.cardinality(uuid[]) RETURNS int LANGUAGE sql AS 'SELECT evil.trap()::int';
CREATE FUNCTION evil.joined(text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.same(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT evil.trap()::boolean';
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.trap()::boolean';
CREATE FUNCTION evil.same(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT evil.trap()::boolean';
CREATE OPERATOR evil.|| (FUNCTION = evil.joined, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = uuid, RIGHTARG = uuid);
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = int, RIGHTARG = int);
CREATE DOMAIN evil.uuid AS pg_catalog.uuid CHECK (false);
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
CREATE TABLE evil.added AS SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id;
CREATE TABLE evil.removed AS SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id;
CREATE TEMPORARY TABLE added AS SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id;
SET search_path = evil, pg_catalog, public;
"""


async def test_a_writers_search_path_changes_nothing(notices: Notices) -> None:
    """Functions, operators, types and tables of the same names, found first by the writer, are not used."""
    values = "'t', 'pending', 'm', '/p', '{}', now(), now()"
    heard = await notices.of(
        HIJACK,
        f"INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at) "
        f"VALUES ('{sid(11)}', {values}), ('{sid(12)}', {values})",
        f"INSERT INTO events VALUES ('{UUID(eid(1))}', '{sid(1)}', NULL, 'x', '{{}}', NULL, now())",
        f"INSERT INTO events VALUES ('{UUID(eid(2))}', '{sid(2)}', NULL, 'x', '{{}}', NULL, now()), "
        f"('{UUID(eid(3))}', '{sid(2)}', NULL, 'x', '{{}}', NULL, now())",
        f"UPDATE sessions SET status = 'paused' WHERE id OPERATOR(pg_catalog.=) '{sid(3)}'",
        "UPDATE events SET message = 'changed'",
        f"DELETE FROM sessions WHERE id OPERATOR(pg_catalog.=) '{sid(12)}'",
    )

    assert heard == only(
        notice("n", sid(11), sid(12)), notice("a", sid(1), eid(1)), notice("a", sid(2), eid(2), eid(3)),
        notice("r", sid(3)), notice("l", sid(1), sid(2)), notice("l", sid(12)),
    )  # fmt: skip


async def test_an_empty_search_path_is_enough(notices: Notices) -> None:
    """Writers may qualify the tables and see nothing else."""
    statement = events(1, 1).replace("INTO events", "INTO public.events")
    heard = await notices.of("SET search_path = ''", statement)

    assert heard == only(notice("a", sid(1), eid(1)))


async def test_columns_of_any_name_do_no_harm(notices: Notices) -> None:
    """The write side may add a column that is called like a variable of ours."""
    names = ("first_two", "one_session", "one_event", "session_count", "great_many", "touched", "place", "events")
    columns = ", ".join(f"ADD COLUMN {name} int" for name in names)
    heard = await notices.of(
        f"ALTER TABLE events {columns}; ALTER TABLE sessions {columns}, ADD COLUMN made int, ADD COLUMN gone int",
        events(1, 1),
        events(2, 1010, "CASE WHEN i < 10 THEN 2 ELSE 3 END"),
        "UPDATE events SET great_many = 1 WHERE great_many IS NULL",
        f"DELETE FROM sessions WHERE id = '{sid(4)}'",
    )

    assert heard == only(
        notice("a", sid(1), eid(1)), notice("a", sid(2), *(eid(i) for i in range(2, 10))), notice("l", sid(3)),
        notice("l", sid(1), sid(2), sid(3)), notice("l", sid(4)),
    )  # fmt: skip


async def test_a_writer_with_strict_plpgsql_checks_goes_on_writing(notices: Notices) -> None:
    """plpgsql.extra_errors turns doubtful constructs into errors; there are none."""
    heard = await notices.of("SET plpgsql.extra_errors = 'all'", events(1, 1), events(2, 3), "DELETE FROM events")

    assert heard == only(notice("a", sid(1), eid(1)), notice("a", sid(1), eid(2), eid(3)), notice("l", sid(1)))


@pytest.mark.parametrize("write", [lambda i: events(i, i), lambda i: events(i, i + 1)])
async def test_ids_from_many_writers_arrive_whole(
    notices: Notices, database_url: str, write: Callable[[int], str]
) -> None:
    """Every event of concurrent writers is named exactly once."""

    async def writer(number: int) -> None:
        async with connected(database_url) as connection:
            for i in range(20):
                await connection.execute(write(number * 1000 + 2 * i))

    await asyncio.gather(*(writer(number) for number in range(4)))
    heard: Counter[tuple[str, frozenset[str]]] = await notices.of()
    named = Counter[Any](word for _, words in heard.elements() for word in words if word != sid(1))
    stored = await notices.writer.fetch("SELECT replace(id::text, '-', '') AS id FROM events")

    assert named == Counter(row["id"] for row in stored)
