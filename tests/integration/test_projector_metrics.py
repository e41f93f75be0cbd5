"""Each thing that happens to a projector moves the series that it should, by as much as it should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from projector.metrics import exposition
from projector.telemetry import Telemetry
from readmodel.values.messages import ProjectorRequest, encode_request
from tests.support.damage import lose_oldest
from tests.support.healing import end_the_lead
from tests.support.projecting import Bench, bench
from tests.support.scraping import Scrape, moved, series
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

NAME = "readside_projector_"
GO_ON = ("batches", "commit_to_applied_seconds", "compared", "readings")
"""What moves by itself, as time goes by."""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; rounds of the continuous check follow each other closely."""
    async with bench(database_url, redis_url, drift_round_seconds=0.05) as made:
        yield made


def scrape(telemetry: Telemetry) -> Scrape:
    """Scrape a projector; names without their common part."""
    return {name.removeprefix(NAME): value for name, value in series(exposition(telemetry).decode()).items()}


@asynccontextmanager
async def moving(stage: Bench) -> AsyncIterator[Scrape]:
    """What the block moves, when all that it did is applied."""
    before, found = scrape(stage.telemetry), Scrape()
    yield found
    await stage.caught_up()
    found.update(moved(before, scrape(stage.telemetry), *GO_ON))


async def hot(stage: Bench, events: int = 5) -> str:
    """A hot session, and all quiet."""
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, events)
    await stage.hot(session_id)
    await stage.caught_up()
    return session_id


async def test_events_and_loads(stage: Bench) -> None:
    """A new session is loaded; an event of a hot one is read and applied; a rebuilt one is loaded again."""
    async with stage.projector() as telemetry:
        await eventually(lambda: telemetry.state == "live", "live")
        async with moving(stage) as new:
            session_id = await hot(stage, 0)
        async with moving(stage) as event:
            await stage.writer.event(session_id)
        async with moving(stage) as bulk:
            await stage.writer.events(session_id, 30)
        async with moving(stage) as rebuilt:
            request = encode_request(ProjectorRequest("rebuild", (session_id,)))
            await stage.view.redis.publish(stage.view.keys.requests, request)
            await eventually(lambda: telemetry.loads == 2, "it is loaded anew")

    assert new == {"letters_total": 1, "loads_total": 1}
    assert event == {"letters_total": 1, "events_applied_total": 1}
    assert bulk == {"letters_total": 30, "events_applied_total": 30}
    assert rebuilt == {"loads_total": 1}


async def test_every_beat_that_comes_back_is_measured(stage: Bench) -> None:
    """The histogram counts beats, as-of moves with them, and nothing waits in the end."""
    async with stage.projector() as telemetry:
        await hot(stage)
        before = scrape(telemetry)
        await eventually(lambda: telemetry.round_trips.count >= before["commit_to_applied_seconds_count"] + 5, "beats")
        after = scrape(telemetry)

    assert after["commit_to_applied_seconds_sum"] > before["commit_to_applied_seconds_sum"]
    assert after["as_of_timestamp_seconds"] > before["as_of_timestamp_seconds"]
    assert 0 < after["heartbeat_round_trip_seconds"] < after["lag_seconds"] < 60
    assert (after["hot_sessions"], after["loading"], after["events_waiting"], after["live"]) == (1, 0, 0, 1)


async def test_beats_that_were_due_while_one_waited_are_measured_too(stage: Bench) -> None:
    """While Redis hangs one beat waits, and those after it wait for that one: none is left out."""
    async with stage.projector() as telemetry:
        await hot(stage)
        before = scrape(telemetry)
        await stage.view.redis.client_pause(2_500, all=False)
        await stage.caught_up()
        after = scrape(telemetry)

    count = after["commit_to_applied_seconds_count"] - before["commit_to_applied_seconds_count"]
    seconds = after["commit_to_applied_seconds_sum"] - before["commit_to_applied_seconds_sum"]
    assert count >= 8  # of fifty beats of 50 ms: a busy machine has fewer
    assert seconds > 1.5  # all but the last waited for longer than 0.1 s


async def test_a_difference_is_found_and_repaired(stage: Bench) -> None:
    """Redis holds it whole, and wrong: drift. It is counted once, and once when it is right again."""
    async with stage.projector() as telemetry:
        session_id = await hot(stage)
        async with moving(stage) as found:
            await lose_oldest(stage.view.redis, stage.view.keys, session_id)
            await eventually(lambda: telemetry.drift_repaired, "it is repaired")

    assert found == {"drift_total": 1, "drift_repaired_total": 1, "looks_total": 1, "loads_total": 1}


async def test_a_session_that_redis_lost_is_no_drift(stage: Bench) -> None:
    """Its keys are gone: reads see that, and nobody was told anything wrong."""
    async with stage.projector():
        session_id = await hot(stage)
        async with moving(stage) as found:
            await stage.view.redis.delete(stage.view.keys.header(session_id))
            await stage.hot(session_id)

    assert found == {"sessions_lost_total": 1, "looks_total": 1, "loads_total": 1}


async def test_a_connection_that_is_lost(stage: Bench) -> None:
    """Counted under Postgres; another is made, and a term catches up."""
    with capture_logs():
        async with stage.projector() as telemetry:
            await hot(stage)
            async with moving(stage) as found:
                await end_the_lead(stage)
                await eventually(lambda: telemetry.catch_ups == 2, "a second term catches up")
                await eventually(lambda: telemetry.state == "live", "live again")

    assert found == {
        "reconnects_total{cause=postgres}": 1, "connections_total": 1, "terms_total": 1, "catch_ups_total": 1,
    }  # fmt: skip


async def test_triggers_that_are_missing(stage: Bench) -> None:
    """The term ends, and the next one is refused: the cause is the triggers, and nobody is live."""
    with capture_logs():
        async with stage.projector() as telemetry:
            await hot(stage)
            await stage.writer.connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
            await eventually(lambda: telemetry.reconnects["triggers"], "it is refused")
            found = scrape(telemetry)

    assert found["reconnects_total{cause=triggers}"] >= 1  # it tries again and again
    assert found["reconnects_total{cause=postgres}"] == 0
    assert found["live"] == 0


async def test_a_session_that_is_set_aside(stage: Bench) -> None:
    """A gauge while it is, and neither a load nor a drift."""
    with capture_logs():
        async with stage.projector() as telemetry:
            session_id = await hot(stage)
            async with moving(stage) as found:
                await stage.writer.event(session_id, timestamp="infinity")
                await eventually(lambda: len(telemetry.set_aside()), "it is set aside")
            aside = scrape(telemetry)["set_aside"]
            await stage.writer.delete_session(session_id)
            await eventually(lambda: scrape(telemetry)["set_aside"] == 0, "it is gone")

    assert (aside, found) == (1, {"letters_total": 1})


async def test_a_standby_takes_over(stage: Bench) -> None:
    """One leads and tells of the view, the other does not; then the other."""
    with capture_logs():
        async with stage.projector(heartbeat_seconds=0.05) as first:
            await hot(stage)
            leading = asyncio.Event()
            ended = asyncio.Event()

            async def stand_by() -> tuple[Scrape, Scrape]:
                async with stage.projector(heartbeat_seconds=0.05) as second:
                    await eventually(lambda: second.role == "standby", "it stands by")
                    standing = scrape(second)
                    leading.set()
                    await ended.wait()
                    await eventually(lambda: second.state == "live", "it leads")
                    return standing, scrape(second)

            standby = asyncio.create_task(stand_by())
            await leading.wait()
            led = scrape(first)
        ended.set()
        standing, after = await standby

    assert (led["leader"], led["live"], led["hot_sessions"]) == (1, 1, 1)
    assert (standing["leader"], standing["live"]) == (0, 0)
    assert not {"lag_seconds", "hot_sessions", "set_aside"} & standing.keys()
    assert (after["leader"], after["live"], after["hot_sessions"]) == (1, 1, 1)
