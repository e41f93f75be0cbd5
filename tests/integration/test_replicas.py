"""Cold polls by hot standbys: right as of a beat that the standby has passed, or else the primary's, unnoticed."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from query_api.projector_requests import ProjectorRequests
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.builders import api, api_config, events_path
from tests.support.projecting import Bench, bench
from tests.support.replication import Replication, replication
from tests.support.scraping import series
from tests.support.servers import fresh_database
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def servers() -> Iterator[Replication]:
    """A primary for all tests here."""
    with replication() as made:
        yield made


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

    async def states(self) -> dict[str, str]:
        """Each standby's state, as the process reports it."""
        return {each["name"]: each["state"] for each in await self.replicas()}

    async def replicas(self) -> list[dict[str, Any]]:
        """What the process reports of its standbys."""
        apis = (await self.client.get("/api/v2/projection")).json()["apis"]
        return [replica for one in apis for replica in one["replicas"]]

    async def is_fit(self, standby: EmbeddedPostgres, fit: bool = True) -> None:
        """Wait until a standby answers polls, or none."""
        name = f"readside_replica_fit{{replica=127.0.0.1:{standby.port}}}"

        async def arrived() -> bool:
            return (await self.metrics()).get(name) == int(fit)

        await eventually(arrived, f"the standby is {'fit' if fit else 'left out'}")


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


async def test_a_fit_standby_answers_cold_polls(servers: Replication, database: str, redis_url: str) -> None:
    """With a true as-of, the same bytes and validator, and no query of the primary."""
    async with servers.standby() as standby, site(servers, database, redis_url, standby) as (at, ids):
        await at.is_fit(standby)
        by_standby = await at.poll(ids[0])
        by_primary = await at.poll(ids[0], readside_max_staleness="0")

        assert by_standby.headers["readside-source"] == "postgres"
        assert (await at.answered_by(name_of(standby)), await at.answered_by("primary")) == (1, 1)
        assert by_standby.content == by_primary.content
        assert by_standby.headers["etag"] == by_primary.headers["etag"]
        assert by_standby.headers["readside-as-of"] < by_primary.headers["readside-as-of"]
        assert by_standby.json()["total"] == 3
