"""Streams of mixed requests, cut anywhere: the doorway's answers are those of uvicorn's own protocol, byte for byte.

`--streams` says how many are drawn, `--seed` draws others. Where the doorway differs on purpose, this says so:
`Stream.gentle_packets`, and `NO_REQUEST` beside `PLAIN_NO_REQUEST`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.doorway.conversations import PACKET_TURNS, Answered, Speaker
from tests.doorway.streams import Stream, streams
from tests.doorway.twins import HOT, SLOW_LIMIT, Twins

OF_THE_MOMENT = (
    re.compile(rb"(?<=\r\ndate: )[^\r]+"),
    re.compile(rb"(?<=\r\nreadside-lag-ms: )\d+"),
    re.compile(rb"(?<=\r\nx-request-id: )[0-9a-f]{12}-[0-9a-f]+"),
)
"""What no two answers share: ids that requests gave themselves must come back."""
NO_REQUEST = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\ndate: [^\r]+\r\ncontent-type: application/problem\+json\r\ncontent-length: \d+\r\n"
    rb"cache-control: no-store\r\nvary: Origin\r\nx-request-id: [^\r]+\r\nconnection: close\r\n\r\n"
    rb'\{[^}]*"detail":"(?:This is no request of HTTP/1\.1|The request\'s target must be a path)[^}]*\}\Z'
)
PLAIN_NO_REQUEST = re.compile(
    rb"HTTP/1\.1 400 Bad Request\r\ndate: [^\r]+\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\n"
    rb"connection: close\r\n\r\nInvalid HTTP request received\.\Z"
)
KINDS = (
    *(f"{status} {source}" for source in ("memory", "redis", "postgres") for status in ("200", "304")),
    *("404 memory", "404 postgres", "200 -", "202 -", "204 -", "400 -", "401 -", "403 -", "404 -", "405 -"),
    *("by the doorway", "handed over", "ended", "kept"),
)
"""What the streams must have come to."""

_POLL = f"GET /api/v2/sessions/{HOT}/events HTTP/1.1\r\nx-api-key: both-key\r\n".encode()
_SLOW = f"GET /api/v2/sessions/{HOT}/events?limit={SLOW_LIMIT} HTTP/1.1\r\nx-api-key: both-key\r\n".encode()
_SLOW += b"readside-max-staleness: 0\r\n\r\n"
_POST = f"POST /api/v2/sessions/{HOT}/warm HTTP/1.1\r\nx-api-key: both-key\r\n".encode()
NAMED = {
    "a proxy's word for Connection": [_POLL + b"proxy-connection: close\r\n\r\n"],
    "a body that comes while its request waits": [
        _SLOW + _POST + b"content-length: 4\r\n\r\n", b"body" + _POLL + b"\r\n"
    ],
    "chunks that come while their request waits": [
        _SLOW + _POST + b"transfer-encoding: chunked\r\n\r\n", b"4\r\nbo", b"dy\r\n0\r\n", b"\r\n" + _POLL, b"\r\n"
    ],
    "a hot poll behind a slow one, behind a hot one": [_POLL + b"\r\n" + _SLOW + _POLL + b"\r\n"],
}  # fmt: skip


def test_streams_are_answered_alike(both: Twins, runner: asyncio.Runner, request: pytest.FixtureRequest) -> None:
    """Each is sent once to either server; memory is in the same state behind both of them at any time."""
    counts: Counter[str] = Counter()

    def alike(stream: Stream) -> None:
        ours, plain = runner.run(_answers(both, stream))
        counts.update(_kinds(ours))
        _compare(ours, plain, stream.packets(both.etag))

    _for_all_streams(alike, request.config.getoption("--streams"), request.config.getoption("--seed"))
    handed_over = both.ours.server.server_state.total_requests
    counts.update({"handed over": handed_over, "by the doorway": counts["answers"] - handed_over})

    assert [kind for kind in KINDS if not counts[kind]] == []


@pytest.mark.parametrize("packets", NAMED.values(), ids=NAMED)
def test_a_named_stream_is_answered_alike(both: Twins, runner: asyncio.Runner, packets: list[bytes]) -> None:
    """What was once different, or is seldom drawn."""
    ours, plain = (runner.run(_send(speaker, [packets], PACKET_TURNS)) for speaker in (both.ours, both.plain))

    _compare(ours, plain, packets)
    assert ours.told


def _for_all_streams(test: Callable[[Stream], None], count: int, first: int | None) -> None:
    """Draw so many; the same ones every time, unless a seed is given."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    drawn = given(streams)(test)
    if first is not None:
        drawn = seed(first)(drawn)
    settings(max_examples=count, deadline=None, derandomize=first is None, database=None, suppress_health_check=checks)(
        drawn
    )()


async def _answers(both: Twins, stream: Stream) -> tuple[Answered, Answered]:
    ours = await _send(both.ours, [stream.packets(both.etag)], stream.turns)
    return ours, await _send(both.plain, stream.gentle_packets(both.etag), stream.turns)


async def _send(speaker: Speaker, groups: list[list[bytes]], turns: int) -> Answered:
    async with speaker.connected() as conversation:
        for packets in groups:
            for packet in packets:
                await conversation.send(packet, turns)
            await conversation.settle()
        return conversation.answered


def _compare(ours: Answered, plain: Answered, packets: list[bytes]) -> None:
    wanted = _comparable(plain, PLAIN_NO_REQUEST), plain.ended

    assert (_comparable(ours, NO_REQUEST), ours.ended) == wanted, packets


def _comparable(answered: Answered, no_request: re.Pattern[bytes]) -> bytes:
    """The answers without what is of the moment, and with one word for `that was no request`."""
    data = no_request.sub(b"(no request)", answered.received)
    for pattern in OF_THE_MOMENT:
        data = pattern.sub(b"...", data)
    return data


def _kinds(answered: Answered) -> list[str]:
    """What to count: each answer, its status and source; and what became of the connection."""
    heads = re.findall(rb"HTTP/1\.1 (\d{3}) (?:.+\r\n)+", answered.received)
    sources = re.findall(
        rb"HTTP/1\.1 (\d{3}) .+\r\n(?:(?!readside-source).+\r\n)*(?:readside-source: (\w+)\r\n)?", answered.received
    )
    found = [f"{status.decode()} {source.decode() or '-'}" for status, source in sources]
    return [*found, *["answers"] * len(heads), "ended" if answered.ended else "kept"]
