"""One client's many requests: the others are served meanwhile, and it is served to the end, however slowly it reads."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from query_api.doorway import connections, protocol
from query_api.doorway.protocol import TURN_ANSWERS
from tests.doorway.answers import answers
from tests.doorway.conversations import Answered, Speaker
from tests.doorway.smuggled import HIDDEN, NEXT
from tests.doorway.twins import BIG, HOT, Twins

CROWD, FEW = 6 * TURN_ANSWERS, 3 * TURN_ANSWERS
"""Polls that come at once, and how many of them may be answered before another client's."""
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\n\r\n"
LONG_TURNS = 300
"""A server that is not read from has come to a halt after so many turns."""


@pytest.fixture
def speaker(both: Twins) -> Speaker:
    """The server behind the doorway."""
    return both.ours


def test_who_asks_for_much_at_once_holds_nobody_up(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Another client's poll that came later is answered before most of them."""

    async def scenario() -> tuple[Answered, Answered, Answered]:
        async with speaker.connected() as many, speaker.connected() as one:
            await many.send(HIDDEN * CROWD, turns=0)
            await one.send(NEXT, turns=0)
            while not one.answered.received:
                await one.turn(1)
            await many.turn(1)
            return one.answered, many.answered, await many.settle()

    one, meanwhile, many = runner.run(scenario())

    assert one.told == ["next 200"]
    assert len(meanwhile.told) <= FEW
    assert many.told == ["hidden 200"] * CROWD


def test_a_crowd_that_asks_for_long_pages_holds_nobody_up(
    runner: asyncio.Runner, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their pages leave a few a turn, each in the end; a poll that came later is answered before most of them."""
    monkeypatch.setattr(protocol, "LONG_BYTES", 1_000)
    monkeypatch.setattr(connections, "LONG_BYTES_A_TURN", 1_000)
    page = HIDDEN.replace(HOT.encode(), BIG.encode())

    async def scenario() -> tuple[Answered, int, list[Answered]]:
        async with AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(speaker.connected()) for _ in range(CROWD)]
            one = await stack.enter_async_context(speaker.connected())
            await crowd[0].send(page)
            await crowd[0].settle()  # it is known to be long from now on
            for each in crowd[1:]:
                await each.send(page, turns=0)
            await one.send(NEXT, turns=0)
            while not one.answered.received:
                await one.turn(1)
            meanwhile = sum(bool(each.read().received) for each in crowd[1:])
            return one.answered, meanwhile, [await each.settle() for each in crowd]

    one, meanwhile, crowd = runner.run(scenario())

    assert one.told == ["next 200"]
    assert meanwhile <= CROWD // 2
    assert [each.told for each in crowd] == [["hidden 200"]] * CROWD


def test_who_reads_late_is_answered_to_the_end(runner: asyncio.Runner, speaker: Speaker) -> None:
    """Both the doorway and uvicorn's protocol are told that they may write again."""

    async def scenario() -> tuple[int, Answered]:
        async with speaker.connected() as conversation:
            await conversation.send((DOCUMENT + HIDDEN) * 40, LONG_TURNS, reads=False)
            await conversation.turn(1)
            at_first = len(conversation.answered.told)
            return at_first, await conversation.settle()

    at_first, answered = runner.run(scenario())

    assert at_first < 80
    assert [answer.status for answer in answers(answered.received)] == [200] * 80
