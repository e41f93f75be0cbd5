"""What is asked of a running projector: warm, rebuild, repair and touch; its bounds; and nobody there to answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from projector.core import sessions as table
from readmodel.errors import InvalidParameter, NoLeader
from readmodel.values.messages import ProjectorRequest, encode_request
from readmodel.view.reader import Cold, ViewPage
from readside.commands import projector_client
from readside.commands.sessions import rebuild, warm
from readside.settings import Settings
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> Iterator[Settings]:
    """What the commands read from their environment; the projector beside them keeps its log to itself."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", database_url)
    monkeypatch.setenv("READSIDE_REDIS_URL", redis_url)
    with capture_logs():
        yield Settings()


async def live(stage: Bench) -> None:
    """Wait until the projector of the test is live."""
    await eventually(lambda: stage.telemetry.state == "live", "the projector is live")


async def finished_session(stage: Bench, events: int = 3) -> str:
    """A session that no projector warms by itself."""
    session_id = await stage.writer.session(status="completed")
    await stage.writer.events(session_id, events)
    return session_id


async def send(stage: Bench, verb: str, *session_ids: str) -> None:
    """Ask without waiting for an answer, as the API does."""
    await stage.view.redis.publish(stage.view.keys.requests, encode_request(ProjectorRequest(verb, session_ids)))  # type: ignore[arg-type]


@asynccontextmanager
async def polled(stage: Bench, session_ids: list[str]) -> AsyncIterator[list[ViewPage]]:
    """Poll without a pause for as long as the block lasts; collects the answers, and fails on a cold one."""
    answers: list[ViewPage] = []

    async def poll() -> None:
        while True:
            for session_id in session_ids:
                found = await stage.read(session_id)
                assert isinstance(found, ViewPage), found
                answers.append(found)

    task = asyncio.create_task(poll())
    try:
        yield answers
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended


async def test_warm_makes_hot(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """It returns when the sessions answer from Redis; naming one twice, or in capitals, is naming it once."""
    sessions = [await finished_session(stage) for _ in range(3)]
    async with stage.projector():
        await live(stage)
        assert isinstance(await stage.read(sessions[0]), Cold)
        code = await warm(settings, [*sessions, sessions[0].upper()])

        assert code == 0
        for session_id in sessions:
            assert isinstance(await stage.read(session_id), ViewPage)
            await stage.same(session_id)
    assert capsys.readouterr().out == "3 of 3 sessions are hot.\n"


async def test_warming_what_is_hot(stage: Bench, settings: Settings) -> None:
    """Nothing is loaded again."""
    async with stage.projector() as telemetry:
        await live(stage)
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await stage.caught_up()  # a load counts once its batch is settled, a moment after it is seen
        loads = telemetry.loads

        assert await warm(settings, [session_id]) == 0
        assert telemetry.loads == loads


async def test_a_missing_session_is_told(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """By its id; the others are warmed all the same."""
    session_id, unknown = await finished_session(stage), str(uuid4())
    async with stage.projector():
        await live(stage)
        assert await warm(settings, [unknown, session_id]) == 1
        out, err = capsys.readouterr()
        assert isinstance(await stage.read(session_id), ViewPage)

        assert out == "1 of 2 sessions are hot.\n"
        assert err.splitlines()[-1] == f"1 do not exist in Postgres: {unknown}"
        assert await rebuild(settings, [unknown], everything=False) == 1


async def test_a_session_that_the_view_cannot_hold_is_told(
    stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set aside; when its rows are mended, warming it again works."""
    session_id = await finished_session(stage)
    bad = await stage.writer.event(session_id, timestamp="infinity")
    async with stage.projector() as telemetry:
        await live(stage)
        assert await warm(settings, [session_id]) == 1
        assert (
            f"1 hold what Redis cannot, and stay with Postgres (`readside explain` says why): {session_id}"
            in capsys.readouterr().err
        )
        assert list(telemetry.set_aside()) == [session_id]
        await stage.writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", bad)

        assert await warm(settings, [session_id]) == 0
        assert not telemetry.set_aside()


async def test_what_was_set_aside_is_tried_again_in_the_next_term(stage: Bench) -> None:
    """Its rows may have been mended while no letter could be left."""
    session_id = await finished_session(stage)
    bad = await stage.writer.event(session_id, timestamp="infinity")
    async with stage.projector() as telemetry:
        await live(stage)
        await send(stage, "warm", session_id)
        await eventually(lambda: session_id in telemetry.set_aside(), "it is set aside")
        async with stage.writer.connection.transaction():
            await stage.writer.connection.execute("ALTER TABLE events DISABLE TRIGGER readside_delete")
            await stage.writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", bad)
            await stage.writer.connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER readside_delete")
            await stage.writer.end_the_term()
        await eventually(lambda: not telemetry.set_aside(), "the next term begins")
        await send(stage, "warm", session_id)

        await stage.hot(session_id)


async def test_the_api_does_not_load_the_set_aside_again_and_again(stage: Bench) -> None:
    """Each poll of such a session asks for it; only a command insists."""
    session_id, other = await finished_session(stage), await finished_session(stage)
    await stage.writer.event(session_id, timestamp="infinity")
    async with stage.projector() as telemetry:
        await live(stage)
        await send(stage, "warm", session_id)
        await eventually(lambda: session_id in telemetry.set_aside(), "it is set aside")
        for _ in range(5):
            await send(stage, "warm", session_id)
        await send(stage, "warm", other)
        await stage.hot(other)

        assert (telemetry.loads, telemetry.loading) == (1, 0)


async def test_rebuild_keeps_answering(stage: Bench, settings: Settings) -> None:
    """Polls without a pause: never cold, never half, while every hot session is loaded anew."""
    sessions = [await stage.writer.session() for _ in range(4)]
    for session_id in sessions:
        await stage.writer.events(session_id, 2_000)
    async with stage.projector() as telemetry:
        for session_id in sessions:
            await stage.hot(session_id)
        await live(stage)
        await stage.caught_up()
        loads = telemetry.loads
        async with polled(stage, sessions) as answers:
            assert await rebuild(settings, [], everything=False) == 0

        assert telemetry.loads == loads + len(sessions)
        assert {found.total for found in answers} == {2_000}
        assert len({found.page for found in answers}) == len(sessions)


async def test_rebuild_takes_in_what_is_written_meanwhile(stage: Bench, settings: Settings) -> None:
    """Writers go on; nothing is lost between the snapshot and the put."""
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, 3_000)
    async with stage.projector():
        await stage.hot(session_id)
        async with polled(stage, [session_id]) as answers:
            rebuilding = asyncio.create_task(rebuild(settings, [session_id], everything=False))
            while not rebuilding.done():
                await stage.writer.event(session_id)
            assert await rebuilding == 0
        totals = [found.total for found in answers]

        assert totals == sorted(totals)
        assert (await stage.same(session_id)).total > 3_000


async def test_rebuild_named_sessions_that_are_cold(stage: Bench, settings: Settings) -> None:
    """They are hot in the end, as the command says."""
    session_id = await finished_session(stage)
    async with stage.projector():
        await live(stage)

        assert await rebuild(settings, [session_id], everything=False) == 0
        assert isinstance(await stage.read(session_id), ViewPage)


async def test_rebuild_all(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Every session there is, hot or not, with lines of progress where no terminal is."""
    await stage.writer.connection.execute(
        """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
           SELECT gen_random_uuid(), 't', 'completed', 'm', '/p', '{}', now(), now() FROM generate_series(1, 1500)"""
    )
    async with stage.projector():
        await live(stage)
        assert await rebuild(settings, [], everything=True) == 0
        out, err = capsys.readouterr()

        assert out == "1500 of 1500 sessions are hot.\n"
        assert await stage.view.hot_count() == 1500
        assert err.splitlines()[-1] == "Rebuilding: 1500 of 1500 sessions"
        assert 2 <= len(err.splitlines()) <= 40


async def test_rebuild_nothing(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """No session is hot: that is done at once."""
    async with stage.projector():
        await live(stage)

        assert await rebuild(settings, [], everything=False) == 0
        assert await rebuild(settings, [], everything=True) == 0
    assert capsys.readouterr().out == "0 of 0 sessions are hot.\n" * 2


async def test_names_and_all_together(settings: Settings) -> None:
    """One or the other."""
    with pytest.raises(InvalidParameter, match=r"^Name sessions, or give --all, not both\.$"):
        await rebuild(settings, [str(uuid4())], everything=True)


@pytest.mark.parametrize("text", ["", "x", "🙂", "1" * 10_000])
async def test_an_id_that_is_none(settings: Settings, text: str) -> None:
    """Refused before anything is asked."""
    with pytest.raises(InvalidParameter, match=r"is not a UUID such as"):
        await warm(settings, [text])


async def test_repair_reads_again(stage: Bench) -> None:
    """The old view goes first: it is known to be wrong."""
    async with stage.projector() as telemetry:
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await stage.caught_up()
        await stage.view.redis.hset(stage.view.keys.header(session_id), "status", "wrong")
        await send(stage, "repair", session_id)
        await eventually(lambda: telemetry.looks == 1, "it is looked at")
        await stage.hot(session_id)

        assert (await stage.same(session_id)).status == "in_progress"


async def test_evicted_keys_are_found_when_it_is_polled(stage: Bench) -> None:
    """The projector believes that it is hot; the API's request makes it look."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.writer.event(session_id)
        await stage.hot(session_id)
        await stage.caught_up()
        await stage.view.redis.delete(stage.view.keys.events(session_id))
        assert isinstance(await stage.read(session_id), Cold)
        await send(stage, "warm", session_id)
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 1


async def test_nobody_leads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds, one sentence."""
    monkeypatch.setattr(projector_client, "ANSWER_SECONDS", 0.5)
    started = monotonic()
    with pytest.raises(NoLeader, match=r"^No leading projector answered within .* s; see `readside status`\.$"):
        await warm(settings, [str(uuid4())])

    assert 0.5 <= monotonic() - started < 30


async def test_a_leader_that_never_answers(stage: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody listens on the channel and says nothing: the same."""
    monkeypatch.setattr(projector_client, "ANSWER_SECONDS", 0.5)
    async with stage.view.redis.pubsub() as deaf:
        await deaf.subscribe(stage.view.keys.requests)
        assert await deaf.get_message(timeout=60)
        with pytest.raises(NoLeader):
            await rebuild(settings, [], everything=False)


async def test_hostile_requests_stop_nothing(stage: Bench) -> None:
    """Anybody may publish there."""
    async with stage.projector():
        await live(stage)
        for data in (
            b"",
            b"\xff",
            b"null",
            b'{"verb":"warm"}',
            encode_request(ProjectorRequest("warm", ("x", "*", "'; --"))),
        ):
            await stage.view.redis.publish(stage.view.keys.requests, data)
        session_id = await stage.writer.session()
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 0


async def test_the_bound_on_hot_sessions(
    stage: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who comes last pushes out who was idle for longest; never more than the bound."""
    monkeypatch.setattr(table, "NEVER_EVICTED_SECONDS", 0.0)
    first, second, third = [await finished_session(stage) for _ in range(3)]
    async with stage.projector(max_hot_sessions=2):
        await live(stage)
        assert await warm(settings, [first]) == 0
        assert await warm(settings, [second]) == 0
        await send(stage, "touch", first)
        assert await warm(settings, [third]) == 0

        assert isinstance(await stage.read(second), Cold)
        assert isinstance(await stage.read(first), ViewPage)
        assert isinstance(await stage.read(third), ViewPage)
        assert await stage.view.hot_count() == 2


async def test_no_room_is_told(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is hot was active a moment ago: the new one stays in Postgres."""
    sessions = [await finished_session(stage) for _ in range(3)]
    async with stage.projector(max_hot_sessions=2):
        await live(stage)
        assert await warm(settings, sessions) == 1
        out, err = capsys.readouterr()

        assert out == "2 of 3 sessions are hot.\n"
        assert "1 found no room (READSIDE_MAX_HOT_SESSIONS): " in err
        assert await stage.view.hot_count() == 2


async def test_idle_sessions_leave_and_polled_ones_stay(stage: Bench) -> None:
    """The TTL counts from the last poll or event; the API tells of polls in batches."""
    async with stage.projector(hot_ttl_seconds=4.0):
        await live(stage)
        idle, polled_one, written = [await stage.writer.session() for _ in range(3)]
        for session_id in (idle, polled_one, written):
            await stage.hot(session_id)

        async def idle_left() -> bool:
            await send(stage, "touch", polled_one)
            await stage.writer.event(written)
            return not await stage.is_hot(idle)

        await eventually(idle_left, "the idle session has left")
        assert await stage.is_hot(polled_one)
        assert await stage.is_hot(written)
        assert {sid for sid, _ in await stage.view.hot_sessions()} == {polled_one, written}
        await stage.cold(polled_one)


async def test_a_bulk_of_new_sessions_is_not_all_made_hot(stage: Bench) -> None:
    """An import must not fill the view with what nobody polls."""
    async with stage.projector():
        await live(stage)
        await stage.writer.connection.execute(
            """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
               SELECT gen_random_uuid(), 't', 'pending', 'm', '/p', '{}', now(), now() FROM generate_series(1, 3000)"""
        )
        await stage.caught_up()
        await eventually(lambda: stage.telemetry.loading == 0, "the loads are done")

        assert 1 <= await stage.view.hot_count() <= 400


async def test_a_new_term_goes_on_with_what_was_asked(stage: Bench, settings: Settings) -> None:
    """A term that ends in the middle of a rebuild: who waits is answered all the same."""
    sessions = [await stage.writer.session() for _ in range(20)]
    for session_id in sessions:
        await stage.writer.events(session_id, 1_000)
    async with stage.projector() as telemetry:
        for session_id in sessions:
            await stage.hot(session_id)
        await live(stage)
        rebuilding = asyncio.create_task(rebuild(settings, sessions, everything=False))
        terms, loads = telemetry.terms, telemetry.loads
        await eventually(lambda: telemetry.loads > loads, "it has begun")
        await stage.writer.end_the_term()

        assert await rebuilding == 0
        await eventually(lambda: telemetry.terms == terms + 1, "a new term began")
        for session_id in sessions:
            assert (await stage.same(session_id)).total == 1_000
