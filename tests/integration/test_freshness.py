"""Freshness tells the truth: as-of stands as soon as the pipe is stuck anywhere, and everybody is told so."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from os import urandom
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from projector.tail import connection as tail
from projector.tail import letterbox
from readside.commands.status import status
from readside.settings import Settings
from tests.support.builders import api, api_config
from tests.support.healing import CLOCK_US, healed, said
from tests.support.projecting import Bench, bench
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import eventually
from tests.support.whole import Whole

pytestmark = pytest.mark.installed

PATIENT = {"readside_max_staleness": "600"}
STALE_SECONDS = 0.5
CLOCKS_MS = 50.0
"""The lag is told by other clocks than Postgres'; between processes of one machine they differ by so much at most."""


@dataclass
class Pipe:
    """Everything, live, with a proxy in each of the projector's three ways; the API goes straight to the stores."""

    whole: Whole
    listening: Proxy
    reading: Proxy
    writing: Proxy

    @property
    def stage(self) -> Bench:
        """The writer and the view."""
        return self.whole.bench

    async def as_of_us(self) -> int:
        """The as-of that Redis holds."""
        position = await self.stage.view.position()
        assert position is not None
        return position.as_of_us or 0

    async def status(self) -> dict[str, object]:
        """What operators are told."""
        told: dict[str, object] = (await self.whole.client.get("/api/v2/projection")).json()
        return told


Fault = Callable[[Pipe], AbstractAsyncContextManager[None]]


@pytest.fixture
async def pipe(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pipe]:
    """Half a second is stale; a silent connection is left in peace for as long as a test needs."""
    monkeypatch.setattr(tail, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(letterbox, "QUIET_SECONDS", 60.0)
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(bench(database_url, redis_url))
        proxies = [await stack.enter_async_context(proxied(url)) for url in (database_url, database_url, redis_url)]
        listen_url, read_url, write_url = (
            proxy.url(url) for proxy, url in zip(proxies, (database_url, database_url, redis_url), strict=True)
        )
        await stack.enter_async_context(
            made.projector(listen_url=listen_url, database_url=read_url, redis_url=write_url)
        )
        config = api_config(database_url, redis_url, max_staleness_seconds=STALE_SECONDS)
        client = await stack.enter_async_context(api(config))
        await made.caught_up()
        yield Pipe(Whole(made, client), *proxies)


@asynccontextmanager
async def half_open_leader(pipe: Pipe) -> AsyncIterator[None]:
    """Nothing reaches the leader, and nothing says so."""
    pipe.listening.stall(up=False)
    yield
    pipe.listening.go_on()


@asynccontextmanager
async def batch_without_its_rows(pipe: Pipe) -> AsyncIterator[None]:
    """Letters come; the rows of the long events that they name do not."""
    pipe.reading.stall(up=False, new=True)
    yield
    pipe.reading.go_on()


@asynccontextmanager
async def batch_on_its_way(pipe: Pipe) -> AsyncIterator[None]:
    """What is sent to Redis does not arrive."""
    pipe.writing.stall(new=True)
    yield
    pipe.writing.go_on()


@asynccontextmanager
async def redis_that_refuses_writes(pipe: Pipe) -> AsyncIterator[None]:
    """-READONLY."""
    redis = pipe.stage.view.redis
    await redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        await redis.replicaof("NO", "ONE")


@pytest.mark.parametrize(
    "fault", [half_open_leader, batch_without_its_rows, batch_on_its_way, redis_that_refuses_writes]
)
async def test_as_of_stands_while_the_pipe_is_stuck(pipe: Pipe, fault: Fault) -> None:
    """The API asks Postgres; the view keeps the as-of that it has, and its lag grows."""
    writer = pipe.stage.writer
    session_id = await writer.session()
    await pipe.stage.hot(session_id)
    await pipe.stage.caught_up()
    await pipe.whole.served(session_id, "memory")
    async with fault(pipe):
        await writer.event(session_id, data={"long": "x" * letterbox.RENDERED_BYTES, "random": urandom(15_000).hex()})
        committed_us = int(await writer.connection.fetchval(CLOCK_US))

        async def stale() -> bool:
            now = await pipe.status()  # twice as old as it may be: what was under way has arrived
            return now["status"] in {"stale", "down"} and int(str(now["lag_ms"])) >= 2 * STALE_SECONDS * 1000

        await eventually(stale, "the projection is stale")
        stands_at_us = await pipe.as_of_us()
        asked_us = int(await writer.connection.fetchval(CLOCK_US))
        patient = await pipe.whole.poll(session_id, **PATIENT)
        fresh = await pipe.whole.served(session_id, "postgres")
        as_of_us = datetime.fromisoformat(patient.headers["readside-as-of"]).timestamp() * 1_000_000

        assert fresh.json()["total"] == 1
        assert patient.headers["readside-source"] != "postgres"
        assert patient.json()["total"] == 0
        assert as_of_us < committed_us
        assert int(patient.headers["readside-lag-ms"]) >= (asked_us - as_of_us) / 1000 - CLOCKS_MS
        assert stands_at_us < committed_us
        assert await pipe.as_of_us() == stands_at_us
    await healed(pipe.stage)
    await pipe.whole.total(session_id, 1)


async def test_a_tail_that_is_away_is_told_everywhere(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tried again and again, said once: in the log, by the API and by `readside status`."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", pipe.stage.config.database_url)
    monkeypatch.setenv("READSIDE_REDIS_URL", pipe.stage.config.redis_url)
    sentence = f"PostgreSQL at 127.0.0.1:{pipe.listening.port}{urlsplit(pipe.stage.config.database_url).path}"
    with capture_logs() as logs:
        pipe.listening.cut(refuse=True)
        await eventually(lambda: pipe.listening.refused > 2, "it has tried again and again")

        async def told() -> bool:
            now = await pipe.status()
            return now["status"] == "down" and sentence in str(now["reason"])

        await eventually(told, "the API says why")
        assert await status(Settings(), as_json=False) == 2
        assert sentence in capsys.readouterr().out.replace("\n", "")
        pipe.listening.mend()
        await healed(pipe.stage, 30)

    assert sum("does not answer" in reason for reason in said(logs)) == 1, said(logs)
    assert len(said(logs)) <= 2
