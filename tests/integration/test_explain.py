"""`readside explain`: what it says of a session and an event, wherever in the pipe they are."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pytest
from structlog.testing import capture_logs

from readmodel.errors import EventLogUnavailable
from readmodel.view.reader import ViewArrivals
from readside.commands import explain as command
from readside.settings import Settings
from tests.support.commanding import Site
from tests.support.projecting import Bench, bench
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@dataclass
class Asked:
    """The writer and the view, and the command over proxies."""

    bench: Bench
    capsys: pytest.CaptureFixture[str]
    redis: Proxy
    postgres: Proxy
    errors: str = ""

    async def about(
        self, session_id: str, event_id: str | None = None, code: int = 0, offset: str | None = None
    ) -> dict[str, Any]:
        """Explain as JSON; what stands on stderr is kept."""
        self.capsys.readouterr()

        assert await command.explain(Settings(), session_id, event_id, offset=offset, json=True) == code
        told, self.errors = self.capsys.readouterr()
        explained: dict[str, Any] = orjson.loads(told)
        return explained

    async def hot(self) -> str:
        """A hot session of three events."""
        session_id = await self.bench.writer.session()
        await self.bench.writer.events(session_id, 3)
        await self.bench.hot(session_id)
        await self.bench.caught_up()
        return session_id


@pytest.fixture
async def asked(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Asked]:
    """Nothing runs yet."""
    async with bench(database_url, redis_url) as made, proxied(redis_url) as redis, proxied(database_url) as postgres:
        monkeypatch.setenv("READSIDE_REDIS_URL", redis.url(redis_url))
        monkeypatch.setenv("READSIDE_DATABASE_URL", postgres.url(database_url))
        monkeypatch.setattr(command, "PASS_SECONDS", 1.0)
        with capture_logs():  # what the projector says meanwhile is no part of what the command prints
            yield Asked(made, capsys, redis, postgres)


async def test_a_hot_session_and_an_event_in_it(asked: Asked) -> None:
    """Since when, what each store holds, that it is the same, who answers; and looking changes nothing."""
    async with asked.bench.projector():
        session_id = await asked.hot()
        event_id = await asked.bench.writer.event(session_id)
        await asked.bench.caught_up()
        redis, keys = asked.bench.view.redis, asked.bench.view.keys
        before = (await redis.zscore(keys.hot, session_id), await redis.hgetall(keys.header(session_id)))
        told = await asked.about(session_id, event_id)
        after = (await redis.zscore(keys.hot, session_id), await redis.hgetall(keys.header(session_id)))

        assert (told["hot"], told["same"], told["served_from"], told["event"]) == (True, True, "redis", "in_view")
        assert told["redis"]["events"] == told["postgres"]["events"] == 4
        assert told["redis"]["hash"] == told["postgres"]["hash"]
        assert told["redis"]["newest"] == told["postgres"]["newest"]
        assert (told["redis"]["stamped"], told["redis"]["stamp"]) == ("current", told["redis"]["term"])
        assert told["redis"]["hot_since"] <= told["redis"]["last_active_at"] < told["redis"]["leaves_at"]
        assert told["explanation"][0] == (
            f"It is hot since {told['redis']['hot_since']}: Redis holds 4 events, the same as Postgres."
        )
        assert told["explanation"][1] == f"Event {event_id} is in Redis: polls get it."
        assert told["explanation"][2].startswith("Polls are answered from Redis. Redis is 0.")
        assert "Readside-Source of an answer says where it came from" in told["explanation"][3]
        assert before == after


async def test_a_cold_session(asked: Asked) -> None:
    """Why, and what warms it; its event is with Postgres."""
    session_id = await asked.bench.writer.session("completed")
    event_id = await asked.bench.writer.event(session_id)
    async with asked.bench.projector(warm_limit=0):
        await asked.bench.caught_up()
        told = await asked.about(session_id, event_id)

        assert (told["hot"], told["event"], told["served_from"]) == (False, "not_hot", "postgres")
        assert told["explanation"][0].startswith("It is cold: Redis does not hold it")
        assert "`readside warm`" in told["explanation"][1]
        assert "since the session is not hot" in told["explanation"][2]


async def test_an_event_on_its_way_and_one_that_was_lost(asked: Asked) -> None:
    """Late where the view has not come so far; lost where it has."""
    async with asked.bench.projector():
        session_id = await asked.hot()
        lost = await asked.bench.writer.event(session_id)
        await asked.bench.caught_up()
        redis: Any = asked.bench.view.redis
        events = asked.bench.view.keys.events(session_id)
        members = dict(await redis.zrange(events, 0, -1, withscores=True))
        (member,) = [member for member in members if lost.encode() in member]
        await redis.zrem(events, member)
        await redis.zadd(events, {member.replace(lost.encode(), str(uuid4()).encode()): members[member]})
        told = await asked.about(session_id, lost)

        assert told["event"] == "lost"
        assert "`readside verify --repair`" in told["explanation"][1]
    await redis.delete(asked.bench.view.keys.projectors)  # a report lives on for five seconds
    late = await asked.bench.writer.event(session_id)
    told = await asked.about(session_id, late)

    assert (told["event"], told["projection"]["status"], told["same"]) == ("on_its_way", "down", None)
    assert (
        f"as-of is {told['redis']['as_of']}: it arrives when the projection is live again (down: No projector"
        in (told["explanation"][1])
    )


async def test_a_window(asked: Asked) -> None:
    """The oldest events of a large session are with Postgres."""
    session_id = await asked.bench.writer.session()
    oldest = await asked.bench.writer.event(session_id, timestamp="2020-01-01T00:00:00Z")
    await asked.bench.writer.events(session_id, 150)
    async with asked.bench.projector(window_events=100):
        await asked.bench.hot(session_id)
        await asked.bench.caught_up()
        told = await asked.about(session_id, oldest)

        assert (told["event"], told["same"]) == ("below_window", True)
        assert (told["redis"]["events"], told["redis"]["held"]) == (151, 100)
        assert "the newest 100 of 151 events" in told["explanation"][0]
        assert "reach below its window ask Postgres" in told["explanation"][2]


async def test_a_session_that_is_set_aside(asked: Asked) -> None:
    """With the leader's own reason."""
    session_id = await asked.bench.writer.session()
    event_id = await asked.bench.writer.event(session_id, timestamp="infinity")
    async with asked.bench.projector() as telemetry:
        await eventually(lambda: session_id in telemetry.set_aside(), "it is set aside")

        async def reported() -> bool:
            return bool((await asked.about(session_id, event_id))["set_aside"] == telemetry.set_aside()[session_id])

        await eventually(reported, "the leader reports why")
        told = await asked.about(session_id, event_id)

        assert (told["event"], told["postgres"]["event"]["timestamp"]) == ("not_hot", "infinity")
        assert told["explanation"][0] == (
            f"It is set aside, and stays with Postgres: {telemetry.set_aside()[session_id]}."
        )


async def test_what_is_nowhere_and_what_is_elsewhere(asked: Asked) -> None:
    """An unknown session; an event of another one; an event that is in neither store; one that was deleted."""
    async with asked.bench.projector():
        session_id, other = await asked.hot(), await asked.bench.writer.session()
        event_id = await asked.bench.writer.event(other)
        unknown = await asked.about(str(uuid4()))
        elsewhere = await asked.about(session_id, event_id)
        nowhere = await asked.about(session_id, str(uuid4()))
        gone = await asked.bench.writer.event(session_id)
        await asked.bench.caught_up()
    await asked.bench.writer.connection.execute("DELETE FROM events WHERE id = $1", gone)
    deleted = await asked.about(session_id, gone)

    assert unknown["explanation"][0].startswith("There is no such session in Postgres")
    assert unknown["postgres"]["status"] is None
    assert (elsewhere["event"], elsewhere["postgres"]["event"]["session_id"]) == ("other_session", other)
    assert f"belongs to another session, {other}" in elsewhere["explanation"][1]
    assert (nowhere["event"], nowhere["postgres"]["event"]) == ("nowhere", None)
    assert deleted["event"] == "deleted"


async def test_a_store_that_is_away(asked: Asked) -> None:
    """What the other one tells is told, exit code 2; with neither there is one line."""
    async with asked.bench.projector():
        session_id = await asked.hot()
        asked.postgres.cut(refuse=True)
        without_postgres = await asked.about(session_id, str(uuid4()), code=2)
        postgres_error = asked.errors
        asked.redis.cut(refuse=True)
        with pytest.raises(EventLogUnavailable, match=r"PostgreSQL at .* Redis at .* does not answer"):
            await asked.about(session_id)
        asked.postgres.mend()
        without_redis = await asked.about(session_id, code=2)

    assert (without_postgres["hot"], without_postgres["same"], without_postgres["postgres"]) == (True, None, None)
    assert without_postgres["event"] == "unknown"
    assert (without_redis["hot"], without_redis["redis"], without_redis["postgres"]["events"]) == (None, None, 3)
    assert [postgres_error, asked.errors] == [
        f"readside: {error}\n" for error in (*without_postgres["errors"], *without_redis["errors"])
    ]


async def test_as_people_run_it(asked: Asked) -> None:
    """Plain words first, then the two stores; a malformed id is one line."""
    session_id = await asked.bench.writer.session()
    assert await command.explain(Settings(), session_id, None, json=False) == 0
    told = asked.capsys.readouterr().out.splitlines()
    site = Site({})
    no_session, no_event = await site.run("explain", "7d44"), await site.run("explain", session_id, "x")

    assert told[0] == "It is cold: Redis holds no view, or one of another version of readside."
    assert told.index("Redis") < told.index("Postgres")
    assert "  events              0" in told
    assert no_session.refusal().startswith("The session id '7d44' is not a UUID such as ")
    assert no_event.refusal().startswith("The event id 'x' is not a UUID such as ")


async def test_an_offset_of_a_stream(asked: Asked) -> None:
    """Who continues it, and how much comes after it: the log, Postgres, or nobody."""
    async with asked.bench.projector():
        session_id = await asked.hot()
        tail = await asked.bench.view.stream_tail(session_id)
        assert isinstance(tail, ViewArrivals)
        offset = tail.arrivals.next
        await asked.bench.writer.event(session_id)
        await asked.bench.caught_up()
        hot = await asked.about(session_id, offset=offset.text)
        cold = await asked.about(await asked.bench.writer.session(), offset=offset.text)
        gone = await asked.about(session_id, offset=offset._replace(origin="01234567").text)

    assert (hot["offset"]["continued_by"], hot["offset"]["events_behind"], hot["offset"]["more"]) == (
        "arrival_log",
        1,
        False,
    )
    assert hot["offset"]["cut"] == offset.cut.snapshot
    assert cold["offset"]["continued_by"] in {"postgres", "arrival_log"}
    assert (gone["offset"]["continued_by"], gone["offset"]["events_behind"]) == ("gone", None)
    assert "410" in gone["explanation"][-1]
