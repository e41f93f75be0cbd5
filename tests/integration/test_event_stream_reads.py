"""Streams from Postgres where something is in the way: rights, tables that moved, rows that nobody can read, age."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from projector.tail.triggers import install
from readmodel.errors import BadEvents, RightsMissing, StreamRightsMissing
from readmodel.postgres.event_stream import stream_statement
from readmodel.postgres.sql import statement
from readmodel.values.arrivals import StreamRead
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letters import sessions
from tests.support.lookalikes import put_first
from tests.support.partitions import COLUMNS, INDEXES
from tests.support.pgbouncers import pgbouncer
from tests.support.projecting import MAX_BYTES
from tests.support.servers import SCHEMA, TABLES, connected, fresh_database
from tests.support.streams import SESSION, Follower, Stream, stream_log, streaming

ROLE = "readside_streams"


@pytest.fixture
async def stream(database_url: str) -> AsyncIterator[Stream]:
    """A session with one event."""
    async with streaming(database_url) as made:
        await made.insert("first")
        yield made


@pytest.fixture
async def narrow_url(stream: Stream) -> AsyncIterator[str]:
    """For a role that may read the tables, and nothing of ours."""
    parts = urlsplit(stream.url)
    await stream.writer.execute(
        f"CREATE ROLE {ROLE} LOGIN PASSWORD 'narrow'; GRANT SELECT ON sessions, events TO {ROLE}"
    )
    yield parts._replace(netloc=f"{ROLE}:narrow@{parts.netloc.rpartition('@')[2]}").geturl()
    await stream.writer.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


async def test_a_role_without_the_rights_is_told_what_to_do(stream: Stream, narrow_url: str) -> None:
    """And goes on once they are granted; where only letters may not be read, without their proof."""
    async with stream_log(narrow_url) as log:
        follower = Follower(log)
        with pytest.raises(StreamRightsMissing, match="`readside install --role ROLE` makes and grants it"):
            await follower.read()
        await install(stream.writer, warn=pytest.fail, role=ROLE)
        assert await follower.messages() == ["first"]
        await stream.writer.execute(f"REVOKE SELECT ON readside.letters_1 FROM {ROLE}")
        async with connected(stream.url) as late:
            async with late.transaction():
                await late.fetchval("SELECT pg_current_xact_id()")
                async with stream.writer.transaction(), stream.writer.transaction():
                    await stream.insert("of a savepoint")
                assert await follower.messages() == ["of a savepoint"]
            assert await follower.messages() == ["of a savepoint"]
        await stream.writer.execute("DROP FUNCTION readside.incarnation()")
        with pytest.raises(StreamRightsMissing, match=r"Streams need the function readside\.incarnation\(\)"):
            await follower.read()
        await stream.writer.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
        with pytest.raises(RightsMissing, match="Row-level security hides rows"):
            await follower.read()


async def test_a_table_that_moves_is_followed(stream: Stream) -> None:
    """As polls follow it."""
    follower = stream.follower()
    database = urlsplit(stream.url).path[1:]
    await stream.writer.execute(f"ALTER DATABASE {database} SET search_path = public, apps")
    assert await follower.messages() == ["first"]
    await stream.writer.execute(
        "CREATE SCHEMA apps; ALTER TABLE events SET SCHEMA apps; SET search_path = public, apps"
    )
    await stream.insert("second")

    assert await follower.messages() == ["second"]


async def test_no_look_alike_is_run(lookalikes_url: str) -> None:
    """Functions and operators of others that come first in the search_path, where a pooler keeps us from setting it."""
    async with streaming(lookalikes_url) as stream:
        await stream.insert("first")
        await put_first(stream.writer)
    async with connected(lookalikes_url) as late, late.transaction():
        await late.fetchval("SELECT pg_catalog.pg_current_xact_id()")
        async with pgbouncer(lookalikes_url) as url, stream_log(url, statement_cache_size=0) as log:
            follower = Follower(log)
            assert await follower.messages(1) == ["first"]
            assert (await follower.read(1)).up_to_date
            assert (await log.tail(SESSION)).status == "pending"


async def test_an_event_that_cannot_be_read_is_named(postgres_server: EmbeddedPostgres) -> None:
    """Behind those that can be, and until it is mended."""
    no_encoding = "template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    async with fresh_database(postgres_server, no_encoding) as url:
        async with connected(url) as connection:
            await connection.execute(SCHEMA)
        await _named(url)


async def _named(url: str) -> None:
    async with streaming(url) as stream:
        await stream.insert("first")
        follower = stream.follower()
        assert await follower.messages() == ["first"]
        await stream.insert("bad")
        await stream.writer.execute(
            "UPDATE events SET message = pg_catalog.convert_from('\\xff'::bytea, 'SQL_ASCII') WHERE message = 'bad'"
        )
        bad = await stream.writer.fetchval("SELECT id::text FROM events WHERE message <> 'first'")
        with pytest.raises(
            BadEvents, match=f"^The stream cannot go on here, since event {bad} cannot be read: invalid"
        ):
            await follower.read()
        await stream.writer.execute("UPDATE events SET message = 'good' WHERE message <> 'first'")
        assert await follower.messages() == ["good"]


async def test_two_events_of_one_id_and_instant_stand_on_one_page(database_url: str) -> None:
    """Partitions allow them; no page ends between the two."""
    async with connected(database_url) as connection:
        await connection.execute(
            f"DROP TABLE events; CREATE TABLE events ({COLUMNS}) PARTITION BY LIST (event_type); {INDEXES};"
            "CREATE TABLE events_x PARTITION OF events FOR VALUES IN ('x');"
            "CREATE TABLE events_y PARTITION OF events DEFAULT"
        )
    async with streaming(database_url) as stream:
        for second in range(3):
            await stream.insert(str(second), second)
        await stream.writer.execute(
            "INSERT INTO events SELECT id, session_id, step_id, 'y', event_data, message || ' too', timestamp"
            " FROM events WHERE message = '1'"
        )
        follower = stream.follower()
        found = [await follower.messages(2) for _ in range(3)]

    assert found[0] == ["0"]
    assert sorted(found[1]) == ["1", "1 too"]
    assert found[2] == ["2"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def long_stream(lasting_database_url: str) -> AsyncIterator[Stream]:
    """A session with 401 events among forty others."""
    async with streaming(lasting_database_url) as made:
        await made.insert("first")
        await made.writer.execute(sessions(11, 40))
        await made.writer.execute(
            "INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)"
            " SELECT gen_random_uuid(), s.id, 'x', '{}', n::text, now() + n * interval '1 s'"
            " FROM sessions s CROSS JOIN generate_series(1, 400) n"
        )
        await made.writer.execute("ANALYZE events")
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_page_is_found_by_the_index_of_sessions(long_stream: Stream, page: int) -> None:
    """Whichever it is; no event of another session is looked at."""
    stream = long_stream
    async with connected(stream.url) as late, late.transaction():
        await late.fetchval("SELECT pg_current_xact_id()")
        follower = stream.follower()
        for _ in range(page - 1):
            await follower.read(100)
        sql, parameters = stream_statement(
            "stream", StreamRead(SESSION, follower.offset, 100), TABLES, "readside", MAX_BYTES, may_prove=True
        )
        rows = await stream.writer.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}", *parameters)
    plan = "\n".join(row[0] for row in rows)

    assert "ix_events_session_id" in plan
    assert not re.search(r"Seq Scan on (public\.)?events", plan), plan
    looked_at = re.findall(r"Index Scan using events_pkey on events e.*rows=1(?:\.00)? loops=(\d+)", plan)
    assert looked_at == ["100"], plan


@pytest.mark.parametrize(
    ("xmax", "xmin", "writer"),
    [
        (800, 799, 799),
        (2**32 + 5, 3, 2**32 + 3),
        (2**32 + 5, 4, 2**32 + 4),
        (2**32 + 5, 5, 5),
        (2**32 + 5, 2**32 - 1, 2**32 - 1),
        (7 * 2**32 + 2**31, 2**31 - 1, 7 * 2**32 + 2**31 - 1),
        (7 * 2**32 + 2**31, 2**31, 6 * 2**32 + 2**31),
    ],
)
async def test_ids_of_rows_are_of_the_epoch_that_they_can_be_of(
    database_url: str, xmax: int, xmin: int, writer: int
) -> None:
    """The latest below the snapshot's xmax, whatever the 32 bits that a row keeps."""
    rows = f"(VALUES ({xmax}::bigint)) snapshot (xmax), (VALUES ('{xmin}'::xid)) e (xmin)"
    async with connected(database_url) as connection:
        assert await connection.fetchval(f"SELECT {statement('writer')} FROM {rows}") == writer
