"""The API over a view of several slices: what befalls one is nothing to the others."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from uuid import uuid4

import orjson
import pytest
from fakeredis import FakeServer

from query_api.operators import health
from readmodel.errors import EventLogUnavailable
from readmodel.values.messages import decode_request
from readmodel.view.slices import Slices, slot_of
from readmodel.view.subscription import heard
from tests.contract.test_api_metrics import scrape
from tests.fakes.redis import fake_redis, fake_server
from tests.support.builders import OPS_KEY
from tests.support.scraping import Scrape
from tests.support.several_servers import SeveralServers
from tests.support.slicing import session_in
from tests.support.stands import Stand, fake_stand, real_stand, rows
from tests.support.waiting import eventually

SLICES = Slices("", count=3)


@pytest.fixture(params=["fakes", "servers"])
def stand_in_slices(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Stand]:
    """Three slices on one Redis."""
    if request.param == "fakes":
        return fake_stand(slices=3)
    database_url, redis_url = request.getfixturevalue("urls_of_servers")
    return real_stand(database_url, redis_url, slices=3)


@pytest.fixture
async def stand(stand_in_slices: AbstractAsyncContextManager[Stand]) -> AsyncIterator[Stand]:
    """An API over them."""
    async with stand_in_slices as made:
        yield made


@dataclass
class Apart:
    """Three slices, each on a Redis of its own, whose place among the servers `places` has; all by slice."""

    stand: Stand
    servers: SeveralServers
    places: list[int]
    redis: list[FakeServer]
    sessions: list[str]

    async def metrics(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""

        async def has() -> bool:
            return (await scrape(self.stand)).get(name) == value

        await eventually(has, f"{name} is {value}")


@pytest.fixture
async def apart(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apart]:
    """With a hot session in each."""
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    redis = [fake_server() for _ in range(3)]
    servers = SeveralServers([fake_redis(server) for server in redis])
    places = [servers.place(slot_of(keys.tag)) for keys in SLICES.keys]
    async with fake_stand(servers=servers, slices=3) as stand:
        yield Apart(stand, servers, places, [redis[place] for place in places], await hot_sessions(stand))


async def hot_sessions(stand: Stand) -> list[str]:
    """Heat a session of each slice, in order."""
    found: dict[int, str] = {}
    while len(found) < len(stand.stages):
        found.setdefault(SLICES.index_of(session_id := str(uuid4())), session_id)
    for session_id in found.values():
        await stand.write(session_id, rows(session_id, 3))
        await stand.heat(session_id)
    return [found[index] for index in range(len(found))]


async def sources(stand: Stand, sessions: list[str], query: str = "") -> list[str]:
    """Where the answers come from."""
    return [(await stand.poll(session_id, query)).headers["readside-source"] for session_id in sessions]


async def served(stand: Stand, source: str, sessions: list[str]) -> None:
    """Wait until all are answered from there."""
    for session_id in sessions:
        await stand.poll_from(source, session_id)


async def test_each_slice_answers_its_sessions(stand: Stand) -> None:
    """From Redis, then from memory; a change is there with its message."""
    sessions = await hot_sessions(stand)
    await served(stand, "memory", sessions)
    for session_id in sessions:
        await stand.add(rows(session_id, 4)[3])

        async def changed(session_id: str = session_id) -> bool:
            return bool((await stand.poll(session_id)).json()["total"] == 4)

        await eventually(changed, "the event is there")
    await served(stand, "memory", sessions)


async def test_a_missed_message_of_one_slice_leaves_the_answers_of_the_others(stand: Stand) -> None:
    """Its own answers are gone, and come again."""
    sessions = await hot_sessions(stand)
    await served(stand, "memory", sessions)
    before = await scrape(stand)
    stage = stand.stages[1]
    await stage.redis.publish(stage.keys.changes, f"{stage.database} {stage.term} {stage.n + 2} - - 0 ")

    async def broken() -> bool:
        return (await scrape(stand))[BREAKS] == before[BREAKS] + 1

    await eventually(broken, "the break is heard")
    assert await sources(stand, sessions) == ["memory", "redis", "memory"]


BREAKS = "readside_response_cache_breaks_total"


async def test_a_slices_as_of_never_comes_from_anothers_beat(stand: Stand) -> None:
    """One whose beats stop stays as of its last, however the others beat."""
    sessions = await hot_sessions(stand)
    await served(stand, "memory", sessions)
    first = [(await stand.poll(session_id)).headers["readside-as-of"] for session_id in sessions]
    for index in (0, 2):
        await stand.stages[index].apply(as_of_us=4_000_000_000_000_000)

    async def raised() -> bool:
        return (await stand.poll(sessions[2])).headers["readside-as-of"] == "2096-10-02T07:06:40.000000Z"

    await eventually(raised, "the beats are heard")
    assert (await stand.poll(sessions[1])).headers["readside-as-of"] == first[1]


async def test_the_hot_sessions_are_those_of_all_slices(stand: Stand) -> None:
    """Most recently active first; a page is of the whole."""
    sessions = await hot_sessions(stand)
    headers = {"x-api-key": OPS_KEY}
    listed = (await stand.client.get("/api/v2/projection/sessions", headers=headers)).json()
    second = (await stand.client.get("/api/v2/projection/sessions?limit=1&page=2", headers=headers)).json()

    assert ({item["session_id"] for item in listed["items"]}, listed["total"]) == (set(sessions), 3)
    assert second == {"items": [listed["items"][1]], "total": 3}
    assert [item["events"] for item in listed["items"]] == [3, 3, 3]


async def test_a_slice_whose_redis_is_away_is_answered_by_postgres_alone(apart: Apart) -> None:
    """The others by Redis; metrics and readiness say what is away, and that it is back."""
    stand, redis = apart.stand, apart.redis[1]
    redis.connected = False
    assert await sources(stand, apart.sessions, "?limit=2") == ["redis", "postgres", "redis"]
    ready = await stand.client.get("/health/ready")
    scraped = await scrape(stand)

    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "stores": {"redis": "partly_down", "postgres": "up"}, "slices_down": [1]},
    )
    assert away_in(scraped) == (1, 1, 3)
    redis.connected = True
    limits = count(100)

    async def back() -> bool:
        await stand.beat()
        return await sources(stand, apart.sessions[1:2], f"?limit={next(limits)}") == ["redis"]

    await eventually(back, "it is asked again")
    assert away_in(await scrape(stand)) == (0, 0, 3)
    assert "slices_down" not in (await stand.client.get("/health/ready")).json()


async def test_the_hot_sessions_are_not_listed_in_part(apart: Apart) -> None:
    """Most Redis servers answer: the sentence says that a slice is away, and where its name is."""
    apart.redis[1].connected = False
    reply = await apart.stand.client.get("/api/v2/projection/sessions", headers={"x-api-key": OPS_KEY})

    assert (reply.status_code, reply.json()["detail"].partition(",")[0]) == (503, "A slice is away")


def away_in(scraped: Scrape) -> tuple[float, ...]:
    """What the metrics say of servers that are away."""
    names = ("store_away{store=redis}", "redis_nodes_away", "redis_nodes")
    return tuple(scraped[f"readside_{name}"] for name in names)


async def test_after_a_failover_polls_come_from_redis_at_once(apart: Apart) -> None:
    """Nothing bad is known of the server that the slices are on now."""
    stand, redis = apart.stand, apart.redis[1]
    redis.connected = False
    assert await sources(stand, apart.sessions, "?limit=2") == ["redis", "postgres", "redis"]
    redis.connected = True
    apart.servers.moved[apart.places[1]] = 3

    assert await sources(stand, apart.sessions, "?limit=3") == ["redis", "redis", "redis"]
    assert away_in(await scrape(stand)) == (0, 0, 3)


async def test_who_is_ready_while_stores_are_away(apart: Apart) -> None:
    """One store that answers something is enough; the slices that are down are named while others answer."""
    log = apart.stand.side.log  # type: ignore[attr-defined]
    found: list[tuple[int, object, object]] = []
    for slices, postgres in (((1, 2), True), ((0, 1, 2), True), ((2,), False), ((0, 1, 2), False)):
        for index, redis in enumerate(apart.redis):
            redis.connected = index not in slices
        log.error = None if postgres else EventLogUnavailable("Away.")
        reply = await apart.stand.client.get("/health/ready")
        told = reply.json()
        found.append((reply.status_code, told.get("stores", {}).get("redis"), told.get("slices_down")))

    assert found == [
        (200, "partly_down", [1, 2]),
        (200, "down", None),
        (200, "partly_down", [2]),
        (503, None, None),
    ]


async def test_metrics_tell_of_each_slice(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """How old its as-of is, and how many are heard: the view is as old as the oldest."""
    stand = apart.stand
    await apart.stand.stages[1].begin("term-2", expected="term-1")
    await apart.metrics("readside_slices_heard", 2)
    now = time.monotonic()
    monkeypatch.setattr("query_api.operators.exposition.time", SimpleNamespace(monotonic=lambda: now))
    scraped = await scrape(stand)
    ages = {name: value for name, value in scraped.items() if name.startswith("readside_api_slice_as_of_age_seconds")}

    assert (scraped["readside_slices"], scraped["readside_workers_hearing"]) == (3, 0)
    assert sorted(ages) == [f"readside_api_slice_as_of_age_seconds{{slice={index}}}" for index in (0, 2)]
    assert scraped["readside_lag_seconds"] == pytest.approx(max(ages.values()))


async def test_a_request_reaches_the_leader_by_whichever_report_slice_answers(apart: Apart) -> None:
    """The first that is asked is away."""
    apart.redis[0].connected = False
    keys, redis = apart.stand.stages[1].keys, apart.stand.stages[1].redis
    cold = session_in(SLICES, 2)
    await apart.stand.write(cold)
    messages = heard(redis, keys.requests)
    assert await anext(messages) is None
    reply = await apart.stand.client.post(f"/api/v2/sessions/{cold}/warm")
    data = await anext(messages)
    request = decode_request(data or b"")
    await messages.aclose()

    assert (reply.status_code, reply.json()["state"]) == (202, "warming")
    assert request is not None
    assert (request.verb, request.sessions) == ("warm", (cold,))


async def test_a_report_is_in_every_report_slice(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by the clock of its own server; one that is away disturbs no other."""
    monkeypatch.setattr("query_api.doorway.report.REPORT_SECONDS", 0.01)
    apart.redis[0].connected = False

    async def reported() -> bool:
        found = [await stage.reader.apis() for stage in apart.stand.stages[1:]]
        return all(len(reports) == 1 for reports in found)

    await eventually(reported, "both that answer have it")
    first, second = [await stage.reader.apis() for stage in apart.stand.stages[1:]]

    assert first.keys() == second.keys()
    assert [orjson.loads(raw)["connections"] for raw in (*first.values(), *second.values())] == [0, 0]
