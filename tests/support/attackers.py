"""Clients that mean harm, as a process of their own: `python -m tests.support.attackers NAME PORT SECONDS SESSION KEY`."""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple

LIVE = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"
ALMOST = 65_000
"""Nearly as long as a head may be."""
CHUNK = 65_536
TURN = 64
"""Connections opened before those that are open are looked at again."""


class Target(NamedTuple):
    """What is attacked: an API, and a page of it that only a key opens."""

    port: int
    session_id: str
    key: str

    def poll(self, query: str = "limit=1000") -> bytes:
        """The head of a poll of the page."""
        path = f"/api/v2/sessions/{self.session_id}/events?{query}"
        return f"GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {self.key}\r\n\r\n".encode()


@dataclass(frozen=True)
class Attack:
    """So many connections that each send a stream; a connection that the server ended is opened again.

    `reads`: how many bytes of answers are taken at a time, 0 for none. `buffer_bytes`: what the attacker's kernel
    takes for it. `drops`: the connection is reset when all is sent.
    """

    connections: int
    stream: Callable[[Target], Iterator[bytes]]
    reads: int = 0
    buffer_bytes: int = 0
    drops: bool = False


def _endless_head(_: Target) -> Iterator[bytes]:
    lines = b"".join(b"x-%d: %b\r\n" % (n, b"a" * 100) for n in range(500))
    return chain([b"GET /health/live HTTP/1.1\r\n"], repeat(lines))


def _long_header(_: Target) -> Iterator[bytes]:
    return chain([b"GET /health/live HTTP/1.1\r\nx: "], repeat(b"a" * CHUNK, 100_000_000 // CHUNK))


def _many_fields(start: bytes) -> bytes:
    """A whole head of the shortest fields that there are."""
    return start + b"a:\r\n" * ((ALMOST - len(start)) // 4) + b"\r\n"


def _distinct_pages(target: Target) -> Iterator[bytes]:
    marks = iter(range(time.time_ns() % 10**9, 10**18))
    return (target.poll(f"limit=1000&since=2020-01-01T00:00:00.{next(marks) % 10**6:06}Z") for _ in repeat(None))


_BIG = b"GET /health/live HTTP/1.1\r\nhost: a\r\nx: " + b"a" * (ALMOST - 50) + b"\r\n\r\n"
_POST = b"POST /health/live HTTP/1.1\r\nhost: a\r\n"
_CHUNKED = _POST + b"transfer-encoding: chunked\r\n\r\n"
_WHOLE_BODY = _POST + b"content-length: 16384\r\n\r\n" + b"b" * 16_384

ATTACKS: dict[str, Attack] = {
    "pipelined, unread": Attack(8, lambda _: repeat(LIVE * 1000)),
    "heads without end": Attack(8, _endless_head),
    "one header of 100 MB": Attack(2, _long_header),
    "half a head each": Attack(3_000, lambda _: iter([_BIG[:-4]])),
    "half of many fields each": Attack(3_000, lambda _: iter([_many_fields(LIVE[:-2])[:-2]])),
    "as many fields as fit": Attack(400, lambda _: iter([_many_fields(LIVE[:-2])[:-2], b"\r\n"]), reads=CHUNK),
    "polls of many fields": Attack(400, lambda target: iter([_many_fields(target.poll()[:-2])]), reads=CHUNK),
    "big heads, answered and kept": Attack(3_000, lambda _: iter([_BIG]), reads=CHUNK),
    "big heads again and again": Attack(50, lambda _: repeat(_BIG), reads=CHUNK),
    "bodies, answered and kept": Attack(3_000, lambda _: iter([_WHOLE_BODY]), reads=CHUNK),
    "chunks without end": Attack(50, lambda _: chain([_CHUNKED], repeat(b"1\r\na\r\n" * 1000))),
    "pages, unread": Attack(300, lambda target: repeat(target.poll() * 20), buffer_bytes=4096),
    "pages, all different, unread": Attack(300, _distinct_pages, buffer_bytes=4096),
    "a document, read slowly": Attack(
        3_000, lambda _: repeat(b"GET /openapi.json HTTP/1.1\r\n\r\n", 20), reads=10, buffer_bytes=4096
    ),
    "a crowd that pipelines": Attack(1_000, lambda _: repeat(LIVE * 64), reads=CHUNK),
    "opened and dropped": Attack(500, lambda _: iter([LIVE]), drops=True),
    "opened and dropped at once": Attack(500, lambda _: iter([]), drops=True),
    "silent": Attack(5_000, lambda _: iter([])),
}


class _Attacker:
    """One connection."""

    def __init__(self, attack: Attack, target: Target) -> None:
        self.attack = attack
        self.socket = socket.socket()
        if attack.buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.buffer_bytes)
        self.socket.connect(("127.0.0.1", target.port))
        self.socket.setblocking(False)
        self._stream = attack.stream(target)
        self._rest = b""

    def send(self) -> bool:
        """Send what fits; False where all is sent."""
        if not self._rest:
            self._rest = next(self._stream, b"")
        if self._rest:
            self._rest = self._rest[self.socket.send(self._rest) :]
        return bool(self._rest) or self._more()

    def _more(self) -> bool:
        self._rest = next(self._stream, b"")
        return bool(self._rest)

    def reset(self) -> None:
        """End the connection without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class _Crowd:
    """All connections of an attack."""

    def __init__(self, attack: Attack, target: Target) -> None:
        self._attack = attack
        self._target = target
        self._selector = selectors.EpollSelector()
        self.open = self.opened = self.ended = 0

    def more(self) -> None:
        """Open some of those that are missing."""
        for _ in range(min(TURN, self._attack.connections - self.open)):
            try:
                attacker = _Attacker(self._attack, self._target)
            except OSError:
                self.ended += 1
                return
            self.open += 1
            self.opened += 1
            self._selector.register(attacker.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, attacker)

    def go_on(self) -> None:
        """Send and take."""
        for key, events in self._selector.select(0.05):
            attacker: _Attacker = key.data
            try:
                if events & selectors.EVENT_WRITE and not attacker.send():
                    self._sent(attacker)
                if events & selectors.EVENT_READ and attacker.socket.fileno() >= 0:
                    self._take(attacker)
            except BlockingIOError:
                pass
            except OSError:
                self._end(attacker)

    def _sent(self, attacker: _Attacker) -> None:
        if self._attack.drops:
            self._end(attacker)
        else:
            self._selector.modify(attacker.socket, selectors.EVENT_READ, attacker)

    def _take(self, attacker: _Attacker) -> None:
        if self._attack.reads:
            if not attacker.socket.recv(self._attack.reads):
                self._end(attacker)
        elif self._is_over(attacker.socket):
            self._end(attacker)
        else:  # an answer waits, and is not taken
            self._selector.modify(attacker.socket, selectors.EVENT_WRITE, attacker)

    @staticmethod
    def _is_over(peeked: socket.socket) -> bool:
        return not peeked.recv(1, socket.MSG_PEEK)

    def _end(self, attacker: _Attacker) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(attacker.socket)
        attacker.reset()
        self.open -= 1
        self.ended += 1


def strike(name: str, target: Target, seconds: float) -> str:
    """Attack for so long; tells what became of the connections."""
    crowd, until = _Crowd(ATTACKS[name], target), time.monotonic() + seconds
    while time.monotonic() < until:
        crowd.more()
        crowd.go_on()
    return f"{crowd.opened} opened, {crowd.ended} ended, {crowd.open} open at the end"


if __name__ == "__main__":
    _, _name, _port, _seconds, _session_id, _key = sys.argv
    print(strike(_name, Target(int(_port), _session_id, _key), float(_seconds)))  # noqa: T201
