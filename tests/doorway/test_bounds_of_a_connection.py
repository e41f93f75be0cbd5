"""Each bound of a connection from a raw socket, on a real API process: what its client is told, and what is counted."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from query_api.doorway.connections import REQUESTS_PART
from tests.doorway.raw import LIVE, RawClient, raw_client
from tests.integration.test_api_process import environment, running
from tests.support.keys import HEADERS
from tests.support.scraping import series
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD_BYTES, BODY_BYTES, WAITING_MB = 4_096, 1_024, 8
SETTINGS = {
    "MAX_HEAD_KB": "4",
    "MAX_BODY_KB": "1",
    "HEAD_SECONDS": "2",
    "IDLE_SECONDS": "1",
    "UNTAKEN_SECONDS": "1",
    "WAITING_MB": str(WAITING_MB),
    "MAX_ANSWER_MB": str(WAITING_MB),
}
POST = b"POST /health/live HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"

LAST_ONES = 80
"""More answers than any buffer on the way holds; one of so many connections fills it with its last one."""


class Guarded(NamedTuple):
    """The process, without any store: no bound asks for one."""

    port: int
    client: httpx.AsyncClient

    async def ended(self, reason: str) -> float:
        """How many connections were ended for this reason."""
        metrics = series((await self.client.get("/metrics")).text)
        return metrics[f"readside_connections_ended_total{{reason={reason}}}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[Guarded]:
    """One process for most tests here, with small bounds."""
    async with _guarded(**SETTINGS) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def patient_api() -> AsyncIterator[Guarded]:
    """One that ends no connection before a slow machine has done with it; half a head it gives up in the end."""
    async with _guarded(**SETTINGS | {"HEAD_SECONDS": "8", "IDLE_SECONDS": "60", "UNTAKEN_SECONDS": "60"}) as made:
        yield made


@asynccontextmanager
async def _guarded(**settings: str) -> AsyncIterator[Guarded]:
    settings = environment("postgresql://127.0.0.1:1/x", "redis://127.0.0.1:1/0", **settings)
    alone = httpx.Limits(max_keepalive_connections=0)  # who looks is no idle connection
    async with (
        running(settings) as (_, other),
        httpx.AsyncClient(verify=False, base_url=other.base_url, headers=HEADERS, limits=alone) as client,
    ):
        await other.aclose()
        yield Guarded(client.base_url.port or 0, client)


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (LIVE[:-2] + b"X: " + b"a" * HEAD_BYTES + b"\r\n\r\n", 431, "head_too_long"),
        (LIVE[:-2] + b"X: " + b"a" * HEAD_BYTES, 431, "head_too_long"),
        (LIVE[:-2] + b"a:\r\n" * 128 + b"\r\n", 431, "head_too_long"),
        (LIVE[:-2], 408, "head_too_slow"),
        (POST + b"Content-Length: 1025\r\n\r\n", 413, "body_too_long"),
        (CHUNKED + b"401\r\n" + b"a" * (BODY_BYTES + 1), 413, "body_too_long"),
        (CHUNKED + b"x\r\n", 400, "malformed"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
    ],
    ids=[
        "a head that is too long",
        "one without an end",
        "too many fields",
        "half a head",
        "a long body",
        "long chunks",
        "no chunks",
        "a raw target",
        "a method in small letters",
        "CONNECT",
    ],
)  # fmt: skip
async def test_a_request_past_a_bound(api: Guarded, request_bytes: bytes, status: int, reason: str) -> None:
    """It is refused with a problem that has an id, once, counted by its reason, and the connection ends."""
    before = await api.ended(reason)
    async with raw_client(api.port) as client:
        client.send(request_bytes)
        answer = await client.answer()
        rest = await client.ended()

    assert answer.problem()["status"] == status
    assert rest == b""
    assert await api.ended(reason) == before + 1


async def test_half_a_body(api: Guarded) -> None:
    """Its request was answered already, and cannot be answered twice: the connection ends, and is counted."""
    before = await api.ended("head_too_slow")
    async with raw_client(api.port) as client:
        client.send(POST + b"Content-Length: 3\r\n\r\nab")
        answer = await client.answer()
        rest = await client.ended()

    assert (answer.status, rest) == (405, b"")
    assert await api.ended("head_too_slow") == before + 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        LIVE[:-2] + b"X: " + b"a" * (HEAD_BYTES - len(LIVE) - 5) + b"\r\n\r\n",
        LIVE[:-2] + b"a:\r\n" * 127 + b"\r\n",
        POST + b"Content-Length: 1024\r\n\r\n" + b"a" * BODY_BYTES,
        CHUNKED + b"2\r\n\r\n\r\n" * 4 + b"0\r\n\r\n",
        CHUNKED + b"4\r\n\r\n\r\n\r\n0;a=b\r\nT: 1\r\n\r\n",
    ],
    ids=["a long head", "many fields", "a long body", "chunks", "chunks and a trailer"],
)
@pytest.mark.parametrize("step", [1, 7, 4_096])
async def test_a_request_within_the_bounds(api: Guarded, request_bytes: bytes, step: int) -> None:
    """It is answered, however it is cut, and so is the next one on its connection."""
    async with raw_client(api.port) as client:
        for start in range(0, len(request_bytes), step):
            client.send(request_bytes[start : start + step])
        client.send(LIVE)
        answers = [await client.answer(), await client.answer()]

    assert answers[0].status == (200 if request_bytes.startswith(b"GET") else 405)
    assert answers[1].status == 200


@pytest.mark.parametrize("sent", [b"", LIVE, b"\r\n\r\n"], ids=["silent", "answered", "empty lines"])
async def test_an_idle_connection_is_closed(api: Guarded, sent: bytes) -> None:
    """Without a word, and counted."""
    before = await api.ended("idle")
    async with raw_client(api.port) as client:
        client.send(sent)
        rest = await client.ended()

    assert rest.count(b"HTTP/1.1 ") == (sent == LIVE)
    assert await api.ended("idle") == before + 1


async def test_answers_that_nobody_takes(api: Guarded) -> None:
    """The socket is read no further, and after a while its connection is ended; others are served meanwhile."""
    before, unsent = await api.ended("untaken"), list[int]()
    async with raw_client(api.port, buffer_bytes=4_096) as client:
        client.send(DOCUMENT * 500_000)
        async with raw_client(api.port) as other:
            other.send(LIVE)
            assert (await other.answer()).status == 200

        async def is_ended() -> bool:
            unsent.append(client.unsent())
            return await api.ended("untaken") > before

        await eventually(is_ended, "the connection is ended")
    assert min(filter(None, unsent)) > 10_000_000  # of twenty: buffers of the kernel have the rest


async def test_last_answers_that_nobody_takes(api: Guarded) -> None:
    """Their connections end all the same, however much of the last one the kernel's buffers have taken."""

    async def none_is_left() -> bool:
        return series((await api.client.get("/metrics")).text)["readside_connections"] == 1

    async with _crowd(api.port, LAST_ONES, buffer_bytes=4_096) as crowd:
        for number, client in enumerate(crowd):
            client.send(DOCUMENT * number + DOCUMENT[:-2] + b"Connection: close\r\n\r\n")
        await eventually(none_is_left, "all connections have ended")


async def test_requests_hold_no_more_than_their_part(patient_api: Guarded) -> None:
    """Past it a long one gets 503 and may come again later; a short one is answered all the same."""
    before = await patient_api.ended("waiting")
    half = LIVE[:-2] + b"X: " + b"a" * 4_000
    async with _crowd(patient_api.port, WAITING_MB * 1_000_000 // REQUESTS_PART // len(half) + 20) as crowd:
        for client in crowd:
            client.send(half)

        async def some_are_refused() -> bool:
            return await patient_api.ended("waiting") > before

        await eventually(some_are_refused, "some are refused")
        async with raw_client(patient_api.port) as short:
            short.send(LIVE[:20])
            short.send(LIVE[20:])
            assert (await short.answer()).status == 200
        answers = [await client.answer() for client in crowd]

    statuses = [answer.problem()["status"] for answer in answers]
    assert set(statuses) == {408, 503}
    assert statuses.count(503) == await patient_api.ended("waiting") - before
    assert {answer.fields.get("retry-after") for answer in answers if answer.status == 503} == {"1"}


@asynccontextmanager
async def _crowd(port: int, number: int, *, buffer_bytes: int = 0) -> AsyncIterator[list[RawClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(raw_client(port, buffer_bytes=buffer_bytes)) for _ in range(number)]
