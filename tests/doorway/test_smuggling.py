"""Nothing is answered twice, late or to the wrong request, however a request may be taken for another one.

Behind each of them comes a hot poll: it is answered where the connection goes on, and never where it ended.
"""

import asyncio
from itertools import pairwise

import pytest

from tests.doorway.answers import Answer, answers
from tests.doorway.conversations import Answered
from tests.doorway.smuggled import CASES, EVENTS, HIDDEN, KEY, NEXT, WARM, Smuggled
from tests.doorway.twins import Twins

END = b"\r\n\r\n"
MOST_PACKETS = 1_500
"""What is longer comes in packets of more bytes than one."""
REFUSED = {400, 408, 413, 431}

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def sent(runner: asyncio.Runner, both: Twins, *packets: bytes) -> Answered:
    """What the doorway says to these packets; each is answered before the next one comes."""
    return runner.run(both.ours.hear(*packets))


def sent_cut(runner: asyncio.Runner, both: Twins, data: bytes) -> Answered:
    """What it says to the same in as many packets as it has bytes, one behind the other."""

    async def hear() -> Answered:
        size = len(data) // MOST_PACKETS + 1
        async with both.ours.connected() as conversation:
            for place in range(0, len(data), size):
                await conversation.send(data[place : place + size])
            return await conversation.settle()

    return runner.run(hear())


def read(answered: Answered) -> list[str]:
    """Whose answers these are, with their statuses; every refusal is a whole problem, and the end."""
    found = answers(answered.received)
    for answer in found:
        if answer.status in REFUSED:
            assert answer.is_problem_at_the_end
            assert answer is found[-1]
    assert answered.ended is not _goes_on(found), found
    return [answer.told for answer in found]


def _goes_on(found: list[Answer]) -> bool:
    return found[-1].told.startswith("next ")


@cases
def test_it_comes_at_once(runner: asyncio.Runner, both: Twins, case: Smuggled) -> None:
    """All of it in one packet, with the poll behind it."""
    assert read(sent(runner, both, case.data + NEXT)) == case.told


@cases
def test_its_head_is_answered_first(runner: asyncio.Runner, both: Twins, case: Smuggled) -> None:
    """Where the answer does not depend on the rest, it has left before the rest comes, the poll in its packet."""
    head, end, rest = case.data.partition(END)

    assert read(sent(runner, both, head + end, rest + NEXT)) == (case.early or case.told)


@cases
def test_it_comes_byte_by_byte(runner: asyncio.Runner, both: Twins, case: Smuggled) -> None:
    """Whatever was answered by the time that the rest came."""
    assert read(sent_cut(runner, both, case.data + NEXT)) in (case.told, case.early or case.told)


def test_half_a_head_behind_what_was_answered_early(runner: asyncio.Runner, both: Twins) -> None:
    """The end of a body is no request, though it looks like the end of one, and half of the next head waits."""
    head = b"POST " + EVENTS + b" HTTP/1.1\r\nx-request-id: first\r\n" + KEY
    tail = b"x: " + HIDDEN
    half, rest = NEXT[:30], NEXT[30:]
    packets = head + b"content-length: %d\r\n\r\n" % len(tail), tail[:9], tail[9:] + half, rest

    assert read(sent(runner, both, *packets)) == ["first 405", "next 200"]


def test_what_comes_behind_a_refusal_is_thrown_away(runner: asyncio.Runner, both: Twins) -> None:
    """Whole requests in packets of their own among it."""
    answered = sent(runner, both, b"nonsense\r\n\r\n", NEXT, b"POST " + WARM + b" HTTP/1.1\r\n" + KEY + b"\r\n", NEXT)

    assert read(answered) == ["? 400"]


def test_refusals_wait_for_their_turn(runner: asyncio.Runner, both: Twins) -> None:
    """What was asked before is answered before, by whomever."""
    live = b"GET /health/live HTTP/1.1\r\nx-request-id: live\r\n\r\n"

    assert read(sent(runner, both, HIDDEN + live + b"nonsense\r\n\r\n" + NEXT)) == ["hidden 200", "live 200", "? 400"]


def test_nothing_comes_after_a_trailer_that_ends_the_connection(runner: asyncio.Runner, both: Twins) -> None:
    """Uvicorn's parser would take no more, and its client wait for ever."""
    head = b"POST " + WARM + b" HTTP/1.1\r\nx-request-id: first\r\n" + KEY + b"transfer-encoding: chunked\r\n\r\n"
    answered = sent(runner, both, head + b"0\r\nconnection: close\r\n\r\n", b"GET /health/live HTTP/1.1\r\n\r\n")

    assert read(answered) == ["first 202"]


def test_empty_packets_mean_nothing(runner: asyncio.Runner, both: Twins) -> None:
    """Between any two bytes of any request."""
    head = b"POST " + WARM + b" HTTP/1.1\r\nx-request-id: first\r\n" + KEY + b"transfer-encoding: chunked\r\n\r\n"
    data = head + b"2\r\nab\r\n0\r\n\r\n" + NEXT

    async def hear() -> Answered:
        async with both.ours.connected() as conversation:
            [protocol] = both.ours.server.server_state.connections
            for first, last in pairwise(range(len(data) + 1)):
                protocol.data_received(b"")
                protocol.data_received(data[first:last])
            return await conversation.settle()

    assert read(runner.run(hear())) == ["first 202", "next 200"]


def test_the_suite_sees_a_second_answer(runner: asyncio.Runner, both: Twins) -> None:
    """Uvicorn by itself answers what hides in the body of a request for another protocol."""
    case = CASES["a request for h2c with a body"]
    head, end, rest = case.data.partition(END)
    answered = runner.run(both.plain.hear(head + end, rest + NEXT))

    assert [answer.told for answer in answers(answered.received)] == ["first 202", "hidden 200", "next 200"]
