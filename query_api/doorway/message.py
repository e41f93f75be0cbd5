"""One request in hand: who answers it, and which of the bytes that come belong to it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import httptools

from query_api.doorway.census import Reason
from query_api.doorway.front import AnyHeld
from query_api.doorway.heads import END, BadHead, LongHead, MessageParser, judge
from query_api.http.problems import problem
from query_api.http.reply import Pairs, Reply
from query_api.http.request_fields import wanted

_BODY_TOO_LONG = problem(413, "The request's body is too long: nothing here needs one.")
_BAD_BODY = problem(400, "The request's body is not what its head announces.")


class Refusal(NamedTuple):
    """Why a request goes no further, and what it is told; its method ("" where it has none) and header fields."""

    reason: Reason
    reply: Reply
    method: str
    headers: Pairs


class BadBody(Exception):
    """A body that is no body, or too long."""

    def __init__(self, reason: Reason, reply: Reply) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.reply = reply


class Message:
    """A request that has no body. `lent`: uvicorn has it, and not we ourselves."""

    __slots__ = ("answered", "asking", "headers", "held", "lent", "method", "size", "started", "whole")

    def __init__(self, method: str, headers: Pairs, *, lent: bool) -> None:
        self.method = method
        self.headers = headers
        self.lent = lent
        self.size = 0
        """The bytes of it that are counted as waiting for its answer."""
        self.asking: asyncio.Task[None] | None = None
        """What asks the stores for its answer."""
        self.held: AnyHeld | None = None
        """What is held of it: it waits for news."""
        self.whole = True
        """Whether all of it has come."""
        self.started = self.answered = False
        """Whether its answer has begun to leave, and has left."""

    @property
    def keeps_alive(self) -> bool:
        """Whether another one may follow it."""
        return True


class BodyMessage(Message):
    """A request that may have a body: `left` bytes of it to come, or chunks (None), `most` bytes of them."""

    __slots__ = ("_left", "_most", "_parser")

    def __init__(self, parser: MessageParser, left: int | None, most: int) -> None:
        super().__init__(parser.method, list(wanted(parser.headers).items()), lent=True)
        parser.headers = []  # uvicorn's own parser has all of them
        self._parser = parser
        self._left = left
        self._most = most
        self.whole = left == 0

    @property
    def keeps_alive(self) -> bool:
        """Whether another one may follow it: a trailer, too, can end the connection."""
        return self._parser.keeps_alive

    def take(self, data: bytes) -> int:
        """Take what belongs to it; give how many of these bytes do. Raises BadBody."""
        try:
            return self._chunks(data) if self._left is None else self._bytes(data, self._left)
        except httptools.HttpParserError:
            raise BadBody("malformed", _BAD_BODY) from None

    def _bytes(self, data: bytes, left: int) -> int:
        taken = min(left, len(data))
        self._parser.feed(data[:taken])
        self._left = left - taken
        self.whole = not self._left
        if self.whole != bool(self._parser.complete):
            raise BadBody("malformed", _BAD_BODY)
        return taken

    def _chunks(self, data: bytes) -> int:
        """Only the parser knows where chunks end, and it tells after each feeding: it is fed up to each empty line.

        The last chunk ends with one, whatever else does. Of one that is cut, the end is in the first bytes here.
        """
        place = 0
        while place < len(data) and not self.whole:
            if not self._most:
                raise BadBody("body_too_long", _BODY_TOO_LONG)
            piece = data[place : min(_possible_end(data, place), place + self._most)]
            self._parser.feed(piece)
            if self._parser.begun > 1:
                raise BadBody("malformed", _BAD_BODY)
            self._most -= len(piece)
            place += len(piece)
            self.whole = bool(self._parser.complete)
        return place


def _possible_end(data: bytes, place: int) -> int:
    """The next place where an empty line ends, or may end that has begun before this data."""
    overlap = len(END) - 1
    if place < overlap:
        return place + 1
    found = data.find(END, place - overlap)
    return len(data) if found < 0 else found + len(END)


def message_of(head: bytes, most: int) -> Message | Refusal:
    """Read a whole head; `most` bytes of body may follow."""
    parser = MessageParser()
    try:
        body_bytes = judge(parser, head)
    except LongHead as error:
        return Refusal("head_too_long", problem(431, str(error)), "", [])
    except BadHead as error:
        return Refusal("malformed", problem(400, str(error)), parser.method, parser.headers)
    if body_bytes is not None and body_bytes > most:
        return Refusal("body_too_long", _BODY_TOO_LONG, parser.method, parser.headers)
    return BodyMessage(parser, body_bytes, most)
