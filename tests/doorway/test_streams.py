"""Streams of mixed requests, cut anywhere: the doorway's answers are those of uvicorn's own protocol, byte for byte.

`--streams` says how many are drawn, `--seed` draws others; `make streams` draws many.
"""

import asyncio
import re
from collections import Counter

import pytest

from tests.doorway.comparison import compare, compared, for_all_streams, send
from tests.doorway.conversations import PACKET_TURNS, Answered
from tests.doorway.streams import Stream
from tests.doorway.twins import HOT, SLOW_LIMIT, Pair, Twins

KINDS = (
    *(f"{status} {source}" for source in ("memory", "redis", "postgres") for status in ("200", "304")),
    *("404 memory", "404 postgres", "200 -", "202 -", "204 -", "400 -", "401 -", "403 -", "404 -", "405 -"),
    *("gzip", "by the doorway", "handed over", "ended", "kept"),
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


def test_streams_are_answered_alike(pair: Pair, runner: asyncio.Runner, request: pytest.FixtureRequest) -> None:
    """Each is sent once to either server; memory is in the same state behind both of them at any time."""
    counts: Counter[str] = Counter()

    def alike(stream: Stream) -> None:
        try:
            ours = compared(runner, pair.both, stream)
        except AssertionError:
            pair.renew()
            raise
        counts.update(_kinds(ours))

    before = pair.both.ours.server.server_state.total_requests
    for_all_streams(alike, request.config.getoption("--streams"), request.config.getoption("--seed") or 0)
    handed_over = pair.both.ours.server.server_state.total_requests - before
    counts.update({"handed over": handed_over, "by the doorway": counts["answers"] - handed_over})

    assert [kind for kind in KINDS if not counts[kind]] == []


@pytest.mark.parametrize("packets", NAMED.values(), ids=NAMED)
def test_a_named_stream_is_answered_alike(both: Twins, runner: asyncio.Runner, packets: list[bytes]) -> None:
    """What was once different, or is seldom drawn."""
    ours, plain = (runner.run(send(speaker, [packets], PACKET_TURNS)) for speaker in (both.ours, both.plain))

    compare(ours, plain, packets)
    assert ours.told


def _kinds(answered: Answered) -> list[str]:
    """What to count: each answer, its status and source; and what became of the connection."""
    heads = re.findall(rb"HTTP/1\.1 (\d{3}) (?:.+\r\n)+", answered.received)
    sources = re.findall(
        rb"HTTP/1\.1 (\d{3}) .+\r\n(?:(?!readside-source).+\r\n)*(?:readside-source: (\w+)\r\n)?", answered.received
    )
    found = [f"{status.decode()} {source.decode() or '-'}" for status, source in sources]
    compressed = answered.received.count(b"\r\ncontent-encoding: gzip\r\n")
    return [*found, *["answers"] * len(heads), *["gzip"] * compressed, "ended" if answered.ended else "kept"]
