"""Request ids and the log lines about requests, on a whole API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import orjson
import pytest

from query_api.access import denials
from query_api.polls.events import Events
from readmodel.errors import ViewUnavailable
from readmodel.view.reader import ViewReader
from tests.integration.test_api_process import environment, running
from tests.support.builders import BOTH_KEY, OPS_KEY, READ_KEY, Way, events_path
from tests.support.logs import Lines, logged
from tests.support.stands import Stand, fake_stand, rows
from tests.support.waiting import eventually

ORIGIN = "https://dashboard.example"
SECRET = "a-wrong-key-somebody-pasted"


@pytest.fixture
def debug() -> Iterator[Lines]:
    """The log at level debug."""
    with logged("debug", [BOTH_KEY, READ_KEY, OPS_KEY]) as lines:
        yield lines


@pytest.fixture
async def stand(debug: Lines, way: Way) -> AsyncIterator[Stand]:
    """An API with CORS on."""
    async with fake_stand(way, cors_origins=(ORIGIN,)) as made:
        yield made


async def test_every_answer_has_an_id(stand: Stand) -> None:
    """The caller's own, or a new one: polls, routes, errors, preflights."""
    paths = [events_path(str(uuid4())), events_path("no-id"), "/api/v2/projection", "/health/live", "/nothing"]
    made = [(await stand.client.get(path)).headers["x-request-id"] for path in paths]
    given = [(await stand.client.get(path, headers={"x-request-id": "mine:1"})).headers for path in paths]
    preflight = await stand.client.options(paths[0], headers={"origin": ORIGIN, "x-request-id": "mine:2"})
    refused = await stand.client.get(paths[0], headers={"x-request-id": 'a b"'})

    assert len(set(made)) == len(paths)
    assert {headers["x-request-id"] for headers in given} == {"mine:1"}
    assert preflight.headers["x-request-id"] == "mine:2"
    assert "X-Request-ID" in preflight.headers["access-control-allow-headers"]
    assert "X-Request-ID" in preflight.headers["access-control-expose-headers"]
    assert refused.headers["x-request-id"] not in {'a b"', *made}


async def test_a_line_a_request_at_debug_and_none_above(stand: Stand, debug: Lines) -> None:
    """Each source and route; what the API says of itself bears no request's id."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 3))
    await stand.poll_from("postgres", session_id, x_request_id="cold")
    await stand.heat(session_id)
    await stand.poll_from("redis", session_id, "?limit=2", x_request_id="hot")
    await stand.poll_from("memory", session_id, "?limit=2", x_request_id="kept")
    await stand.client.get("/health/ready", headers={"x-request-id": "ready"})

    told = {line.get("request_id"): line for line in debug.said("answered")}
    assert [told[name]["source"] for name in ("cold", "hot", "kept", "ready")] == ["postgres", "redis", "memory", None]
    assert {(line["method"], line["status"], line["level"]) for line in told.values()} == {("GET", 200, "debug")}
    assert told["kept"]["path"] == events_path(session_id)
    assert 0 <= told["kept"]["ms"] < 1000
    assert ["request_id" in line for line in debug.said("changes are heard")] == [False]


async def test_what_fails_is_said_with_its_id(stand: Stand, debug: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is one line above debug, and its traceback shows no key."""

    def broken(*_: object) -> None:
        raise ValueError(f"unforeseen: {BOTH_KEY}")

    monkeypatch.setattr(Events, "at_once", broken)
    answer = await stand.poll("no-id", f"?key={SECRET}", x_request_id="mine")

    assert answer.status_code == 500
    (line,) = debug.said("a poll failed")
    assert (line["request_id"], line["level"]) == ("mine", "error")
    assert "ValueError: unforeseen: ***" in line["exception"]
    assert SECRET not in debug.text
    assert BOTH_KEY not in debug.text


async def test_the_audit_tells_of_who_fell_silent(stand: Stand, debug: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody signs tokens, too: what was refused after its first line, a minute later."""
    monkeypatch.setattr(denials, "AUDIT_SECONDS", 0.2)
    for _ in range(2):
        assert (await stand.poll(str(uuid4()), x_api_key=SECRET)).status_code == 401
    await eventually(lambda: len(debug.said("requests refused")) == 2, "the second is told of")

    assert [line["refused"] for line in debug.said("requests refused")] == [{"unknown_key": 1}] * 2


async def test_no_key_and_no_payload_on_any_line(stand: Stand, debug: Lines) -> None:
    """Whatever a caller puts where: in the query, the path, the method, the id, a header."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 3))
    for path in (
        events_path(session_id) + f"?api_key={SECRET}",
        events_path(SECRET),
        f"/{SECRET}",
        f"/api/v2/projection?key={SECRET}",
        f"/api/v2/sessions/{SECRET}/warm",
        events_path(session_id),
    ):
        for headers in ({"x-api-key": SECRET}, {"authorization": f"Bearer {SECRET}"}, {"x-api-key": BOTH_KEY}):
            await stand.client.get(path, headers={**headers, "x-request-id": SECRET + "-x" * 999})
            await stand.client.request(SECRET, path, headers={**headers, "x-request-id": BOTH_KEY})
    await stand.client.get("/", headers={"x-api-key": SECRET, "x-request-id": SECRET})

    await eventually(lambda: len(debug.said("answered")) > 36, "every request is told of")
    assert SECRET not in debug.text
    assert BOTH_KEY not in debug.text
    assert "step_created" not in debug.text


async def test_a_process_logs_json_and_nothing_else() -> None:
    """Stores that are away, requests that are none, libraries that complain: each line parses, none tells a secret."""
    password = "a-pass-word"
    database, redis = f"postgresql://app:{password}@127.0.0.1:1/app", f"redis://:{password}@127.0.0.1:1/0"
    settings = environment(database, redis, LOG_LEVEL="debug", LOG_FORMAT="json", API_KEYS=f"x:{SECRET}")
    async with running(settings) as (process, client):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        upgrade = "Connection: upgrade\r\nUpgrade: websocket"
        writer.write(f"GET /{SECRET} HTTP/1.1\r\n{upgrade}\r\n\r\n{SECRET} / nonsense\r\n\r\n".encode())
        await reader.read()
        writer.close()
        path = events_path(str(uuid4()))
        answer = await client.get(f"{path}?key={SECRET}", headers={"x-api-key": SECRET, "x-request-id": "mine"})
        refused = await client.get(path, headers={"authorization": f"Bearer {password}"})
        process.terminate()
        _, err = await process.communicate()

    lines = [orjson.loads(line) for line in err.splitlines()]
    assert (answer.status_code, refused.status_code) == (400, 401)
    assert {"api starts", "store is away", "answered", "a library says", "api stopped"} <= {
        line["event"] for line in lines
    }
    assert [line["status"] for line in lines if line.get("request_id") == "mine"] == [400]
    assert SECRET.encode() not in err
    assert password.encode() not in err


async def test_what_requests_share_bears_no_id(stand: Stand, debug: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away is nobody's request: whoever came first must not be named on each line after it."""

    async def away(*_: object, **__: object) -> None:
        raise ViewUnavailable("Redis does not answer.")

    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 3))
    monkeypatch.setattr(ViewReader, "read_all", away)
    await stand.poll(session_id, x_request_id="first")

    lines = [line for line in debug.said("store is away") if line["store"] == "redis"]
    assert ["request_id" in line for line in lines] == [False]
