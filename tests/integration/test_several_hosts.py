"""A URL of several hosts: the primary is found, wherever it is, and soon, also when it has become another one."""

import time
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest

from readmodel.errors import EventLogUnavailable, ServerInRecovery
from readmodel.postgres.client import check_server, connect
from tests.support.builders import api, api_config, events_path
from tests.support.commanding import Site
from tests.support.failover import ServerPair, server_pair
from tests.support.projecting import Writer
from tests.support.proxy import proxied
from tests.support.servers import connected
from tests.support.waiting import eventually

CONNECT_SECONDS = 6.0
"""For all hosts of a URL together."""


@pytest.fixture
async def pair() -> AsyncIterator[ServerPair]:
    """A primary and its standby."""
    async with server_pair() as made:
        yield made


async def port_of(url: str) -> int:
    """Connect as ours do; the port of the server that was chosen."""
    connection = await connect(url, application_name="test", timeout_seconds=CONNECT_SECONDS)
    try:
        await check_server(connection, url)
        return int(await connection.fetchval("SELECT inet_server_port()"))
    finally:
        connection.terminate()


@pytest.mark.parametrize("query", ["?target_session_attrs=read-write", "?target_session_attrs=primary", ""])
async def test_the_primary_is_found_before_and_after_a_promotion(pair: ServerPair, query: str) -> None:
    """In whatever order they stand; asked for or not: readside needs no other."""
    urls = [pair.url(query=query, standby_first=first) for first in (False, True)]
    primary, standby = pair.primary.port, pair.standby.port
    before = [await port_of(url) for url in urls]
    await pair.fail_over()

    assert before == [primary, primary]
    assert [await port_of(url) for url in urls] == [standby, standby]


async def test_no_primary_among_them(pair: ServerPair) -> None:
    """Each host with its own reason."""
    await pair.primary.kill()
    with pytest.raises(EventLogUnavailable) as caught:
        await port_of(pair.url())
    alone = pair.standby.url(pair.database)
    with pytest.raises(ServerInRecovery) as refused:
        await port_of(f"{alone}?target_session_attrs=read-write")
    with pytest.raises(ServerInRecovery, match="is in recovery"):
        await port_of(alone)

    hosts = f"127.0.0.1:{pair.primary.port},127.0.0.1:{pair.standby.port}"
    assert str(caught.value) == (
        f"PostgreSQL at {hosts}/{pair.database} does not answer: 127.0.0.1:{pair.primary.port}: Connection refused; "
        f"127.0.0.1:{pair.standby.port}: not what target_session_attrs in the URL asks for, as a standby is not."
    )
    assert str(refused.value) == (
        f"PostgreSQL at 127.0.0.1:{pair.standby.port}/{pair.database} is not what target_session_attrs in the URL asks "
        "for, as a standby is not."
    )


async def test_a_host_that_says_nothing_does_not_take_the_others_time(database_url: str) -> None:
    """A machine that is gone refuses nothing; and once another has answered, it is asked first."""
    async with proxied(database_url) as silent:
        silent.stall(new=True)
        credentials, _, rest = database_url.partition("@")
        gone = silent.url(database_url).partition("@")[2].partition("/")[0]
        url = f"{credentials}@{gone},{rest}"
        await port_of(url)
        asked = silent.accepted
        await port_of(url)

    assert (asked, silent.accepted) == (1, 1)


async def test_connect_timeout(database_url: str) -> None:
    """Of each host; it shortens ours."""
    async with proxied(database_url) as silent:
        silent.stall(new=True)
        url = silent.url(database_url)
        began = time.monotonic()
        with pytest.raises(EventLogUnavailable, match="no connection in time"):
            await connect(f"{url}?connect_timeout=1", application_name="test", timeout_seconds=3600)

    assert 0.9 < time.monotonic() - began < 60


async def test_the_service_after_a_promotion(pair: ServerPair, redis_url: str) -> None:
    """The projector is live again by itself, on the new primary, and polls are answered right from both stores."""
    site = Site.of(pair.url(), redis_url, MAX_STALENESS_SECONDS="2")
    await site.install()
    await pair.checkpoint()  # as `readside install` advises
    config = api_config(pair.url(), redis_url, redis_prefix=site.settings["REDIS_PREFIX"], max_staleness_seconds=2.0)
    async with site.projector(), api(config) as client:
        async with connected(pair.primary.url(pair.database)) as connection:
            session_id = await Writer(connection).session()
            await Writer(connection).events(session_id, 3)
        await site.becomes("live")
        await eventually(partial(polled, client, session_id, "redis", 3), "it is hot")
        await pair.fail_over()
        async with connected(pair.standby.url(pair.database)) as connection:
            await Writer(connection).events(session_id, 2)
        await site.becomes("live")
        await eventually(partial(polled, client, session_id, "redis", 5), "Redis has what was written since")
        await eventually(partial(polled, client, session_id, "postgres", 5), "so has Postgres")
        verified = await site.run("verify", session_id)

    assert verified.code == 0, verified


async def polled(client: httpx.AsyncClient, session_id: str, source: str, total: int) -> bool:
    """Whether an answer from this store, or from the memory that it fed, has so many events; none is ever wrong."""
    headers = {"Readside-Max-Staleness": "0"} if source == "postgres" else {}
    answer = await client.get(events_path(session_id), headers=headers)
    if answer.status_code == 503:
        return False
    assert answer.json()["total"] in {3, 5}, answer.text
    sources = {"postgres"} if source == "postgres" else {"redis", "memory"}
    return answer.headers["Readside-Source"] in sources and answer.json()["total"] == total


async def test_a_promotion_before_the_standbys_checkpoint(pair: ServerPair) -> None:
    """PostgreSQL loses an unlogged sequence then: `install` warns of it beforehand, and says afterwards what to do."""
    site = Site.of(pair.url(), "redis://127.0.0.1:1/0")
    warned = await site.run("install")
    await pair.fail_over()
    broken = (await site.run("install")).refusal()
    removed, installed = await site.run("uninstall"), await site.run("install")
    async with connected(pair.standby.url(pair.database)) as connection:
        await Writer(connection).session()

    assert "run CHECKPOINT here, then on each standby." in warned.err
    assert "bad magic number in sequence" in broken
    assert "`readside uninstall`, then `readside install`" in broken
    assert (removed.code, installed.code, installed.err) == (0, 0, "")
