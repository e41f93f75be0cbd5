"""Answers in gzip: who accepts it (RFC 9110 section 12.5.3), the thread that compresses, and what it has made."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import structlog

from query_api.answers import JSON, Answer, GzipTag
from query_api.reply import HeaderFields

LEVEL = 1
"""`python -m bench gzip-levels`: higher levels take two to ten times as long for a tenth less."""
GZIP_FORMAT = 31
"""zlib's `wbits`: gzip's head and trailer around it, and the largest window."""
FORM_OVERHEAD_BYTES = 1_500
"""What a form costs beyond its body: its header fields, and its place in the memory of forms."""
MAX_LINE = 64
"""Answers that wait for the thread: past it they leave as they are."""
MAX_LINE_BYTES = 8_000_000
"""The same of their bodies together, 50 ms of work; a longer one is compressed where none is before it."""
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


class GzipForms:
    """Makes the compressed forms of answers, each once however many ask at once, and keeps `max_bytes` of them.

    They are kept by the ETag of the answer, a hash of its bytes: no form is ever wrong, whatever becomes of sessions,
    and those least recently used leave first. zlib compresses in a thread of its own, and lets the others run.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = self.made = self.refused = 0
        self._kept: OrderedDict[bytes, GzipForm] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "gzip")
        self._line: dict[bytes, asyncio.Future[bytes]] = {}
        self._line_bytes = 0
        self._open = True

    def known(self, answer: Answer) -> GzipForm | None:
        """Find the form of an answer, if it is kept."""
        form = self._kept.get(answer.etag)
        if form is not None:
            self._kept.move_to_end(answer.etag)
        return form

    async def make(self, answer: Answer) -> GzipForm | None:
        """Make the form of an answer; None where too many wait, or it fails: then the answer leaves as it is."""
        form = self.known(answer)
        if form is not None or answer.gzip is None:
            return form
        making = self._line.get(answer.etag) or self._begin(answer, answer.gzip)
        if making is None:
            self.refused += 1
            return None
        await asyncio.wait([making])  # who leaves takes it from nobody else
        if making.cancelled() or making.exception():
            return None
        return _form(making.result(), answer, answer.gzip)

    def close(self) -> None:
        """Compress nothing more; the body in hand is not waited for."""
        self._open = False
        for making in self._line.values():
            making.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, answer: Answer, tag: GzipTag) -> asyncio.Future[bytes] | None:
        size = len(answer.body)
        if not self._open or len(self._line) >= MAX_LINE or self._line_bytes + size > max(MAX_LINE_BYTES, size):
            return None
        making = asyncio.get_running_loop().run_in_executor(self._thread, _compressed, answer.body)
        self._line[answer.etag] = making
        self._line_bytes += size
        making.add_done_callback(partial(self._end, answer, tag))
        return making

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
