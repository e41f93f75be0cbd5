"""Answers in gzip: who accepts it (RFC 9110 section 12.5.3), the thread that compresses, and what it has made."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import structlog

from query_api.http.reply import HeaderFields
from query_api.memory.answers import JSON, Answer, GzipTag

LEVEL = 1
"""A page of 1,000 events, 347 kB, comes to 82 kB in 1.9 ms; level 4 takes 3.9 ms for 77, level 6 4.8 ms for 75.

`python -m timeit -s 'import zlib; page = open("page.json", "rb").read()' 'zlib.compress(page, 1, 31)'`
"""
GZIP_FORMAT = 31
"""zlib's `wbits`: gzip's head and trailer around it, and the largest window."""
FORM_OVERHEAD_BYTES = 1_000
"""What a form costs beyond its body: its header fields, and its place in the memory of forms."""
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
_CODING = (b"content-encoding", b"gzip")
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


class GzipForm(NamedTuple):
    """An answer's body in gzip, and the header fields that go with it; no body where gzip makes it no smaller."""

    body: bytes
    fields: HeaderFields


class _Compression(NamedTuple):
    """One body in the line, since a monotonic second."""

    making: asyncio.Future[bytes]
    since: float


class GzipForms:
    """Makes the compressed forms of answers, each once however many ask at once, and keeps `max_bytes` of them.

    They are kept by the ETag of the answer, a hash of its bytes: no form is ever wrong, whatever becomes of sessions,
    and those least recently used leave first. zlib compresses in a thread of its own, and lets the others run.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = self.made = self.refused = self.waiting = 0
        self._kept: OrderedDict[bytes, GzipForm] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "gzip")
        self._thread.submit(int)  # starts it: where no thread is to be had, the process says so and not each poll
        self._line: dict[bytes, _Compression] = {}
        self._line_bytes = 0
        self._open = True

    def known(self, answer: Answer) -> GzipForm | None:
        """Find the form of an answer, if it is kept."""
        form = self._kept.get(answer.etag)
        if form is not None:
            self._kept.move_to_end(answer.etag)
        return form

    def lacks(self, answer: Answer, if_none_match: bytes | None) -> bool:
        """Tell whether an answer's form must be made before it leaves to who takes gzip, and holds what they say."""
        if answer.gzip is None or self.known(answer) is not None:
            return False
        return if_none_match is None or not answer.is_held(if_none_match)

    async def make(self, answer: Answer) -> GzipForm | None:
        """Make the form of an answer; None where too many wait, for too long, or it fails: it leaves as it is then."""
        form = self.known(answer)
        if form is not None or answer.gzip is None:
            return form
        now = time.monotonic()
        work = self._line.get(answer.etag) or self._begin(answer, answer.gzip, now)
        if work is None or now - work.since > WAIT_SECONDS:  # who comes to what is overdue does not even begin to wait
            self.refused += 1
            return None
        making = work.making
        self.waiting += 1
        try:
            done, _ = await asyncio.wait([making], timeout=WAIT_SECONDS)  # who leaves takes it from nobody else
        finally:
            self.waiting -= 1
        if not done:
            self.refused += 1
            return None
        return None if making.cancelled() or making.exception() else _form(making.result(), answer, answer.gzip)

    def close(self) -> None:
        """Compress nothing more; the body in hand is not waited for."""
        self._open = False
        for work in self._line.values():
            work.making.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, answer: Answer, tag: GzipTag, now: float) -> _Compression | None:
        size = len(answer.body)
        if not self._open or len(self._line) >= MAX_LINE or self._line_bytes + size > max(MAX_LINE_BYTES, size):
            return None
        making = asyncio.get_running_loop().run_in_executor(self._thread, _compressed, answer.body)
        work = self._line[answer.etag] = _Compression(making, now)
        self._line_bytes += size
        making.add_done_callback(partial(self._end, answer, tag))
        return work

    def _end(self, answer: Answer, tag: GzipTag, making: asyncio.Future[bytes]) -> None:
        del self._line[answer.etag]
        self._line_bytes -= len(answer.body)
        if making.cancelled():
            return
        if error := making.exception():
            _log.error("an answer could not be compressed", error=str(error))
            return
        self.made += 1
        self._keep(answer.etag, _form(making.result(), answer, tag))

    def _keep(self, etag: bytes, form: GzipForm) -> None:
        if _size(form) > self.max_bytes:
            return  # all others would leave for it, and then itself
        self._kept[etag] = form
        self.bytes += _size(form)
        while self.bytes > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= _size(oldest)


def _size(form: GzipForm) -> int:
    return len(form.body) + FORM_OVERHEAD_BYTES


def _form(body: bytes, answer: Answer, tag: GzipTag) -> GzipForm:
    if len(body) >= len(answer.body):
        return GzipForm(b"", answer.fields)
    return GzipForm(body, HeaderFields([JSON, _CODING, (b"content-length", b"%d" % len(body)), *tag.unmodified.pairs]))


def _compressed(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, GZIP_FORMAT)
