"""Warming a session and asking how the projection is: both clients over a transport of our own."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from readside_client import (
    AsyncClient,
    Client,
    Forbidden,
    ProjectionReport,
    ProjectionSlice,
    SessionNotFound,
    Unavailable,
    WarmReply,
)
from tests.clients.answering import SESSION, Reply, problem

URL = "http://readside.example/prefix/"
AS_OF = "2026-01-13T14:30:00.123456Z"
STANDING = {"status": "live", "reason": None, "as_of": AS_OF, "lag_ms": 12, "hot_sessions": 3, "term": "t1", "batch": 7}
TOLD = {
    **STANDING, "database": "7/shop", "leader": {"pid": 1}, "standbys": [{"pid": 2}], "writable": True,
    "apis": [{"pid": 3}], "slices": [{**STANDING, "slice": 0, "node": "redis:6379"}], "new_one": 5,
}  # fmt: skip
NOTHING = dict.fromkeys(
    ("reason", "as_of", "lag_ms", "hot_sessions", "term", "batch", "database", "leader", "writable")
)


@asynccontextmanager
async def _sync(over: httpx.MockTransport) -> AsyncIterator[Callable[..., Any]]:
    with Client(URL, "secret", transport=over) as client:

        async def call(name: str, *given: str) -> Any:
            return getattr(client, name)(*given)

        yield call


@asynccontextmanager
async def _async(over: httpx.MockTransport) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncClient(URL, "secret", transport=over) as client:

        async def call(name: str, *given: str) -> Any:
            return await getattr(client, name)(*given)

        yield call


class Answered:
    """One call of a client against one reply; `asked` is what was sent."""

    def __init__(self, opened: Any) -> None:
        self.opened = opened
        self.asked: list[str] = []

    async def __call__(self, reply: Reply, name: str, *given: str) -> Any:
        def handle(request: httpx.Request) -> httpx.Response:
            self.asked.append(f"{request.method} {request.url} {request.headers['x-api-key']}")
            status, headers, body = reply
            return httpx.Response(status, headers=headers, content=body)

        async with self.opened(httpx.MockTransport(handle)) as call:
            return await call(name, *given)


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def answered(request: pytest.FixtureRequest) -> Answered:
    """One client or the other."""
    return Answered(request.param)


def told(value: object, status: int = 200) -> Reply:
    """A reply with this body."""
    return status, {}, json.dumps(value).encode()


async def test_a_session_is_warmed(answered: Answered) -> None:
    """By one POST."""
    reply = await answered(told({"session_id": SESSION, "state": "warming"}, 202), "warm", SESSION)

    assert reply == WarmReply(SESSION, "warming")
    assert answered.asked == [f"POST {URL}api/v2/sessions/{SESSION}/warm secret"]


async def test_the_projection_is_told_by_type(answered: Answered) -> None:
    """Its slices too; what a newer API adds is in `raw`."""
    report = await answered(told(TOLD), "projection")

    as_of = datetime(2026, 1, 13, 14, 30, 0, 123456, tzinfo=UTC)
    standing = ("live", None, as_of, 12, 3, "t1", 7)
    one = ProjectionSlice(0, "redis:6379", *standing)
    assert report == ProjectionReport(*standing, "7/shop", True, {"pid": 1}, ({"pid": 2},), ({"pid": 3},), (one,), TOLD)
    assert report.is_live
    assert answered.asked == [f"GET {URL}api/v2/projection secret"]


async def test_nothing_may_be_known_of_it(answered: Answered) -> None:
    """While Redis is away."""
    down = {**NOTHING, "status": "down", "standbys": [], "apis": [], "slices": []}

    report = await answered(told(down), "projection")

    assert (report.status, report.as_of, report.leader, report.slices, report.is_live) == (
        "down",
        None,
        None,
        (),
        False,
    )


@pytest.mark.parametrize(
    "reply",
    [
        problem(503, headers={"retry-after": "3"}),
        (200, {}, b"<html>"),
        (200, {}, b"[" * 100_000),
        told([]),
        told({}),
        told({"session_id": 5, "state": "hot"}),
        told({"session_id": SESSION, "state": "boiling"}),
        told({**TOLD, "status": "asleep"}),
        told({**TOLD, "lag_ms": -1}),
        told({**TOLD, "lag_ms": True}),
        told({**TOLD, "as_of": "soon"}),
        told({**TOLD, "leader": "me"}),
        told({**TOLD, "slices": [5]}),
        told({**TOLD, "standbys": {}}),
        told({**TOLD, "writable": 1}),
    ],
)
async def test_what_is_no_answer_is_worth_asking_again(answered: Answered, reply: Reply) -> None:
    """An outage, and what some proxy says."""
    for name, *given in (("warm", SESSION), ("projection",)):
        with pytest.raises(Unavailable):
            await answered(reply, name, *given)


async def test_what_is_refused_has_its_class(answered: Answered) -> None:
    """As for polls."""
    with pytest.raises(SessionNotFound):
        await answered(problem(404), "warm", SESSION)
    with pytest.raises(Forbidden):
        await answered(problem(403), "projection")
