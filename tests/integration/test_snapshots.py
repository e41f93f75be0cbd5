"""What a load reads: one statement for a small session, a transaction for any other, and the same by both."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from projector import reads as module
from projector.core.comparison import Truth
from projector.loads.snapshot import MOST_ROWS, SMALL_BYTES, LargeSnapshot, Snapshot
from projector.reads import Reads, open_reads
from projector.sql import statement
from readmodel.errors import BadEvents
from readmodel.postgres.client import check_server
from readmodel.redis.overrides import PackedWords
from readmodel.values.event import EventRow, type_name
from readmodel.view.type_index import entries_of, pack_entry
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.fakes.redis import unpacked
from tests.support.projecting import INSERT_SESSION
from tests.support.servers import SCHEMA, TABLES, connected
from tests.support.viewing import within

NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)
INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES (gen_random_uuid(), $1::uuid, $2, $3::text::jsonb, $4, $5::text::timestamptz)
"""
MANY = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), $1::uuid, 'type_' || substr('abc', 1 + n % 3, 1), '{}',
       $3::timestamptz + n % 7 * interval '1 s'
FROM generate_series(0, $2::int - 1) n
"""
HOSTILE = [
    "\r\n",
    "$3\r\nabc\r\n",
    "*2\r\n$4\r\nQUIT\r\n",
    '"',
    "\\",
    "é ÿ",
    "",
    "'; DROP TABLE events; --",
    "a/0",
    "#",
]
WINDOW = (20_000, 64_000_000)


class Session:
    """A session in a database, and reads of it."""

    def __init__(self, connection: Any, reads: Reads) -> None:
        self.connection, self.reads, self.id = connection, reads, str(uuid4())

    async def add(self, event_type: str, data: str = "{}", message: str | None = None, at: str = "2026-01-13") -> None:
        """Insert an event."""
        await self.connection.execute(INSERT, self.id, event_type, data, message, at)

    async def many(self, count: int) -> None:
        """Insert small events of three types, at the same few instants over and over."""
        await self.connection.execute(MANY, self.id, count, NOON)

    async def events(self) -> list[EventRow]:
        """Its events as a step reads those that were added."""
        rows = await self.connection.fetch("SELECT id FROM events WHERE session_id = $1::uuid", self.id)
        added = await self.reads.added({self.id: {row["id"].hex: None for row in rows}})
        return list(added.rows.get(self.id, {}).values())

    async def reads_right(self, window: tuple[int, int] = WINDOW) -> type:
        """Read it as a load does; check everything, and give the snapshot's class."""
        events = await self.events()
        kept = within(events, window)
        async with self.reads.snapshot(self.id, window) as snapshot:
            parts = [part async for part in snapshot.newest()]
        words = [word for part in parts for word in unpacked(PackedWords(2 * part.held, part.words))]
        entries = [(name, one) for part in parts for name, packed in part.entries.items() for one in entries_of(packed)]

        truth = Truth(snapshot.status or "", snapshot.count, snapshot.hi, snapshot.lo)
        assert {self.id: truth} == await self.reads.compare([self.id])
        assert snapshot.types == Counter(one.event_type for one in events)
        assert sorted(zip(words[1::2], map(int, words[::2]), strict=True)) == sorted(
            (e.member, e.score or 0) for e in kept
        )
        assert sorted(entries) == sorted((type_name(e.event_type), pack_entry(e.score or 0, e.id)) for e in kept)
        assert sum(part.size for part in parts) == sum(len(e.member) for e in kept)
        if kept:
            assert (parts[0].newest, parts[-1].lowest) == (kept[0].score, kept[-1].score)
        return type(snapshot)


@asynccontextmanager
async def session_in(url: str) -> AsyncIterator[Session]:
    """A session without events."""
    async with connected(url) as connection:
        started = (await check_server(connection, url)).started
        async with open_reads(url, server_started=started, statement_cache_size=0) as reads:
            made = Session(connection, reads)
            await connection.execute(INSERT_SESSION, made.id, "in_progress")
            yield made


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    """A session without events."""
    async with session_in(database_url) as made:
        yield made


@pytest.fixture(params=[Snapshot, LargeSnapshot])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """Which way small sessions are read: as usual, then as large ones."""
    if request.param is LargeSnapshot:
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
    kind: type = request.param
    return kind


async def test_hostile_texts_are_counted_in_bytes(session: Session, way: type) -> None:
    """Line ends, lengths and quotes are what a protocol of lengths must not care for."""
    for text in HOSTILE:
        await session.add(text, f'{{"a": {orjson.dumps(text).decode()}}}', text)
        await session.add("step_created", '"漢字 😀"', f"{text}漢字 😀{text}")

    assert await session.reads_right() is way


async def test_any_instant_with_a_score_is_read(session: Session, way: type) -> None:
    """Scores of one digit and of sixteen, before 1970 too, and several events at one instant."""
    for microseconds in (-1, 0, 1, 9, 999_999, 10**15 - 1, 10**15, 10**15 + 1):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
        for _ in range(3):
            await session.add("step_created", at=str(at))
    await session.add("step_created", at="1684-07-28 00:12:26.000001+00")
    await session.add("step_created", at="2255-06-05 23:47:33.999999+00")

    assert await session.reads_right() is way


async def test_an_instant_without_a_score_is_refused(session: Session, way: type) -> None:
    """It cannot be kept in order, however the session is read."""
    await session.add("step_created")
    await session.add("step_created", at="infinity")

    with pytest.raises(BadEvents, match="cannot hold exactly"):
        await session.reads_right()


async def test_a_session_without_events_is_small(session: Session, way: type) -> None:
    """Its status is all there is."""
    assert await session.reads_right() is Snapshot


async def test_a_missing_session_has_no_status(session: Session) -> None:
    """The statement gives no row."""
    async with session.reads.snapshot(str(uuid4()), WINDOW) as snapshot:
        parts = [part async for part in snapshot.newest()]

    assert (snapshot.status, snapshot.count, parts) == (None, 0, [])


@pytest.mark.parametrize(("events", "kind"), [(MOST_ROWS, Snapshot), (MOST_ROWS + 1, LargeSnapshot)])
async def test_so_many_events_are_small(session: Session, events: int, kind: type) -> None:
    """One more takes a transaction; all are read either way."""
    await session.many(events)

    assert await session.reads_right() is kind


@pytest.mark.parametrize("window", [(50, 10**6), (100, 5_000), (100, 21_999), (1, 10**6), (100, 100)])
async def test_a_window_holds_the_newest(session: Session, window: tuple[int, int]) -> None:
    """So many events, so many bytes, or not even one."""
    await session.many(100)

    assert await session.reads_right(window) is LargeSnapshot


async def test_a_window_just_as_large_holds_all(session: Session, way: type) -> None:
    """To the event and to the byte: sizes known beforehand are above the true ones, so this takes a transaction."""
    await session.many(100)
    size = sum(len(event.member) for event in await session.events())

    assert await session.reads_right((100, 10**6)) is way
    assert await session.reads_right((100, size)) is LargeSnapshot


async def test_what_is_compressed_is_not_rendered_to_be_measured(session: Session) -> None:
    """A thousand events of a few kB stored and 1 MB long would be 1 GB: the statement that looks gives a row."""
    await session.connection.execute(
        """
        INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        VALUES (gen_random_uuid(), $1::uuid, 'artifact_created', jsonb_build_object('t', repeat('x', 1000000)), now())
        """,
        session.id,
    )
    await session.connection.execute(  # it is compressed once: copies of it are stored as it is
        """
        INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        SELECT gen_random_uuid(), session_id, event_type, event_data, timestamp FROM events, generate_series(1, 199)
        """
    )
    look = await session.connection.fetch(statement("small", TABLES), session.id, MOST_ROWS, SMALL_BYTES)
    plan = "\n".join(
        row[0]
        for row in await session.connection.fetch(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) " + statement("small", TABLES),
            session.id,
            MOST_ROWS,
            SMALL_BYTES,
        )
    )

    assert [(row["small"], row["words"]) for row in look] == [(False, None)]
    assert "never executed" in plan


async def test_a_large_session_at_the_end_of_the_table_is_found_by_its_index(session: Session) -> None:
    """To the planner the first thousand of a few percent of the table come soon; but all others lie before them."""
    await session.connection.execute("SET session_replication_role = replica")  # no foreign key is checked 75,000 times
    await session.connection.execute(
        """
        INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
        SELECT md5(n::text)::uuid, 'a', 'in_progress', 'm', 'p', '{}', now(), now() FROM generate_series(1, 2000) n
        """
    )
    await session.connection.execute(
        """
        INSERT INTO events (id, session_id, event_type, event_data, timestamp)
        SELECT gen_random_uuid(), md5((1 + n % 2000)::text)::uuid, 'step_created', '{}', now()
        FROM generate_series(1, 60000) n
        """
    )
    await session.many(15_000)
    await session.connection.execute("VACUUM (ANALYZE) events")
    plan = await session.connection.fetch(
        "EXPLAIN (COSTS OFF) " + statement("small", TABLES), session.id, MOST_ROWS, SMALL_BYTES
    )

    scan = next(row[0] for row in plan if "Scan" in row[0] and " on events e" in row[0])
    assert "Seq Scan" not in scan


async def test_numbers_that_are_longer_than_they_are_stored_keep_to_the_window(session: Session) -> None:
    """What looks small and is not is read in parts, of which the window takes what fits."""
    for second in range(5):
        await session.add("step_created", '{"n": 1e20000}', at=f"2026-01-13 12:00:0{second}+00")

    assert await session.reads_right((100, 50_000)) is LargeSnapshot
    assert await session.reads_right((100, 200_000)) is Snapshot


async def test_other_encodings_are_counted_as_utf8(postgres_server: EmbeddedPostgres) -> None:
    """A database may hold its texts in another encoding; Redis' protocol counts the bytes that arrive."""
    name = f"latin1_{uuid4().hex}"
    async with connected(postgres_server.url()) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            async with connected(postgres_server.url(name)) as connection:
                await connection.execute(SCHEMA.encode("latin1", "ignore").decode("latin1"))
            async with session_in(postgres_server.url(name)) as session:
                for text in HOSTILE:
                    await session.add(text, f'{{"a": {orjson.dumps(text).decode()}}}', text)

                assert await session.reads_right() is Snapshot
                assert await session.reads_right((len(HOSTILE) - 1, 10**6)) is LargeSnapshot
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
