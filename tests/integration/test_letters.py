"""What leaves a letter, and in which transaction's name: every kind of transaction, with and without a reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from projector.tail.triggers import install
from readmodel.postgres.client import Connection
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letters import Letterbox, events, letter, letterbox, only, sessions, sid
from tests.support.servers import connected, embedded_postgres, make_template, server_directory

pytestmark = pytest.mark.installed


async def holders(connection: Connection) -> int:
    """How many transactions hold the mark of those that skipped."""
    return int(
        await connection.fetchval("""
            SELECT count(*) FROM pg_locks
             WHERE relation = 'readside.skips'::regclass AND mode = 'RowExclusiveLock' AND granted""")
    )


@pytest.mark.parametrize("turn", [0, 1, 2])
async def test_letters_go_into_the_table_in_use(box: Letterbox, turn: int) -> None:
    """Letters of every function, into that table alone."""
    await box.open(turn=turn)
    for statement in (
        sessions(11, 12),
        events(1, 1),
        "UPDATE events SET message = 'm'",
        f"UPDATE sessions SET status = 'failed' WHERE id = '{sid(2)}'",
        f"UPDATE sessions SET id = '{sid(13)}' WHERE id = '{sid(12)}'",
        f"DELETE FROM sessions WHERE id = '{sid(1)}'",
        "TRUNCATE events",
    ):
        await box.writer.execute(statement)
    sizes = await box.sizes()

    assert sizes.pop(turn) == 10
    assert sizes == [0, 0]


@pytest.mark.parametrize("never", [True, False])
async def test_where_nobody_reads_no_letter_is_written(box: Letterbox, never: bool) -> None:
    """The lease has lapsed, or was never taken: each statement is counted, for all to see at once."""
    await box.reader.execute("ALTER SEQUENCE readside.presence RESTART" if never else "SELECT 1")
    if not never:
        await box.open(-0.001)
    before = await box.skips()
    async with box.writer.transaction():
        await box.writer.execute(events(1, 1))

        assert await box.skips() == before + 1
    await box.writer.execute(f"UPDATE sessions SET status = 'failed' WHERE id = '{sid(2)}'")

    assert await box.skips() == before + 2
    assert await box.take() == only()


async def test_who_skipped_is_seen_to_the_end_of_the_transaction(box: Letterbox) -> None:
    """Past ROLLBACK TO, too, until the commit."""
    await box.open(-1)
    async with box.writer.transaction():
        savepoint = box.writer.transaction()
        await savepoint.start()
        await box.writer.execute(events(1, 1))
        await savepoint.rollback()

        assert await holders(box.reader) == 1

    assert await holders(box.reader) == 0


async def test_who_left_letters_holds_no_mark(box: Letterbox) -> None:
    """Nor does who looks at the counter."""
    async with box.writer.transaction():
        await box.writer.execute(events(1, 1))
        await box.skips()

        assert await holders(box.reader) == 0


async def test_letters_bear_the_top_level_transaction(box: Letterbox) -> None:
    """A savepoint's letters too: its own id is nowhere in a snapshot."""
    async with box.writer.transaction():
        async with box.writer.transaction():
            await box.writer.execute(events(1, 1))
            async with box.writer.transaction():
                await box.writer.execute(events(2, 2))
        txid = await box.writer.fetchval("SELECT pg_current_xact_id()::text")

    assert [row[0] for row in await box.reader.fetch("SELECT txid::text FROM readside.letters_0")] == [txid, txid]


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_writers_of_every_isolation_leave_letters(box: Letterbox, isolation: str) -> None:
    """They see presence as it is now, not as their snapshot has it."""
    await box.open(-1)
    async with box.writer.transaction(isolation=isolation):  # type: ignore[arg-type]  # its stubs list the words
        await box.writer.fetch("SELECT FROM events")
        await box.open(turn=2)
        await box.writer.execute(events(1, 1))

    assert await box.sizes() == [0, 0, 1]


async def test_serializable_writers_do_not_fail_by_our_letters(box: Letterbox, database_url: str) -> None:
    """Two that write to different sessions, and read what they write alone, have nothing in common but letters."""
    async with connected(database_url) as other:
        for i, writer in enumerate((box.writer, other, box.writer, other)):
            if i < 2:
                await writer.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            await writer.execute(events(i + 1, i + 1, str(i % 2 + 1)))
        await box.writer.execute("COMMIT")
        await other.execute("COMMIT")

    assert (await box.take()).total() == 4


async def test_deferred_constraints_are_no_matter(box: Letterbox) -> None:
    """An event may come before its session, and both are named."""
    await box.writer.execute("""
        ALTER TABLE events DROP CONSTRAINT events_session_id_fkey;
        ALTER TABLE events ADD FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE
          DEFERRABLE INITIALLY DEFERRED""")
    async with box.writer.transaction():
        await box.writer.execute(events(1, 1, "11"))
        await box.writer.execute(sessions(11, 11))

    assert await box.take() == only(letter("a", 11, 1), letter("n", 11))


async def test_a_transaction_that_becomes_read_only_commits(box: Letterbox) -> None:
    """What it wrote before is named; nothing of ours writes at its end."""
    async with box.writer.transaction():
        await box.writer.execute(events(1, 1))
        await box.writer.execute("SET TRANSACTION READ ONLY")
        await box.writer.fetch("SELECT FROM events")

    assert await box.take() == only(letter("a", 1, 1))


async def test_copy_of_nothing_and_conflicts_leave_no_letter(box: Letterbox) -> None:
    """No row, no letter, no ring."""
    await box.of(events(1, 1))
    rung = await rings(box, events(1, 1) + " ON CONFLICT DO NOTHING", "DELETE FROM events WHERE false")

    assert await box.take() == only()
    assert rung == []


async def rings(box: Letterbox, *statements: str, ring: bool = True) -> list[str]:
    """The payloads that a listener hears of these statements, before a marker of our own."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.put_nowait(str(payload))

    await box.open(ring=ring)
    await box.reader.add_listener("readside", hear)
    for statement in (*statements, "NOTIFY readside, 'marker'"):
        await box.writer.execute(statement)
    payloads = []
    while (payload := await asyncio.wait_for(heard.get(), 30)) != "marker":
        payloads.append(payload)
    await box.reader.remove_listener("readside", hear)
    return payloads


async def test_the_bell_rings_when_the_bit_is_on(box: Letterbox) -> None:
    """With an empty payload, and once a transaction."""
    assert await rings(box, events(1, 1), f"BEGIN; {events(2, 2)}; {events(3, 3)}; COMMIT") == ["", ""]


async def test_the_bell_is_still_when_the_bit_is_off(box: Letterbox) -> None:
    """Letters are written, and nobody rings."""
    assert await rings(box, events(1, 1), ring=False) == []
    assert await box.take() == only(letter("a", 1, 1))


@asynccontextmanager
async def write_side(**settings: str) -> AsyncIterator[EmbeddedPostgres]:
    """A server of our own with the tables in a database `write_side`."""
    with server_directory() as directory:
        async with embedded_postgres(directory, **settings) as server:
            await make_template(server)
            yield server


async def test_prepared_transactions_work_while_nobody_rings() -> None:
    """Their letters are there once they are committed; with the bell on Postgres refuses to prepare."""
    async with (
        write_side(max_prepared_transactions="5") as server,
        letterbox(server.url("write_side"), doorbell=False) as box,
    ):
        await box.writer.execute(f"BEGIN; {events(1, 1)}; PREPARE TRANSACTION 'later'")

        assert await box.take() == only()
        await box.writer.execute("COMMIT PREPARED 'later'")
        assert await box.take() == only(letter("a", 1, 1))

        await box.open(ring=True)
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await box.writer.execute(f"BEGIN; {events(2, 2)}; PREPARE TRANSACTION 'never'")


async def test_a_crash_empties_the_letters_and_the_sequences() -> None:
    """Nobody is there after it until somebody says so, and writers go on."""
    async with write_side(fsync="on") as server:
        url = server.url("write_side")
        async with letterbox(url) as box:
            await box.writer.execute(events(1, 1))
            await box.reader.execute("SELECT setval('readside.reader', 7); CHECKPOINT")
        await server.kill()
        await server.start()
        async with connected(url) as writer:
            assert await writer.fetchval("SELECT pg_sequence_last_value('readside.presence'::regclass)") is None
            assert await writer.fetchval("SELECT last_value FROM readside.reader") == 0
            assert await writer.fetchval("SELECT count(*) FROM readside.letters_0") == 0
            await writer.execute(events(2, 2))
            assert await writer.fetchval("SELECT is_called FROM readside.skips")


async def test_two_deployments_live_on_one_database(box: Letterbox) -> None:
    """Each has its schema, its triggers and its letters; a bell of its own."""
    assert await install(box.writer, warn=pytest.fail, schema="second")
    second = Letterbox(box.writer, box.reader, "second")
    await second.open(turn=1)
    await box.writer.execute(events(1, 1))

    assert await second.take() == await box.take() == only(letter("a", 1, 1))
