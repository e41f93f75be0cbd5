"""Two databases, one prefix: no API answers with events of the other, whatever it hears and wherever it is led."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

import httpx
import pytest

from projector.view import writer as view_writer
from query_api.sources import own_database as module
from readmodel.values.messages import decode_change
from readmodel.values.poll import Poll
from readmodel.view.subscription import heard
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.builders import api, api_config, events_path
from tests.support.projecting import INSERT_SESSION, Bench, Writer, bench
from tests.support.proxy import proxied
from tests.support.servers import another_postgres, connected, fresh_database, make_template, server_directory
from tests.support.waiting import eventually


@dataclass
class Two:
    """A session id that both databases hold: two events in the one that is projected, three in the other."""

    session_id: str
    led: Bench
    other_url: str
    other: Writer
    redis_url: str

    async def poll(self, client: httpx.AsyncClient, query: str = "") -> httpx.Response:
        """Poll it; only a staleness that nothing exceeds, so that time decides nothing."""
        answer = await client.get(events_path(self.session_id) + query, headers={"readside-max-staleness": "3600"})
        assert answer.status_code == 200, answer.text
        return answer

    async def served(self, client: httpx.AsyncClient, source: str, total: int) -> httpx.Response:
        """Poll until an answer comes from `source`; every answer has so many events.

        What Redis is to answer is asked in a way that memory does not hold.
        """
        limits = count(10)
        answers: list[httpx.Response] = []

        async def arrived() -> bool:
            answers.append(await self.poll(client, f"?limit={next(limits)}" if source == "redis" else ""))
            assert answers[-1].json()["total"] == total, answers[-1].headers
            return bool(answers[-1].headers["readside-source"] == source)

        await eventually(arrived, f"an answer from {source}")
        return answers[-1]

    async def beats(self, wanted: int) -> None:
        """Hear so many beats of the view, and give the API's loop time to hear them too."""
        left = wanted
        async for data in heard(self.led.view.redis, self.led.view.keys.changes):
            change = decode_change(data) if data else None
            left -= change is not None and change.as_of_us is not None
            if left <= 0:
                return


async def write(writer: Writer, session_id: str, events: int) -> None:
    """Insert a session and its events."""
    await writer.connection.execute(INSERT_SESSION, session_id, "in_progress")
    await writer.events(session_id, events)


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Writer]:
    """A writer of a database."""
    async with connected(url) as connection:
        yield Writer(connection)


@pytest.fixture
async def two(postgres_server: EmbeddedPostgres, database_url: str, redis_url: str) -> AsyncIterator[Two]:
    """Both on one server; the projector is not running yet."""
    session_id = str(uuid4())
    async with (
        fresh_database(postgres_server) as other_url,
        writing(other_url) as other,
        bench(database_url, redis_url) as led,
    ):
        await write(led.writer, session_id, 2)
        await write(other, session_id, 3)
        yield Two(session_id, led, other_url, other, redis_url)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that asks often which database it is on, and a view that has soon stopped moving."""
    monkeypatch.setattr(module, "IDENTIFY_SECONDS", 0.1)
    monkeypatch.setattr(view_writer, "STILL_MOVING_SECONDS", 0.5)


async def test_an_api_on_another_database_answers_from_its_own(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a message came and after, and it says why; what it wrote itself is there at once."""
    async with two.led.projector():
        await two.led.hot(two.session_id)
        await two.led.caught_up()
        async with api(api_config(two.other_url, two.redis_url)) as client:
            assert (await two.poll(client)).json()["total"] == 3
            for total in (4, 5, 6):
                await two.led.writer.event(two.session_id)
                await two.other.event(two.session_id)
                await two.beats(3)
                for query in ("", "?limit=1", f"?limit={total}"):
                    answer = await two.poll(client, query)
                    assert (answer.json()["total"], answer.headers["readside-source"]) == (total, "postgres")
            projection = (await client.get("/api/v2/projection")).json()
            ready = await client.get("/health/ready")
            listed = await client.get("/api/v2/projection/sessions")

    assert (projection["status"], "another database" in projection["reason"]) == ("down", True)
    assert (ready.status_code, ready.json()["stores"]) == (200, {"redis": "down", "postgres": "up"})
    assert (listed.status_code, "data of others" in listed.text) == (503, True)
    assert capsys.readouterr().out.count("than READSIDE_DATABASE_URL leads to") == 1


async def test_an_api_recovers_when_its_own_projector_leads(two: Two) -> None:
    """The view is taken over: the same API serves it, and the other's API answers from Postgres."""
    async with (
        bench(two.other_url, two.redis_url) as own,
        api(api_config(two.other_url, two.redis_url)) as client,
        api(api_config(two.led.config.database_url, two.redis_url)) as theirs,
    ):
        async with two.led.projector():
            await two.led.hot(two.session_id)
            await two.served(theirs, "memory", 2)
            await two.served(client, "postgres", 3)
        async with own.projector():
            await own.hot(two.session_id)
            await two.served(client, "redis", 3)
            await two.served(client, "memory", 3)
            await two.served(theirs, "postgres", 2)


async def test_an_api_that_started_without_postgres(two: Two) -> None:
    """It serves the view as long as nothing speaks against it, and not a moment longer."""
    async with two.led.projector(), proxied(two.other_url) as proxy:
        await two.led.hot(two.session_id)
        proxy.cut(refuse=True)
        async with api(api_config(proxy.url(two.other_url), two.redis_url)) as client:
            await two.served(client, "memory", 2)
            proxy.mend()

            async def identified() -> bool:
                return bool((await client.get("/api/v2/projection")).json()["status"] == "down")

            await eventually(identified, "it is known to be another database")
            for _ in range(3):
                await two.beats(1)
                assert (await two.poll(client)).json()["total"] == 3


async def test_another_cluster_behind_the_address(two: Two) -> None:
    """An API whose polls memory answers notices all the same, and comes back when the address does."""
    name = two.led.config.database_url.rpartition("/")[2]
    with server_directory() as directory:
        async with another_postgres(directory) as server, two.led.projector():
            await make_template(server)
            async with connected(server.url()) as connection:
                await connection.execute(f"CREATE DATABASE {name} TEMPLATE write_side")
            async with writing(server.url(name)) as restored:
                await write(restored, two.session_id, 7)
            async with proxied(two.led.config.database_url) as proxy:
                here = proxy.upstream
                await trusted(two.led.config.database_url, server.url(name))
                url = f"postgresql://anywhere:anywhere@127.0.0.1:{proxy.port}/{name}"
                async with api(api_config(url, two.redis_url)) as client:
                    await two.served(client, "memory", 2)
                    proxy.upstream = (here[0], int(server.url().rpartition(":")[2].split("/")[0]))
                    proxy.cut()
                    await noticed(two, client, 7)
                    proxy.upstream = here
                    proxy.cut()
                    await noticed(two, client, 2)
                    await two.served(client, "memory", 2)
    async with connected(two.led.config.database_url) as connection:
        await connection.execute("DROP ROLE anywhere")


async def trusted(*urls: str) -> None:
    """Make a role that has one password on each server."""
    for url in urls:
        async with connected(url) as connection:
            await connection.execute("CREATE ROLE anywhere SUPERUSER LOGIN PASSWORD 'anywhere'")


async def noticed(two: Two, client: httpx.AsyncClient, total: int) -> None:
    """Poll, as patiently as can be, until the database's own events are served; none of the other from then on."""

    async def changed() -> bool:
        answer = await client.get(events_path(two.session_id), headers={"readside-max-staleness": "3600"})
        return answer.status_code == 200 and bool(answer.json()["total"] == total)

    await eventually(changed, "the change is noticed")
    for _ in range(5):
        await two.beats(1)
        assert (await two.poll(client)).json()["total"] == total


async def test_a_role_that_may_not_know_the_database(two: Two) -> None:
    """Postgres answers nothing then, and polls are told which right: the projector is refused by the same words."""
    admin = two.other.connection
    await admin.execute("CREATE ROLE blind LOGIN PASSWORD 'blind'")
    await admin.execute("GRANT SELECT ON sessions, events TO blind")
    url = two.other_url.replace(two.other_url.split("//")[1].split("@")[0], "blind:blind", 1)
    try:
        async with api(api_config(url, two.redis_url)) as client:
            assert (await two.poll(client)).headers["readside-source"] == "postgres"
            await admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
            refused = await client.get(events_path(two.session_id))
            assert refused.status_code == 503
            assert refused.json()["detail"] == "PostgreSQL: permission denied for function pg_control_system."
            await admin.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO blind")

            async def answered() -> bool:
                return (await client.get(events_path(two.session_id))).status_code == 200

            await eventually(answered, "the right is enough")
    finally:
        await admin.execute("DROP OWNED BY blind; DROP ROLE blind")


async def test_the_identity_is_that_of_the_answer(two: Two) -> None:
    """It comes with each answer, in its statement: a pooler may lead every one of them elsewhere."""
    first, second = await asyncio.gather(identity(two.led.config.database_url), identity(two.other_url))

    assert first != second
    assert first.split("/")[0] == second.split("/")[0]


async def identity(url: str) -> str:
    """What an answer of the event log bears."""
    async with bench(url, "redis://127.0.0.1:1/0", installed=False) as made:
        return (await made.log.answer(Poll(str(uuid4())), 1000)).database
