"""Answers in gzip: who accepts it (RFC 9110 section 12.5.3), and the thread that compresses, off the event loop."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

import structlog

from query_api.answers import Answer
from readmodel.poll import Poll

LEVEL = 1
"""A page of 1,000 events, 347 kB, comes to 82 kB in 1.9 ms; level 4 takes 3.9 ms for 77, level 6 4.8 ms for 75.

`python -m timeit -s 'import zlib; page = open("page.json", "rb").read()' 'zlib.compress(page, 1, 31)'`
"""
GZIP_FORMAT = 31
"""zlib's `wbits`: gzip's head and trailer around it, and the largest window."""
MAX_LINE = 64
"""Answers that wait for the thread: past it they leave as they are."""
MAX_LINE_BYTES = 8_000_000
"""The same of their bodies together, 50 ms of work; a longer one is compressed where none is before it."""
WAIT_SECONDS = 0.5
"""Nobody waits longer: then the answer leaves as it is. The longest answer, of 32 MB, takes 0.2 s."""
MAX_ACCEPTED_BYTES = 256
"""A longer Accept-Encoding is not read: who sends one gets answers as they are. So what is remembered is bounded."""
REMEMBERED = 256
"""Values whose meaning is remembered: each kind of client sends its own."""

_log = structlog.get_logger(__name__)
_MEMBER = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+)(?:[ \t]*;[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?")


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Tell whether a client would rather have an answer compressed than as it is."""
    return len(accept_encoding) <= MAX_ACCEPTED_BYTES and _accepts_gzip(accept_encoding)


@lru_cache(maxsize=REMEMBERED)
def _accepts_gzip(accept_encoding: bytes) -> bool:
    """Weigh `gzip` (or `*`, which names all that is not listed) against `identity`; what is malformed says nothing."""
    qualities: dict[bytes, float] = {}
    for member in accept_encoding.lower().split(b","):
        if match := _MEMBER.fullmatch(member.strip(b" \t")):
            coding = b"gzip" if match[1] == b"x-gzip" else match[1]
            quality = 1.0 if match[2] is None else float(match[2])
            qualities[coding] = min(quality, qualities.get(coding, 1.0))  # who says two things gets the safe one
    quality = qualities.get(b"gzip", qualities.get(b"*", 0.0))
    return quality > 0 and quality >= qualities.get(b"identity", 0.0)


class _Compression:
    """One body in the line since a monotonic second, and whose it is."""

    __slots__ = ("answers", "body", "making", "polls", "since")

    def __init__(self, answer: Answer, making: asyncio.Future[bytes], since: float) -> None:
        self.body = answer.body
        self.making = making
        self.since = since
        self.answers: list[Answer] = []
        self.polls: set[Poll] = set()


class Compressor:
    """Compresses answers in a thread of its own (zlib lets the others run), each once however many ask at once.

    `weigh` is told of each poll whose answer has become larger.
    """

    def __init__(self, weigh: Callable[[Poll], None]) -> None:
        self._weigh = weigh
        self._thread = ThreadPoolExecutor(1, "gzip")
        self._thread.submit(int)  # starts it: where no thread is to be had, the process says so and not each poll
        self._line: dict[bytes, _Compression] = {}  # by ETag: the same bytes are the same work
        self._bytes = 0
        self._open = True
        self.made = self.refused = 0

    async def compress(self, poll: Poll, answer: Answer) -> None:
        """Make the compressed form of an answer that has none yet; where the line is full or slow it goes without."""
        now = time.monotonic()
        work = self._line.get(answer.etag) or self._begin(answer, now)
        if work is None or now - work.since > WAIT_SECONDS:  # who comes to what is overdue does not even begin to wait
            self.refused += 1
            return
        work.answers.append(answer)
        work.polls.add(poll)
        done, _ = await asyncio.wait([work.making], timeout=WAIT_SECONDS)  # who leaves takes it from nobody else
        if not done:
            self.refused += 1

    def close(self) -> None:
        """Compress nothing more; the body in hand is not waited for."""
        self._open = False
        for work in self._line.values():
            work.making.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, answer: Answer, now: float) -> _Compression | None:
        size = len(answer.body)
        if not self._open or len(self._line) >= MAX_LINE or self._bytes + size > max(MAX_LINE_BYTES, size):
            return None
        making = asyncio.get_running_loop().run_in_executor(self._thread, _compressed, answer.body)
        work = self._line[answer.etag] = _Compression(answer, making, now)
        self._bytes += size
        making.add_done_callback(partial(self._end, answer.etag))
        return work

    def _end(self, etag: bytes, making: asyncio.Future[bytes]) -> None:
        """Give the form to all whose body it is, before any of them goes on."""
        work = self._line.pop(etag)
        self._bytes -= len(work.body)
        if making.cancelled():
            return
        if error := making.exception():
            _log.error("an answer could not be compressed", error=str(error))
            return
        self.made += 1
        for answer in work.answers:
            answer.take_gzip(making.result())
        for poll in work.polls:
            self._weigh(poll)


def _compressed(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, GZIP_FORMAT)
