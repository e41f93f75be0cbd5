"""Writers of every kind go on writing, and are heard."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from tests.support.notices import Notices, eid, events, new_role, notice, noticed, only, sessions, sid
from tests.support.servers import connected


@pytest.fixture
async def notices(database_url: str) -> AsyncIterator[Notices]:
    """The triggers installed, ten sessions there, and a listener."""
    async with noticed(database_url) as notices:
        yield notices


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
    async with new_role(notices.writer, "writer") as role:
        await notices.writer.execute(f"GRANT INSERT ON sessions, events TO {role}")
        yield role


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
