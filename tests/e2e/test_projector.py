"""The projector as a process: it starts, leads, stands by, waits, says why, and stops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis

from readmodel.view.keys import Keys
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.processes import free_port
from tests.support.commanding import Site, execute
from tests.support.projecting import Writer
from tests.support.servers import SCHEMA, connected, embedded_redis, fresh_database, server_directory
from tests.support.waiting import eventually


@pytest.fixture
async def bare(postgres_server: EmbeddedPostgres, redis_of_module: str) -> AsyncIterator[Site]:
    """A fresh database and a prefix of its own; no triggers."""
    async with fresh_database(postgres_server) as url:
        yield Site.of(url, redis_of_module)


@pytest.fixture
async def site(bare: Site) -> Site:
    """The same with the triggers installed."""
    await bare.install()
    return bare


def keys(site: Site) -> Keys:
    """The key schema under the site's prefix."""
    return Keys(site.settings["REDIS_PREFIX"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_in_order(site: Site, number: signal.Signals) -> None:
    """Within five seconds, with exit code 0, and its report is taken away; under a writer's fire as well."""
    async with site.projector() as projector, connected(site.database_url) as connection:
        await projector.says("live")
        writer = Writer(connection)
        session_id = await writer.session()
        await writer.events(session_id, 20_000)
        await projector.stop(number)

    assert [line["event"] for line in projector.log][-1] == "projector stopped"
    assert (await site.status())["leader"] is None
    async with Redis.from_url(site.settings["REDIS_URL"]) as redis:
        assert await redis.exists(keys(site).projectors) == 0


async def test_it_stops_while_it_waits(bare: Site) -> None:
    """Before it ever led."""
    site = bare.with_settings(DATABASE_URL="postgresql://u:p@127.0.0.1:1/x", REDIS_URL="redis://127.0.0.1:1")
    async with site.projector() as projector:
        await projector.says("not live")
        await projector.stop()


async def test_stale_and_live_again(site: Site) -> None:
    """A projector that is frozen is stale; when it goes on, live."""
    async with site.projector() as projector:
        await site.becomes("live")
        projector.process.send_signal(signal.SIGSTOP)
        stale = await site.becomes("stale", MAX_STALENESS_SECONDS="0.5")
        projector.process.send_signal(signal.SIGCONT)
        await site.becomes("live")

    assert stale["reason"].startswith("No heartbeat came through the pipe for ")
    assert stale["lag_ms"] > 500


async def test_catching_up(site: Site) -> None:
    """As long as it compares what is hot, and says so."""
    async with connected(site.database_url) as connection:
        async with site.projector():
            await Writer(connection).session()

            async def is_hot() -> bool:
                return bool((await site.status())["hot_sessions"] == 1)

            await eventually(is_hot, "the session is hot")
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        async with site.projector():
            catching_up = await site.becomes("catching_up")
            await transaction.rollback()
            await site.becomes("live")

    assert catching_up["reason"]
    assert catching_up["leader"]["state"] == "catching_up"


async def test_triggers_not_installed_then_installed_then_disabled(bare: Site) -> None:
    """It says so once, is not live, says how to mend it, and is live when that is done."""
    async with bare.projector() as projector:
        await projector.says("not live", "run `readside install`")
        down = await bare.becomes("down")
        assert "run `readside install`" in down["reason"]
        assert (await bare.run("install")).code == 0
        await bare.becomes("live")
        assert len(projector.said("not live")) == len(projector.said("leading")) == 1, projector.text

        await execute(bare.database_url, "ALTER TABLE events DISABLE TRIGGER readside_insert")
        await projector.says("not live", "readside_insert on public.events is disabled; run `readside install`")
        await bare.becomes("down")
        assert (await bare.run("install")).out == "Installed the triggers.\n"
        await bare.becomes("live")

    assert len(projector.said("not live")) == 2, projector.text


async def test_a_database_that_comes_later(postgres_server: EmbeddedPostgres, redis_of_module: str) -> None:
    """No such database, then one without tables, then without triggers: each is said once, and waited out."""
    name = f"test_{uuid4().hex[:12]}"
    site = Site.of(postgres_server.url(name), redis_of_module)
    try:
        async with site.projector() as projector:
            await projector.says("not live", f'database \\"{name}\\" does not exist')
            await execute(postgres_server.url(), f"CREATE DATABASE {name} TEMPLATE template0")
            await projector.says("not live", "Table sessions was not found")
            assert (await site.run("install")).refusal().startswith("Table sessions was not found in schema")
            await execute(site.database_url, SCHEMA)
            await projector.says("not live", "run `readside install`")
            await site.install()
            await projector.says("live")
    finally:
        await execute(postgres_server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    assert len(projector.said("not live")) == 3, projector.text


async def test_a_redis_that_comes_later_and_goes(site: Site) -> None:
    """It waits for Redis, says so once an outage, and fills it again."""
    with server_directory() as directory:
        server = embedded_redis(directory)
        await server.start()
        away = site.with_settings(REDIS_URL=server.url())
        await server.stop()
        try:
            async with away.projector() as projector:
                await projector.says("not live", "does not answer")
                down = await away.status()
                await server.start()
                await away.becomes("live")
                outages = len(projector.said("not live"))
        finally:
            await server.stop()

    assert (down["status"], down["hot_sessions"]) == ("down", None)
    assert "does not answer" in down["reason"]
    assert outages == 1, projector.text


async def test_wrong_passwords_and_missing_rights_are_waited_out(site: Site) -> None:
    """Each is one clear line; none shows a password; nothing is given up."""
    role = f"reader_{uuid4().hex[:8]}"
    await execute(site.database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    host = site.database_url.rpartition("@")[2]
    wrong_postgres = site.with_settings(DATABASE_URL=f"postgresql://{role}:wr0ng@{host}")
    no_rights = site.with_settings(DATABASE_URL=f"postgresql://{role}:right@{host}")
    redis_host = site.settings["REDIS_URL"].rpartition("@")[2]
    wrong_redis = site.with_settings(REDIS_URL=f"redis://:wr0ng@{redis_host}")
    try:
        async with (
            wrong_postgres.projector() as first,
            wrong_redis.projector() as second,
            no_rights.with_settings(REDIS_PREFIX="no-rights").projector() as third,
        ):
            await first.says("not live", "password authentication failed")
            await second.says("not live", "refuses us")
            await third.says("not live", "`readside install --role ROLE` grants it")
            await site.install(role)
            await third.says("live")
            for projector in (first, second, third):
                assert "wr0ng" not in projector.text
                assert len(projector.said("not live")) == 1, projector.text
    finally:
        await execute(site.database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_other_data_under_our_prefix(site: Site) -> None:
    """Refused by name and never touched; mended, it goes on."""
    async with Redis.from_url(site.settings["REDIS_URL"]) as redis:
        await redis.set(keys(site).position, "mine")
        async with site.projector() as projector:
            await projector.says("not live", "holds other data")
            assert "set another READSIDE_REDIS_PREFIX" in projector.text
            assert (await site.status())["status"] == "down"
            assert await redis.get(keys(site).position) == b"mine"
            await redis.delete(keys(site).position)
            await redis.zadd(keys(site).hot, {"somebody's member": 1})
            await projector.says("not live", keys(site).hot)
            assert await redis.zcard(keys(site).hot) == 1
            await redis.delete(keys(site).hot)
            await site.becomes("live")


async def test_another_databases_view_under_our_prefix(site: Site, postgres_server: EmbeddedPostgres) -> None:
    """Refused by name while it moves, and not disturbed."""
    async with fresh_database(postgres_server) as url, site.projector() as first:
        other = site.with_settings(DATABASE_URL=url)
        await other.install()
        await first.says("live")
        async with other.projector() as second:
            await second.says("not live", "holds the moving view of another database")
            assert "READSIDE_REDIS_PREFIX" in second.text
            assert (await site.status())["status"] == "live"
            assert len(first.said("the term ended")) == 0
            await second.stop()


async def test_two_projectors_on_one_machine(site: Site) -> None:
    """No port is set: one leads, one stands by, and takes over at once."""
    async with site.projector() as first:
        await first.says("live")
        async with site.projector() as second:
            await second.says("standing by")

            async def both_told() -> bool:
                projection = await site.status()
                return bool(projection["status"] == "live" and len(projection["standbys"]) == 1)

            await eventually(both_told, "status tells of both")
            assert "standby" in (await site.run("status")).out
            await first.stop()
            await second.says("live")
            await site.becomes("live")


async def test_health_and_metrics_where_a_port_is_set(site: Site) -> None:
    """Up at once, ready when live; a taken port is one clear line."""
    port = free_port()
    with_port = site.with_settings(PROJECTOR_PORT=str(port))
    async with (
        with_port.projector() as projector,
        httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await projector.says("live")
        live, ready, metrics, nothing = await asyncio.gather(
            *map(client.get, ("/health/live", "/health/ready", "/metrics", "/"))
        )
        taken = await with_port.run("projector")
        await execute(site.database_url, "ALTER TABLE events DISABLE TRIGGER ALL")
        await projector.says("not live")
        unready, alive = await client.get("/health/ready"), await client.get("/health/live")
        await projector.stop()

    assert (live.status_code, ready.status_code, nothing.status_code) == (200, 200, 404)
    assert ready.json() == {"role": "leader", "state": "live", "reason": None}
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "readside_projector_live 1.0" in metrics.text
    assert (unready.status_code, alive.status_code) == (503, 200)
    assert "readside install" in unready.json()["reason"]
    assert taken.code == 2
    assert taken.err.splitlines()[-1] == (
        f"readside: READSIDE_PROJECTOR_PORT {port} on 127.0.0.1 cannot be served: it is taken."
    )
