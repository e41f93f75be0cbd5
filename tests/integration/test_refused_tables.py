"""An API whose tables or rights are not as it needs them: it says so, is not ready, and recovers without a restart."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from query_api.operators import health
from readmodel.postgres import table_reads
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.builders import api, api_config
from tests.support.projecting import Bench, bench
from tests.support.servers import fresh_database
from tests.support.waiting import eventually
from tests.support.whole import Whole

ROLE = "readside_reader"
MISFITS = {
    "a column is missing": (
        "ALTER TABLE events RENAME message TO text",
        "ALTER TABLE events RENAME text TO message",
        "Table public.events is not as readside needs it: column message is missing.",
    ),
    "ids are text": (
        "ALTER TABLE events ALTER id TYPE text",
        "ALTER TABLE events ALTER id TYPE uuid USING id::uuid",
        "Table public.events is not as readside needs it: column id is text and must be uuid.",
    ),
    "ids are of a domain": (
        "CREATE DOMAIN name_of_event AS uuid; ALTER TABLE events ALTER id TYPE name_of_event",
        "ALTER TABLE events ALTER id TYPE uuid; DROP DOMAIN name_of_event",
        "Table public.events is not as readside needs it: column id is public.name_of_event and must be uuid.",
    ),
    "types are of a domain": (
        "CREATE DOMAIN kind AS text; ALTER TABLE events ALTER event_type TYPE kind",
        "ALTER TABLE events ALTER event_type TYPE varchar(100); DROP DOMAIN kind",
        (
            "Table public.events is not as readside needs it: "
            "column event_type is public.kind and must be character varying or text."
        ),
    ),
    "session ids are text": (
        "ALTER TABLE events DROP CONSTRAINT events_session_id_fkey; ALTER TABLE events ALTER session_id TYPE text",
        (
            "ALTER TABLE events ALTER session_id TYPE uuid USING session_id::uuid;"
            "ALTER TABLE events ADD FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE"
        ),
        "Table public.events is not as readside needs it: column session_id is text and must be uuid.",
    ),
    "payloads are json": (
        "ALTER TABLE events ALTER event_data TYPE json",
        "ALTER TABLE events ALTER event_data TYPE jsonb",
        "Table public.events is not as readside needs it: column event_data is json and must be jsonb.",
    ),
    "instants without an offset": (
        "ALTER TABLE events ALTER timestamp TYPE timestamp",
        "ALTER TABLE events ALTER timestamp TYPE timestamptz",
        (
            "Table public.events is not as readside needs it: "
            "column timestamp is timestamp without time zone and must be timestamp with time zone."
        ),
    ),
    "a status of another type": (
        "ALTER TABLE sessions ALTER status TYPE char(20)",
        "ALTER TABLE sessions ALTER status TYPE varchar(20)",
        (
            "Table public.sessions is not as readside needs it: "
            "column status is character and must be character varying or text."
        ),
    ),
    "an instant that nobody reads here": (
        "ALTER TABLE sessions ALTER created_at TYPE timestamp",
        "ALTER TABLE sessions ALTER created_at TYPE timestamptz",
        (
            "Table public.sessions is not as readside needs it: "
            "column created_at is timestamp without time zone and must be timestamp with time zone."
        ),
    ),
    "a NULL may come": (
        "ALTER TABLE events ALTER event_data DROP NOT NULL",
        "ALTER TABLE events ALTER event_data SET NOT NULL",
        (
            "Table public.events is not as readside needs it: column event_data must be NOT NULL (once no row holds "
            "NULL there: `ALTER TABLE public.events ALTER COLUMN event_data SET NOT NULL`)."
        ),
    ),
    "a view": (
        "ALTER TABLE events RENAME TO was; CREATE VIEW events AS SELECT * FROM was",
        "DROP VIEW events; ALTER TABLE was RENAME TO events",
        "public.events is not a table, and readside reads tables alone.",
    ),
    "no table": (
        "ALTER TABLE events RENAME TO was",
        "ALTER TABLE was RENAME TO events",
        "Table events was not found in schema public (the search_path of this connection).",
    ),
}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are looked at more often than in production, which other tests here keep to."""
    monkeypatch.setattr(table_reads, "CHECKED_SECONDS", 0.2)
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.1)


async def _ready(whole: Whole) -> tuple[int, str]:
    answer = await whole.client.get("/health/ready")
    return answer.status_code, answer.json().get("detail", "")


async def _told(whole: Whole, session_id: str, sentence: str) -> None:
    """Within seconds polls and readiness say the sentence, which names no server, and when to ask again."""

    async def polls_are_told() -> bool:
        answer = await whole.poll(session_id)
        return answer.status_code == 503 and answer.json()["detail"] == sentence and "retry-after" in answer.headers

    await eventually(polls_are_told, "polls are told")
    await eventually(lambda: _is_told(whole, sentence), "readiness says the same")


async def _is_told(whole: Whole, sentence: str) -> bool:
    return await _ready(whole) == (503, sentence)


async def _recovers(whole: Whole, session_id: str, before: bytes) -> None:
    async def answers() -> bool:
        answer = await whole.poll(session_id)
        return answer.status_code == 200 and answer.content == before

    await eventually(answers, "polls are answered again")
    await eventually(lambda: _is_ready(whole), "it is ready again")


async def _is_ready(whole: Whole) -> bool:
    return (await _ready(whole))[0] == 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(postgres_server: EmbeddedPostgres, lasting_redis_url: str) -> AsyncIterator[Whole]:
    """An API, and a database that each misfit finds and leaves whole."""
    await postgres_server.start()  # a test may have stopped it
    async with (
        fresh_database(postgres_server) as url,
        bench(url, lasting_redis_url, installed=False) as stage,
        api(api_config(url, lasting_redis_url)) as client,
    ):
        yield Whole(stage, client)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("when", ["at its start", "while it runs"])
async def test_tables_that_do_not_fit(lasting: Whole, misfit: str, when: str) -> None:
    """503 with the sentence, not ready for the same reason; mended, it answers as before."""
    change, back, sentence = MISFITS[misfit]
    stage = lasting.bench
    execute, session_id = stage.writer.connection.execute, await stage.writer.session()
    await stage.writer.events(session_id, 3)
    await eventually(lambda: _is_ready(lasting), "the tables are as they were before the last misfit")
    before = (await lasting.served(session_id, "postgres")).content
    await execute(change)
    async with AsyncExitStack() as stack:
        try:
            whole = lasting
            if when == "at its start":
                started = api(api_config(stage.config.database_url, stage.config.redis_url))
                whole = Whole(stage, await stack.enter_async_context(started))
            await _told(whole, session_id, sentence)
        finally:
            await execute(back)  # the next misfit finds the tables whole, whatever became of this one
        await _recovers(whole, session_id, before)


RIGHTS = {
    "SELECT on a table": (
        f"REVOKE SELECT ON events FROM {ROLE}",
        f"GRANT SELECT ON events TO {ROLE}",
        "Our role may not read table public.events: it needs SELECT, which `readside install --role` grants.",
    ),
    "SELECT on a column": (
        f"REVOKE SELECT ON sessions FROM {ROLE}; GRANT SELECT (id, created_at) ON sessions TO {ROLE}",
        f"GRANT SELECT ON sessions TO {ROLE}",
        "Our role may not read table public.sessions: it needs SELECT, which `readside install --role` grants.",
    ),
    "every row": (
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "Row-level security hides rows of public.events from our role: give it BYPASSRLS, or use the tables' owner.",
    ),
    "the schema": (
        f"REVOKE USAGE ON SCHEMA public FROM PUBLIC, {ROLE}",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "Table sessions was not found in any schema: the search_path of this connection names none that exists.",
    ),
}


@asynccontextmanager
async def narrow(stage: Bench) -> AsyncIterator[Whole]:
    """An API whose role may read the tables, and nothing else."""
    execute, parts = stage.writer.connection.execute, urlsplit(stage.config.database_url)
    url = parts._replace(netloc=f"{ROLE}:narrow@{parts.netloc.rpartition('@')[2]}").geturl()
    await execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'narrow'; GRANT SELECT ON sessions, events TO {ROLE}")
    try:
        async with api(api_config(url, stage.config.redis_url)) as client:
            yield Whole(stage, client)
    finally:
        await execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@pytest.mark.parametrize("right", RIGHTS)
async def test_a_right_that_is_taken_away(database_url: str, redis_url: str, right: str) -> None:
    """The same: a running API says which, and answers again when it is given back."""
    revoke, grant, sentence = RIGHTS[right]
    async with bench(database_url, redis_url, installed=False) as stage, narrow(stage) as whole:
        execute, session_id = stage.writer.connection.execute, await stage.writer.session()
        await stage.writer.events(session_id, 3)
        before = (await whole.poll(session_id)).content
        await execute(revoke)
        await _told(whole, session_id, sentence)
        await execute(grant)
        await _recovers(whole, session_id, before)


async def test_hot_sessions_are_answered_meanwhile(database_url: str, redis_url: str) -> None:
    """The projector may read, and so Redis is right: what the API itself may not read concerns cold sessions alone."""
    async with bench(database_url, redis_url) as stage, stage.projector(), narrow(stage) as whole:
        hot = await stage.writer.session()
        await stage.writer.events(hot, 3)
        await stage.hot(hot)
        await whole.served(hot, "redis")
        await stage.writer.connection.execute(RIGHTS["SELECT on a table"][0])
        await stage.writer.event(hot)
        await whole.total(hot, 4)

        assert (await whole.poll(hot, "?limit=2")).headers["readside-source"] in {"memory", "redis"}
        await _told(whole, "00000000-0000-0000-0000-000000000001", RIGHTS["SELECT on a table"][2])


async def test_ids_that_sort_otherwise_are_noticed_at_once(database_url: str, redis_url: str) -> None:
    """No page in another order leaves before the tables are looked at again."""
    async with bench(database_url, redis_url, installed=False) as stage:
        session_id = await stage.writer.session()
        async with api(api_config(database_url, redis_url)) as client:
            whole = Whole(stage, client)
            await whole.poll(session_id)
            await stage.writer.connection.execute("ALTER TABLE events ALTER id TYPE text")
            refused = await whole.poll(session_id)

    assert (refused.status_code, refused.json()["detail"]) == (503, MISFITS["ids are text"][2])


async def test_rows_that_are_hidden_are_noticed_at_once(database_url: str, redis_url: str) -> None:
    """An answer would lack them, and nobody could tell."""
    async with bench(database_url, redis_url, installed=False) as stage, narrow(stage) as whole:
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 3)
        await whole.poll(session_id)
        await stage.writer.connection.execute(RIGHTS["every row"][0])
        refused = await whole.poll(session_id)

    assert (refused.status_code, refused.json()["detail"]) == (503, RIGHTS["every row"][2])
