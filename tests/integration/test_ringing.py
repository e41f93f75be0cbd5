"""When writers ring: not under load, not where they wait for one another, and not into a queue that somebody pins."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from projector.core import pace
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.letterboxes import add, hot_session, own_server, settled, shows, writers
from tests.support.projecting import Bench, bench
from tests.support.servers import POSTGRES_SETTINGS, connected, fresh_database, make_template, server_directory
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


SMALL_QUEUE_PAGES = 64


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def slow_disk_server() -> Iterator[EmbeddedPostgres]:
    """A server whose commits take a tenth of a second where others are under way too, as on a slow disk."""
    with own_server(fsync="on", commit_delay="100000", commit_siblings="1") as server:
        yield server


@asynccontextmanager
async def small_queue() -> AsyncIterator[str]:
    """A fresh database on a server whose notification queue is small, which older servers cannot be told."""
    with server_directory() as directory:
        settings = {**POSTGRES_SETTINGS, "max_notify_queue_pages": str(SMALL_QUEUE_PAGES)}
        async with EmbeddedPostgres(directory, settings=settings) as server:
            await make_template(server)
            async with fresh_database(server) as url:
                yield url


async def test_load_silences_the_bell_and_quiet_lets_it_ring_again(
    stage: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, both ways, and without a lost event."""
    monkeypatch.setattr(pace, "CONTENDED_SECONDS", 0.5)  # they wait for one another too, before they are told
    async with stage.projector() as told, writers(stage.config.database_url, 8) as connections:
        sessions = [await hot_session(stage) for _ in connections]
        await eventually(lambda: told.ringing, "writers ring")
        stop, written = asyncio.Event(), [0] * len(connections)

        async def write(number: int) -> None:
            while not stop.is_set():
                await add(connections[number], sessions[number], 40)
                written[number] += 40

        load = [asyncio.create_task(write(number)) for number in range(8)]
        await eventually(lambda: not told.ringing, "nobody rings")
        before = sum(written)
        await eventually(lambda: sum(written) > before + 4_000, "the load goes on")
        assert not told.ringing
        stop.set()
        await asyncio.gather(*load)
        await eventually(lambda: told.ringing, "writers ring again")

        for number, session_id in enumerate(sessions):
            assert (await settled(stage, session_id)).total == written[number]
        assert (told.terms, told.comparisons, told.drift) == (1, 0, 0)


async def test_writers_that_wait_for_one_another_are_not_asked_to_ring(
    slow_disk_server: EmbeddedPostgres, redis_url: str
) -> None:
    """Few letters a second, and yet each who rings waits for the disk of the one before."""
    async with (
        fresh_database(slow_disk_server) as url,
        bench(url, redis_url) as stage,
        stage.projector() as told,
        writers(url, 8) as connections,
    ):
        session_id = await hot_session(stage)
        await eventually(lambda: told.ringing, "writers ring")
        stop = asyncio.Event()

        async def write(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
            count = 0
            while not stop.is_set():
                await add(connection, session_id)
                count += 1
            return count

        load = [asyncio.create_task(write(connection)) for connection in connections]
        await eventually(lambda: not told.ringing, "nobody rings")
        stop.set()
        written = sum(await asyncio.gather(*load))

        assert (await settled(stage, session_id)).total == written
        assert not told.ringing


async def test_a_queue_that_somebody_pins_is_left_alone(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign listener idles in a transaction: writers ring no more, never fail, and events arrive all the same."""
    monkeypatch.setattr(pace, "CONTENDED_SECONDS", 0.5)
    usage = "SELECT pg_notification_queue_usage()"
    async with small_queue() as url, bench(url, redis_url) as stage, stage.projector() as told:
        async with connected(url) as idle, connected(url) as loud:
            session_id = await hot_session(stage)
            await eventually(lambda: told.ringing, "writers ring")
            await idle.execute("LISTEN elsewhere")
            await idle.execute("BEGIN; SELECT 1")
            while await loud.fetchval(usage) <= pace.QUEUE_USAGE:
                await loud.execute("SELECT pg_notify('elsewhere', repeat('x', 7000))")
            await eventually(lambda: not told.ringing, "nobody rings")
            filled = float(await loud.fetchval(usage))
            for total in range(1, 501):
                await stage.writer.event(session_id)
                if total % 100 == 0:
                    await shows(stage, session_id, total)
            assert await loud.fetchval(usage) == filled < 2 * pace.QUEUE_USAGE
            await idle.execute("COMMIT")
        await eventually(lambda: told.ringing, "writers ring again")

        assert (await settled(stage, session_id)).total == 500
        assert (told.terms, told.connections, told.comparisons) == (1, 1, 0)


async def test_others_who_notify_are_undisturbed(stage: Bench) -> None:
    """Channels of their own, heard by themselves alone, while writers ring."""
    heard: list[str] = []
    async with stage.projector() as told, connected(stage.config.database_url) as other:
        await other.add_listener("elsewhere", lambda *said: heard.append(str(said[3])))
        session_id = await hot_session(stage)
        for n in range(20):
            await stage.writer.event(session_id)
            await stage.writer.connection.execute("SELECT pg_notify('elsewhere', $1)", str(n))
        await eventually(lambda: len(heard) == 20, "they hear theirs")

        assert heard == [str(n) for n in range(20)]
        assert (await settled(stage, session_id)).total == 20
        assert told.terms == 1
