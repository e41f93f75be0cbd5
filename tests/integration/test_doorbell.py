"""The doorbell: a hint that anybody may give. Forged, flooded, cut or silent, it costs readings and no more."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from statistics import median

import asyncpg
import pytest
import pytest_asyncio

from projector.core.pace import LOOK_SECONDS, MAX_IDLE_RING_SECONDS
from projector.tail import doorbell
from projector.telemetry import Telemetry
from tests.support.healing import watched
from tests.support.letterboxes import add, hot_session, settled, shows
from tests.support.letters import new_role
from tests.support.logs import logged
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SLOW_BEAT = 2.0
"""So slow that what arrives sooner came by the bell or a look: of several events most do, on a busy machine too."""
BELLS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'readside-listener' AND datname = current_database()"
FORGED = [
    "SELECT pg_notify('readside', 'x')",
    "SELECT pg_notify('readside', 'a ' || gen_random_uuid() || ' ' || gen_random_uuid())",
    "SELECT pg_notify('readside', 'b ' || txid_current() || ' ' || 4102444800000000)",
    "SELECT pg_notify('readside', 'l ' || gen_random_uuid())",
    "SELECT pg_notify('readside', repeat('x', 7999))",
    "SELECT pg_notify('readside', '')",
]


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@asynccontextmanager
async def strangers(stage: Bench, count: int = 1) -> AsyncIterator[list["asyncpg.Connection[asyncpg.Record]"]]:
    """Connections of a role that may connect and has no other right."""
    async with new_role(stage.writer.connection, "stranger") as role:
        made = [await asyncpg.connect(stage.config.database_url) for _ in range(count)]
        for connection in made:
            await connection.execute(f"SET SESSION AUTHORIZATION {role}")
        try:
            yield made
        finally:
            for connection in made:
                connection.terminate()


@asynccontextmanager
async def rung(stage: Bench, **changes: object) -> AsyncIterator[Telemetry]:
    """A projector whose bell is heard, and that looks by itself each beat alone."""
    async with stage.projector(**{"heartbeat_seconds": SLOW_BEAT, **changes}) as told:
        await eventually(lambda: told.ringing, "writers ring")
        yield told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Bench]:
    """One whose projector hears the bell, for all forged rings."""
    async with bench(lasting_database_url, lasting_redis_url) as made, rung(made):
        yield made


async def quiet(told: Telemetry) -> None:
    """Wait until we look no more by ourselves: three tenths of a second have no reading but perhaps a beat's."""
    seen: list[tuple[float, int]] = []

    def still() -> bool:
        seen.append((time.monotonic(), told.readings))
        return any(at <= time.monotonic() - 0.3 and told.readings - count <= 1 for at, count in seen[-100:])

    await eventually(still, "nobody looks")


async def test_an_event_arrives_by_the_bell(stage: Bench) -> None:
    """Far sooner than by a beat."""
    async with rung(stage) as told:
        session_id = await hot_session(stage)
        await quiet(told)
        took = []
        for total in range(1, 8):
            await stage.writer.event(session_id)
            took.append(await shows_items(stage, session_id, total))

        assert median(took) < SLOW_BEAT / 2


async def shows_items(stage: Bench, session_id: str, total: int) -> float:
    """How long it takes until so many events are in the view."""
    started = time.monotonic()

    async def there() -> bool:
        found = await stage.read(session_id)
        return getattr(found, "total", None) == total

    await eventually(there, f"{total} events")
    return time.monotonic() - started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("sql", FORGED, ids=["x", "added", "beat", "look", "long", "empty"])
async def test_a_forged_ring_costs_a_reading(lasting: Bench, sql: str) -> None:
    """Whatever it says, and though it looks like what version 0.1 believed: no term ends, nothing is dropped."""
    told = lasting.telemetry
    async with watched(lasting) as watch, strangers(lasting) as (stranger,):
        session_id = await watch.session()
        await lasting.hot(session_id)
        await quiet(told)
        readings, as_of = told.readings, told.as_of_us
        await stranger.execute(sql)
        await eventually(lambda: told.readings > readings, "it is read")
        await lasting.caught_up()

        assert (told.as_of_us or 0) - (as_of or 0) < 60_000_000
        assert (told.terms, told.looks, told.comparisons, told.drift, told.connections) == (1, 0, 0, 0, 1)


async def test_rings_without_letters_cost_a_bounded_number_of_readings(stage: Bench) -> None:
    """One hand that rings without end, below what makes us hang up."""
    async with rung(stage) as told, strangers(stage) as (stranger,):
        session_id = await hot_session(stage)
        await quiet(told)
        started, readings = time.monotonic(), told.readings
        while time.monotonic() - started < 3:
            await stranger.execute("SELECT pg_notify('readside', 'x')")
        rate = (told.readings - readings) / (time.monotonic() - started)
        took = []
        for total in range(1, 8):
            await stage.writer.event(session_id)
            took.append(await shows_items(stage, session_id, total))

        assert rate < 1 / MAX_IDLE_RING_SECONDS + 1 / LOOK_SECONDS
        assert median(took) < SLOW_BEAT / 2
        assert (told.terms, told.connections) == (1, 1)


async def test_a_million_notices_at_once_are_survived(stage: Bench) -> None:
    """In one transaction, each another: we hang up or digest them; as-of moves on, events arrive, memory is bounded."""
    async with watched(stage) as watch, stage.projector() as told, strangers(stage) as (stranger,):
        session_id = await watch.session()
        await stage.hot(session_id)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        flood = asyncio.create_task(
            stranger.execute("SELECT count(pg_notify('readside', n::text)) FROM generate_series(1, 1000000) n")
        )
        lags: list[float] = []
        while not flood.done() or len(lags) < 30:
            lags.append(await lag(stage, watch.event(session_id)))
        await flood
        await stage.caught_up()

        assert max(lags) < 30
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
        assert (told.terms, told.connections, told.drift) == (1, 1, 0)


async def lag(stage: Bench, write: object) -> float:
    """How long it takes until as-of has passed what was written."""
    await write  # type: ignore[misc]
    started = time.monotonic()
    await stage.caught_up()
    return time.monotonic() - started


async def test_a_flood_without_end_is_hung_up_on(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four connections ring thousands of times a second: we look by ourselves meanwhile, and listen again later."""
    monkeypatch.setattr(doorbell, "FLOOD_SECONDS", 1.0)
    monkeypatch.setattr(doorbell, "FLOOD", 500)  # what a slow machine's loop is sure to hear
    with logged("info") as lines:
        async with rung(stage, heartbeat_seconds=0.5) as told, strangers(stage, 4) as many:
            session_id = await hot_session(stage)
            stop = asyncio.Event()
            flood = [asyncio.create_task(ring(one, stop)) for one in many]
            await eventually(lambda: lines.said("hung up on a flood of notifications"), "we hang up")
            started, readings = time.monotonic(), told.readings
            for total in range(1, 21):
                await stage.writer.event(session_id)
                await shows(stage, session_id, total)
            rate = (told.readings - readings) / (time.monotonic() - started)
            stop.set()
            await asyncio.gather(*flood)
            await eventually(lambda: told.ringing, "writers ring again")

            assert rate < 100
            assert (told.terms, told.connections, told.drift) == (1, 1, 0)


async def ring(connection: "asyncpg.Connection[asyncpg.Record]", stop: asyncio.Event) -> None:
    """Ring as fast as it goes, a thousand different notices a transaction."""
    while not stop.is_set():
        await connection.execute(
            "SELECT count(pg_notify('readside', n || ' ' || random())) FROM generate_series(1, 1000) n"
        )


async def test_a_bell_that_is_cut_is_missed_at_once(stage: Bench) -> None:
    """Its server process is ended: we look by ourselves, tell writers not to ring, and listen again."""
    async with rung(stage) as told:
        session_id = await hot_session(stage)
        await quiet(told)
        assert await stage.writer.connection.fetchval(f"SELECT pg_terminate_backend(pid) FROM ({BELLS}) AS bell")
        took = []
        for total in range(1, 4):
            await stage.writer.event(session_id)
            await shows_items(stage, session_id, total)
        await eventually(lambda: told.ringing, "writers ring again")
        await quiet(told)
        for total in range(4, 11):
            await stage.writer.event(session_id)
            took.append(await shows_items(stage, session_id, total))

        assert median(took) < SLOW_BEAT / 2
        assert (told.terms, told.connections) == (1, 1)


async def test_a_bell_that_falls_silent_costs_a_beat(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network swallows it: events come with the beats until that is noticed, then by looks."""
    monkeypatch.setattr(doorbell, "PROOF_SECONDS", 0.5)
    async with proxied(stage.config.listen_url) as proxy:
        direct = stage.config.listen_url

        class Deaf(doorbell.Doorbell):
            """Listens through the proxy."""

            def __init__(self, _url: str, *others: object) -> None:
                super().__init__(proxy.url(direct), *others)  # type: ignore[arg-type]

        monkeypatch.setattr("projector.leader.Doorbell", Deaf)
        async with rung(stage, heartbeat_seconds=0.5) as told:
            session_id = await hot_session(stage)
            await quiet(told)
            proxy.stall()
            for total in range(1, 11):
                await stage.writer.event(session_id)
                await shows_items(stage, session_id, total)
            await eventually(lambda: proxy.accepted > 1, "another connection listens")
            await quiet(told)
            took = []
            for total in range(11, 18):
                await stage.writer.event(session_id)
                took.append(await shows_items(stage, session_id, total))

            assert median(took) < 0.4  # by a beat it would take half a second, each time
            assert (told.terms, told.connections) == (1, 1)


async def test_without_a_bell_nobody_listens_and_nobody_rings(stage: Bench) -> None:
    """Events arrive as soon all the same, since we look fifty times a second."""
    heard: list[str] = []
    connection = stage.writer.connection
    async with connected(stage.config.database_url) as other, rung_off(stage) as told:
        await other.add_listener("readside", lambda *_: heard.append("rung"))
        session_id, took = await hot_session(stage), []
        assert await connection.fetch(BELLS) == []
        for total in range(1, 11):
            await add(connection, session_id)
            took.append(await shows_items(stage, session_id, total))
        await other.execute("SELECT 1")

        assert (heard, told.ringing) == ([], False)
        assert median(took) < SLOW_BEAT / 2
        assert (await settled(stage, session_id)).total == 10


@asynccontextmanager
async def rung_off(stage: Bench) -> AsyncIterator[Telemetry]:
    """A projector without a bell, live."""
    stage.config = replace(stage.config, doorbell=False, heartbeat_seconds=SLOW_BEAT)
    async with stage.projector() as told:
        await stage.caught_up()
        yield told
