"""What a request's head says, judged by the parser that uvicorn judges it by: the two can't disagree."""

from __future__ import annotations

import re
from contextlib import suppress

import httptools

from query_api.doorway.bounds import HEAD_FIELDS
from query_api.doorway.front import SESSIONS
from query_api.http.reply import Pairs
from query_api.http.request_fields import RequestFields, wanted

END = b"\r\n\r\n"
"""Ends a head. The parser takes no other line ends than CRLF, so no head ends elsewhere."""
_PLAIN = {b"connection": b"keep-alive"}
"""What HTTP/1.1 does anyway may be said."""
_UNUSUAL = frozenset(
    {b"expect", b"upgrade", b"transfer-encoding", b"content-length", b"connection"}
    | {b"proxy-connection"}  # the parser takes it for `connection`
)
_POLL = rb"(GET|HEAD) %b/api/v2/sessions/([0-9A-Za-z-]{1,64})/(events|stream)/?(?:\?([!$-;=?-Z_a-z~]*))? HTTP/1\.1\r\n"
PLAIN_LINE = re.compile(rb"(GET|HEAD) /(?:[0-9A-Za-z_~.-][0-9A-Za-z/_~.-]*)?(?:\?[!$-;=?-Z_a-z~]*)? HTTP/1\.1\r\n")
"""Matches the request line of what every parser reads alike: (method)."""
_SIMPLE = re.compile(r"[/0-9A-Za-z_-]*")
"""Prefixes that stand in a target, and in a pattern, as they are."""

_NOT_HTTP = "This is no request of HTTP/1.1 that could be understood."
_FIELDS = f"The request's head has more than {HEAD_FIELDS} fields."
_TARGET = "The request's target must be a path or a URL in ASCII; other characters are percent-encoded."
_UPGRADE = "A request that has a body cannot ask for another protocol."


class LongHead(Exception):
    """A request with too many header fields; the text says so."""


class BadHead(Exception):
    """A request that uvicorn would not serve; the text says why."""


class MessageParser:
    """uvicorn's parser, fed with one message. Raises httptools.HttpParserError."""

    def __init__(self) -> None:
        self.headers: Pairs = []
        self.url = b""
        self.begun = self.heads = self.complete = 0
        self.keeps_alive = True
        """Whether another message may follow it, once it is complete."""
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the message."""
        with suppress(httptools.HttpParserUpgrade):  # uvicorn goes on in HTTP/1.1
            self._parser.feed_data(data)

    @property
    def method(self) -> str:
        """The request's method."""
        return self._parser.get_method().decode("ascii")

    def on_message_begin(self) -> None:
        """A message begins."""
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.heads += 1

    def on_message_complete(self) -> None:
        """The message is whole."""
        self.complete += 1
        self.keeps_alive = self._parser.should_keep_alive()


def poll_pattern(prefix: str) -> re.Pattern[bytes]:
    """Match the request line of a poll that needs no second look: (method, session id, events or stream, query).

    The prefix may be cut off already, but not where what is left begins with it again: that would be cut off, too.
    """
    may_lack = not SESSIONS.startswith(f"{prefix}/") and not prefix.startswith(SESSIONS)
    simple = b"(?:%b)" % prefix.encode() if _SIMPLE.fullmatch(prefix) else b""
    return re.compile(_POLL % (simple + b"?" if simple and may_lack else simple))


def usual_fields(lines: bytes) -> RequestFields | None:
    """Read the header fields of a GET, with the empty line that ends them.

    None where anything in them has a say in how the message is framed or what becomes of its connection.
    """
    if lines.count(b"\r\n") > HEAD_FIELDS + 1:
        return None
    parser = MessageParser()
    try:
        parser.feed(b"GET / HTTP/1.1\r\n" + lines)
    except httptools.HttpParserError:
        return None
    if (parser.begun, parser.heads, parser.complete) != (1, 1, 1):
        return None
    for name, value in parser.headers:
        if name in _UNUSUAL and value.lower() != _PLAIN.get(name):
            return None
    return wanted(parser.headers)


def judge(parser: MessageParser, head: bytes) -> int | None:
    """Feed a whole head to the parser of its message; give the bytes of body that it announces, None for chunks.

    Raises BadHead, and LongHead before it reads anything.
    """
    if head.count(b"\r\n") > HEAD_FIELDS + 2:
        raise LongHead(_FIELDS)
    try:
        parser.feed(head)
        path = httptools.parse_url(parser.url).path  # as uvicorn finds the path
    except httptools.HttpParserInvalidURLError:
        raise BadHead(_TARGET) from None
    except httptools.HttpParserError:
        raise BadHead(_NOT_HTTP) from None
    if (parser.begun, parser.heads) != (1, 1):
        raise BadHead(_NOT_HTTP)
    if path is None or not path.isascii():  # type: ignore[redundant-expr] # its types know of no None
        raise BadHead(_TARGET)
    fields = dict(parser.headers)
    body_bytes = None if b"transfer-encoding" in fields else _number(fields.get(b"content-length", b"0"))
    if parser.complete and body_bytes != 0:
        raise BadHead(_UPGRADE)  # the parser takes the body for the next request
    return body_bytes


def _number(digits: bytes) -> int:
    """Read what the parser took for a number; Python reads no more than 4,300 digits, leading zeros among them."""
    return int(digits.strip().lstrip(b"0") or b"0")
