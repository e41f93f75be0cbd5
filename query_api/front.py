"""What becomes of a request before a store or a route is asked: the same, whichever way it comes in."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from query_api import request_log
from query_api.access.denials import Denial
from query_api.access.hosts import ANY_HOST, Hosts
from query_api.cors import Cors
from query_api.events import Events, EventsRequest, Question
from query_api.problems import broken, problem
from query_api.reply import HeaderFields, Reply
from query_api.request_fields import RequestFields
from query_api.request_id import HEADER, RequestIds, is_acceptable, naming

SESSIONS = "/api/v2/sessions/"
EVENTS = "/events"
_BEFORE, _AFTER = len(SESSIONS), -len(EVENTS)
_SCHEMES = frozenset({b"bearer", b"basic"})
"""Words before a key that are none themselves."""
BROKEN = broken()
_PROBES = frozenset({"/health/live", "/health/ready"})
_OTHER_HOST = Denial("host", problem(400, "The request is for another host: READSIDE_ALLOWED_HOSTS does not name it."))

_log = structlog.get_logger(__name__)


class Front:
    """Names requests, knows polls by their paths, and answers those that need no store."""

    def __init__(self, events: Events, cors: Cors, root_path: str, hosts: Hosts = ANY_HOST) -> None:
        self._events = events
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
        """Give the path below our prefix, whether or not the proxy before us has cut the prefix off."""
        prefix = self.prefix
        return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path

    def at_once(self, name: bytes, question: Question, address: str) -> Reply | EventsRequest:
        """Answer a poll that needs no store; else give what a store must be asked. Raises nothing."""
        try:
            return self._events.at_once(question, address)
        except Exception:  # noqa: BLE001 (whatever is wrong with one poll, its caller gets an answer)
            with naming(name):
                _log.exception("a poll failed", session_id=request_log.shown(question.session_id))
            return BROKEN

    def gone(self, task: asyncio.Task[Any]) -> None:
        """Tell that the client of a poll has left, which this task answers."""
        self._events.gone(task)

    async def from_stores(self, asked: EventsRequest) -> Reply:
        """Answer a poll that memory has no answer to, or not yet in its form. Raises nothing."""
        try:
            return await self._events.from_stores(asked)
        except Exception:  # noqa: BLE001 (the same)
            _log.exception("a poll failed", session_id=request_log.shown(asked.question.session_id))
            return BROKEN


def own_name(fields: RequestFields) -> bytes | None:
    """The id that a request's caller gave it, if it is one and holds no key that came with it."""
    wished = fields.get(HEADER)
    return wished if wished is not None and is_acceptable(wished, _secrets(fields)) else None


def events_path(session_id: str) -> str:
    """The path of a session's events."""
    return f"{SESSIONS}{session_id}{EVENTS}"


def polled_session(path: str) -> str | None:
    """The session whose events are at this path, as it stands there; None where that is no such path."""
    path = path.removesuffix("/")
    session_id = path[_BEFORE:_AFTER]
    if path[:_BEFORE] != SESSIONS or path[_AFTER:] != EVENTS or "/" in session_id:
        return None
    return session_id


def _secrets(fields: RequestFields) -> list[bytes]:
    """Give the keys that a request shows, right or wrong: without blanks, each of several, without the scheme."""
    shown = fields.get(b"x-api-key", b"").split(), fields.get(b"authorization", b"").split()
    return [word for words in shown for word in words if word.lower() not in _SCHEMES]
