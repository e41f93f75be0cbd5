"""Writers of every kind go on writing, and are heard."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.letters import Letterbox, eid, events, letter, new_role, only, sessions, sid
from tests.support.servers import connected

pytestmark = pytest.mark.installed


async def test_a_writer_in_replica_mode_is_seen(box: Letterbox) -> None:
    """ENABLE ALWAYS: session_replication_role does not hide a writer."""
    heard = await box.of(
        "SET session_replication_role = replica",
        sessions(11, 11),
        events(1, 1),
        "UPDATE events SET message = 'changed'",
        f"UPDATE sessions SET status = 'paused' WHERE id = '{sid(2)}'",
        f"DELETE FROM sessions WHERE id = '{sid(11)}'",
        "TRUNCATE events",
    )

    assert heard == only(
        letter("n", 11), letter("a", 1, 1), letter("l", 1), letter("r", 2),
        letter("l", 11), letter("x"),
    )  # fmt: skip


@pytest.fixture
async def insert_only_role(box: Letterbox) -> AsyncIterator[str]:
    """A role that may only insert into the two tables, and nothing else."""
    async with new_role(box.writer, "writer") as role:
        await box.writer.execute(f"GRANT INSERT ON sessions, events TO {role}")
        yield role


async def test_a_role_that_may_only_insert_goes_on_writing(box: Letterbox, insert_only_role: str) -> None:
    """It has no right to our schema, and needs none."""
    await box.writer.execute(f"SET ROLE {insert_only_role}")
    may_look = await box.writer.fetchval("SELECT has_schema_privilege('readside', 'USAGE')")
    heard = await box.of(sessions(11, 12), events(1, 1, "11"), events(2, 3, "i"), events(10, 1010))

    assert may_look is False
    assert heard == only(
        letter("n", 11), letter("n", 12), letter("a", 11, 1), letter("a", 2, 2),
        letter("a", 3, 3), *(letter("a", 1, i) for i in range(10, 1011)), letter("l", 1),
    )  # fmt: skip


HIJACK = """
CREATE SCHEMA evil;
CREATE TABLE evil.caught (what text);
GRANT ALL ON SCHEMA evil TO PUBLIC;
DO $$
DECLARE
  it record;
BEGIN
  -- Every function and operator that takes what ours take, to the type; whatever of it is run raises.
  FOR it IN
    SELECT DISTINCT ON (proname, pg_get_function_identity_arguments(oid))
           proname, oidvectortypes(proargtypes) AS arguments, format_type(prorettype, NULL) AS result
      FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND provariadic = 0 AND NOT proretset
       AND proname IN ('pg_sequence_last_value', 'nextval', 'date_part', 'clock_timestamp', 'pg_current_xact_id',
                       'pg_notify', 'setval', 'currval')
  LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
                   '$f$ BEGIN RAISE EXCEPTION ''hijacked''; END $f$', it.proname, it.arguments, it.result);
  END LOOP;
  FOR it IN
    SELECT oprname, format_type(oprleft, NULL) AS lefts, format_type(oprright, NULL) AS rights,
           format_type(oprresult, NULL) AS result, oid
      FROM pg_operator
     WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
       AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '&', '>>', '*', '/', '||', '%')
       AND oprleft = ANY ('{uuid,text,int4,int8,float8,bool,xid8}'::regtype[])
       AND oprright = ANY ('{uuid,text,int4,int8,float8,bool,xid8}'::regtype[])
  LOOP
    EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS '
                   '$f$ BEGIN RAISE EXCEPTION ''hijacked''; END $f$', it.oid, it.lefts, it.rights, it.result);
    EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.operator_%s, LEFTARG = %s, RIGHTARG = %s)',
                   it.oprname, it.oid, it.lefts, it.rights);
  END LOOP;
END
$$;
-- Nearer to what ours give than pg_catalog's own: arguments that would need no cast.
CREATE FUNCTION evil.concat(text, bigint, text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.nearer(bigint, double precision) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.nearer(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE OPERATOR evil.< (FUNCTION = evil.nearer, LEFTARG = bigint, RIGHTARG = double precision);
CREATE OPERATOR evil.= (FUNCTION = evil.nearer, LEFTARG = varchar, RIGHTARG = varchar);
CREATE OPERATOR evil.<> (FUNCTION = evil.nearer, LEFTARG = varchar, RIGHTARG = varchar);
CREATE AGGREGATE evil.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '1000000');
CREATE DOMAIN evil.uuid AS pg_catalog.uuid CHECK (false);
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (false);
CREATE DOMAIN evil.float8 AS pg_catalog.float8 CHECK (false);
CREATE DOMAIN evil.regclass AS pg_catalog.regclass CHECK (false);
CREATE DOMAIN evil."char" AS pg_catalog."char" CHECK (false);
CREATE TABLE evil.added AS SELECT '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid AS id;
CREATE TABLE evil.removed AS SELECT '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid AS id;
CREATE TABLE evil.per_session (session_id pg_catalog.uuid, events pg_catalog.int8);
CREATE TABLE evil.bound AS SELECT true AS is_passed;
CREATE TABLE evil.letters_0 (LIKE readside.letters_0);
CREATE TEMPORARY TABLE added AS SELECT * FROM evil.added;
CREATE TEMPORARY TABLE removed AS SELECT * FROM evil.removed;
CREATE TEMPORARY TABLE per_session AS SELECT * FROM evil.per_session;
CREATE TEMPORARY TABLE bound AS SELECT * FROM evil.bound;
CREATE DOMAIN pg_temp.int8 AS pg_catalog.int8 CHECK (false);
CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (false);
CREATE DOMAIN pg_temp.regclass AS pg_catalog.regclass CHECK (false);
SET search_path = evil, pg_catalog, public;
"""
VALUES = "'t', 'pending', 'm', '/p', '{}', pg_catalog.now(), pg_catalog.now()"
STATEMENTS = (
    (
        f"INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at) "
        f"VALUES ('{sid(11)}', {VALUES}), ('{sid(12)}', {VALUES})"
    ),
    f"INSERT INTO events VALUES ('{eid(1)}', '{sid(1)}', NULL, 'x', '{{}}', NULL, pg_catalog.now())",
    (
        f"INSERT INTO events VALUES ('{eid(2)}', '{sid(2)}', NULL, 'x', '{{}}', NULL, pg_catalog.now()), "
        f"('{eid(3)}', '{sid(2)}', NULL, 'x', '{{}}', NULL, pg_catalog.now())"
    ),
    (
        f"INSERT INTO events SELECT pg_catalog.gen_random_uuid(), "
        f"CASE WHEN i OPERATOR(pg_catalog.<=) 1001 THEN '{sid(4)}' ELSE '{sid(5)}' END::pg_catalog.uuid, "
        "NULL, 'x', '{}', NULL, pg_catalog.now() FROM pg_catalog.generate_series(1, 1003) AS i"
    ),
    f"UPDATE sessions SET status = 'paused' WHERE id OPERATOR(pg_catalog.=) '{sid(3)}'",
    f"UPDATE events SET message = 'changed' WHERE session_id OPERATOR(pg_catalog.<>) ALL ('{{{sid(4)},{sid(5)}}}')",
    f"DELETE FROM events WHERE session_id OPERATOR(pg_catalog.=) ANY ('{{{sid(4)},{sid(5)}}}')",
    f"UPDATE sessions SET id = '{sid(13)}' WHERE id OPERATOR(pg_catalog.=) '{sid(11)}'",
    f"DELETE FROM sessions WHERE id OPERATOR(pg_catalog.=) '{sid(12)}'",
    "TRUNCATE public.events",
)


@pytest.mark.parametrize(("turn", "ring"), [(0, True), (1, False), (2, True)])
async def test_a_writers_search_path_changes_nothing(box: Letterbox, turn: int, ring: bool) -> None:
    """Functions, operators, types and tables of the same names, found first by the writer, are not used."""
    await box.open(turn=turn, ring=ring)
    heard = await box.of(HIJACK, *STATEMENTS)
    named = Counter({each: count for each, count in heard.items() if each[0] != "a" or each[1] not in {sid(4), sid(5)}})

    assert named == only(
        letter("n", 11), letter("n", 12), letter("a", 1, 1), letter("a", 2, 2), letter("a", 2, 3), letter("l", 4),
        letter("r", 3), letter("l", 1), letter("l", 2), letter("l", 4), letter("l", 5),
        letter("l", 11), letter("l", 13), letter("l", 12), letter("x"),
    )  # fmt: skip
    assert heard.total() - named.total() == 1001 + 2  # the first thousand and one, and those of the other session


async def test_a_writers_search_path_changes_nothing_where_nobody_reads(box: Letterbox) -> None:
    """The way past the lease is as safe."""
    await box.open(-1)
    before = await box.skips()

    assert await box.of(HIJACK, *STATEMENTS) == only()
    assert await box.skips() > before


async def test_an_empty_search_path_is_enough(box: Letterbox) -> None:
    """Writers may qualify the tables and see nothing else."""
    statement = events(1, 1).replace("INTO events", "INTO public.events")
    heard = await box.of("SET search_path = ''", statement)

    assert heard == only(letter("a", 1, 1))


async def test_columns_of_any_name_do_no_harm(box: Letterbox) -> None:
    """The write side may add a column that is called like a variable of ours."""
    names = ("presence", "written", "turn", "touched", "bound", "is_passed", "per_session", "events", "kind", "added")
    columns = ", ".join(f"ADD COLUMN {name} int" for name in names)
    heard = await box.of(
        f"ALTER TABLE events {columns}; ALTER TABLE sessions {columns}, ADD COLUMN removed int, ADD COLUMN txid int",
        events(1, 1),
        events(2, 1010, "CASE WHEN i < 10 THEN 2 ELSE 3 END"),
        "UPDATE events SET written = 1 WHERE written IS NULL",
        f"DELETE FROM sessions WHERE id = '{sid(4)}'",
    )

    assert heard == only(
        letter("a", 1, 1), *2 * [letter("a", 2, i) for i in range(2, 10)],
        *(letter("a", 3, i) for i in range(10, 1003)), letter("l", 3),
        letter("l", 1), letter("l", 2), letter("l", 3), letter("l", 4),
    )  # fmt: skip


async def test_a_writer_with_strict_plpgsql_checks_goes_on_writing(box: Letterbox) -> None:
    """plpgsql.extra_errors turns doubtful constructs into errors; there are none."""
    heard = await box.of("SET plpgsql.extra_errors = 'all'", events(1, 1), events(2, 3), "DELETE FROM events")

    assert heard == only(letter("a", 1, 1), letter("a", 1, 2), letter("a", 1, 3), letter("l", 1))


@pytest.mark.parametrize("write", [lambda i: events(i, i), lambda i: events(i, i + 1)])
async def test_ids_from_many_writers_arrive_whole(
    box: Letterbox, database_url: str, write: Callable[[int], str]
) -> None:
    """Every event of concurrent writers is named exactly once."""

    async def writer(number: int) -> None:
        async with connected(database_url) as connection:
            for i in range(20):
                await connection.execute(write(number * 1000 + 2 * i))

    await asyncio.gather(*(writer(number) for number in range(4)))
    stored = await box.writer.fetch("SELECT id::text FROM events")

    assert await box.take() == Counter(("a", sid(1), row["id"]) for row in stored)
