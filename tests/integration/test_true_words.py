"""What status and explain say of a state is what polls then get: each sentence is held against the API's answers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer
from readmodel.view.keys import Keys
from readmodel.view.projection import Projection, read_projection
from readmodel.view.projection_advice import users_see
from readmodel.view.reader import ViewReader
from readside.commands import explain as command
from readside.commands.plain_words import TableRow, rows
from readside.settings import Settings
from tests.support.builders import api, api_config, events_path
from tests.support.projecting import Bench, bench
from tests.support.proxy import Proxy, proxied
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

STALE_SECONDS = 1.0
NEVER_STALE = 600.0


@dataclass
class Looked:
    """A service whose stores can be taken away, and who looks at it; one session is hot, one is cold."""

    stage: Bench
    client: httpx.AsyncClient
    redis: Proxy
    postgres: Proxy
    projector: AsyncExitStack
    hot: str
    cold: str
    max_staleness_seconds: float
    capsys: pytest.CaptureFixture[str]

    async def projection(self) -> Projection:
        """What status asks for."""
        return await read_projection(whole_view(self.stage.view), self.max_staleness_seconds)

    async def status(self) -> dict[str, str]:
        """Status' rows by their labels."""
        shown: list[TableRow] = rows(await self.projection(), self.max_staleness_seconds)
        return {row.label: row.text for row in shown}

    async def becomes(self, *words: str) -> dict[str, str]:
        """Wait until status says these words."""
        found: dict[str, str] = {}

        async def says() -> bool:
            found.clear()
            found.update(await self.status())
            return all(word in " ".join(found.values()) for word in words)

        try:
            await eventually(says, f"status says {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{found}") from None
        return found

    def behind(self) -> tuple[Redis, Keys]:
        """The client and the keys of who asks Redis by the proxy."""
        client = connect(self.stage.config.redis_url, name="test")
        return client, Keys(self.stage.config.redis_prefix, OneServer(client).database)

    async def explained(self, session_id: str) -> tuple[str, str]:
        """Who answers its polls, and how explain says so."""
        self.capsys.readouterr()
        await command.explain(Settings(), session_id, None, json=True)
        printed = self.capsys.readouterr().out  # with the logs of projector and API, which run in this process
        told: dict[str, Any] = orjson.loads(printed[printed.index("{\n") : printed.rindex("}\n") + 2])
        return told["served_from"], " ".join(told["explanation"])

    async def polled(self, session_id: str, **headers: str) -> tuple[int, str]:
        """Poll: the status, and who answered."""
        answer = await self.client.get(
            events_path(session_id) + "?limit=7",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        return answer.status_code, answer.headers.get("readside-source", "none")

    async def gets(self, session_id: str, status: int, *sources: str, **headers: str) -> None:
        """Poll until it is answered so: an API takes a moment to notice."""
        seen: list[object] = []

        async def so() -> bool:
            seen[:] = await self.polled(session_id, **headers)
            return seen[0] == status and (status != 200 or seen[1] in sources)

        try:
            await eventually(so, f"{status} from {sources}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}") from None


@pytest.fixture
def max_staleness_seconds() -> float:
    """So long that nothing is stale in a test; others are parametrized."""
    return NEVER_STALE


@pytest.fixture
async def looked(
    database_url: str,
    redis_url: str,
    max_staleness_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Looked]:
    """The service, live, over proxies."""
    async with (
        proxied(redis_url) as redis,
        proxied(database_url) as postgres,
        bench(database_url, redis_url) as stage,
        AsyncExitStack() as projector,
    ):
        urls = {"redis_url": redis.url(redis_url), "database_url": postgres.url(database_url)}
        for name, value in {**urls, "max_staleness_seconds": str(max_staleness_seconds)}.items():
            monkeypatch.setenv(f"READSIDE_{name.upper()}", value)
        stage.config = replace(
            stage.config,
            listen_url=urls["database_url"],
            database_url=urls["database_url"],
            redis_url=urls["redis_url"],
        )
        cold = await stage.writer.session("completed")
        await projector.enter_async_context(stage.projector())
        hot = await stage.writer.session()
        await stage.writer.events(hot, 3)
        await stage.hot(hot)
        config = api_config(**urls, max_staleness_seconds=max_staleness_seconds)
        async with api(config) as client:
            made = Looked(stage, client, redis, postgres, projector, hot, cold, max_staleness_seconds, capsys)
            await made.becomes("Hot sessions are answered from memory or Redis")
            yield made
            redis.mend()
            postgres.mend()


FROM_VIEW = ("redis", "memory")


async def test_when_all_is_well(looked: Looked) -> None:
    """Hot sessions from Redis, others from Postgres."""
    assert (await looked.explained(looked.hot))[0] == "redis"
    assert (await looked.explained(looked.cold))[0] == "postgres"
    await looked.gets(looked.hot, 200, *FROM_VIEW)
    await looked.gets(looked.cold, 200, "postgres")


@pytest.mark.parametrize("max_staleness_seconds", [NEVER_STALE, STALE_SECONDS])
async def test_postgres_is_away(looked: Looked, max_staleness_seconds: float) -> None:
    """Nobody is told that Postgres answers: hot sessions stay as old as they are, and the others get 503."""
    looked.postgres.cut(refuse=True)
    age = () if max_staleness_seconds == NEVER_STALE else (f"that is older than {max_staleness_seconds:g} s",)
    status = await looked.becomes("PostgreSQL at", "they stay so, and other sessions get 503", *age)
    hot, cold = await looked.explained(looked.hot), await looked.explained(looked.cold)
    await looked.gets(looked.hot, 200, *FROM_VIEW)
    await looked.gets(looked.cold, 503)
    await looked.gets(looked.hot, 503, readside_max_staleness="0")

    assert "Postgres answers" not in status["users see"]
    assert (hot[0], cold[0]) == ("redis", "none")
    from_redis = (
        "Polls are answered from Redis. " if max_staleness_seconds == NEVER_STALE else "or from Redis where the API"
    )
    assert from_redis in hot[1]
    assert "polls get 503 where the API does not reach Postgres either" in cold[1]
    exact = "With `Readside-Max-Staleness: 0` polls get 503 where the API does not reach Postgres."
    assert all(exact in told for _, told in (hot, cold))


async def test_the_only_projector_cannot_lead(looked: Looked) -> None:
    """It is listed as what it is: no standby, which would wait for its turn."""
    looked.postgres.cut(refuse=True)
    status = await looked.becomes("cannot lead yet", "Mend what the projector says")
    why = await looked.explained(looked.cold)

    assert status["projection"] == "down"
    assert "cannot lead yet" in status["projector"]
    assert "standby" not in status
    assert "which takes a projector: none leads now" in why[1]


@pytest.mark.parametrize("max_staleness_seconds", [NEVER_STALE, STALE_SECONDS])
async def test_the_projector_is_away(looked: Looked, max_staleness_seconds: float) -> None:
    """Hot sessions from Redis until they are too old, then from Postgres, which is there."""
    await looked.projector.aclose()
    is_fresh = max_staleness_seconds == NEVER_STALE
    words = "Hot sessions are answered as of" if is_fresh else "so Postgres answers: right answers, slower"
    await looked.becomes("No projector leads: none has reported", "Start `readside projector`", words)
    hot = await looked.explained(looked.hot)
    await looked.gets(looked.hot, 200, *(FROM_VIEW if is_fresh else ("postgres",)))
    await looked.gets(looked.cold, 200, "postgres")

    assert hot[0] == ("redis" if is_fresh else "postgres")
    assert f"Polls are answered from {'Redis' if is_fresh else 'Postgres'}. " in hot[1]


async def test_projector_and_postgres_are_away(looked: Looked) -> None:
    """No word of Postgres in status, which does not know; explain, which asked it, does."""
    await looked.projector.aclose()
    looked.postgres.cut(refuse=True)
    await looked.becomes("No projector leads: none has reported", "Hot sessions are answered as of")
    hot, cold = await looked.explained(looked.hot), await looked.explained(looked.cold)
    await looked.gets(looked.hot, 200, *FROM_VIEW)
    await looked.gets(looked.cold, 503)

    assert (hot[0], cold[0]) == ("redis", "none")


@pytest.mark.parametrize("max_staleness_seconds", [STALE_SECONDS])
async def test_redis_is_away(looked: Looked) -> None:
    """From memory for a while, then from Postgres."""
    looked.redis.cut(refuse=True)
    told = await read_projection(whole_view(ViewReader(*looked.behind())), looked.max_staleness_seconds)
    users = users_see(told, looked.max_staleness_seconds)
    served, explained = await looked.explained(looked.hot)
    await looked.gets(looked.hot, 200, "postgres")
    await looked.gets(looked.cold, 200, "postgres")

    assert (told.status, "does not answer" in str(told.reason)) == ("down", True)
    assert users.endswith("either answer from memory until that is 1 s old, then from Postgres: right answers, slower; "
                          "503 under load.")  # fmt: skip
    assert served == "postgres"
    assert "or from memory until as-of is too old" in explained


async def test_a_second_projector_stands_by(looked: Looked) -> None:
    """It alone is called one; and when the leader ends, nobody is told that none has reported."""
    first = looked.stage.telemetry
    async with looked.stage.projector() as second:
        await eventually(lambda: second.role == "standby", "the second stands by")
        status = await looked.becomes("(waiting)")
        assert first.role == "leader"

    assert "(waiting)" in status["standby"]
    assert "projector" not in status
