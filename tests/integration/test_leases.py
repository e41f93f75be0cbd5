"""Leases that lapse: letters are skipped then, the skips are counted and held, and as-of never passes one unseen."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from projector.loads.loads import Loader
from projector.telemetry import Telemetry
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.barriers import Barrier, after
from tests.support.letterboxes import (
    add,
    hot_session,
    lapse,
    own_server,
    prepared,
    preparing_bench,
    shows,
    skips,
    unrenewed,
)
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def preparing_server() -> Iterator[EmbeddedPostgres]:
    """A server on which transactions can be prepared."""
    with own_server(max_prepared_transactions="50", fsync="on", full_page_writes="on") as server:
        yield server


@pytest.fixture
def renewing(monkeypatch: pytest.MonkeyPatch) -> Barrier:
    """Closed, it keeps the lease from being renewed; readings go on."""
    return unrenewed(monkeypatch)


@pytest.mark.parametrize("level", LEVELS)
async def test_what_was_skipped_is_compared_when_it_commits(stage: Bench, renewing: Barrier, level: str) -> None:
    """The transaction skipped its letter while nobody held the lease, and commits long after that is over."""
    async with stage.projector() as told, connected(stage.config.database_url) as slow:
        session_id = await hot_session(stage)
        await lapse(stage.writer.connection, renewing)
        await slow.execute(f"BEGIN ISOLATION LEVEL {level}")
        await add(slow, session_id)
        renewing.open()
        assert await skips(stage.writer.connection) == 1
        await eventually(lambda: told.comparisons == 1, "the counter is noticed")
        assert (await stage.same(session_id)).total == 0
        await slow.execute("COMMIT")
        await shows(stage, session_id, 1)

        assert (told.terms, told.comparisons, told.drift) == (1, 2, 0)


async def test_what_was_skipped_and_rolled_back_is_compared_in_vain(stage: Bench, renewing: Barrier) -> None:
    """The mark of a savepoint stays to the end of its transaction; then nothing is in doubt any more."""
    async with stage.projector() as told, connected(stage.config.database_url) as slow:
        session_id = await hot_session(stage)
        await lapse(slow, renewing)
        await slow.execute("BEGIN; SAVEPOINT a")
        await add(slow, session_id)
        await slow.execute("ROLLBACK TO a")
        renewing.open()
        await eventually(lambda: told.comparisons == 1, "the counter is noticed")
        await stage.caught_up()
        await slow.execute("COMMIT")
        await eventually(lambda: told.comparisons == 2, "its end is noticed")

        assert (await stage.same(session_id)).total == 0
        assert told.terms == 1


async def test_what_commits_while_the_lease_has_lapsed_is_compared(stage: Bench, renewing: Barrier) -> None:
    """Beats go on meanwhile: each finds the counter moved, and as-of waits for the comparison."""
    async with stage.projector() as told:
        session_id = await hot_session(stage)
        await lapse(stage.writer.connection, renewing)
        for total in range(1, 6):
            await stage.writer.event(session_id)
            await shows(stage, session_id, total)
        assert await skips(stage.writer.connection) == 5
        renewing.open()

        assert (await stage.same(session_id)).total == 5
        assert (told.terms, told.drift) == (1, 0)


async def test_a_session_that_is_loaded_while_letters_are_skipped_is_whole(
    stage: Bench, renewing: Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads under way start again: no letter told them what came meanwhile."""
    loading = after(monkeypatch, Loader, "_stage")
    async with stage.projector() as told:
        loading.close()
        session_id = await stage.writer.session()
        await loading.reached()
        await lapse(stage.writer.connection, renewing)
        await stage.writer.event(session_id)
        await eventually(lambda: told.comparisons > 0, "the counter is noticed")
        loading.open()
        await shows(stage, session_id, 1)
        renewing.open()

        assert told.terms == 1


def began(told: Telemetry, terms: int) -> bool:
    """Whether so many terms have begun."""
    return told.terms == terms


async def test_a_transaction_stays_open_across_terms(stage: Bench) -> None:
    """Its letters were written under the first term, and are read in the third."""
    async with stage.projector() as told, connected(stage.config.database_url) as slow:
        session_id = await hot_session(stage)
        await slow.execute("BEGIN")
        await add(slow, session_id)
        for terms in (2, 3):
            await stage.view.redis.delete(stage.view.keys.position)
            await eventually(partial(began, told, terms), "another term begins")
            await stage.caught_up()
        await stage.hot(session_id)
        await slow.execute("COMMIT")
        await shows(stage, session_id, 1)

        assert told.comparisons == 0


async def test_a_transaction_stays_open_across_leaders(stage: Bench) -> None:
    """One leader goes, another comes; what was written in between was skipped and is held."""
    async with connected(stage.config.database_url) as first, connected(stage.config.database_url) as second:
        async with stage.projector():
            session_id = await hot_session(stage)
            await first.execute("BEGIN")
            await add(first, session_id)
        assert await skips(stage.writer.connection) == 0
        await second.execute("BEGIN")
        await add(second, session_id)
        assert await skips(stage.writer.connection) == 1
        async with stage.projector() as told:
            await stage.hot(session_id)
            assert (await stage.same(session_id)).total == 0
            await second.execute("COMMIT")
            await shows(stage, session_id, 1)
            assert told.comparisons == 1
            await first.execute("COMMIT")
            await shows(stage, session_id, 2)

        assert (told.terms, told.comparisons) == (1, 1)


async def test_a_transaction_that_only_read_before_the_lease_lapsed_is_found(stage: Bench, renewing: Barrier) -> None:
    """Its snapshot is older than all of it; the sequences' values are not."""
    async with stage.projector() as told, connected(stage.config.database_url) as slow:
        session_id = await hot_session(stage)
        await slow.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        await slow.fetchval("SELECT count(*) FROM events")
        await lapse(stage.writer.connection, renewing)
        await add(slow, session_id)
        renewing.open()
        await eventually(lambda: told.comparisons == 1, "the counter is noticed")
        await add(slow, session_id)
        await slow.execute("COMMIT")
        await shows(stage, session_id, 2)


async def test_a_prepared_transaction_that_skipped_is_a_holder(
    preparing_server: EmbeddedPostgres, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one before it was prepared; the counter moves neither when it is nor when it commits."""
    renewing = unrenewed(monkeypatch)
    async with (
        preparing_bench(preparing_server, redis_url) as stage,
        connected(stage.config.database_url) as slow,
        stage.projector() as told,
    ):
        session_id = await hot_session(stage)
        await lapse(slow, renewing)
        await slow.execute("BEGIN")
        await add(slow, session_id)
        renewing.open()
        await eventually(lambda: told.comparisons == 1, "the counter is noticed")
        await slow.execute("PREPARE TRANSACTION 'later'")
        await stage.caught_up()
        await hot_session(stage)
        await slow.execute("COMMIT PREPARED 'later'")
        await shows(stage, session_id, 1)

        assert (told.terms, told.drift) == (1, 0)


async def test_a_crash_keeps_prepared_transactions_and_loses_their_letters(
    preparing_server: EmbeddedPostgres, redis_url: str
) -> None:
    """They are holders of the next term, whether or not they skipped: each has the view compared when it ends."""
    async with preparing_bench(preparing_server, redis_url) as stage, stage.projector() as told:
        session_id = await hot_session(stage)
        names = [await prepared(stage.writer.connection, session_id) for _ in range(3)]
        await preparing_server.restart("immediate")
        async with connected(stage.config.database_url) as writer:
            stage.writer.connection = writer
            await stage.caught_up()
            await stage.hot(session_id)
            for total, name in enumerate(names[:2], 1):
                await writer.execute(f"COMMIT PREPARED '{name}'")
                await shows(stage, session_id, total)
            await writer.execute(f"ROLLBACK PREPARED '{names[2]}'")
            await eventually(lambda: told.comparisons == 3, "each end is noticed")

            assert (await stage.same(session_id)).total == 2
            assert told.drift == 0


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_default_of_the_database_or_of_our_role_changes_nothing(stage: Bench, level: str) -> None:
    """Writers use it; our own connections set theirs, and fail no writer's transaction."""
    url, connection = stage.config.database_url, stage.writer.connection
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    await connection.execute(f"ALTER ROLE postgres IN DATABASE {name} SET default_transaction_isolation = '{level}'")
    async with connected(url) as writer, connected(url) as slow, stage.projector() as told:
        stage.writer.connection = writer
        assert await writer.fetchval("SHOW transaction_isolation") == level
        session_id, other = await hot_session(stage), await hot_session(stage)
        await slow.execute("BEGIN")
        await slow.fetchval("SELECT count(*) FROM events")
        for total in range(1, 11):
            await add(writer, session_id)
            await asyncio.sleep(0)
            await shows(stage, session_id, total)
        await add(slow, other)
        await slow.execute("COMMIT")
        await shows(stage, other, 1)

        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)
