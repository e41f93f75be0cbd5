"""Emptying a table of letters: never a letter that nobody read, and never a writer that waits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.letters import Letterbox, events, letterbox
from tests.support.servers import connected

pytestmark = pytest.mark.installed


ME = 77


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Letterbox]:
    """A letter in the first table, which is no longer the one in use; we are who reads."""
    async with letterbox(database_url) as box:
        await box.writer.execute(events(1, 1))
        await box.open(turn=1)
        await box.reader.execute(f"SELECT setval('readside.reader', {ME})")
        yield box


async def snapshot(box: Letterbox) -> str:
    """What is visible now."""
    return str(await box.reader.fetchval("SELECT pg_current_snapshot()::text"))


async def empties(box: Letterbox, seen: str, *, turn: int | None = 0, me: int | None = ME) -> bool:
    """Empty a table; whether that was done, and by the count of what is left."""
    before = await box.sizes()
    done = await box.reader.fetchval("SELECT readside.empty_letters($1, $2, $3::text::pg_snapshot)", turn, me, seen)
    after = await box.sizes()
    assert (after == before) is not done
    return bool(done)


async def test_a_table_that_was_read_is_emptied(box: Letterbox) -> None:
    """Whole."""
    assert await empties(box, await snapshot(box))


async def test_a_letter_that_was_not_seen_stays(box: Letterbox) -> None:
    """It came after the snapshot."""
    await box.open(turn=0)
    seen = await snapshot(box)
    await box.writer.execute(events(2, 2))
    await box.open(turn=1)

    assert not await empties(box, seen)


async def test_a_letter_of_a_transaction_that_ran_in_the_snapshot_stays(box: Letterbox, database_url: str) -> None:
    """Its id is below the snapshot's end, and yet nobody saw it."""
    await box.open(turn=0)
    async with box.writer.transaction():
        await box.writer.execute(events(2, 2))
        async with connected(database_url) as other:
            await other.execute(events(3, 3))
        seen = await snapshot(box)
    await box.open(turn=1)

    assert ":" in seen.rstrip(":")
    assert not await empties(box, seen)
    assert await empties(box, await snapshot(box))


async def test_letters_that_were_rolled_back_are_no_matter(box: Letterbox) -> None:
    """Nobody can ever see them."""
    await box.open(turn=0)
    transaction = box.writer.transaction()
    await transaction.start()
    await box.writer.execute(events(2, 2))
    seen = await snapshot(box)
    await transaction.rollback()
    await box.open(turn=1)

    assert await empties(box, seen)


async def test_the_table_in_use_is_not_emptied(box: Letterbox) -> None:
    """Writers would come to stand behind the lock."""
    await box.open(turn=0)

    assert not await empties(box, await snapshot(box))


async def test_an_unset_presence_refuses(box: Letterbox) -> None:
    """The server crashed, or nobody ever was there: whoever asks is of another time."""
    await box.reader.execute("ALTER SEQUENCE readside.presence RESTART")

    assert not await empties(box, await snapshot(box))


async def test_another_reader_refuses(box: Letterbox) -> None:
    """A deposed leader that thaws empties nothing."""
    await box.reader.execute("SELECT setval('readside.reader', 78)")

    assert not await empties(box, await snapshot(box))


@pytest.mark.parametrize("turn", [-1, 3, None])
async def test_a_turn_that_is_none_refuses(box: Letterbox, turn: int | None) -> None:
    """There are three tables."""
    assert not await empties(box, await snapshot(box), turn=turn)


@pytest.mark.parametrize("me", [0, None])
async def test_nobody_refuses(box: Letterbox, me: int | None) -> None:
    """Nor does who has no number."""
    assert not await empties(box, await snapshot(box), me=me)


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_an_older_snapshot_refuses(box: Letterbox, isolation: str) -> None:
    """What was written between the snapshot and the lock would not be seen by the check."""
    async with box.reader.transaction(isolation=isolation):  # type: ignore[arg-type]  # its stubs list the words
        seen = await snapshot(box)

        assert not await empties(box, seen)


async def test_a_writer_keeps_it_out_and_does_not_wait(box: Letterbox) -> None:
    """An open transaction with letters in the table: refused at once, and the writer goes on."""
    await box.open(turn=0)
    async with box.writer.transaction():
        await box.writer.execute(events(2, 2))
        await box.open(turn=1)
        seen = await snapshot(box)

        assert not await empties(box, seen)
        await box.writer.execute(events(3, 3))

    assert await empties(box, await snapshot(box))


async def test_the_check_reads_the_index(box: Letterbox) -> None:
    """However the planner guesses about a table that was never analyzed: the lock is held meanwhile."""
    await box.open(turn=0)
    await box.of(*(events(first, first + 999) for first in range(1000, 6000, 1000)))
    for first in range(10_000, 20_000, 1000):
        await box.writer.execute(events(first, first + 999))
    await box.open(turn=1)
    pages = await box.reader.fetchval("SELECT pg_relation_size('readside.letters_0') / 8192")
    await box.reader.execute("SET stats_fetch_consistency = none; SELECT pg_stat_force_next_flush()")
    before = await box.reader.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'letters_0'")
    seen = await snapshot(box)
    done = await box.reader.fetchval("SELECT readside.empty_letters(0, $1, $2::text::pg_snapshot)", ME, seen)
    await box.reader.execute("SELECT pg_stat_force_next_flush()")
    after = await box.reader.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'letters_0'")

    assert pages > 50
    assert done
    assert after == before
