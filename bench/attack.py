"""What a client may do to a server, by raw connections. Run as `ATTACK PORT PATH KEY SECONDS`; prints its outcome.

A process of its own: what it costs the attacker is then not taken for what it costs others. It imports nothing of ours,
so that it strikes at once.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain, count, repeat
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
HEAD = b"GET /health/live HTTP/1.1\r\nHost: attack\r\n"
"""A head that lacks its empty line."""
LIVE = HEAD + b"\r\n"
ALMOST = 65_000
"""Nearly as long as a head may be."""
PIPELINED_BYTES, HEADER_BYTES = 13_000_000, 100_000_000
UNFINISHED = 400
"""Fewer connections than the usual limit of open files."""
TURN = 64
"""Connections opened before those that are open are looked at again: fewer than any server lets wait."""
LAST_SECONDS = 10.0
"""Who is asked for the last time has so long to be answered."""


class Prey(NamedTuple):
    """What is attacked: an API, and the path of a page of it that only the key opens."""

    port: int
    path: str
    key: str

    def poll(self, query: str = "limit=1000") -> bytes:
        """The head of a poll of the page."""
        return f"GET {self.path}?{query} HTTP/1.1\r\nHost: attack\r\nX-API-Key: {self.key}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Attack:
    """So many connections that each send a stream, for so many seconds unless the server has ended all of them.

    `reads` is how many bytes of answers are taken at a time, 0 for none; `buffer_bytes` what the attacker's kernel
    takes for it. `renews`: a connection that the server ended is opened again. `drops`: it is reset when all is sent.
    `asks_again`: whoever is still there in the end asks once more.
    """

    what: str
    connections: int
    stream: Callable[[Prey], Iterator[bytes]]
    reads: int = 0
    buffer_bytes: int = 0
    renews: bool = True
    drops: bool = False
    asks_again: bool = False
    seconds: int = 10


@dataclass(slots=True)
class Outcome:
    """What became of the connections; statuses of answers where they were read, `served` in the end."""

    opened: int = 0
    ended: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    served: int = 0

    def words(self) -> str:
        """As it stands in a table."""
        answers = "".join(f", {number:,} × {status}" for status, number in sorted(self.statuses.items()))
        ended = f"{self.opened:,} opened, {self.ended:,} ended within {self.seconds:.0f} s"
        return f"{ended}, {self.sent_bytes / 1e6:,.0f} MB taken{answers}"


def _endless_head(_: Prey) -> Iterator[bytes]:
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 100) for number in range(500))
    return chain([HEAD], repeat(fields))


def _long_header(_: Prey) -> Iterator[bytes]:
    return chain([HEAD + b"X-Long: "], repeat(b"a" * CHUNK, HEADER_BYTES // CHUNK), [b"\r\n\r\n"])


def _pipelined(one: bytes) -> Iterator[bytes]:
    return repeat(one * (CHUNK // len(one)), PIPELINED_BYTES // CHUNK)


def _many_fields(whole: bytes) -> bytes:
    """Fill a head with the shortest fields that there are, as many as fit."""
    return whole[:-2] + b"a:\r\n" * ((ALMOST - len(whole)) // 4) + b"\r\n"


def _different_pages(prey: Prey) -> Iterator[bytes]:
    first = time.time_ns() % 10**6
    return (prey.poll(f"limit=1000&since=2020-01-01T00:00:00.{n % 10**6:06}Z") for n in count(first))


def _keyless(prey: Prey) -> bytes:
    return f"GET {prey.path} HTTP/1.1\r\nHost: attack\r\n\r\n".encode()


_BIG = HEAD + b"X: " + b"a" * ALMOST + b"\r\n\r\n"
_POST = b"POST /health/live HTTP/1.1\r\nHost: attack\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_BODY = _POST + b"Content-Length: 16384\r\n\r\n" + b"b" * 16_384
_CHUNKED_BODY = _CHUNKED + b"1\r\na\r\n" * 2_700 + b"0\r\n\r\n"
_TINY_CHUNKS = b"1\r\na\r\n" * 1_000
_DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: attack\r\n\r\n"

# What version 0.1 could not bear.
KNOWN: dict[str, Attack] = {
    "pipelined": Attack(
        "13 MB of pipelined GET /health/live, no answer read", 1, lambda _: _pipelined(LIVE), renews=False
    ),
    "pipelined-polls": Attack(
        "13 MB of pipelined polls without a key, no answer read",
        1,
        lambda prey: _pipelined(_keyless(prey)),
        renews=False,
    ),
    "endless-headers": Attack("header fields without end for 10 s", 1, _endless_head),
    "huge-header": Attack("one header field of 100 MB", 1, _long_header, reads=CHUNK, renews=False),
    "half-sent": Attack(
        f"{UNFINISHED} connections with half a head",
        UNFINISHED,
        lambda _: iter([HEAD]),
        CHUNK,
        renews=False,
        seconds=30,
    ),
    "silent": Attack(
        f"{UNFINISHED} silent connections", UNFINISHED, lambda _: iter([]), CHUNK, renews=False, seconds=90
    ),
}
CROWDS: dict[str, Attack] = {
    f"idle-{number}": Attack(
        f"{number:,} idle connections, soft limit of 1,024 files",
        number,
        lambda _: iter([LIVE]),
        reads=CHUNK,
        renews=False,
        asks_again=True,
    )
    for number in (1_500, 5_000)
}
# What else there is in HTTP to be had for little.
FURTHER: dict[str, Attack] = {
    "pipelined-by-many": Attack("8 clients that pipeline and read no answer", 8, lambda _: repeat(LIVE * 1_000)),
    "endless-heads": Attack("8 heads without end", 8, _endless_head),
    "half-heads": Attack("3,000 heads of 65 kB but for their ends", 3_000, lambda _: iter([_BIG[:-2]]), CHUNK),
    "half-fields": Attack(
        "3,000 heads of the shortest fields but for their ends", 3_000, lambda _: iter([_many_fields(LIVE)[:-2]]), CHUNK
    ),
    "many-fields": Attack("as many fields as fit", 400, lambda _: iter([_many_fields(LIVE)]), reads=CHUNK),
    "polls-of-many-fields": Attack(
        "polls of as many fields as fit", 400, lambda prey: iter([_many_fields(prey.poll())]), reads=CHUNK
    ),
    "fields-again": Attack(
        "as many fields as fit, again and again", 50, lambda _: repeat(_many_fields(LIVE)), reads=CHUNK
    ),
    "big-heads-kept": Attack("3,000 heads of 65 kB, answered and kept", 3_000, lambda _: iter([_BIG]), reads=CHUNK),
    "big-heads": Attack("heads of 65 kB, again and again", 50, lambda _: repeat(_BIG), reads=CHUNK),
    "bodies-kept": Attack("3,000 bodies of 16 kB, answered and kept", 3_000, lambda _: iter([_BODY]), reads=CHUNK),
    "half-bodies": Attack("3,000 bodies of 16 kB but for their ends", 3_000, lambda _: iter([_BODY[:-1]]), CHUNK),
    "tiny-chunks": Attack("bodies of chunks of a byte, again and again", 50, lambda _: repeat(_CHUNKED_BODY), CHUNK),
    "endless-chunks": Attack(
        "chunks of a byte without end", 50, lambda _: chain([_CHUNKED], repeat(_TINY_CHUNKS)), reads=CHUNK
    ),
    "pages-unread": Attack(
        "300 that poll a page and read none", 300, lambda prey: repeat(prey.poll() * 20), buffer_bytes=4_096
    ),
    "different-pages-unread": Attack(
        "300 that poll different pages and read none", 300, _different_pages, buffer_bytes=4_096
    ),
    "slow-readers": Attack(
        "3,000 that read a document by ten bytes", 3_000, lambda _: repeat(_DOCUMENT, 20), reads=10, buffer_bytes=4_096
    ),
    "crowd-of-pipelines": Attack("1,000 that pipeline and read", 1_000, lambda _: repeat(LIVE * 64), reads=CHUNK),
    "crowd-of-polls": Attack(
        "1,000 that pipeline polls and read", 1_000, lambda prey: repeat(prey.poll("limit=1") * 64), reads=CHUNK
    ),
    "dropped": Attack("connections reset after a request", 500, lambda _: iter([LIVE]), drops=True),
    "dropped-at-once": Attack("connections reset at once", 500, lambda _: iter([]), drops=True),
    "crowd-in-silence": Attack("5,000 silent connections", 5_000, lambda _: iter([]), CHUNK),
}
ATTACKS = KNOWN | CROWDS | FURTHER
KEYED = frozenset({"polls-of-many-fields", "pages-unread", "different-pages-unread", "crowd-of-polls"})
"""Those that take a key."""


class _Attacker:
    """One connection."""

    def __init__(self, attack: Attack, prey: Prey) -> None:
        self.socket = socket.socket()
        if attack.buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.buffer_bytes)
        try:
            self.socket.connect((LOOPBACK, prey.port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)
        self._stream = attack.stream(prey)
        self._rest = memoryview(b"")

    def send(self) -> int:
        """Send what fits at once; gives how many bytes, 0 where all is sent."""
        if not self._rest:
            self._rest = memoryview(next(self._stream, b""))
        if not self._rest:
            return 0
        sent = self.socket.send(self._rest)
        self._rest = self._rest[sent:]
        return sent

    def ask(self, request: bytes) -> None:
        """Send this from now on, and nothing else."""
        self._stream, self._rest = iter([request]), memoryview(b"")

    def reset(self) -> None:
        """End the connection without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class _Crowd:
    """All connections of an attack."""

    def __init__(self, attack: Attack, prey: Prey) -> None:
        self._attack = attack
        self._prey = prey
        self._selector = selectors.DefaultSelector()
        self._open: dict[_Attacker, None] = {}
        self.outcome = Outcome()

    def strike(self, seconds: float) -> Outcome:
        """Attack for so long, or until all have ended."""
        began, outcome = time.monotonic(), self.outcome
        while time.monotonic() < began + seconds and not self._is_over():
            self._open_more()
            self._go_on()
        outcome.seconds = time.monotonic() - began
        if self._attack.asks_again:
            before = self._answered()
            for attacker in self._open:
                attacker.ask(LIVE)
                self._selector.modify(attacker.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, attacker)
            until = time.monotonic() + LAST_SECONDS
            while self._answered() - before < len(self._open) and time.monotonic() < until:
                self._go_on()
            outcome.served = self._answered() - before
        return outcome

    def _answered(self) -> int:
        return self.outcome.statuses.get("200", 0)

    def _is_over(self) -> bool:
        return not self._attack.renews and self.outcome.ended >= self._attack.connections

    def _missing(self) -> int:
        there = len(self._open) if self._attack.renews else self.outcome.opened
        return self._attack.connections - there

    def _open_more(self) -> None:
        """Open some of those that are missing."""
        for _ in range(min(TURN, self._missing())):
            self.outcome.opened += 1
            try:
                attacker = _Attacker(self._attack, self._prey)
            except OSError:
                self.outcome.ended += 1
                return
            self._open[attacker] = None
            self._selector.register(attacker.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, attacker)

    def _go_on(self) -> None:
        """Send and take."""
        for key, events in self._selector.select(0.05):
            attacker: _Attacker = key.data
            try:
                if events & selectors.EVENT_READ:
                    self._take(attacker)
                if events & selectors.EVENT_WRITE and attacker in self._open:
                    self._send(attacker)
            except BlockingIOError:
                pass
            except OSError:
                self._lost(attacker)

    def _send(self, attacker: _Attacker) -> None:
        sent = attacker.send()
        self.outcome.sent_bytes += sent
        if sent:
            return
        if self._attack.drops:
            self._end(attacker)
        elif not self._attack.reads:
            self._selector.unregister(attacker.socket)
        else:
            self._selector.modify(attacker.socket, selectors.EVENT_READ, attacker)

    def _take(self, attacker: _Attacker) -> None:
        if not self._attack.reads:
            if not attacker.socket.recv(1, socket.MSG_PEEK):
                self._end(attacker)
            else:  # an answer waits, and is not taken
                self._selector.modify(attacker.socket, selectors.EVENT_WRITE, attacker)
            return
        taken = attacker.socket.recv(self._attack.reads)
        if not taken:
            self._end(attacker)
        elif taken.startswith(b"HTTP/1.1 "):
            status, statuses = taken[9:12].decode(), self.outcome.statuses
            statuses[status] = statuses.get(status, 0) + 1

    def _lost(self, attacker: _Attacker) -> None:
        """Its answer may have come before it was lost."""
        with suppress(OSError):
            self._take(attacker)
        self._end(attacker)

    def _end(self, attacker: _Attacker) -> None:
        if attacker in self._open:
            del self._open[attacker]
            with suppress(KeyError):
                self._selector.unregister(attacker.socket)
            attacker.reset()
            self.outcome.ended += 1


def main() -> None:
    """Attack, and print the outcome as JSON."""
    name, port, path, key, seconds = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asdict(_Crowd(ATTACKS[name], Prey(int(port), path, key)).strike(float(seconds)))))


if __name__ == "__main__":
    main()
