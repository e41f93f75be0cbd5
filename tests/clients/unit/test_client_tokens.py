"""Both clients with tokens: from a function, awaited or not, one call at a time, and what becomes of refusals."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from readside_client import AsyncClient, Client, Forbidden, Unauthorized, Unavailable
from readside_client.protocol import Request
from tests.clients.answering import SESSION, Answering, problem
from tests.clients.tokens import token
from tests.clients.unit.test_clients import URL, Async, Calls, Sync
from tests.support.waiting import eventually

Open = Callable[..., AbstractAsyncContextManager[Calls]]
Handler = Callable[[httpx.Request], httpx.Response]


class Guarded:
    """An API that refuses what is not among `good`; `shown` is what came in each request's Authorization."""

    def __init__(self, api: Answering) -> None:
        self.api = api
        self.good: set[str] = set()
        self.shown: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.shown.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        if self.shown[-1] in self.good:
            status, headers, body = self.api.answer(Request(str(request.url), dict(request.headers)))
        else:
            status, headers, body = problem(401, "The token has ended.")
        return httpx.Response(status, headers=headers, content=body)


class Minting:
    """Tokens, each of its own number; the latest is the only good one."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self.given: list[str] = []

    def __call__(self) -> str:
        """The next."""
        self.given.append(token(n=len(self.given)))
        self.guarded.good = {self.given[-1]}
        return self.given[-1]

    async def later(self) -> str:
        """The same, awaited."""
        await asyncio.sleep(0)
        return self()


@pytest.fixture
def guarded(api: Answering) -> Guarded:
    """An API that looks at tokens."""
    return Guarded(api)


@pytest.fixture
def minting(guarded: Guarded) -> Minting:
    """A source of good tokens."""
    return Minting(guarded)


@asynccontextmanager
async def _sync(over: Handler, given: Any) -> AsyncIterator[Calls]:
    with Client(URL, token=given, transport=httpx.MockTransport(over)) as client:
        yield Sync(client)


@asynccontextmanager
async def _async(over: Handler, given: Any) -> AsyncIterator[Calls]:
    async with AsyncClient(URL, token=given, transport=httpx.MockTransport(over)) as client:
        yield Async(client)


@asynccontextmanager
async def _awaited(over: Handler, given: Any) -> AsyncIterator[Calls]:
    async with _async(over, given.later if isinstance(given, Minting) else given) as calls:
        yield calls


@pytest.fixture(params=[_sync, _async, _awaited], ids=["sync", "async", "awaited"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Open a client, one way or the other."""
    made: Open = request.param
    return made


async def test_a_fixed_token_goes_into_the_authorization_header(opened: Open, guarded: Guarded) -> None:
    """And into nothing else; when it has ended, that is the end."""
    fixed = token(n=1)
    guarded.good = {fixed}
    async with opened(guarded, fixed) as client:
        await client.events()
        guarded.good = set()
        with pytest.raises(Unauthorized, match="has ended"):
            [event async for event in client.follow()]

    assert guarded.shown == [fixed, fixed]
    assert all(fixed not in request.url for request in guarded.api.asked)
    assert all("x-api-key" not in request.headers for request in guarded.api.asked)


async def test_a_function_gives_the_first_token_and_is_left_alone(
    opened: Open, guarded: Guarded, minting: Minting
) -> None:
    """While that is good."""
    async with opened(guarded, minting) as client:
        for _ in range(3):
            await client.events()

    assert len(minting.given) == 1
    assert guarded.shown == minting.given * 3


async def test_a_token_that_was_good_and_is_refused_is_replaced_at_once(
    opened: Open, guarded: Guarded, minting: Minting
) -> None:
    """The caller sees nothing of it."""
    async with opened(guarded, minting) as client:
        await client.events()
        guarded.good = set()
        page = await client.events()

    assert page.total == 0
    assert guarded.shown == [minting.given[0], *minting.given]


async def test_following_goes_on_when_tokens_end(opened: Open, guarded: Guarded, minting: Minting) -> None:
    """Each event once, over as many tokens as answers."""
    api = guarded.api
    api.most = 10
    ids = api.add(45, ago=50, step=1)
    async with opened(guarded, minting) as client:
        api.meanwhile = [lambda: setattr(guarded, "good", set())] * 3
        seen = [event.id async for event in client.follow(until=api.now)]

    assert seen == ids
    assert len(minting.given) == 4


async def test_a_session_that_the_token_does_not_name_ends_it(opened: Open, guarded: Guarded, minting: Minting) -> None:
    """By its own error, and without another token."""
    guarded.api.replies = [problem(403, "The token does not name this session.")]
    async with opened(guarded, minting) as client:
        with pytest.raises(Forbidden, match="does not name"):
            [event async for event in client.follow()]

    assert len(minting.given) == 1


async def test_a_function_that_fails_is_unavailable_and_not_asked_again_at_once(opened: Open, guarded: Guarded) -> None:
    """Nothing is sent meanwhile; its own words are not repeated."""
    calls = []

    def fail() -> str:
        calls.append(1)
        raise LookupError("the secret itself")

    async with opened(guarded, fail) as client:
        with pytest.raises(Unavailable, match="LookupError") as caught:
            await client.events()
        for _ in range(5):
            with pytest.raises(Unavailable, match="LookupError"):
                await client.events()
        with pytest.raises(Unavailable):
            [event async for event in client.follow(patience_seconds=0)]

    assert (len(calls), guarded.shown) == (1, [])
    assert "secret" not in str(caught.value)
    assert caught.value.retry_after_seconds


async def test_a_dead_token_given_again_is_shown_once(opened: Open, guarded: Guarded) -> None:
    """A single poll raises the refusal, following waits until its patience ends."""
    async with opened(guarded, lambda: token(n=1)) as client:
        with pytest.raises(Unauthorized, match="has ended"):
            await client.events()
        with pytest.raises(Unavailable):
            [event async for event in client.follow(patience_seconds=0)]

    assert len(guarded.shown) == 1


async def test_following_waits_for_a_token_that_is_taken(opened: Open, guarded: Guarded, minting: Minting) -> None:
    """The first is refused (the API does not know its key yet, say), a later one is good."""
    ids = guarded.api.add(3, ago=9, step=1)
    first: list[str] = []

    def give() -> str:
        if not first:
            first.append(token(n=-1))
            return first[0]
        return minting()

    async with opened(guarded, give) as client:
        seen = [event.id async for event in client.follow(until=guarded.api.now)]

    assert seen == ids
    assert guarded.shown[:2] == [first[0], minting.given[0]]


async def test_none_from_the_function_ends_it(opened: Open, guarded: Guarded) -> None:
    """There are no more."""
    async with opened(guarded, lambda: None) as client:
        with pytest.raises(Unauthorized, match="no more tokens"):
            [event async for event in client.follow()]

    assert guarded.shown == []


def test_threads_share_one_call(guarded: Guarded, minting: Minting) -> None:
    """Those that have nothing to send wait for it; none calls for itself."""
    entered, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        assert go_on.wait(10)
        return minting()

    with Client(URL, token=slow, transport=httpx.MockTransport(guarded)) as client:
        threads = [threading.Thread(target=client.events, args=(SESSION,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert entered.wait(10)
        go_on.set()
        for thread in threads:
            thread.join(10)

    assert guarded.shown == minting.given * 8


async def test_tasks_share_one_call(guarded: Guarded, minting: Minting) -> None:
    """The same."""
    waiting = asyncio.Event()

    async def slow() -> str:
        await waiting.wait()
        return minting()

    async with (
        AsyncClient(URL, token=slow, transport=httpx.MockTransport(guarded)) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(client.events(SESSION)) for _ in range(8)]
        waiting.set()
        await eventually(lambda: all(task.done() for task in tasks), "all polls")

    assert guarded.shown == minting.given * 8


async def test_tasks_whose_token_ends_at_once_share_the_next(guarded: Guarded, minting: Minting) -> None:
    """Each had shown the one that has ended; none is told of it."""
    refusing = asyncio.Barrier(3)

    async def together(request: httpx.Request) -> httpx.Response:
        answer = guarded(request)
        if answer.status_code == 401:
            await refusing.wait()
        return answer

    async with AsyncClient(URL, token=minting.later, transport=httpx.MockTransport(together)) as client:
        await client.events(SESSION)
        guarded.good = set()
        pages = await asyncio.gather(*(client.events(SESSION) for _ in range(3)))

    assert [page.total for page in pages] == [0, 0, 0]
    assert len(minting.given) == 2


async def test_a_function_that_never_answers_is_given_up(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the asynchronous client; the synchronous one cannot."""
    monkeypatch.setattr("readside_client.aio.TOKEN_SECONDS", 0.01)
    async with AsyncClient(URL, token=asyncio.Event().wait, transport=httpx.MockTransport(guarded)) as client:  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match="TimeoutError"):
            await client.events(SESSION)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(("key", "given"), [("key", "token"), (None, ""), (None, "a b"), (None, "é"), (None, "a\nb")])
def test_a_wrong_token_is_refused(kind: type[Client | AsyncClient], key: str | None, given: str) -> None:
    """As a wrong key is."""
    with pytest.raises(ValueError, match="token"):
        kind(URL, key, token=given)


def test_what_is_shown_of_a_connection_tells_no_key() -> None:
    """Nor a token."""
    for client in (Client(URL, "the-secret"), Client(URL, token="the-secret"), Client(URL, token=lambda: "the-secret")):
        assert "the-secret" not in repr(vars(client))
        client.close()
