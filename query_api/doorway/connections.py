"""What the connections of one process share: the front, their bounds, what is remembered of heads, and the time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import OrderedDict, deque
from http import HTTPStatus
from typing import Protocol

from query_api.doorway.bounds import SocketBounds
from query_api.doorway.census import Census
from query_api.doorway.front import AnyQuestion, Front, own_name, question_of
from query_api.doorway.heads import END, PLAIN_LINE, poll_pattern, usual_fields
from query_api.doorway.message import Message
from query_api.http.reply import HeaderFields, Pairs, Reply
from query_api.http.request_fields import RequestFields
from query_api.memory.staleness import NOT_BEFORE_FIELD

CONNECTIONS, CONNECTION = "readside.connections", "readside.connection"
"""Names in ASGI's `state`: what the application gives to its protocols, and each of them to its requests."""
SWEEP_SECONDS = 1.0
"""So often each connection's time is looked at: one timer a process costs less than one a connection."""
REQUESTS_PART = 8
"""Requests may hold a part of what answers may: they are small, but where harm is meant."""
STARTED_A_TURN = 8
"""Requests that the application is given before the event loop turns: a crowd that asks at once holds no poll up."""
LONG_BYTES, LONG_BYTES_A_TURN = 131_072, 300_000
"""Answers from so long on count, and past so many bytes of them in a turn of the loop the next ones wait for another: a
crowd that asks for long pages, and reads none, would hold polls of others up until all of them are written."""
KEPT_UNUSED = 256
"""Protocols of uvicorn's that are kept with nothing in hand: each takes more than all else that a connection takes."""
LEFT_BYTES = 1_000_000
"""After so many bytes of long requests the youngest objects are looked through for cycles: a millisecond at most."""
REMEMBERED_FIELDS, FIELDS_BYTES = 1_024, 2_048
"""Header fields whose meaning is remembered: a client sends the same ones with each poll."""
REMEMBERED_POLLS, POLL_BYTES, POLLS_BYTES = 8_192, 2_048, 8_000_000
"""Whole polls whose meaning is remembered, of those that were answered; a token makes a browser's poll 1 kB long."""


CLOSES = b"\r\nconnection: close\r\n\r\n"
"""Ends the head of a last answer."""
_NAME = b"x-request-id: "


class SweptConnection(Protocol):
    """A connection, as the passing of time sees it."""

    def check(self, now: float) -> int:
        """End it if its time is over; give the bytes that wait to be taken. `now` is monotonic seconds."""

    def end_untaken(self) -> None:
        """End it: what waits to be taken is too much."""

    def go_on(self) -> None:
        """Go on, now that its turn has come."""

    def let_go(self) -> None:
        """Let go of uvicorn's protocol, which has nothing in hand."""


class Connections:
    """The connections of one process."""

    def __init__(self, front: Front, bounds: SocketBounds, census: Census) -> None:
        self.front = front
        self.bounds = bounds
        self.census = census
        self.waiting_bytes = 0
        """What requests hold until they are answered, of all connections."""
        self.most_waiting = bounds.waiting_bytes // REQUESTS_PART
        self.untaken_bytes = 0
        """What clients that stopped reading have not taken."""
        self.unused: dict[SweptConnection, None] = {}
        """Those with a protocol of uvicorn's that has nothing in hand, in the order in which they last used it."""
        self._left_bytes = 0
        self._started = self._long_bytes = 0
        self._turn_ends = False
        self._turn: deque[SweptConnection] = deque()
        self.polls: OrderedDict[bytes, AnyQuestion] = OrderedDict()
        """Whole heads whose meaning is remembered."""
        self._polls_bytes = 0
        self._pattern = poll_pattern(front.prefix)
        self._open: dict[SweptConnection, None] = {}
        self._fields: OrderedDict[bytes, RequestFields] = OrderedDict()
        self._defaults: Pairs = []
        self._starts: dict[int, bytes] = {}

    def add(self, connection: SweptConnection) -> bool:
        """Watch one more; tells whether it takes a place. One that finds none is refused soon, and counts as such."""
        self._open[connection] = None
        if self.census.full:
            return False
        self.census.opened()
        return True

    def remove(self, connection: SweptConnection, *, placed: bool) -> None:
        """Watch one less."""
        del self._open[connection]
        if placed:
            self.census.closed()

    @property
    def turned_away(self) -> int:
        """Connections that have no place and are not closed yet."""
        return len(self._open) - self.census.open

    def may_start(self, connection: SweptConnection, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the application may be given a request in this turn of the loop; if not, `go_on` is called soon."""
        if self._started < STARTED_A_TURN:
            self._end_turn_soon(loop)
            self._started += 1
            return True
        self._turn.append(connection)
        return False

    def may_answer(self, connection: SweptConnection) -> bool:
        """Whether an answer that may be long can leave in this turn of the loop; if not, `go_on` is called soon."""
        if self._long_bytes < LONG_BYTES_A_TURN:
            return True
        self._turn.append(connection)
        return False

    def long_answer(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        """Count a long answer that leaves."""
        self._end_turn_soon(loop)
        self._long_bytes += size

    def keep_unused(self, connection: SweptConnection) -> None:
        """Let a connection keep its protocol of uvicorn's for its next request, and the one that used its last none."""
        self.unused[connection] = None
        if len(self.unused) > KEPT_UNUSED:
            next(iter(self.unused)).let_go()

    def clear_away(self, size: int) -> None:
        """Free what long requests leave: the application's parts know one another in circles, request and all."""
        self._left_bytes += size
        if self._left_bytes > LEFT_BYTES:
            self._left_bytes = 0
            gc.collect(0)

    def _end_turn_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._turn_ends:
            self._turn_ends = True
            loop.call_soon(self._next_turn, loop)

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let those go on that were to wait, before others come."""
        due = [self._turn.popleft() for _ in range(min(STARTED_A_TURN, len(self._turn)))]
        self._started = self._long_bytes = 0
        self._turn_ends = False
        for connection in due:
            connection.go_on()
        if self._turn:
            self._end_turn_soon(loop)

    def read(self, head: bytes) -> AnyQuestion | Message | None:
        """Read a whole head: a poll, or what is handed on; None where more of it must be looked at."""
        line = self._pattern.match(head) or PLAIN_LINE.match(head)
        fields = line and self._fields_of(head[line.end() :])
        if line is None or fields is None:
            return None
        front = self.front
        if line.re is PLAIN_LINE or not front.hosts.include(fields.get(b"host")):
            return Message(line[1].decode(), list(fields.items()), lent=True)
        method, session_id, kind, query_string = line.groups()
        asked = method.decode(), session_id.decode(), query_string or b"", fields, own_name(fields)
        return question_of(kind)(*asked, front.common(fields))

    def _fields_of(self, lines: bytes) -> RequestFields | None:
        """Read the header fields of a head; None where they are not the usual ones."""
        fields = self._fields.get(lines)
        if fields is None:
            fields = usual_fields(lines)
            if fields is not None and len(lines) <= FIELDS_BYTES and NOT_BEFORE_FIELD not in fields:
                if len(self._fields) >= REMEMBERED_FIELDS:
                    self._fields.popitem(last=False)  # a plain dict would search for its oldest
                self._fields[lines] = fields
        return fields

    def remember(self, head: bytes, question: AnyQuestion) -> None:
        """Remember a poll that was answered, or is held: only who has a key fills this memory. The oldest make room."""
        if len(head) > POLL_BYTES or head in self.polls or not question.comes_again:
            return
        self.polls[head] = question
        self._polls_bytes += len(head)
        while len(self.polls) > REMEMBERED_POLLS or self._polls_bytes > POLLS_BYTES:
            forgotten, _ = self.polls.popitem(last=False)
            self._polls_bytes -= len(forgotten)

    def parts(self, reply: Reply, common: HeaderFields, name: bytes, defaults: Pairs, end: bytes = END) -> list[bytes]:
        """The parts of a response's head, as uvicorn writes it, and its body, to be joined.

        `defaults` are uvicorn's own fields, a new list each second.
        """
        if defaults is not self._defaults:
            self._defaults, self._starts = defaults, {}
        start = self._starts.get(reply.status)
        if start is None:
            status = HTTPStatus(reply.status)
            line = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
            start = self._starts[reply.status] = line + HeaderFields(defaults).lines
        if len(reply.fields) == 3:  # a poll's: without a loop it takes a thirtieth less
            fixed, dated, live = reply.fields
            return [start, fixed.lines, dated.lines, live.lines, common.lines, _NAME, name, end, reply.body]
        return [start, *[fields.lines for fields in reply.fields], common.lines, _NAME, name, end, reply.body]

    async def run(self) -> None:
        """Look after the connections, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(time.monotonic())

    def sweep(self, now: float) -> None:
        """End what has lasted too long; then what holds most, while all hold too much."""
        held = [
            (size, id(connection), connection) for connection in tuple(self._open) if (size := connection.check(now))
        ]
        total = sum(size for size, _, _ in held)
        for size, _, connection in sorted(held, reverse=True):
            if total <= self.bounds.waiting_bytes:
                break
            connection.end_untaken()
            total -= size
