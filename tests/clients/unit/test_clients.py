"""Both clients over a transport of our own: the same calls, translated errors, clean ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from readside_client import AsyncClient, Client, Page, SessionNotFound, Unavailable
from readside_client.protocol import Request
from tests.clients.answering import SESSION, Answering, problem
from tests.support.waiting import eventually

URL = "http://readside.example/prefix/"


def transport(api: Answering) -> httpx.MockTransport:
    """The API in miniature behind httpx."""

    def handle(request: httpx.Request) -> httpx.Response:
        status, headers, body = api.answer(Request(str(request.url), dict(request.headers)))
        return httpx.Response(status, headers=headers, content=body)

    return httpx.MockTransport(handle)


class Sync:
    """Calls the synchronous client in the async tests' way."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def events(self, **options: Any) -> Page:
        return self.client.events(SESSION, **options)

    async def follow(self, **options: Any) -> AsyncIterator[Any]:
        for event in self.client.follow(SESSION, **options):
            yield event


class Async:
    """The asynchronous client's calls."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def events(self, **options: Any) -> Page:
        return await self.client.events(SESSION, **options)

    async def follow(self, **options: Any) -> AsyncIterator[Any]:
        async with aclosing(self.client.follow(SESSION, **options)) as events:
            async for event in events:
                yield event


Calls = Sync | Async
Open = Callable[[httpx.MockTransport], Any]


@asynccontextmanager
async def _sync(over: httpx.MockTransport) -> AsyncIterator[Calls]:
    with Client(URL, "secret", transport=over) as client:
        yield Sync(client)


@asynccontextmanager
async def _async(over: httpx.MockTransport) -> AsyncIterator[Calls]:
    async with AsyncClient(URL, "secret", transport=over) as client:
        yield Async(client)


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Open one client or the other."""
    made: Open = request.param
    return made


async def test_a_page_and_its_304(opened: Open, api: Answering) -> None:
    """Given back with its new freshness; the key and the prefix are in every request."""
    ids = api.add(3, ago=3, step=1)
    async with opened(transport(api)) as client:
        first = await client.events(limit=2, types="step_created")
        api.later(5)
        again = await client.events(limit=2, types="step_created", previous=first)

    assert [event.id for event in first.items] == ids[:0:-1]
    assert again.items is first.items
    assert again.freshness.as_of > first.freshness.as_of
    assert all(request.url.startswith(f"{URL}api/v2/sessions/{SESSION}/events?") for request in api.asked)
    assert [request.headers["x-api-key"] for request in api.asked] == ["secret", "secret"]


async def test_an_answer_is_never_older_than_the_previous(opened: Open, api: Answering) -> None:
    """Another process that is behind must not turn time back; a later instant may be named too."""
    async with opened(transport(api)) as client:
        first = await client.events()
        second = await client.events(previous=first)
        await client.events(previous=second, not_before="2026-01-13T14:30:07Z")

    assert [request.headers.get("readside-not-before") for request in api.asked] == [
        None,
        "2026-01-13T14:30:00.000000Z",
        "2026-01-13T14:30:07.000000Z",
    ]


async def test_events_come_through_a_burst_and_an_outage(opened: Open, api: Answering) -> None:
    """What the state machine asks for is sent, what it delivers is yielded."""
    api.most = 10
    ids = api.add(45, ago=50, step=1)
    api.replies = [problem(503, headers={"retry-after": "0"})]
    async with opened(transport(api)) as client:
        seen = [event.id async for event in client.follow(until=api.now)]

    assert seen == ids


async def test_steps_and_the_order_are_asked_for(opened: Open, api: Answering) -> None:
    """By a single poll, a limit only where there is one; who follows picks the steps out of the stream."""
    one, two = (str(UUID(int=n)) for n in (1, 2))
    api.add(3, ago=3, step=1)
    for event, step in zip(api.events, (one, two, one), strict=True):
        event["step_id"] = step
    async with opened(transport(api)) as client:
        page = await client.events(step_ids=one, order="asc")
        followed = [event.id async for event in client.follow(step_ids=[two], until=api.now)]

    assert [event.id for event in page.items] == [api.ids[0], api.ids[2]]
    assert followed == [api.ids[1]]
    assert api.asked[0].url.endswith(f"/events?page=1&step_id={one}&order=asc")
    assert api.asked[1].url.endswith("/stream?offset=-1")


async def test_offsets_are_taken_and_given(opened: Open, api: Answering) -> None:
    """By both clients; what one has handled the other goes on behind."""
    ids = api.add(3)
    async with opened(transport(api)) as client:
        first = [event async for event in client.follow(until=api.now)]
        ids += api.add(2)
        second = [event async for event in client.follow(offset=first[-1].offset, until=api.now)]

    assert [event.id for event in first + second] == ids
    assert [event.offset for event in second] == ["a.3", "a.5"]


async def test_a_poll_waits_if_it_is_told_to(opened: Open, api: Answering) -> None:
    """The API is asked to hold the answer, and given the time."""
    timeouts = []

    def handle(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"])
        status, headers, body = api.answer(Request(str(request.url), dict(request.headers)))
        return httpx.Response(status, headers=headers, content=body)

    async with opened(httpx.MockTransport(handle)) as client:
        first = await client.events()
        await client.events(previous=first, wait_seconds=20)

    assert [timeout["read"] for timeout in timeouts] == [10, 30]
    assert [timeout["connect"] for timeout in timeouts] == [10, 10]
    assert api.asked[1].url.endswith("/events?page=1&wait=20")


async def test_numbers_are_what_the_caller_wants(api: Answering) -> None:
    """In a page and in what follows, by both clients."""
    api.add(1)
    api.events[0]["event_data"] = 1.5
    over = transport(api)
    with Client(URL, transport=over, parse_float=Decimal) as one:
        found = [one.events(SESSION).items[0], next(one.follow(SESSION))]
    async with (
        AsyncClient(URL, transport=over, parse_float=Decimal) as other,
        aclosing(other.follow(SESSION)) as events,
    ):
        found += [(await other.events(SESSION)).items[0], await anext(events)]

    assert [repr(event.event_data) for event in found] == ["Decimal('1.5')"] * 4


async def test_errors_are_raised(opened: Open, api: Answering) -> None:
    """By a single poll at once; by following, those that asking again does not mend."""
    async with opened(transport(api)) as client:
        api.replies = [
            problem(503, "No store."),
            problem(404, "Session not found."),
            problem(404, "Session not found."),
        ]
        with pytest.raises(Unavailable, match="No store"):
            await client.events()
        with pytest.raises(SessionNotFound):
            await client.events()
        with pytest.raises(SessionNotFound):
            [event async for event in client.follow()]


async def test_no_connection_is_unavailable(opened: Open) -> None:
    """The host is named, the key is not."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with opened(httpx.MockTransport(refuse)) as client:
        with pytest.raises(Unavailable, match=r"readside\.example: ConnectError refused") as caught:
            await client.events()
        with pytest.raises(Unavailable):
            [event async for event in client.follow(patience_seconds=0)]

    assert "secret" not in str(caught.value)


async def test_wrong_options_are_refused_at_the_call(opened: Open, api: Answering) -> None:
    """Not at the first event."""
    async with opened(transport(api)) as made:
        with pytest.raises(ValueError, match="remember"):
            made.client.follow(SESSION, remember=0)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "key"),
    [("readside.example", "k"), ("ftp://x", "k"), ("http://", "k"), (URL, "a\nb"), (URL, "ü"), (URL, "")],
)
def test_a_wrong_url_or_key_is_refused(kind: type[Client | AsyncClient], url: str, key: str) -> None:
    """Rather than retried for ever."""
    with pytest.raises(ValueError, match=r"URL|key"):
        kind(url, key)


@asynccontextmanager
async def holding(api: Answering) -> AsyncIterator[tuple[str, list[int]]]:
    """An API at a socket that holds what it has no news for; gives its URL, and how many reads are held."""
    held = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                status, headers, body = api.answer(Request(head.split()[1].decode(), {}))
                if status == 204:
                    held[0] += 1
                    await reader.read()
                    held[0] -= 1
                    break
                told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} OK\r\n{told}content-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", held
    finally:
        server.close()


async def test_closing_ends_what_another_thread_follows(api: Answering) -> None:
    """At once, though its read is held."""
    ids = api.add(1)
    async with holding(api) as (url, held), asyncio.timeout(60):
        client = Client(url)
        following = asyncio.create_task(asyncio.to_thread(lambda: [event.id for event in client.follow(SESSION)]))
        await eventually(lambda: held == [1], "the read is held")
        client.close()

        assert await following == ids
    assert list(client.follow(SESSION)) == []


async def test_closing_ends_what_other_tasks_follow(api: Answering) -> None:
    """The same."""
    ids = api.add(1)
    async with holding(api) as (url, held), asyncio.timeout(60):
        client = AsyncClient(url)
        following = [asyncio.create_task(_ids(client)) for _ in range(3)]
        await eventually(lambda: held == [3], "the reads are held")
        await client.aclose()

        assert await asyncio.gather(*following) == [ids] * 3


async def _ids(client: AsyncClient) -> list[str]:
    return [event.id async for event in client.follow(SESSION)]


async def test_as_many_may_be_followed_as_anybody_likes() -> None:
    """Each holds a connection: httpx' usual bound would have the 101st wait for ever."""
    with Client(URL) as one:
        async with AsyncClient(URL) as other:
            pools: list[Any] = [client._http._transport for client in (one, other)]

            assert [pool._pool._max_connections > 100_000 for pool in pools] == [True, True]
