"""Requests that two readers may take for different ones, and what each must come to."""

from typing import NamedTuple

from tests.doorway.twins import HOT

EVENTS = f"/api/v2/sessions/{HOT}/events".encode()
WARM = f"/api/v2/sessions/{HOT}/warm".encode()
NAME, KEY = b"x-request-id: first\r\n", b"x-api-key: both-key\r\n"


def poll(name: bytes, method: bytes = b"GET") -> bytes:
    """A poll that memory answers."""
    return method + b" " + EVENTS + b" HTTP/1.1\r\nx-request-id: " + name + b"\r\n" + KEY + b"\r\n"


NEXT = poll(b"next")
HIDDEN = poll(b"hidden")
"""What nobody may take for a request."""


class Smuggled(NamedTuple):
    """What is sent, with NEXT behind it, and whose answers of which status are to come, in that order.

    Where the answer depends on whether it left before the rest came, `early` says what it is then.
    """

    data: bytes
    told: list[str]
    early: list[str] | None = None


def _get(*lines: bytes, body: bytes = b"") -> bytes:
    return (
        b"GET " + EVENTS + b" HTTP/1.1\r\n" + NAME + KEY + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    )


def _post(*lines: bytes, body: bytes = b"", target: bytes = WARM) -> bytes:
    return (
        b"POST " + target + b" HTTP/1.1\r\n" + NAME + KEY + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    )


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + NAME + KEY + b"\r\n"


LENGTH = b"content-length: %d" % len(HIDDEN)
CHUNKED = b"transfer-encoding: chunked"
_HIDDEN_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
_BOTH, _FIRST, _REFUSED, _NAMELESS = ["first 200", "next 200"], ["first 200"], ["first 400"], ["? 400"]
_POSTED = ["first 202", "next 200"]

FRAMING = {
    "two lengths": Smuggled(_post(b"content-length: 0", LENGTH, body=HIDDEN), _REFUSED),
    "two lengths, the other way round": Smuggled(_post(LENGTH, b"content-length: 0", body=HIDDEN), _REFUSED),
    "the same length twice": Smuggled(_post(LENGTH, LENGTH, body=HIDDEN), _REFUSED),
    "a length and chunks": Smuggled(_post(LENGTH, CHUNKED, body=_HIDDEN_CHUNK), _REFUSED),
    "chunks and a length": Smuggled(_post(CHUNKED, b"content-length: 4", body=_HIDDEN_CHUNK), _REFUSED),
    "chunks twice": Smuggled(_post(CHUNKED, CHUNKED, body=_HIDDEN_CHUNK), _REFUSED),
    "chunks and identity": Smuggled(_post(CHUNKED, b"transfer-encoding: identity", body=_HIDDEN_CHUNK), _REFUSED),
    "xchunked": Smuggled(_post(b"transfer-encoding: xchunked", body=_HIDDEN_CHUNK), _REFUSED),
    "chunks in quotes": Smuggled(_post(b'transfer-encoding: "chunked"', body=_HIDDEN_CHUNK), _REFUSED),
    "chunks, then identity": Smuggled(_post(b"transfer-encoding: chunked, identity", body=_HIDDEN_CHUNK), _REFUSED),
    "an empty coding": Smuggled(_post(b"transfer-encoding:", body=_HIDDEN_CHUNK), _REFUSED),
    "chunks behind a vertical tab": Smuggled(_post(b"transfer-encoding:\x0bchunked", body=_HIDDEN_CHUNK), _REFUSED),
    "chunks between spaces": Smuggled(_post(b"transfer-encoding:   chunked  ", body=_HIDDEN_CHUNK), _POSTED),
    "chunks between tabs": Smuggled(_post(b"transfer-encoding:\tchunked\t", body=_HIDDEN_CHUNK), _REFUSED),
    "chunks in capitals": Smuggled(_post(b"TRANSFER-ENCODING: CHUNKED", body=_HIDDEN_CHUNK), _POSTED),
    "chunks after gzip": Smuggled(_post(b"transfer-encoding: gzip, chunked", body=_HIDDEN_CHUNK), _POSTED),
    "chunks of a name with an underscore": Smuggled(_post(b"transfer_encoding: chunked"), _POSTED),
    "a space before the colon of chunks": Smuggled(_post(b"transfer-encoding : chunked", body=_HIDDEN_CHUNK), _REFUSED),
    "a space before the colon of a length": Smuggled(_post(b"content-length : 5", body=b"hello"), _REFUSED),
    "chunks that begin on a folded line": Smuggled(
        _post(b"transfer-encoding:\r\n chunked", body=_HIDDEN_CHUNK), _REFUSED
    ),
    "chunked GET": Smuggled(_get(CHUNKED, body=_HIDDEN_CHUNK), _BOTH),
    "chunked GET in HTTP/1.0": Smuggled(_get(CHUNKED, body=_HIDDEN_CHUNK).replace(b"HTTP/1.1", b"HTTP/1.0", 1), _FIRST),
    "GET with a body that looks like a request": Smuggled(_get(LENGTH, body=HIDDEN), _BOTH),
    "HEAD with a body that looks like a request": Smuggled(
        _get(LENGTH, body=HIDDEN).replace(b"GET", b"HEAD", 1).replace(b"first", b"head", 1), ["head 200", "next 200"]
    ),
    "POST with a body that looks like a request": Smuggled(_post(LENGTH, body=HIDDEN), _POSTED),
    "a length of +5": Smuggled(_post(b"content-length: +5", body=b"hello"), _REFUSED),
    "a length of -5": Smuggled(_post(b"content-length: -5", body=b"hello"), _REFUSED),
    "a length of 5,5": Smuggled(_post(b"content-length: 5,5", body=b"hello"), _REFUSED),
    "a length of 5 5": Smuggled(_post(b"content-length: 5 5", body=b"hello"), _REFUSED),
    "a length of 0x5": Smuggled(_post(b"content-length: 0x5", body=b"hello"), _REFUSED),
    "a length of nothing": Smuggled(_post(b"content-length:", body=b"hello"), _REFUSED),
    "a length of 5 with a space behind it": Smuggled(_post(b"content-length: 5 ", body=b"hello"), _POSTED),
    "a length of 005": Smuggled(_post(b"content-length: 005", body=b"hello"), _POSTED),
    "a length of 5,000 zeros": Smuggled(_post(b"content-length: " + b"0" * 5_000), _POSTED),
    "a length of 5,000 digits": Smuggled(_post(b"content-length: " + b"1" * 5_000), _REFUSED),
    "a length of 2^64": Smuggled(_post(b"content-length: 18446744073709551616"), _REFUSED),
    "a length of 2^64 - 1": Smuggled(_post(b"content-length: 18446744073709551615"), ["first 413"]),
    "a connection's word for a length": Smuggled(_post(b"connection: content-length", LENGTH, body=HIDDEN), _POSTED),
}


def _chunks(body: bytes, told: list[str], early: list[str] | None = None) -> Smuggled:
    return Smuggled(_post(CHUNKED, body=body), told, early)


_BROKEN: tuple[list[str], list[str]] = _REFUSED, ["first 202"]
CHUNKS = {
    "an extension": _chunks(b"5;a=b\r\nhello\r\n0;c\r\n\r\n", _POSTED),
    "an extension that is quoted": _chunks(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n', _POSTED),
    "an extension with an end of line in quotes": _chunks(b'5;a="\r\nhello\r\n0\r\n\r\n', *_BROKEN),
    "an extension that a bare LF ends": _chunks(b"5;\nxx\r\n0\r\n\r\n", *_BROKEN),
    "an extension that a bare CR ends": _chunks(b"5;\rxx\r\n0\r\n\r\n", *_BROKEN),
    "a size that a bare LF ends": _chunks(b"5\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size that a bare CR ends": _chunks(b"5\rhello\r\n0\r\n\r\n", *_BROKEN),
    "a size of 2^64": _chunks(b"10000000000000000\r\n" + HIDDEN, *_BROKEN),
    "a size of 2^64 + 5": _chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size of 0x5": _chunks(b"0x5\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size of +5": _chunks(b"+5\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size of -1": _chunks(b"-1\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size behind a space": _chunks(b" 5\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "no size": _chunks(b"\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a size with leading zeros": _chunks(b"0005\r\nhello\r\n000\r\n\r\n", _POSTED),
    "a size that is too small": _chunks(b"4\r\nhello\r\n0\r\n\r\n", *_BROKEN),
    "a bare LF behind data": _chunks(b"5\r\nhello\n0\r\n\r\n", *_BROKEN),
    "two bytes that are no end of line behind data": _chunks(b"5\r\nhelloXX0\r\n\r\n", *_BROKEN),
    "a bare LF at the end": _chunks(b"0\r\n\n", *_BROKEN),
    "a trailer": _chunks(b"0\r\nx-trailer: 1\r\n\r\n", _POSTED),
    "a trailer that is folded": _chunks(b"0\r\nx-trailer: 1\r\n 2\r\n\r\n", *_BROKEN),
    "a trailer with a length": _chunks(b"0\r\ncontent-length: 5\r\n\r\n", *_BROKEN),
    "a trailer with chunks": _chunks(b"0\r\ntransfer-encoding: chunked\r\n\r\n", *_BROKEN),
    "a trailer that ends the connection": _chunks(b"0\r\nconnection: close\r\n\r\n", ["first 202"]),
    "a request in the place of a trailer": _chunks(b"0\r\n" + HIDDEN, *_BROKEN),
}

LINES = {
    "a folded line": Smuggled(_get(b"x: a", b" b"), _REFUSED),
    "a folded line with a tab": Smuggled(_get(b"x: a", b"\tb"), _REFUSED),
    "a fold at the beginning": Smuggled(b"GET " + EVENTS + b" HTTP/1.1\r\n x: y\r\n\r\n", _NAMELESS),
    "a bare LF behind the first line": Smuggled(b"GET " + EVENTS + b" HTTP/1.1\n" + NAME + b"\r\n", _NAMELESS),
    "a bare LF behind a field": Smuggled(_get(b"x: a\ny: b"), _REFUSED),
    "a bare LF in the place of the empty line": Smuggled(_get(b"x: a\r\n\n" + HIDDEN), _REFUSED),
    "bare LFs alone": Smuggled(_get().replace(b"\r\n", b"\n"), _NAMELESS),
    "a bare CR in a field": Smuggled(_get(b"x: a\ry: b"), _REFUSED),
    "a bare CR at the end of a field": Smuggled(_get(b"x: a\r\r\ny: b"), _REFUSED),
    "a NUL in a field": Smuggled(_get(b"x: a\0b"), _REFUSED),
    "a NUL in a name": Smuggled(_get(b"x\0y: b"), _REFUSED),
    "a NUL in the target": Smuggled(_line(b"GET /\0 HTTP/1.1"), _NAMELESS),
    "a control character in a field": Smuggled(_get(b"x: a\x01b"), _REFUSED),
    "a DEL in a field": Smuggled(_get(b"x: a\x7fb"), _REFUSED),
    "a vertical tab in a name": Smuggled(_get(b"x\x0b: y"), _REFUSED),
    "a space in a name": Smuggled(_get(b"x y: z"), _REFUSED),
    "a space before a colon": Smuggled(_get(b"x : y"), _REFUSED),
    "a tab before a colon": Smuggled(_get(b"x\t: y"), _REFUSED),
    "a name that is empty": Smuggled(_get(b": y"), _REFUSED),
    "a name alone": Smuggled(_get(b"x"), _REFUSED),
    "a name that is not ASCII": Smuggled(_get(b"x\xc3\xa9: y"), _REFUSED),
    "a name in brackets": Smuggled(_get(b"(x): y"), _REFUSED),
    "odd characters that a name may hold": Smuggled(_get(b"!#$%&'*+-.^_`|~: y"), _BOTH),
    "an id that would end a line": Smuggled(
        b"GET " + EVENTS + b" HTTP/1.1\r\nx-request-id: a\nset-cookie: b\r\n" + KEY + b"\r\n", _NAMELESS
    ),
}

REQUESTS = {
    "another host in the target": Smuggled(_line(b"GET http://elsewhere.example" + EVENTS + b" HTTP/1.1"), _BOTH),
    "another host in the target than in the field": Smuggled(
        b"GET http://elsewhere.example" + EVENTS + b" HTTP/1.1\r\nhost: api.example\r\n" + NAME + KEY + b"\r\n", _BOTH
    ),
    "two hosts": Smuggled(_get(b"host: api.example", b"host: elsewhere.example"), _BOTH),
    "no host": Smuggled(_get(), _BOTH),
    "a request behind the last one": Smuggled(_get(b"connection: close"), _FIRST),
    "a request behind HTTP/1.0": Smuggled(_line(b"GET " + EVENTS + b" HTTP/1.0"), _FIRST),
    "a request behind HTTP/1.0 that would go on": Smuggled(
        b"GET " + EVENTS + b" HTTP/1.0\r\nconnection: keep-alive\r\n" + NAME + KEY + b"\r\n", _FIRST
    ),
    "a request behind HTTP/0.9": Smuggled(b"GET " + EVENTS + b"\r\n\r\n", ["? 401"]),
    "a request for h2c": Smuggled(
        _get(b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__"), _BOTH
    ),
    "a request for h2c, and its preface": Smuggled(
        _get(b"connection: upgrade", b"upgrade: h2c") + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ["first 200", "? 400"]
    ),
    "a request for h2c with a body": Smuggled(
        _post(b"connection: upgrade", b"upgrade: h2c", LENGTH, body=HIDDEN), _REFUSED
    ),
    "a request for h2c with chunks": Smuggled(
        _post(b"connection: upgrade", b"upgrade: h2c", CHUNKED, body=_HIDDEN_CHUNK), _REFUSED
    ),
    "a request for a WebSocket": Smuggled(
        _get(b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"), _BOTH
    ),
    "the preface of HTTP/2": Smuggled(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _NAMELESS),
    "a greeting of TLS": Smuggled(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", _NAMELESS),
    "an answer": Smuggled(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", _NAMELESS),
    "empty lines before a request": Smuggled(b"\r\n" * 7 + _get(), _BOTH),
    "a single empty line before a request": Smuggled(b"\r\n" + _get(), _BOTH),
    "empty lines between requests": Smuggled(_get() + b"\r\n\r\n\r\n", _BOTH),
    "a method in lower case": Smuggled(_line(b"get " + EVENTS + b" HTTP/1.1"), _NAMELESS),
    "a method that nobody knows": Smuggled(_line(b"FETCH " + EVENTS + b" HTTP/1.1"), _NAMELESS),
    "CONNECT": Smuggled(_line(b"CONNECT elsewhere.example:80 HTTP/1.1"), _REFUSED),
    "CONNECT to a path": Smuggled(_line(b"CONNECT / HTTP/1.1"), ["first 405", "next 200"]),
    "TRACE": Smuggled(_line(b"TRACE " + EVENTS + b" HTTP/1.1"), ["first 405", "next 200"]),
    "a target that is not ASCII": Smuggled(_line(b"GET /\xc3\xa9 HTTP/1.1"), _NAMELESS),
    "a query that is not ASCII": Smuggled(_line(b"GET " + EVENTS + b"?x=\xff HTTP/1.1"), _NAMELESS),
    "a target with a space": Smuggled(_line(b"GET /a b HTTP/1.1"), _NAMELESS),
    "a target that is no path": Smuggled(_line(b"GET events HTTP/1.1"), _NAMELESS),
    "a target of a host alone": Smuggled(_line(b"GET http://api.example HTTP/1.1"), _REFUSED),
    "a target of 70 kB": Smuggled(_line(b"GET /" + b"a" * 70_000 + b" HTTP/1.1"), ["? 431"]),
    "HTTP/1.2": Smuggled(_line(b"GET / HTTP/1.2"), _NAMELESS),
    "http/1.1": Smuggled(_line(b"GET / http/1.1"), _NAMELESS),
    "a tab in the first line": Smuggled(_line(b"GET\t/ HTTP/1.1"), _NAMELESS),
    "something behind the version": Smuggled(_line(b"GET / HTTP/1.1 x"), _NAMELESS),
    "HEAD that is refused": Smuggled(
        b"HEAD " + EVENTS + b" HTTP/1.1\r\nx-request-id: head\r\n" + KEY + b"x : y\r\n\r\n", ["head 400"]
    ),
    "HEAD of bad chunks": Smuggled(
        b"HEAD " + EVENTS + b" HTTP/1.1\r\nx-request-id: head\r\n" + KEY + CHUNKED + b"\r\n\r\nX\r\n",
        ["head 400"], ["head 200"],
    ),
    "a body that is refused before it has come": Smuggled(
        _post(LENGTH, body=HIDDEN, target=EVENTS), ["first 405", "next 200"]
    ),
    "chunks that are refused before they have come": Smuggled(
        _post(CHUNKED, body=_HIDDEN_CHUNK, target=EVENTS), ["first 405", "next 200"]
    ),
}  # fmt: skip

CASES = FRAMING | CHUNKS | LINES | REQUESTS
