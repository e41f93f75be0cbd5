"""The routes beside the polls, over fakes, since no store's own behaviour is in them."""

from collections.abc import AsyncIterator
from typing import get_args
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from projector.core.operations import Touch
from readmodel.values.messages import decode_request
from readmodel.view.subscription import heard
from tests.support.builders import OPS_KEY, READ_KEY, Way, events_path
from tests.support.stands import Stand, fake_stand, rows
from tests.support.waiting import eventually

OPEN = ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/", "/console/poller.js")
OPS = ("/api/v2/projection", "/api/v2/projection/history", "/api/v2/projection/sessions")
UNKNOWN = "7d444840-9dc0-41d1-b245-5ffdce74fad2"


@pytest.fixture
async def stand(way: Way) -> AsyncIterator[Stand]:
    """An API over fakes."""
    async with fake_stand(way) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=get_args(Way))
async def standing(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    """One of each way for all tests that change nothing in it."""
    async with fake_stand(request.param) as made:
        yield made


of_one_stand = pytest.mark.asyncio(loop_scope="module")


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of an error of this status."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


async def test_warming_a_hot_session(stand: Stand) -> None:
    """Nothing to do."""
    session_id = str(uuid4())
    await stand.write(session_id)
    await stand.heat(session_id)

    answer = await stand.client.post(f"/api/v2/sessions/{session_id}/warm")

    assert (answer.status_code, answer.json()) == (202, {"session_id": session_id, "state": "hot"})


async def test_warming_a_cold_session_asks_the_leader(stand: Stand) -> None:
    """It hears the request."""
    session_id = str(uuid4())
    await stand.write(session_id)
    requests = heard(stand.stage.redis, stand.stage.keys.requests)
    await anext(requests)

    answer = await stand.client.post(f"/api/v2/sessions/{session_id}/warm")

    assert (answer.status_code, answer.json()) == (202, {"session_id": session_id, "state": "warming"})
    data = await anext(requests)
    request = decode_request(data or b"")
    assert request is not None
    assert (request.verb, request.sessions) == ("warm", (session_id,))
    await requests.aclose()


async def test_warming_without_a_leader_is_503(stand: Stand) -> None:
    """A request that nobody hears was not delivered."""
    session_id = str(uuid4())
    await stand.write(session_id)

    answer = await stand.client.post(f"/api/v2/sessions/{session_id}/warm")

    assert "No leading projector" in problem(answer, 503)
    assert "retry-after" in answer.headers


async def test_warming_an_unknown_session_is_404(stand: Stand) -> None:
    """Postgres says so, as of when."""
    unknown = str(uuid4())
    answer = await stand.client.post(f"/api/v2/sessions/{unknown}/warm")

    assert problem(answer, 404) == f"Session not found: {unknown}"
    assert "readside-as-of" in answer.headers


@of_one_stand
@pytest.mark.parametrize("path", ["/api/v2/sessions/x/warm", f"/api/v2/sessions/{UNKNOWN}/warm?now=1"])
async def test_warming_nonsense_is_400(standing: Stand, path: str) -> None:
    """Id and parameters alike."""
    assert problem(await standing.client.post(path), 400)


async def test_the_projection_without_a_projector_is_down(stand: Stand) -> None:
    """And still 200, with a reason."""
    answer = await stand.client.get("/api/v2/projection")

    assert answer.status_code == 200
    state = answer.json()
    assert state["status"] == "down"
    assert state["reason"].endswith(".")
    assert state["lag_ms"] >= 0


async def test_the_hot_sessions_are_listed_in_pages(stand: Stand) -> None:
    """Most recently active first."""
    ids = [str(uuid4()) for _ in range(3)]
    for count, session_id in enumerate(ids):
        await stand.write(session_id, rows(session_id, count))
        await stand.heat(session_id)

    everything = (await stand.client.get("/api/v2/projection/sessions")).json()
    second = (await stand.client.get("/api/v2/projection/sessions?limit=1&page=2")).json()

    by_id = {item["session_id"]: item for item in everything["items"]}
    assert (set(by_id), everything["total"]) == (set(ids), 3)
    assert second == {"items": [everything["items"][1]], "total": 3}
    assert [by_id[session_id]["events"] for session_id in ids] == [0, 1, 2]
    assert by_id[ids[2]]["last_event_at"] == "2026-01-13T14:30:01.000000Z"
    assert by_id[ids[0]]["last_event_at"] is None
    assert by_id[ids[0]]["status"] == "in_progress"


async def test_the_last_poll_of_a_hot_session_is_listed(stand: Stand) -> None:
    """When the projector was told of one."""
    session_id = str(uuid4())
    await stand.write(session_id)
    await stand.heat(session_id)
    before = (await stand.client.get("/api/v2/projection/sessions")).json()["items"][0]
    await stand.stage.apply(Touch(session_id, 2_000))
    after = (await stand.client.get("/api/v2/projection/sessions")).json()["items"][0]

    assert before["last_polled_at"] is None
    assert after["last_polled_at"] < after["last_active_at"]


async def test_the_lag_has_a_history(stand: Stand) -> None:
    """The process took a sample when it began; no parameter is accepted."""

    async def sampled() -> bool:
        return bool((await stand.client.get("/api/v2/projection/history")).json()["samples"])

    await eventually(sampled, "a sample")
    history = (await stand.client.get("/api/v2/projection/history")).json()
    assert history["max_staleness_ms"] == 5000
    assert history["samples"][0].keys() == {"at", "status", "lag_ms", "events_per_second", "round_trip_ms"}
    assert "none is accepted" in problem(await stand.client.get("/api/v2/projection/history?since=1"), 400)


@of_one_stand
@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "page=0", "limit=x", "limit=1&limit=1", "other=1"])
async def test_a_bad_parameter_of_the_list_is_400(standing: Stand, query: str) -> None:
    """Named, as with polls."""
    answer = await standing.client.get(f"/api/v2/projection/sessions?{query}")

    assert problem(answer, 400)
    assert answer.json()["parameter"] == query.partition("=")[0]


@of_one_stand
@pytest.mark.parametrize("path", OPS)
async def test_operators_need_their_scope(standing: Stand, path: str) -> None:
    """A dashboard's key is no operator's."""
    answers = [await standing.client.get(path, headers={"x-api-key": key}) for key in (READ_KEY, "wrong", OPS_KEY)]

    assert [answer.status_code for answer in answers] == [403, 401, 200]


@of_one_stand
@pytest.mark.parametrize("path", OPEN)
async def test_open_routes_need_no_key(standing: Stand, path: str) -> None:
    """Probes and people have none."""
    request = standing.client.build_request("GET", path)
    del request.headers["x-api-key"]

    assert (await standing.client.send(request)).status_code == 200


@of_one_stand
@pytest.mark.parametrize("path", [*OPEN, *OPS, "/static/readside.css", "/nowhere"])
async def test_head_is_get_without_its_body(standing: Stand, path: str) -> None:
    """On every route."""
    got, head = await standing.client.get(path), await standing.client.head(path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.keys() == got.headers.keys()


@of_one_stand
@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v2/sessions", "/docs/", "/static/nothing.js", "/static/..%2fapp.py", "/%00"]
)
async def test_what_is_not_there_is_404(standing: Stand, path: str) -> None:
    """In the contract's shape."""
    assert problem(await standing.client.get(path), 404).startswith("There is nothing at ")


@of_one_stand
async def test_a_session_id_with_a_slash_in_it_is_404(standing: Stand) -> None:
    """Another path."""
    assert problem(await standing.client.get(events_path("a%2Fb")), 404)


@of_one_stand
@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("PUT", "/metrics", "GET, HEAD"), ("GET", "/api/v2/sessions/x/warm", "POST")]
)
async def test_a_method_that_is_not_there_is_405(standing: Stand, method: str, path: str, allowed: str) -> None:
    """With those that are."""
    answer = await standing.client.request(method, path)

    assert problem(answer, 405)
    assert answer.headers["allow"] == allowed


async def test_health_and_metrics(stand: Stand) -> None:
    """What probes and Prometheus read."""
    assert (await stand.client.get("/health/live")).json() == {"status": "live"}
    ready = (await stand.client.get("/health/ready")).json()
    assert ready == {"status": "ready", "stores": {"redis": "up", "postgres": "up"}}
    metrics = await stand.client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "readside_polls_total" in metrics.text


async def test_without_keys_everybody_may_poll(way: Way) -> None:
    """READSIDE_AUTH=none."""
    async with fake_stand(way, keys=None) as stand:
        stand.client.headers.pop("x-api-key")

        assert (await stand.client.get("/api/v2/projection")).status_code == 200
