"""What becomes of a request before a store or a route is asked: the same, whichever way it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from query_api.access.denials import Denial
from query_api.access.hosts import ANY_HOST, Hosts
from query_api.http import request_log
from query_api.http.cors import Cors
from query_api.http.problems import broken, problem
from query_api.http.reply import HeaderFields, Reply
from query_api.http.request_fields import RequestFields
from query_api.http.request_id import HEADER, RequestIds, is_acceptable, naming
from query_api.polls.events import Events, EventsRequest, Question
from query_api.polls.held_events import EventsWaiter
from query_api.requests.waiter import Ending
from query_api.streams.stream import AskedStream, Stream, StreamQuestion
from query_api.streams.waiter import StreamWaiter

SESSIONS = "/api/v2/sessions/"
AnyQuestion = Question | StreamQuestion
Asked = EventsRequest | AskedStream
AnyHeld = EventsWaiter | StreamWaiter
_QUESTIONS: dict[str, type[Question | StreamQuestion]] = {"events": Question, "stream": StreamQuestion}
_OF_HEADS = {name.encode(): kind for name, kind in _QUESTIONS.items()}
_BEFORE = len(SESSIONS)
_SCHEMES = frozenset({b"bearer", b"basic"})
"""Words before a key that are none themselves."""
BROKEN = broken()
_PROBES = frozenset({"/health/live", "/health/ready"})
_OTHER_HOST = Denial("host", problem(400, "The request is for another host: READSIDE_ALLOWED_HOSTS does not name it."))

_log = structlog.get_logger(__name__)


class Front:
    """Names requests, knows polls by their paths, and answers those that need no store."""

    def __init__(self, events: Events, stream: Stream, cors: Cors, root_path: str, hosts: Hosts = ANY_HOST) -> None:
        self._events = events
        self._stream = stream
        self._cors = cors
        self.hosts = hosts
        self.new_name = RequestIds().name
        """Makes the id of a request that brings none."""
        self.prefix = root_path.rstrip("/")
        self.tells = request_log.wanted()
        """Whether the log takes a line for each answer."""

    def name(self, fields: RequestFields) -> bytes:
        """The id of a request: its caller's own where it is one, else a new one."""
        return own_name(fields) or self.new_name()

    def common(self, fields: RequestFields) -> HeaderFields:
        """The fields that every answer to a page of this origin bears."""
        return self._cors.fields(fields.get(b"origin"))

    def preflight(self, method: str, fields: RequestFields) -> Reply | None:
        """Answer a browser that asks whether a page may poll; None where this is no such question."""
        origin = fields.get(b"origin")
        if method != "OPTIONS" or origin is None or not self._cors.on:
            return None
        return Reply(204, (self._cors.preflight(origin),), b"")

    def misdirected(self, fields: RequestFields, path: str, address: str) -> Reply | None:
        """Refuse a request that names another host than ours; None where it may go on. Probes may name any."""
        if self.hosts.include(fields.get(b"host")) or path in _PROBES:
            return None
        return self._events.denied(_OTHER_HOST, address)

    def below_the_prefix(self, path: str) -> str:
        """The path below our prefix, whether or not the proxy before us has cut the prefix off."""
        prefix = self.prefix
        return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path

    def at_once(self, name: bytes, question: AnyQuestion, address: str) -> Reply | Asked | AnyHeld:
        """Answer a poll that needs no store; else give what a store must be asked, or what is to be held.

        Raises nothing.
        """
        try:
            if isinstance(question, Question):
                return self._events.at_once(question, address)
            return self._stream.at_once(question, address)
        except Exception:  # noqa: BLE001 (whatever is wrong with one poll, its caller gets an answer)
            with naming(name):
                _log.exception("a poll failed", session_id=request_log.shown(question.session_id))
            return BROKEN

    def hold(self, name: bytes, waiter: AnyHeld, deliver: Callable[[Reply], None]) -> Reply | None:
        """Hold a poll until `deliver` is called with its answer; gives the refusal where no place is free."""
        waiter.name, waiter.deliver = name, deliver
        if isinstance(waiter, EventsWaiter):
            return self._events.hold(waiter)
        return self._stream.hold(waiter)

    def leave(self, waiter: AnyHeld) -> None:
        """Forget a held poll whose client has left."""
        self._events.held.leave(waiter)

    def end_early(self, waiter: AnyHeld, ending: Ending) -> None:
        """Answer a held poll now, or as soon as anything is known."""
        self._events.held.end_early(waiter, ending)

    def drain(self) -> None:
        """Answer all held polls, and hold none from now on."""
        self._events.held.drain()

    def gone(self, task: asyncio.Task[Any]) -> None:
        """Tell that the client of a question has left, which this task answers."""
        self._events.gone(task)

    async def from_stores(self, asked: Asked) -> Reply | AnyHeld:
        """Answer a poll that memory has no answer to, or not yet in its form; or give what is to be held.

        Raises nothing.
        """
        try:
            if isinstance(asked, EventsRequest):
                return await self._events.from_stores(asked)
            return await self._stream.from_stores(asked)
        except Exception:  # noqa: BLE001 (the same)
            _log.exception("a poll failed", session_id=request_log.shown(asked.question.session_id))
            return BROKEN


def own_name(fields: RequestFields) -> bytes | None:
    """The id that a request's caller gave it, if it is one and holds no key that came with it."""
    wished = fields.get(HEADER)
    return wished if wished is not None and is_acceptable(wished, _secrets(fields)) else None


def question_at(path: str) -> tuple[type[Question | StreamQuestion], str] | None:
    """What is asked at this path, and of which session, as it stands there; None where that is no such path."""
    session_id, _, name = path[_BEFORE:].removesuffix("/").rpartition("/")
    kind = _QUESTIONS.get(name)
    if kind is None or path[:_BEFORE] != SESSIONS or "/" in session_id:
        return None
    return kind, session_id


def question_of(name: bytes) -> type[Question | StreamQuestion]:
    """What is asked at a path that ends with `events` or `stream`."""
    return _OF_HEADS[name]


def _secrets(fields: RequestFields) -> list[bytes]:
    """The keys that a request shows, right or wrong: without blanks, each of several, without the scheme."""
    shown = fields.get(b"x-api-key", b"").split(), fields.get(b"authorization", b"").split()
    return [word for words in shown for word in words if word.lower() not in _SCHEMES]
