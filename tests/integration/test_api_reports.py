"""What API processes say of themselves in Redis: who lives is shown, who is gone is not, and polls never care."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from structlog.testing import capture_logs

from query_api.doorway import census as counting
from query_api.doorway import report as module
from query_api.doorway.census import Census
from query_api.doorway.report import FORGOTTEN_SECONDS, ApiReporter
from readmodel.redis.client import connect
from readmodel.runtime.supervise import end
from readmodel.view.keys import Keys
from readmodel.view.projection import FRESH_API_SECONDS, read_projection
from readmodel.view.reader import ViewReader
from tests.support.builders import api, api_config, socket_bounds
from tests.support.healing import own_redis
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.scraping import series
from tests.support.stands import fake_stand
from tests.support.viewing import whole_view
from tests.support.waiting import eventually
from tests.support.whole import Whole

pytestmark = pytest.mark.installed


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes report all the time."""
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.05)


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Over the shared Redis."""
    async with bench(database_url, redis_url) as made:
        yield made


async def shown(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The API processes of the projection, as one of them shows it."""
    found: list[dict[str, Any]] = (await client.get("/api/v2/projection")).json()["apis"]
    return found


async def reports(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """Wait until so many are shown."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await shown(client)
        return len(found) == count

    await eventually(there, f"{count} processes")
    return found


async def when_live(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Wait until the projection is live: the API processes that it shows."""

    async def live() -> bool:
        return bool((await client.get("/api/v2/projection")).json()["status"] == "live")

    await eventually(live, "the projection is live")
    return await shown(client)


async def test_each_living_process_is_shown(stage: Bench) -> None:
    """With its connections and its bound, from the start to the end of each."""
    config = api_config(stage.config.database_url, stage.config.redis_url)
    async with api(config) as client:
        async with api(config):
            both = await reports(client, 2)
        alone = await shown(client)

    assert [(one["connections"], one["connections_bound"], one["near_bound"]) for one in both] == [
        (0, 10_000, False)
    ] * 2
    assert both[0]["started_at"] <= both[1]["started_at"]
    assert [one["id"] for one in alone] == [both[0]["id"]]
    assert await stage.view.apis() == {}


async def test_a_bound_that_is_near_is_shown(stage: Bench) -> None:
    """As soon as the process has reported."""
    census = Census(10)
    census.open = 8
    reporter = ApiReporter([stage.view], census)
    task = asyncio.create_task(reporter.run())

    async def near() -> bool:
        return [one["near_bound"] for one in (await read_projection(whole_view(stage.view), 5.0)).apis] == [True]

    await eventually(near, "it is shown")
    census.open = 7
    await eventually(lambda: no_more(near), "it is shown no more")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def no_more(condition: Any) -> bool:
    """Whether a condition no longer holds."""
    return not await condition()


async def test_log_and_metrics_tell_of_a_bound_that_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """By themselves, of the very census that the process keeps; its bound is the config's."""
    monkeypatch.setattr(counting, "LOOK_SECONDS", 0.01)
    with capture_logs() as lines:
        async with fake_stand(sockets=socket_bounds(max_connections=10)) as stand:
            census: Census = cast_to_any(stand.app).connections.census
            census.open = 8
            await eventually(lambda: any("near their bound" in line["event"] for line in lines), "the log says so")
            scraped = series((await stand.client.get("/metrics")).text)

    assert (scraped["readside_connections"], scraped["readside_connections_bound"]) == (8, 10)
    assert scraped["readside_connections_usage"] == 0.8


async def test_an_old_report_is_not_shown_and_cleared_away(stage: Bench) -> None:
    """Ten seconds old: not shown; a minute old, or not to be read: cleared away by whoever reports."""
    now_us = await stage.view.now_us()
    ages = {"young": 0.0, "old": FRESH_API_SECONDS + 1, "dead": FORGOTTEN_SECONDS + 1}
    left = {name: orjson.dumps({"id": name, "reported_at_us": now_us - int(age * 1e6)}) for name, age in ages.items()}
    left |= {"no report": b"\xff", "no instant": b"{}", "a word": b'{"reported_at_us": "now"}'}
    redis: Any = stage.view.redis
    await redis.hset(stage.view.keys.apis, mapping=left)

    assert [one["id"] for one in (await read_projection(whole_view(stage.view), 5.0)).apis] == ["young"]

    task = asyncio.create_task(ApiReporter([stage.view], Census(10)).run())

    async def cleared() -> bool:
        return len(await stage.view.apis()) == 3

    await eventually(cleared, "dead ones are cleared away")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert {"young", "old"} < (await stage.view.apis()).keys()


async def test_dead_ones_are_cleared_away_again_and_again(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when a process begins."""
    monkeypatch.setattr(module, "REPORTS_TO_CLEAR", 1)
    redis: Any = stage.view.redis
    task = asyncio.create_task(ApiReporter([stage.view], Census(10)).run())
    for name in ("first", "second"):
        await redis.hset(stage.view.keys.apis, name, b"{}")

        async def cleared(name: str = name) -> bool:
            return name not in await stage.view.apis()

        await eventually(cleared, f"the {name} is cleared away")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_that_holds_something_else_is_no_outage(stage: Bench) -> None:
    """The projection is as it is; polls are answered; nobody is shown."""
    redis: Any = stage.view.redis
    await redis.set(stage.view.keys.apis, "mine")
    session_id = await stage.writer.session()
    config = api_config(stage.config.database_url, stage.config.redis_url)
    async with stage.projector(), api(config) as client:
        await Whole(stage, client).served(session_id, "memory")
        assert await when_live(client) == []
    assert await redis.get(stage.view.keys.apis) == b"mine"


async def test_a_redis_that_takes_no_report_disturbs_nobody(database_url: str, tmp_path: Path) -> None:
    """Read-only, as a replica is: polls are answered from memory and Redis; the report is back with the writes."""
    async with own_redis(tmp_path, database_url) as (_, stage):
        config = api_config(stage.config.database_url, stage.config.redis_url)
        session_id, redis = await stage.writer.session(), cast_to_any(stage.view.redis)
        async with stage.projector(), api(config) as client:
            whole = Whole(stage, client)
            await whole.served(session_id, "memory")
            await reports(client, 1)
            await redis.replicaof("127.0.0.1", "1")
            try:
                assert (await whole.poll(session_id)).headers["readside-source"] in {"memory", "redis"}
                assert (await client.get("/api/v2/projection")).json()["writable"] is False
            finally:
                await redis.replicaof("no", "one")
            await redis.delete(stage.view.keys.apis)
            await reports(client, 1)


def cast_to_any(client: object) -> Any:
    """Its queued commands are typed as awaitables."""
    return client


async def test_a_user_that_may_only_read_disturbs_nobody(stage: Bench) -> None:
    """Polls are answered from memory as ever; who may not write is not shown."""
    redis, name, owner = cast_to_any(stage.view.redis), "reader", urlsplit(stage.config.redis_url)
    url = owner._replace(netloc=f"{name}:secret@{owner.netloc.rpartition('@')[2]}").geturl()
    await redis.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", "-@write")
    session_id, config = await stage.writer.session(), api_config(stage.config.database_url, url)
    try:
        async with stage.projector(), api(config) as client:
            await Whole(stage, client).served(session_id, "memory")
            assert await when_live(client) == []
    finally:
        await redis.execute_command("ACL", "DELUSER", name)


class DeafView:
    """A view whose client loses a cancellation, as asyncio.wait_for of Python 3.11 may (python/cpython#86296)."""

    def __init__(self) -> None:
        self.asked, self.lost = asyncio.Event(), False

    async def now_us(self) -> int:
        """Nothing, ever."""
        self.asked.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.lost:
                    raise
                self.lost = True


async def test_a_cancellation_that_is_lost_keeps_no_process_from_ending() -> None:
    """A TaskGroup cancels its tasks once: whoever ended it waited for ever."""
    view = cast_to_any(DeafView())
    task = asyncio.create_task(ApiReporter([view], Census(10)).run())
    await view.asked.wait()
    ending = asyncio.create_task(end([task]))
    done, _ = await asyncio.wait([ending], timeout=60)

    assert view.lost
    assert done == {ending}


async def test_a_redis_that_hangs_holds_up_no_end(stage: Bench) -> None:
    """Whoever ends waits half a second for it to forget the report, not until the connection times out."""
    async with proxied(stage.config.redis_url) as proxy:
        redis = connect(proxy.url(stage.config.redis_url), name="test", timeout_seconds=3600)
        reporter = ApiReporter([ViewReader(redis, Keys("readside"))], Census(10))
        proxy.stall(new=True)
        async with asyncio.timeout(60):
            await reporter.leave()
        await redis.aclose()
