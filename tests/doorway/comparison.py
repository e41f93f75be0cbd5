"""One stream to both servers: the doorway's answers are those of uvicorn's own protocol, byte for byte.

Where the doorway differs on purpose, this says so: `NO_REQUEST` beside `PLAIN_NO_REQUEST`, and `Stream.gentle_packets`.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings

from query_api.http.reply import SAFETY
from tests.doorway.conversations import Answered, Speaker
from tests.doorway.streams import Stream, streams
from tests.doorway.twins import Twins

OF_THE_MOMENT = (
    re.compile(rb"(?<=\r\ndate: )[^\r]+"),
    re.compile(rb"(?<=\r\nreadside-lag-ms: )\d+"),
    re.compile(rb"(?<=\r\nx-request-id: )[0-9a-f]{12}-[0-9a-f]+"),
)
"""What no two answers share: ids that requests gave themselves must come back."""
NO_REQUEST = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\ndate: [^\r]+\r\ncontent-type: application/problem\+json\r\ncontent-length: \d+\r\n"
    rb"cache-control: no-store\r\n"
    + re.escape(SAFETY.lines)
    + rb"vary: Origin\r\nx-request-id: [^\r]+\r\nconnection: close\r\n\r\n"
    rb'\{[^}]*"detail":"(?:This is no request of HTTP/1\.1|The request\'s target must be a path)[^}]*\}\Z'
)
PLAIN_NO_REQUEST = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\ndate: [^\r]+\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\n"
    rb"connection: close\r\n\r\nInvalid HTTP request received\.\Z"
)

MOST_KEPT_STREAMS = 1_000
"""More are drawn one by one: the first is sent at once, and memory does not grow."""


def for_all_streams(test: Callable[[Stream], None], count: int, number: int = 0) -> None:
    """Draw so many; the same ones for the same number. One that fails is made smaller, where it is to be seen."""
    try:
        if count > MOST_KEPT_STREAMS:
            _drawing(test, count, number, Phase.shrink)
            return
        for stream in drawn_streams(count, number):
            test(stream)
    except Exception as error:
        error.add_note(f"The same streams again: make streams STREAMS={count} SEED={number}")
        _drawing(test, count, number, Phase.shrink)
        raise


@cache
def drawn_streams(count: int, number: int = 0) -> Sequence[Stream]:
    """So many streams, the same ones for the same number: to draw one takes as long as to send it."""
    drawn: list[Stream] = []

    def kept(stream: Stream) -> None:
        drawn.append(stream)

    _drawing(kept, count, number)
    return drawn


def _drawing(test: Callable[[Stream], None], count: int, number: int, *phases: Phase) -> None:
    """Draw the streams for this test; with Phase.shrink one that fails is made smaller."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=checks,
        phases=[Phase.generate, *phases], report_multiple_bugs=False,
    )(seed(number)(given(streams)(test)))()  # fmt: skip


def compared(runner: asyncio.Runner, both: Twins, stream: Stream) -> Answered:
    """Send it to both, and compare; gives what the doorway said."""
    ours = runner.run(send(both.ours, [stream.packets(both.etag)], stream.turns))
    plain = runner.run(send(both.plain, stream.gentle_packets(both.etag), stream.turns))
    compare(ours, plain, stream.packets(both.etag))
    return ours


async def send(speaker: Speaker, groups: list[list[bytes]], turns: int) -> Answered:
    """Send these packets, with the answers to each group of them before the next one."""
    async with speaker.connected() as conversation:
        for packets in groups:
            for packet in packets:
                await conversation.send(packet, turns)
            await conversation.settle()
        return conversation.answered


def compare(ours: Answered, plain: Answered, packets: list[bytes]) -> None:
    """Hold what the doorway said against what uvicorn's own protocol did."""
    wanted = _comparable(plain, PLAIN_NO_REQUEST), plain.ended

    assert (_comparable(ours, NO_REQUEST), ours.ended) == wanted, packets


def _comparable(answered: Answered, no_request: re.Pattern[bytes]) -> bytes:
    """The answers without what is of the moment, and with one word for `that was no request`."""
    data = no_request.sub(b"(no request)", answered.received)
    for pattern in OF_THE_MOMENT:
        data = pattern.sub(b"...", data)
    return data
