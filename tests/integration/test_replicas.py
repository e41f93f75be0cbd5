"""Cold polls by hot standbys: right as of a beat that the standby has passed, or else the primary's, unnoticed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from projector.tail.sql import statement
from query_api.sources.projector_requests import ProjectorRequests
from readmodel.postgres import standby_log
from readmodel.postgres.event_log import answer_statement
from readmodel.postgres.sql import statement as shared
from readmodel.values.wal import parse_wal
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.inspection.of_replicas import of_replicas
from readside.settings import Settings
from tests.support.builders import api, api_config, events_path
from tests.support.healing import CLOCK_US
from tests.support.projecting import Bench, Writer, bench
from tests.support.replication import Replication, replayed_all, replication
from tests.support.scraping import series
from tests.support.servers import connected, fresh_database
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def servers() -> Iterator[Replication]:
    """A primary for all tests here."""
    with replication() as made:
        yield made


@pytest.fixture(scope="module")
def quick(servers: Replication) -> Iterator[EmbeddedPostgres]:
    """A standby that tests here leave as it is. It cancels what replay has to wait for."""
    server = servers.copy(servers.primary, max_standby_streaming_delay="0")
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.kill())


@pytest.fixture
async def database(servers: Replication) -> AsyncIterator[str]:
    """The name of a database of its own on the primary."""
    await servers.primary.start()
    async with fresh_database(servers.primary) as url:
        yield url.rpartition("/")[2]


@pytest.fixture(autouse=True)
def _stays_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks the projector to warm what is polled."""
    monkeypatch.setattr(ProjectorRequests, "warm", lambda *_: None)


@dataclass
class Site:
    """Writer, projector, primary, and an API with standbys."""

    bench: Bench
    client: httpx.AsyncClient
    database: str

    async def poll(self, session_id: str, query: str = "", **headers: str) -> httpx.Response:
        """Poll."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(events_path(session_id) + query, headers=given)

    async def metrics(self) -> dict[str, float]:
        """What the API counts."""
        return series((await self.client.get("/metrics")).text)

    async def answered_by(self, server: str) -> float:
        """How many polls a server has answered."""
        return (await self.metrics()).get(f"readside_cold_polls_total{{server={server}}}", 0)

    async def shows(self, session_id: str, total: int) -> None:
        """Poll until so many events are there."""

        async def there() -> bool:
            return bool((await self.poll(session_id)).json()["total"] == total)

        await eventually(there, f"{total} events")

    async def told(self, standby: EmbeddedPostgres, state: str) -> dict[str, Any]:
        """Wait until the process reports a standby to be so."""
        found: list[dict[str, Any]] = []

        async def is_told() -> bool:
            found[:] = [each for each in await self.replicas_told() if each["name"] == name_of(standby)]
            return [each["state"] for each in found] == [state]

        await eventually(is_told, f"the standby is told to be {state}")
        return found[0]

    async def replicas_told(self) -> list[dict[str, Any]]:
        """What the process reports of its standbys."""
        apis = (await self.client.get("/api/v2/projection")).json()["apis"]
        return [replica for one in apis for replica in one["replicas"]]

    async def is_fit(self, standby: EmbeddedPostgres, fit: bool = True) -> None:
        """Wait until a standby answers polls, as of a beat that it was seen to have passed, or none."""
        of_it = f"{{replica={name_of(standby)}}}"

        async def arrived() -> bool:
            told = await self.metrics()
            is_dated = not fit or f"readside_replica_lag_seconds{of_it}" in told
            return told.get(f"readside_replica_fit{of_it}") == int(fit) and is_dated

        await eventually(arrived, f"the standby is {'fit' if fit else 'left out'}")


@dataclass
class Ledger:
    """Of each session: when so many events of it were committed, as the primary's clock says just after."""

    committed: dict[str, list[tuple[int, int]]]
    written: int = 0

    async def write(self, writer: Writer, over: asyncio.Event) -> None:
        """Write an event of each session in turn."""
        while not over.is_set():
            for session_id, known in self.committed.items():
                await writer.event(session_id)
                self.written += 1
                known.append((int(await writer.connection.fetchval(CLOCK_US)), known[-1][1] + 1))
                await asyncio.sleep(0)

    def judge(self, session_id: str, answer: httpx.Response) -> None:
        """Hold an answer against what was committed before its as-of, and what can have been by now."""
        assert answer.status_code == 200, answer.text
        as_of_us = datetime.fromisoformat(answer.headers["readside-as-of"]).timestamp() * 1_000_000
        known = self.committed[session_id]
        least = max(total for at_us, total in known if at_us < as_of_us)

        assert least <= answer.json()["total"] <= known[-1][1] + 1, (answer.headers, least)


def name_of(standby: EmbeddedPostgres) -> str:
    """The name under which a standby is told of."""
    return f"127.0.0.1:{standby.port}"


@asynccontextmanager
async def site(
    servers: Replication,
    database: str,
    redis_url: str,
    *standbys: EmbeddedPostgres,
    sessions: int = 3,
    **changes: object,
) -> AsyncIterator[tuple[Site, list[str]]]:
    """A site whose standbys are fit, and sessions that are cold and stay it."""
    urls = tuple(standby.url(database) for standby in standbys)
    async with bench(servers.primary.url(database), redis_url) as made:
        ids = [await made.writer.session() for _ in range(sessions)]
        for session_id in ids:
            await made.writer.events(session_id, 3)
        async with (
            made.projector(warm_limit=0),
            api(api_config(servers.primary.url(database), redis_url, replica_urls=urls, **changes)) as client,
        ):
            await made.caught_up()
            yield Site(made, client, database), ids


async def test_a_fit_standby_answers_cold_polls(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str
) -> None:
    """With a true as-of, the same bytes and validator, and no query of the primary."""
    async with site(servers, database, redis_url, quick) as (at, ids):
        await at.is_fit(quick)
        by_standby = await at.poll(ids[0])
        by_primary = await at.poll(ids[0], readside_max_staleness="0")

        assert by_standby.headers["readside-source"] == "postgres"
        assert (await at.answered_by(name_of(quick)), await at.answered_by("primary")) == (1, 1)
        assert by_standby.content == by_primary.content
        assert by_standby.headers["etag"] == by_primary.headers["etag"]
        assert by_standby.headers["readside-as-of"] < by_primary.headers["readside-as-of"]
        assert by_standby.json()["total"] == 3
        lag = f"readside_replica_lag_seconds{{replica={name_of(quick)}}}"

        async def is_told() -> bool:
            return 0 <= (await at.metrics()).get(lag, -1) < 5

        await eventually(is_told, "how old what the standby holds is")


async def test_an_answer_of_a_standby_is_kept_in_memory(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str
) -> None:
    """Until a message names its session; then it is asked again, and the change is seen."""
    async with site(servers, database, redis_url, quick) as (at, ids):
        await at.is_fit(quick)
        await at.poll(ids[0])
        kept = await at.poll(ids[0])
        await at.bench.writer.event(ids[0])
        await at.shows(ids[0], 4)

        assert kept.headers["readside-source"] == "memory"
        assert await at.answered_by("primary") == 0


async def test_a_session_that_a_standby_does_not_know_is_asked_of_the_primary(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str
) -> None:
    """Who has just created it must not be told that there is none."""
    async with site(servers, database, redis_url, quick) as (at, ids):
        await at.is_fit(quick)
        unknown = str(uuid4())
        answer = await at.poll(unknown)
        await at.poll(ids[0])

        assert answer.status_code == 404
        assert (await at.answered_by(name_of(quick)), await at.answered_by("primary")) == (1, 1)
        assert (await at.metrics())["readside_replica_handed_on_total"] == 1


@pytest.mark.parametrize("delay", ["0", "300ms"], ids=["quick", "slower than a beat"])
async def test_no_answer_of_a_standby_lacks_what_was_committed_before_its_as_of(
    servers: Replication, database: str, redis_url: str, delay: str
) -> None:
    """Acknowledged before it was on any disk, too; and none holds what was not committed."""
    async with (
        servers.standby(recovery_min_apply_delay=delay) as standby,
        site(servers, database, redis_url, standby, sessions=4, max_staleness_seconds=3.0) as (at, ids),
        connected(servers.primary.url(database)) as connection,
    ):
        await at.is_fit(standby)
        await connection.execute("SET synchronous_commit = off")
        ledger = Ledger({session_id: [(0, 3)] for session_id in ids})
        over = asyncio.Event()
        writing = asyncio.create_task(ledger.write(Writer(connection), over))
        for number in range(160):
            session_id = ids[number % len(ids)]
            ledger.judge(session_id, await at.poll(session_id, f"?limit={number % 7 + 1}"))
        over.set()
        await writing

        assert await at.answered_by(name_of(standby)) > 16
        assert ledger.written > 16


async def test_a_standby_that_lags_is_left_out_and_comes_back(
    servers: Replication, database: str, redis_url: str
) -> None:
    """Nobody notices: the primary answers meanwhile."""
    async with (
        servers.standby() as standby,
        site(servers, database, redis_url, standby, max_staleness_seconds=1.0) as (at, ids),
        connected(standby.url()) as replay,
    ):
        await at.is_fit(standby)
        await replay.execute("SELECT pg_wal_replay_pause()")
        await at.bench.writer.event(ids[0])
        await at.shows(ids[0], 4)
        await at.is_fit(standby, fit=False)
        told = await at.told(standby, "lagging")
        await at.bench.writer.event(ids[0])
        await at.shows(ids[0], 5)
        before = await at.answered_by(name_of(standby))
        await replay.execute("SELECT pg_wal_replay_resume()")
        await at.is_fit(standby)
        await at.bench.writer.event(ids[0])
        await at.shows(ids[0], 6)

        assert "behind the primary" in told["reason"]
        assert await at.answered_by(name_of(standby)) > before


async def promote(connection: Any) -> None:
    """Make a standby a primary. What we had installed is of no use there: a standby has nothing of what is unlogged."""
    await connection.execute("SELECT pg_promote(wait => true)")
    await connection.execute("DROP SCHEMA readside CASCADE")


async def test_a_standby_that_was_promoted_answers_no_more(servers: Replication, database: str, redis_url: str) -> None:
    """What is written there is not seen."""
    async with servers.standby() as standby, site(servers, database, redis_url, standby) as (at, ids):
        await at.is_fit(standby)
        async with connected(standby.url(database)) as other:
            await promote(other)
            await Writer(other).events(ids[0], 5)
        answer = await at.poll(ids[0])
        await at.told(standby, "promoted")

        assert answer.json()["total"] == 3
        assert (await at.answered_by(name_of(standby)), await at.answered_by("primary")) == (0, 1)


async def test_a_standby_that_follows_another_timeline_answers_no_more(
    servers: Replication, database: str, redis_url: str
) -> None:
    """It stands by for a server that was promoted, however far that one has come in its own log."""
    async with (
        servers.standby() as between,
        servers.standby(between) as standby,
        site(servers, database, redis_url, standby) as (at, ids),
    ):
        await at.is_fit(standby)
        async with connected(between.url(database)) as other:
            await promote(other)
            await Writer(other).events(ids[0], 2_000)
        await replayed_all(between.url(database), standby.url(database))
        answers = [await at.poll(session_id) for session_id in ids]
        await at.told(standby, "another_timeline")

        assert [answer.json()["total"] for answer in answers] == [3, 3, 3]
        assert (await at.answered_by(name_of(standby)), await at.answered_by("primary")) == (0, 3)


async def test_a_standby_of_another_database_answers_nothing(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str
) -> None:
    """The same tables, and another identity."""
    async with bench(servers.primary.url(database), redis_url) as made:
        session_id = await made.writer.session()
        url = quick.url("write_side")
        config = api_config(servers.primary.url(database), redis_url, replica_urls=(url,))
        async with made.projector(warm_limit=0), api(config) as client:
            await made.caught_up()
            at = Site(made, client, database)
            await at.told(quick, "another_cluster")

            assert (await at.poll(session_id)).status_code == 200
            assert await at.answered_by(name_of(quick)) == 0


async def test_a_standby_that_dies_is_left_out_and_comes_back(
    servers: Replication, database: str, redis_url: str
) -> None:
    """A poll that it was asked is answered by the primary."""
    async with servers.standby() as standby, site(servers, database, redis_url, standby) as (at, ids):
        await at.is_fit(standby)
        await standby.kill()
        answers = [await at.poll(session_id) for session_id in ids]
        await at.told(standby, "away")
        await standby.start()
        await at.is_fit(standby)
        await at.poll(ids[0], "?limit=1")

        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert await at.answered_by(name_of(standby)) == 1


async def test_a_query_that_replay_cancels_is_answered_by_the_primary(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby is as fit as before."""
    async with site(servers, database, redis_url, quick) as (at, ids):
        await at.is_fit(quick)
        connection = at.bench.writer.connection

        def slowly(*arguments: Any, **options: Any) -> str:
            return answer_statement(*arguments, **options).replace(
                "pg_catalog.pg_is_in_recovery() AS", "(SELECT true FROM pg_catalog.pg_sleep(60)) AS"
            )

        monkeypatch.setattr(standby_log, "answer_statement", slowly)
        polling = asyncio.create_task(at.poll(ids[0]))
        async with connected(quick.url(database)) as look:
            await eventually(partial(_sleeps, look), "the standby is asked")
        await connection.execute("DELETE FROM events WHERE session_id = $1::uuid", ids[1])

        async def answered() -> bool:
            await connection.execute("VACUUM events")  # it leaves what a snapshot of somebody else may still see
            return polling.done()

        await eventually(answered, "replay has cancelled the query")
        answer = await polling

        assert (answer.status_code, answer.json()["total"]) == (200, 3)
        assert await at.answered_by("primary") == 1
        assert (await at.metrics())[f"readside_replica_fit{{replica={name_of(quick)}}}"] == 1


async def _sleeps(connection: Any) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


async def test_a_role_that_may_not_see_the_timeline_is_refused_until_it_may(
    servers: Replication, quick: EmbeddedPostgres, database: str, redis_url: str
) -> None:
    """Nobody could tell which log the standby replays; the sentence says which right is missing."""
    async with bench(servers.primary.url(database), redis_url) as made:
        await made.writer.connection.execute("CREATE ROLE looker LOGIN PASSWORD 'look'")
        try:
            await made.writer.connection.execute("GRANT SELECT ON sessions, events TO looker")
            session_id = await made.writer.session()
            url = quick.url(database, user="looker", password="look")
            config = api_config(servers.primary.url(database), redis_url, replica_urls=(url,))
            async with made.projector(warm_limit=0), api(config) as client:
                await made.caught_up()
                at = Site(made, client, database)
                told = await at.told(quick, "refused")
                await made.writer.connection.execute("GRANT pg_read_all_stats TO looker")
                await at.is_fit(quick)
                answer = await at.poll(session_id)

            assert "GRANT pg_read_all_stats" in told["reason"]
            assert answer.status_code == 200
        finally:
            await made.writer.connection.execute("DROP OWNED BY looker; DROP ROLE looker")


async def test_time_never_goes_back_for_who_sends_the_last_as_of_back(
    servers: Replication, database: str, redis_url: str
) -> None:
    """Two nodes in turn, one of them with a standby that is slow: neither as-of nor content goes back."""
    async with (
        servers.standby(recovery_min_apply_delay="200ms") as standby,
        site(servers, database, redis_url, standby) as (at, ids),
        api(api_config(servers.primary.url(database), redis_url)) as other,
        connected(servers.primary.url(database)) as connection,
    ):
        await at.is_fit(standby)
        nodes, as_of, total, over = (at, Site(at.bench, other, database)), "", 0, asyncio.Event()
        ledger = Ledger({session_id: [(0, 3)] for session_id in ids[:1]})
        writing = asyncio.create_task(ledger.write(Writer(connection), over))
        for number in range(100):
            wish = {"readside_not_before": as_of} if as_of else {}
            answer = await nodes[number % 2].poll(ids[0], f"?limit={number % 5 + 1}", **wish)
            ledger.judge(ids[0], answer)
            assert answer.headers["readside-as-of"] >= as_of
            assert answer.json()["total"] >= total
            as_of, total = answer.headers["readside-as-of"], answer.json()["total"]
        over.set()
        await writing


async def test_a_standby_that_has_replayed_everything_has_passed_the_last_beat(
    servers: Replication, quick: EmbeddedPostgres, database: str
) -> None:
    """Where the log stands at the beginning of a segment too: no record is there yet that it could replay."""
    url, sql = servers.primary.url(database), statement("wal_position")
    async with connected(url) as primary, connected(quick.url()) as standby:
        for switch in (False, True):
            if switch:
                await primary.execute("SELECT pg_switch_wal()")
            written = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
            at = parse_wal(await primary.fetchval(sql))
            assert at is not None
            assert at.timeline == 1

            async def has_passed(lsn: int = at.lsn) -> bool:
                row = await standby.fetchrow(shared("replayed"))
                return row is not None and row["replayed"] >= lsn

            # After fifteen the primary writes a record by itself.
            await eventually(has_passed, f"the standby has passed {at.lsn:x} ({written})", 14)


@pytest.fixture
def settings_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Settings]:
    """Settings of these URLs: the primary's, and the standbys'."""

    def made(database_url: str, replica_urls: str) -> Settings:
        monkeypatch.setenv("READSIDE_DATABASE_URL", database_url)
        monkeypatch.setenv("READSIDE_REPLICA_URLS", replica_urls)
        return Settings()

    return made


async def test_doctor_looks_at_each_standby(
    servers: Replication, quick: EmbeddedPostgres, database: str, settings_for: Callable[[str, str], Settings]
) -> None:
    """One that is well, one that is a primary, one of another database, one that is away."""
    url = servers.primary.url(database)
    async with connected(url) as primary:
        written = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
    async with connected(quick.url()) as standby:

        async def is_there() -> bool:
            return bool(await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))

        await eventually(is_there, "the standby knows the database")
    away = "postgresql://127.0.0.1:1/shop"
    urls = [quick.url(database), url, quick.url("write_side").replace("127.0.0.1", "localhost"), away]
    found = await of_replicas(settings_for(url, " ".join(urls)), "test")
    told = [each for each in found if each.check == "hot standby"]

    assert [each.state for each in told] == ["ok", "problem", "problem", "problem"]
    assert "stands by for our database" in told[0].detail
    assert "not in recovery" in told[1].detail
    assert "another database" in told[2].detail
    assert [each.state for each in found if each.check == "hot standby TLS"] == ["ok", "ok", "ok", "unknown"]


async def test_doctor_says_nothing_where_no_standby_is_named(
    servers: Replication, database: str, settings_for: Callable[[str, str], Settings]
) -> None:
    """Most have none."""
    assert await of_replicas(settings_for(servers.primary.url(database), ""), "test") == []
