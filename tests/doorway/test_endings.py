"""How connections end: in good order when the server stops, after the last answer, and without a trace."""

import asyncio
import gc
import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from query_api.doorway.connections import LEFT_BYTES, Connections
from query_api.doorway.protocol import SMALL_BYTES, Doorway
from tests.doorway.answers import answers
from tests.doorway.conversations import Answered, Conversation, Speaker
from tests.doorway.smuggled import EVENTS, HIDDEN, KEY, NEXT, poll
from tests.doorway.twins import BIG, HOT, SLOW_LIMIT, Twins
from tests.support.waiting import eventually

SLOW = poll(b"slow").replace(b" HTTP", b"?limit=%d HTTP" % SLOW_LIMIT, 1)[:-2] + b"readside-max-staleness: 0\r\n\r\n"
"""What Postgres answers, many turns of the loop later."""
EARLY = b"POST " + EVENTS + b" HTTP/1.1\r\nx-request-id: early\r\n" + KEY + b"content-length: 9\r\n\r\n"
"""What is answered before its body has come."""
MOST_PAGES = 20
"""So many fill all that the kernel takes for a client that does not read."""
LIVE = b"GET /health/live HTTP/1.1\r\nx-request-id: live\r\n\r\n"
MOST_TURNS = 50
"""A request has come into the application's hands by then, and Postgres has not answered it."""


@pytest.fixture
def speaker(both: Twins) -> Speaker:
    """The server behind the doorway."""
    return both.ours


@pytest.fixture
def connections(both: Twins) -> Connections:
    """Its connections."""
    return both.stands[0].app.connections


def told(answered: Answered) -> list[str]:
    """Whose answers these are, with their statuses."""
    return [answer.told for answer in answers(answered.received)]


def shut_down(speaker: Speaker) -> None:
    """Tell all connections, as uvicorn does when it stops."""
    for connection in list(speaker.server.server_state.connections):
        connection.shutdown()


async def is_under_way(speaker: Speaker, conversation: Conversation) -> None:
    """Wait until a request is in the application's hands."""
    for _ in range(MOST_TURNS):
        if speaker.server.server_state.tasks:
            return
        await conversation.turn(1)
    raise AssertionError("no request is under way")


def test_idle_connections_end_at_once(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Those that were never spoken on, too, and those that uvicorn's protocol has served."""

    async def scenario() -> list[Answered]:
        live = b"GET /health/live HTTP/1.1\r\nx-request-id: live\r\n\r\n"
        async with speaker.connected() as new, speaker.connected() as polled, speaker.connected() as served:
            await polled.send(NEXT)
            await polled.settle()
            await served.send(live)
            await served.settle()
            shut_down(speaker)
            return [await new.settle(), await polled.settle(), await served.settle()]

    found = runner.run(scenario())

    assert [told(answered) for answered in found] == [[], ["next 200"], ["live 200"]]
    assert [(answered.ended, answered.reset) for answered in found] == [(True, False)] * 3


def test_an_answer_that_is_due_is_finished(runner: asyncio.Runner, speaker: Speaker) -> None:
    """It says that the connection ends, and what was asked behind it is not answered."""

    async def scenario() -> Answered:
        async with speaker.connected() as conversation:
            await conversation.send(SLOW + NEXT)
            await is_under_way(speaker, conversation)
            shut_down(speaker)
            return await conversation.settle()

    answered = runner.run(scenario())

    assert (told(answered), answered.ended) == (["slow 200"], True)
    assert answers(answered.received)[0].fields["connection"] == "close"


def test_half_a_request_ends_with_the_server(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Nobody waits for its rest."""

    async def scenario() -> list[Answered]:
        async with speaker.connected() as half, speaker.connected() as early:
            await half.send(NEXT[:-2])
            await early.send(EARLY + b"half")
            await early.settle()
            shut_down(speaker)
            return [await half.settle(), await early.settle()]

    found = runner.run(scenario())

    assert [(told(answered), answered.ended) for answered in found] == [([], True), (["early 405"], True)]


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (NEXT, ["next 200"]),
        (SLOW, ["slow 200"]),
        (SLOW + NEXT, ["slow 200", "next 200"]),
        (HIDDEN + SLOW + NEXT + SLOW, ["hidden 200", "slow 200", "next 200", "slow 200"]),
        (HIDDEN * 150, ["hidden 200"] * 150),
        (SLOW + NEXT[:-2], ["slow 200"]),
        (NEXT[:-2], []),
        (b"", []),
    ],
    ids=["hot", "slow", "both", "mixed", "more than a turn's", "a half one behind a slow one", "a half one", "nothing"],
)  # fmt: skip
def test_who_sends_no_more_gets_all_answers(
    runner: asyncio.Runner, speaker: Speaker, sent: bytes, wanted: list[str]
) -> None:
    """To what is whole; then the connection ends."""

    async def scenario() -> Answered:
        async with speaker.connected() as conversation:
            await conversation.send(sent)
            conversation.shut()
            return await conversation.settle()

    answered = runner.run(scenario())

    assert (told(answered), answered.ended, answered.reset) == (wanted, True, False)


def test_who_sends_no_more_and_reads_late_gets_all_answers(
    runner: asyncio.Runner, speaker: Speaker, connections: Connections
) -> None:
    """The connection ends while the event loop says that answers are taken again, and no error comes of it."""
    page = poll(b"page").replace(HOT.encode(), BIG.encode()).replace(b" HTTP", b"?limit=50 HTTP", 1)
    troubles: list[dict[str, Any]] = []

    async def scenario(count: int) -> Answered:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with speaker.connected() as conversation:
            await conversation.send(page * count, turns=20, reads=False)
            conversation.shut()
            await conversation.turn(20, reads=False)
            assert connections.untaken_bytes or count < MOST_PAGES
            return await conversation.settle()

    for count in range(1, MOST_PAGES + 1):
        answered = runner.run(scenario(count))

        assert (answered.told.count("page 200"), answered.ended, answered.reset) == (count, True, False)
    assert troubles == []


def test_a_body_that_never_comes_is_not_waited_for(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Its client sends no more; the answer had left before."""

    async def scenario() -> Answered:
        async with speaker.connected() as conversation:
            await conversation.send(EARLY + b"half")
            await conversation.settle()
            conversation.shut()
            return await conversation.settle()

    answered = runner.run(scenario())

    assert (told(answered), answered.ended) == (["early 405"], True)


def test_the_body_of_a_late_request_has_as_long(
    runner: asyncio.Runner, speaker: Speaker, connections: Connections
) -> None:
    """Its time runs from its head on, however long its connection was idle."""

    async def scenario() -> Answered:
        async with speaker.connected() as conversation:
            [protocol] = speaker.server.server_state.connections
            assert isinstance(protocol, Doorway)
            protocol._began -= 2 * connections.bounds.head_seconds
            await conversation.send(EARLY + b"half")
            await conversation.settle()
            connections.sweep(time.monotonic())
            return await conversation.settle()

    answered = runner.run(scenario())

    assert (told(answered), answered.ended) == (["early 405"], False)


def test_who_was_refused_meanwhile_is_not_answered_again(
    runner: asyncio.Runner, speaker: Speaker, connections: Connections
) -> None:
    """What the store says then is nobody's, and breaks nothing."""
    troubles: list[dict[str, Any]] = []

    async def scenario() -> Answered:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with speaker.connected() as conversation:
            await conversation.send(SLOW)
            await is_under_way(speaker, conversation)
            connections.waiting_bytes += connections.most_waiting
            try:
                await conversation.send(NEXT[:-2] + b"x: " + b"a" * SMALL_BYTES)
            finally:
                connections.waiting_bytes -= connections.most_waiting
            return await conversation.settle()

    answered = runner.run(scenario())
    gc.collect()

    assert (told(answered), answered.ended, troubles) == (["slow 503"], True, [])


@pytest.mark.parametrize(
    ("sent", "rest", "wanted"),
    [(LIVE, b"", "live 200"), (EARLY + b"half", b"whole", "early 405")],
    ids=["a request that is over", "a body that is still to come"],
)
def test_uvicorns_timer_ends_nothing(
    runner: asyncio.Runner, speaker: Speaker, sent: bytes, rest: bytes, wanted: str
) -> None:
    """Its own protocol would close what it has served and what is idle by its own count, under our polls."""

    async def scenario() -> Answered:
        async with speaker.connected() as conversation:
            [ours] = speaker.server.server_state.connections
            await conversation.send(b"GET /health/live HTTP/1.1\r\nx-request-id: live\r\n\r\n")
            await conversation.settle()
            [its_own] = speaker.server.server_state.connections - {ours}
            assert isinstance(its_own, HttpToolsProtocol)
            its_own.timeout_keep_alive_handler()
            await conversation.send(NEXT)
            return await conversation.settle()

    answered = runner.run(scenario())

    assert (told(answered), answered.ended) == (["live 200", "next 200"], False)


def test_a_hot_poll_waits_behind_a_slow_one(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Though memory could answer it at once, and it comes in a packet of its own."""

    async def scenario() -> tuple[Answered, Answered]:
        async with speaker.connected() as conversation:
            await conversation.send(SLOW)
            await is_under_way(speaker, conversation)
            await conversation.send(NEXT, turns=20)
            return conversation.answered, await conversation.settle()

    before, after = runner.run(scenario())

    assert (told(before), told(after)) == ([], ["slow 200", "next 200"])


def _reset(conversation: Conversation) -> None:
    conversation.reset()


def _shut(conversation: Conversation) -> None:
    conversation.shut()
    conversation.reset()


LEAVINGS = {
    "with a request under way": SLOW,
    "with more behind it": SLOW + HIDDEN + NEXT[:-2],
    "after an answer of uvicorn's": b"GET /health/live HTTP/1.1\r\n\r\n",
    "after an answer of ours": NEXT,
    "with half a head": NEXT[:-2],
    "with half a body": EARLY + b"half",
    "with half a chunk": EARLY.replace(b"content-length: 9", b"transfer-encoding: chunked") + b"5\r\nhe",
    "after a refusal": b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("leave", [_reset, _shut], ids=["reset", "shut"])
@pytest.mark.parametrize("sent", LEAVINGS.values(), ids=LEAVINGS)
def test_who_is_gone_leaves_nothing_behind(
    runner: asyncio.Runner,
    speaker: Speaker,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    leave: Callable[[Conversation], None],
) -> None:
    """No place taken, no byte kept, no object alive, no word in the log."""
    troubles: list[dict[str, Any]] = []
    opened = connections.census.accepted

    async def all_is_over() -> bool:
        return not connections.census.open and not speaker.server.server_state.tasks

    async def scenario() -> "weakref.ref[Any]":
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with speaker.connected() as conversation:
            [protocol] = speaker.server.server_state.connections
            await conversation.send(sent, turns=20)
            leave(conversation)
            await eventually(all_is_over, "the connection is over, and its request")
            return weakref.ref(protocol)

    with caplog.at_level(logging.WARNING), capture_logs() as said:
        gone = runner.run(scenario())
        runner.run(asyncio.sleep(0))
        gc.collect()

    assert connections.census.accepted == opened + 1
    assert (connections.waiting_bytes, connections.turned_away) == (0, 0)
    assert not speaker.server.server_state.connections
    assert gone() is None
    assert (troubles, caplog.records) == ([], [])
    assert [line for line in said if line["log_level"] in {"error", "critical"}] == []


def test_long_requests_that_are_left_behind_are_freed(
    runner: asyncio.Runner, speaker: Speaker, connections: Connections
) -> None:
    """The application's parts know one another in circles, request and all: they are looked for before long."""
    field = b"x", b"a" * 60_000
    head = b"GET /health/live HTTP/1.1\r\n%b: %b\r\n\r\n" % field
    most = LEFT_BYTES // len(head) + 2

    async def all_is_over() -> bool:
        return not connections.census.open and not speaker.server.server_state.tasks

    async def scenario() -> int:
        for _ in range(2 * most):
            async with speaker.connected() as conversation:
                await conversation.send(head, turns=0)
                await is_under_way(speaker, conversation)
                conversation.reset()
                await eventually(all_is_over, "the connection is over, and its request")
        return sum(one == field for one in gc.get_objects() if type(one) is tuple)

    gc.collect()
    gc.disable()
    try:
        left = runner.run(scenario())
    finally:
        gc.enable()

    assert left <= most
