"""Rows that cannot be read, as in a database without an encoding: each is named, and harms no other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import httpx
import orjson
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from readside.commands import explain, sessions
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.settings import Settings
from tests.support.projecting import Bench
from tests.support.servers import SCHEMA, connected, fresh_database
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ENCODING = "template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
BYTE = "pg_catalog.convert_from('\\xff'::bytea, 'SQL_ASCII')"
WHY = 'invalid byte sequence for encoding "UTF8": 0xff'
COLUMNS = {
    "message": BYTE,
    "event_type": f"'step_' || {BYTE}",
    "event_data": f"('{{\"deep\": [\"' || {BYTE} || '\"]}}')::jsonb",
}
"""What makes an event unreadable, by the column that holds it."""


@asynccontextmanager
async def raw_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database that takes any bytes for text."""
    await postgres_server.start()  # a test may have stopped it
    async with fresh_database(postgres_server, NO_ENCODING) as url:
        async with connected(url) as connection:
            await connection.execute(SCHEMA)
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(postgres_server: EmbeddedPostgres, lasting_redis_url: str) -> AsyncIterator[Whole]:
    """Everything over such a database, live: all tests here spoil sessions of their own in it."""
    async with raw_database(postgres_server) as url, whole_service(url, lasting_redis_url) as made:
        yield made


async def _spoil(stage: Bench, session_id: str, column: str, at: str = "2026-01-13T14:30:00Z") -> str:
    """Write an event that cannot be read."""
    event_id = await stage.writer.event(session_id, timestamp=at)
    await stage.writer.connection.execute(
        f"UPDATE events SET {column} = {COLUMNS[column]} WHERE id = $1::uuid", event_id
    )
    return event_id


def _problem(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    return str(answer.json()["detail"])


def _sentence(event_id: str) -> str:
    return (
        f"This page cannot be answered, since event {event_id} cannot be read: {WHY}. Pages without this event are "
        "answered, and this one is when the event's row is mended or deleted."
    )


async def _aside(stage: Bench, session_id: str, event_id: str) -> None:
    wanted = f"event {event_id} cannot be read: {WHY}"
    await eventually(lambda: stage.telemetry.set_aside().get(session_id) == wanted, "it is set aside, with the reason")


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_byte_that_is_no_text(whole: Whole, column: str) -> None:
    """Its session is set aside with the reason, its page is a 500 that names the event; all else is answered."""
    stage = whole.bench
    session_id, other = await stage.writer.session(), await stage.writer.session()
    for one in (session_id, other):
        await stage.writer.events(one, 40)
        await stage.hot(one)
    event_id = await _spoil(stage, session_id, column)
    await _aside(stage, session_id, event_id)

    for query in ("", "?limit=1&page=41", "?page=3&limit=15"):
        for staleness in ("0", "5"):
            answer = await whole.poll(session_id, query, readside_max_staleness=staleness)
            assert _problem(answer) == _sentence(event_id)
    assert (await whole.poll(session_id, "?limit=40")).json()["total"] == 41
    assert (await whole.poll(session_id, "?since=2026-01-13T14:30:01Z")).json()["total"] == 40
    assert (await whole.served(other, "redis", "?limit=7")).json()["total"] == 40
    assert (await stage.same(other)).total == 40


@pytest.mark.parametrize("mended", ["deleted", "mended"])
async def test_it_recovers(whole: Whole, mended: str) -> None:
    """When the row is mended or deleted the session is hot again with its next polls."""
    stage = whole.bench
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, 3)
    event_id = await _spoil(stage, session_id, "message")
    assert _problem(await whole.poll(session_id, readside_max_staleness="0")) == _sentence(event_id)
    await whole.client.post(f"/api/v2/sessions/{session_id}/warm")
    await _aside(stage, session_id, event_id)
    change = "DELETE FROM events" if mended == "deleted" else "UPDATE events SET message = 'mended'"
    await stage.writer.connection.execute(f"{change} WHERE id = $1::uuid", event_id)
    await whole.served(session_id, "redis", "?limit=9")

    assert (await stage.same(session_id)).total == (3 if mended == "deleted" else 4)
    assert session_id not in stage.telemetry.set_aside()


async def test_a_new_event_that_cannot_be_read(whole: Whole) -> None:
    """It leaves the view within a beat, though it came beside events of others."""
    stage = whole.bench
    session_id, other = await stage.writer.session(), await stage.writer.session()
    await stage.hot(session_id)
    await stage.hot(other)
    event_id = str(uuid4())
    await stage.writer.connection.execute(
        f"""INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
            VALUES ('{event_id}', '{session_id}', 'step_created', '{{}}', {BYTE}, now()),
                   (gen_random_uuid(), '{other}', 'step_created', '{{}}', 'fine', now())"""
    )
    await _aside(stage, session_id, event_id)

    assert (await stage.same(other)).total == 1
    assert _problem(await whole.poll(session_id, readside_max_staleness="0")) == _sentence(event_id)


async def test_a_large_session_with_such_an_event(whole: Whole) -> None:
    """It is found among thousands, in a session that is loaded in parts."""
    stage = whole.bench
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, 3_000)
    event_id = await _spoil(stage, session_id, "event_data")
    await whole.client.post(f"/api/v2/sessions/{session_id}/warm")
    await _aside(stage, session_id, event_id)

    assert (await whole.poll(session_id, "?limit=1000")).json()["total"] == 3_001
    assert _problem(await whole.poll(session_id, "?limit=1000&page=4")) == _sentence(event_id)


async def test_a_status_of_such_bytes(whole: Whole) -> None:
    """Nobody sees a status: the session is answered as any other, and no other session waits for it."""
    stage = whole.bench
    session_id, other = await stage.writer.session(), await stage.writer.session()
    for one in (session_id, other):
        await stage.writer.events(one, 3)
        await stage.hot(one)
    await stage.writer.connection.execute(f"UPDATE sessions SET status = {BYTE} WHERE id = $1::uuid", session_id)
    await stage.writer.end_the_term()  # so that all are compared
    for one in (session_id, other):
        await stage.writer.event(one)
        await stage.caught_up()
        await stage.hot(one)  # it may be loaded anew
        assert (await stage.same(one)).total == 4
        assert (await whole.poll(one, readside_max_staleness="0")).json()["total"] == 4


async def test_the_log_says_it_once(whole: Whole) -> None:
    """However often its page is polled."""
    stage = whole.bench
    session_id = await stage.writer.session()
    event_id = await _spoil(stage, session_id, "message")
    with capture_logs() as logs:
        for _ in range(4):
            _problem(await whole.poll(session_id, readside_max_staleness="0"))

    told = [entry for entry in logs if entry.get("session_id") == session_id and event_id in str(entry.get("reason"))]
    assert [entry["event"] for entry in told if entry["event"] == "a page cannot be answered"] == [
        "a page cannot be answered"
    ]


async def test_the_commands_tell_the_same(
    whole: Whole, lasting_redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`warm`, `rebuild`, `verify` and `explain` do their work, and name the event or where to find its name."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", whole.bench.config.database_url)
    monkeypatch.setenv("READSIDE_REDIS_URL", lasting_redis_url)
    stage = whole.bench
    session_id, other = await stage.writer.session(), await stage.writer.session()
    await stage.hot(other)
    event_id = await _spoil(stage, session_id, "event_type")
    await _aside(stage, session_id, event_id)  # until it is, the session is hot, as of before the change
    with capture_logs():  # what the projector says meanwhile is no part of what the commands print
        for command in (sessions.warm, partial(sessions.rebuild, everything=False)):
            capsys.readouterr()
            assert await command(Settings(), [session_id, other]) == 1
            told = capsys.readouterr()
            assert told.out.splitlines()[-1] == "1 of 2 sessions are hot."
            assert f"stay with Postgres (`readside explain` says why): {session_id}\n" in told.err
        assert await sessions.verify(Settings(), [session_id, other], repair=False, as_json=False) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "1 sessions compared, 0 different, 1 not hot."
        await eventually(lambda: _reported(stage, session_id), "the leader has reported it")
        assert await explain.explain(Settings(), session_id, event_id, json=False) == 0
        told = capsys.readouterr()

    assert f"It is set aside, and stays with Postgres: event {event_id} cannot be read: {WHY}." in told.out
    assert f"Event {event_id} is in Postgres, where it cannot be read: {WHY}. Pages with it are not answ" in told.out


async def _reported(stage: Bench, session_id: str) -> bool:
    reports = await stage.view.projectors()
    return any(session_id in (orjson.loads(report)["set_aside_why"] or {}) for report in reports.values())
