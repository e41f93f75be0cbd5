"""The letters about events in partitions, statement by statement, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import pytest_asyncio

from projector.tail.triggers import inspect, install, install_sql, late_partitions_of, left_partitions_of, uninstall
from readmodel.errors import SchemaMissing
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letters import Letterbox, eid, letter, new_role, only, sessions, sid
from tests.support.partitions import COLUMNS, MONTHLY, SCHEMES, Scheme, at, bounds, month
from tests.support.servers import connected, fresh_database
from tests.support.traces import traces
from tests.support.waiting import eventually


@asynccontextmanager
async def partitioned(url: str, scheme: Scheme) -> AsyncIterator[Letterbox]:
    """Events cut so, all of ours installed, ten sessions, and somebody there to read letters."""
    async with connected(url) as writer, connected(url) as reader:
        await scheme.make(writer)
        assert await install(writer, warn=pytest.fail)
        yield await opened(writer, reader)


async def opened(writer: Connection, reader: Connection) -> Letterbox:
    """Ten sessions, and somebody there to read letters."""
    await writer.execute(sessions(1, 10))
    box = Letterbox(writer, reader)
    await box.open()
    return box


@pytest.fixture
async def box(months_url: str) -> AsyncIterator[Letterbox]:
    """Three months that install found, and one that came later."""
    async with connected(months_url) as writer, connected(months_url) as reader:
        box = await opened(writer, reader)
        await box.writer.execute(month(4))
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_box(postgres_server: EmbeddedPostgres, months_once: str) -> AsyncIterator[Letterbox]:
    """One for all tests that leave the tables as they are."""
    await postgres_server.start()  # a test may have stopped it
    async with (
        fresh_database(postgres_server, months_once) as url,
        connected(url) as writer,
        connected(url) as reader,
    ):
        await writer.execute(month(4))
        yield Letterbox(writer, reader)


@pytest_asyncio.fixture(loop_scope="module")
async def anew(lasting_box: Letterbox) -> Letterbox:
    """The same, as it was at first."""
    await lasting_box.begin_anew()
    return lasting_box


def insert(table: str, number: int, when: str, session: str = "1", count: int = 1) -> str:
    """A statement that inserts `count` events, from this number on, into a table by name."""
    return f"""INSERT INTO {table} (id, session_id, event_type, event_data, timestamp)
        SELECT ('00000000-0000-0000-0001-' || lpad(i::text, 12, '0'))::uuid,
               ('00000000-0000-0000-0000-' || lpad(({session})::text, 12, '0'))::uuid, 'x', '{{}}', '{when}'
          FROM generate_series({number}, {number + count - 1}) AS i"""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("through", ["the parent", "the part"])
async def test_an_insert_is_seen_by_either_way(anew: Letterbox, number: int, through: str) -> None:
    """Into a part that install found, and one that came since, which is told of row by row."""
    table = "events" if through == "the parent" else f"events_{number}"
    heard = await anew.of(insert(table, 7, at(number), session="i - 5", count=2))

    assert set(heard) == {letter("a", 2, 7), letter("a", 3, 8)}


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("through", ["the parent", "the part"])
async def test_a_copy_is_seen_by_either_way(box: Letterbox, number: int, through: str) -> None:
    """COPY is no other."""
    table = "events" if through == "the parent" else f"events_{number}"
    await box.writer.execute(f"ALTER TABLE events_{number} ALTER timestamp SET DEFAULT '{at(number)}'")
    await box.writer.execute(f"ALTER TABLE events ALTER timestamp SET DEFAULT '{at(number)}'")
    rows = [(UUID(eid(i)), UUID(sid(1)), "x", "{}") for i in (1, 2)]
    await box.writer.copy_records_to_table(
        table, records=rows, columns=["id", "session_id", "event_type", "event_data"]
    )

    assert set(await box.of()) == {letter("a", 1, 1), letter("a", 1, 2)}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("table", ["events", "part"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {table} SET message = 'other'", "DELETE FROM {table}", f"UPDATE {{table}} SET session_id = '{sid(9)}'"],
)
async def test_a_change_is_seen_by_either_way(anew: Letterbox, number: int, table: str, statement: str) -> None:
    """Each session that it touches is looked at, the one that an event came to as well."""
    await anew.of(insert("events", 1, at(number)))
    heard = await anew.of(statement.format(table=table.replace("part", f"events_{number}")))

    assert set(heard) == {letter("l", 1)} | ({letter("l", 9)} if "session_id" in statement else set())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("from_", "to"), [(1, 2), (1, 4), (4, 1)])
async def test_a_row_that_moves_to_another_part_is_looked_at(anew: Letterbox, from_: int, to: int) -> None:
    """It goes from one and comes to another, whichever of them have statement triggers."""
    await anew.of(insert("events", 1, at(from_)))
    heard = await anew.of(f"UPDATE events SET timestamp = '{at(to)}'")

    assert letter("l", 1) in heard
    assert set(heard) <= {letter("l", 1), letter("a", 1, 1)}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("from_", "to"), [(1, 2), (1, 4), (4, 1), (1, 1)])
async def test_a_row_that_a_merge_moves_is_looked_at(anew: Letterbox, from_: int, to: int) -> None:
    """In both sessions: transition tables of a MERGE lack what moves to another part (PostgreSQL 15 to 18)."""
    await anew.of(insert("events", 1, at(from_)))
    merge = f"""MERGE INTO events AS e USING events AS o ON o.id = e.id AND o.timestamp = e.timestamp
        WHEN MATCHED THEN UPDATE SET timestamp = '{at(to)}',
             session_id = '00000000-0000-0000-0000-000000000002'"""

    assert set(await anew.of(merge)) >= {letter("l", 1), letter("l", 2)}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [1, 4])
async def test_a_deleted_session_is_looked_at_with_its_events(anew: Letterbox, number: int) -> None:
    """The foreign key's cascade names the parent."""
    await anew.of(insert("events", 1, at(number), count=20))
    heard = await anew.of(f"DELETE FROM sessions WHERE id = '{sid(1)}'")

    assert set(heard) == {letter("l", 1)}
    assert heard.total() == (2 if number == 1 else 22)


async def test_rows_are_changed_as_their_writer_says_while_nobody_reads(database_url: str) -> None:
    """The trigger before an update hands on what it was given."""
    async with connected(database_url) as writer:
        await MONTHLY.make(writer)
        await writer.execute(sessions(1, 10))
        assert await install(writer, warn=pytest.fail)
        await writer.execute(insert("events", 1, at(1), count=3))

        assert await writer.execute("UPDATE events SET message = 'changed'") == "UPDATE 3"
        assert await writer.fetchval("SELECT count(*) FROM events WHERE message = 'changed'") == 3


async def test_a_bulk_insert_into_a_part_that_install_found_is_told_by_statement(box: Letterbox) -> None:
    """Past 1,000 events of a session it is one letter more, and no trigger runs for each row."""
    heard = await box.of(insert("events_2", 1, at(2), count=2000))

    assert letter("l", 1) in heard
    assert heard.total() == 1002


@pytest.mark.parametrize("replicating", [False, True])
async def test_row_triggers_of_a_new_part_fire_always(box: Letterbox, replicating: bool) -> None:
    """Postgres makes them as the parent has them: session_replication_role = replica does not silence them."""
    if replicating:
        await box.writer.execute("SET session_replication_role = replica")

    assert await box.of(insert("events_4", 1, at(4))) == only(letter("a", 1, 1))


async def test_nobody_reads_what_a_new_part_skips(box: Letterbox) -> None:
    """Past the lease each row counts as skipped, and nothing is written."""
    await box.open(-1)
    before = await box.skips()

    assert await box.of(insert("events_4", 1, at(4), count=3)) == only()
    assert await box.skips() == before + 3


async def test_a_part_that_was_attached_is_seen(box: Letterbox) -> None:
    """A table of its own, with rows, that becomes a part: what is written to it from then on has letters."""
    await box.writer.execute(f"CREATE TABLE events_5 (LIKE events INCLUDING ALL); {insert('events_5', 1, at(5))}")
    assert await box.of() == only()
    await box.writer.execute(f"ALTER TABLE events ATTACH PARTITION events_5 FOR VALUES {bounds(5)}")

    assert await box.of(insert("events_5", 2, at(5))) == only(letter("a", 1, 2))
    assert await inspect(box.writer) is None


@pytest.mark.parametrize("how", ["", "CONCURRENTLY"])
async def test_a_part_that_was_detached_comes_back_seen(box: Letterbox, how: str) -> None:
    """Its row trigger, which rested, goes with the detaching, and comes back awake."""
    await box.writer.execute(f"ALTER TABLE events DETACH PARTITION events_1 {how}")
    await box.writer.execute("DROP TRIGGER readside_insert ON events_1")
    await box.writer.execute(f"ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES {bounds(1)}")

    assert await box.of(insert("events_1", 1, at(1))) == only(letter("a", 1, 1))
    assert await inspect(box.writer) is None


DETACHED = "ALTER TABLE events DETACH PARTITION events_1; ALTER TABLE events_1 RENAME COLUMN session_id TO whose"
WRITTEN = "INSERT INTO events_1 SELECT gen_random_uuid(), id, NULL, 'x', '{}', NULL, now() FROM sessions"


@pytest.mark.parametrize("by", ["the leader", "install", "the dry run"])
async def test_a_part_that_was_detached_has_no_triggers_of_ours(box: Letterbox, by: str) -> None:
    """It is another table now: with other columns our triggers would fail its writers."""
    await box.writer.execute(DETACHED)
    if by == "the dry run":
        await box.writer.execute(install_sql())
    elif by == "install":
        assert await install(box.writer, warn=pytest.fail)
    else:
        assert await box.writer.fetchval("SELECT readside.adopt_partition('events_1'::regclass)")

    assert not await box.of(WRITTEN)
    assert not await left_partitions_of(box.writer)
    assert not await install(box.writer, warn=pytest.fail) or by == "the leader"
    assert await inspect(box.writer) is None


BECOMES_A_PART = f"""
ALTER TABLE events RENAME TO events_1; ALTER TABLE events_1 DROP CONSTRAINT events_pkey;
CREATE TABLE events ({COLUMNS}, PRIMARY KEY (id, timestamp)) PARTITION BY RANGE (timestamp);
ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES {bounds(1)}
"""


async def test_a_table_that_became_a_part_and_was_detached(database_url: str) -> None:
    """As tables are migrated: its triggers of before do as a part's, and go when it is one no more."""
    async with connected(database_url) as writer, connected(database_url) as reader:
        await writer.execute(sessions(1, 10))
        assert await install(writer, warn=pytest.fail)
        await writer.execute(BECOMES_A_PART)
        assert await install(writer, warn=pytest.fail)
        box = Letterbox(writer, reader)
        await box.open()
        for number, table in enumerate(("events", "events_1"), 1):
            assert await box.of(insert(table, number, at(1))) == only(letter("a", 1, number))
        await writer.execute(DETACHED)
        assert await install(writer, warn=pytest.fail)

        assert not await box.of(f"{WRITTEN}; TRUNCATE events_1")
        assert await inspect(writer) is None


async def test_who_detaches_waits_while_a_part_of_it_is_adopted(box: Letterbox, months_url: str) -> None:
    """Both write the same rows of the catalog: the owner's statement would fail."""
    await box.writer.execute(month(5, "PARTITION BY HASH (id)"))
    await box.writer.execute("CREATE TABLE deep PARTITION OF events_5 FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    await box.writer.execute("SELECT readside.adopt_partition('events_5'::regclass)")
    async with connected(months_url) as leader:
        async with leader.transaction():
            await leader.execute("SELECT readside.adopt_partition('deep'::regclass)")
            detaching = asyncio.create_task(box.writer.execute("ALTER TABLE events DETACH PARTITION events_5"))

            async def waits() -> bool:
                return bool(await leader.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

            await eventually(waits, "the owner waits")
        await detaching
    await box.writer.execute(f"ALTER TABLE events ATTACH PARTITION events_5 FOR VALUES {bounds(5)}")

    assert set(await box.of(insert("deep", 1, at(5)))) == {letter("a", 1, 1)}


async def test_a_part_of_the_table_keeps_its_triggers(box: Letterbox) -> None:
    """Whoever asks to have a part, or the table itself, given up."""
    for table in ("events", "events_1", "sessions"):
        await box.writer.execute(f"SELECT readside.adopt_partition('{table}'::regclass)")

    assert await box.of(insert("events_1", 1, at(1))) == only(letter("a", 1, 1))
    assert await inspect(box.writer) is None


async def test_parts_of_parts_are_seen_at_each_depth(database_url: str) -> None:
    """A new part that has parts, written to by each of the three names."""
    async with partitioned(database_url, MONTHLY) as box:
        await box.writer.execute(month(5, "PARTITION BY HASH (id)"))
        await box.writer.execute("CREATE TABLE deep PARTITION OF events_5 FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
        for n, table in enumerate(("events", "events_5", "deep"), 1):
            assert set(await box.of(insert(table, n, at(5)))) == {letter("a", 1, n)}
        await box.writer.execute("SELECT readside.adopt_partition('deep'::regclass)")
        assert [each.full_name for each in await late_partitions_of(box.writer)] == ["public.events_5", "public.deep"]
        assert await install(box.writer, warn=pytest.fail)
        for n, table in enumerate(("events", "events_5", "deep"), 4):
            assert await box.of(insert(table, n, at(5))) == only(letter("a", 1, n))


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_all_ways_to_cut_events_are_installed_on(database_url: str, scheme: str) -> None:
    """What is installed is whole, changes nothing the second time, and goes without a trace."""
    async with connected(database_url) as connection:
        await SCHEMES[scheme].make(connection)
        before = await traces(connection)
        assert await install(connection, warn=pytest.fail)
        assert await inspect(connection) is None
        assert not await install(connection, warn=pytest.fail)
        assert await late_partitions_of(connection) == []
        assert await uninstall(connection)

        assert await traces(connection) == before


async def test_the_dry_run_does_the_same(database_url: str) -> None:
    """The script for psql finds the partitions itself."""
    async with connected(database_url) as connection:
        await MONTHLY.make(connection)
        await connection.execute(install_sql())

        assert await inspect(connection) is None
        assert not await install(connection, warn=pytest.fail)


async def test_a_new_part_is_no_fault(box: Letterbox) -> None:
    """It is seen, so all is well; install makes its writers' work cheaper, and takes the others' for whole."""
    assert await inspect(box.writer) is None
    assert [each.full_name for each in await late_partitions_of(box.writer)] == ["public.events_4"]
    assert await install(box.writer, warn=pytest.fail)

    assert await late_partitions_of(box.writer) == []
    assert await box.of(insert("events_4", 1, at(4))) == only(letter("a", 1, 1))
    assert await box.of(insert("events", 2, at(4))) == only(letter("a", 1, 2))


WRONG = {
    "ALTER TABLE events_4 DISABLE TRIGGER readside_row": "Trigger readside_row on partition public.events_4 is disab",
    "ALTER TABLE events_4 ENABLE TRIGGER readside_row": "readside_row on partition public.events_4 is not ENABLE AL",
    "ALTER TABLE events_2 DISABLE TRIGGER readside_insert": "readside_row on partition public.events_2 is disabled",
    "DROP TRIGGER readside_update ON events_2": "readside_row on partition public.events_2 is disabled",
    "ALTER TABLE ONLY events DISABLE TRIGGER readside_row": "Trigger readside_row on public.events is disabled",
    "DROP TRIGGER readside_row ON events": "Trigger readside_row on public.events is missing",
}


@pytest.mark.parametrize("change", WRONG)
async def test_a_part_that_could_be_written_to_unseen_is_named(box: Letterbox, change: str) -> None:
    """And mended by install."""
    await box.writer.execute(change)
    assert WRONG[change] in str(await inspect(box.writer))
    assert await install(box.writer, warn=pytest.fail)

    assert await inspect(box.writer) is None
    assert set(await box.of(insert("events_2", 1, at(2)), insert("events_4", 2, at(4)))) == {
        letter("a", 1, 1),
        letter("a", 1, 2),
    }


async def test_a_part_that_is_a_foreign_table_is_refused(database_url: str) -> None:
    """Its rows change on another server."""
    async with connected(database_url) as connection:
        await Scheme("RANGE (timestamp)", "id, timestamp", ()).make(connection)
        await connection.execute("""
            ALTER TABLE events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_session_id_fkey;
            CREATE FOREIGN DATA WRAPPER nothing;
            CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
            CREATE FOREIGN TABLE far PARTITION OF events DEFAULT SERVER elsewhere""")
        with pytest.raises(SchemaMissing, match=r"public\.events has the foreign table public\.far as a partition"):
            await install(connection, warn=pytest.fail)


async def test_sessions_that_may_share_an_id_are_refused(database_url: str) -> None:
    """Two rows of one id would be one session to us."""
    async with connected(database_url) as connection:
        await _cut_sessions(connection, "RANGE (created_at)", "id, created_at")
        with pytest.raises(SchemaMissing, match=r"public\.sessions is partitioned and has no unique index on id alone"):
            await install(connection, warn=pytest.fail)


async def _cut_sessions(connection: Connection, by: str, key: str) -> None:
    await connection.execute(f"""
        ALTER TABLE events DROP CONSTRAINT events_session_id_fkey; ALTER TABLE sessions RENAME TO was;
        CREATE TABLE sessions (LIKE was, PRIMARY KEY ({key})) PARTITION BY {by}; DROP TABLE was""")


async def test_sessions_cut_by_id_are_seen(database_url: str) -> None:
    """In a part that install found and one that came later, by either name; an id that changes moves between parts."""
    async with connected(database_url) as writer, connected(database_url) as reader:
        await _cut_sessions(writer, "HASH (id)", "id")
        await writer.execute("CREATE TABLE s0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
        assert await install(writer, warn=pytest.fail)
        await writer.execute("CREATE TABLE s1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
        box = Letterbox(writer, reader)
        await box.open()
        assert await inspect(writer) is None
        assert set(await box.of(sessions(1, 20))) == {letter("n", i) for i in range(1, 21)}
        rows = "SELECT * FROM ONLY {0} LIMIT 1"
        for part in ("s0", "s1"):
            row = await writer.fetchrow(rows.format(part))
            assert row is not None
            named = row["id"]
            assert set(await box.of(f"UPDATE {part} SET status = 'paused' WHERE id = '{named}'")) == {
                ("r", str(named), None)
            }
            assert set(await box.of(f"DELETE FROM {part} WHERE id = '{named}'")) == {("l", str(named), None)}
        heard = await box.of(f"UPDATE sessions SET id = '{sid(77)}' WHERE id = (SELECT id FROM s0 LIMIT 1)")
        assert sid(77) in {session for _, session, _ in heard}
        assert len({session for _, session, _ in heard}) == 2


async def test_a_part_of_another_owner_is_left_to_its_row_trigger(database_url: str) -> None:
    """Nobody but its owner may make triggers on it; Postgres makes the parent's."""
    async with (
        partitioned(database_url, MONTHLY) as box,
        new_role(box.reader, "stranger") as stranger,
        new_role(box.reader, "owner") as owner,
    ):
        await box.writer.execute(f"ALTER TABLE sessions OWNER TO {owner}; ALTER TABLE events OWNER TO {owner}")
        for number in (1, 2, 3):
            await box.writer.execute(f"ALTER TABLE events_{number} OWNER TO {owner}")
        await box.writer.execute(f"{month(4)}; ALTER TABLE events_4 OWNER TO {stranger}")
        await install(box.writer, warn=pytest.fail)
        assert await late_partitions_of(box.writer) == []
        assert await inspect(box.writer) is None
        await box.open()

        assert set(await box.of(insert("events_4", 1, at(4)))) == {letter("a", 1, 1)}
