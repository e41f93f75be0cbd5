"""The plain ASGI layer in front of FastAPI: path prefix, ids, CORS, HEAD, polls, and what to say when one breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

import structlog

from query_api import request_log
from query_api.cors import Cors
from query_api.events import Events, Given
from query_api.problems import ProblemReply, broken
from query_api.request_id import HEADER, RequestIds, about

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSIONS = "/api/v2/sessions/"
EVENTS = "/events"
_BEFORE, _AFTER = len(SESSIONS), -len(EVENTS)
_WANTED = frozenset(
    {b"x-api-key", b"authorization", b"if-none-match", b"readside-max-staleness", b"origin", b"x-request-id"}
    | {b"traceparent"}
)
_BROKEN = broken()

_log = structlog.get_logger(__name__)


class Layer:
    """Answers polls itself, and hands everything else to `app`."""

    def __init__(self, app: App, events: Events, cors: Cors, root_path: str) -> None:
        self._app = app
        self._events = events
        self._cors = cors
        self._root_path = root_path.rstrip("/")
        self._ids = RequestIds()
        self._tells = request_log.wanted()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if self._root_path or scope.get("root_path"):
            path = self._below_the_prefix(scope)
        given = _given(scope["headers"])
        origin, wished = given.get(b"origin"), given.get(HEADER)
        name = self._ids.name() if wished is None else self._ids.accept(wished, *_secrets(given))
        extra = [*self._cors.headers(origin), (HEADER, name)] if self._cors.on else [(HEADER, name)]
        if self._tells:
            about(name)
            send = request_log.LoggingSend(send, method, path)
        if method == "OPTIONS" and self._cors.on and origin is not None:
            await respond(send, ProblemReply(204, [*self._cors.preflight(origin), (HEADER, name)], b""), method)
            return
        session_id = path[_BEFORE:_AFTER]
        if path[:_BEFORE] != SESSIONS or path[_AFTER:] != EVENTS or "/" in session_id:
            about(name)
            await self._hand_over(scope, path, receive, send, extra)
            return
        # No coroutine of our own, and no call of `respond`, on the way that nearly every poll takes.
        try:
            reply = self._events.at_once(method, session_id, scope["query_string"], given)
            if not isinstance(reply, ProblemReply):
                about(name)
                reply = await self._events.from_stores(reply, given)
        except Exception:  # noqa: BLE001 (whatever is wrong with one poll, its caller gets an answer)
            about(name)
            _log.exception("a poll failed", session_id=request_log.shown(session_id))
            reply = _BROKEN
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers + extra})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})

    async def _hand_over(
        self, scope: Scope, path: str, receive: Receive, send: Send, extra: list[tuple[bytes, bytes]]
    ) -> None:
        head = scope["method"] == "HEAD"
        if (head or scope["method"] == "GET") and scope["path"] in {self._root_path, scope.get("root_path")} - {""}:
            await respond(send, ProblemReply(307, [*_to_the_index(scope), *extra], b""), scope["method"])
            return
        inner = {**scope, "path": path, "root_path": "", "method": "GET" if head else scope["method"]}
        started = False

        async def pass_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, pass_on)
        except Exception:  # noqa: BLE001 (the same)
            _log.exception("a request failed", path=request_log.shown(path))
            if not started:
                await respond(
                    send, ProblemReply(_BROKEN.status, _BROKEN.headers + extra, _BROKEN.body), scope["method"]
                )

    def _below_the_prefix(self, scope: Scope) -> str:
        """Give the path below our prefix, whether or not the proxy before us has cut the prefix off."""
        path: str = scope["path"]
        told: str = scope.get("root_path", "")
        if told and path.startswith(told + "/"):
            path = path[len(told) :]  # a server that is told a prefix puts it in front of every path
        prefix = self._root_path
        return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path


def _to_the_index(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Send a reader of our prefix itself to the page below it: the page's links are relative."""
    query = scope["query_string"]
    location = quote(scope["path"]).encode() + b"/" + (b"?" + query if query else b"")
    return [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]


async def respond(send: Send, reply: ProblemReply, method: str) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})


def _secrets(given: Given) -> tuple[bytes | None, bytes | None]:
    """Give the keys that a request shows, right or wrong."""
    return given.get(b"x-api-key"), given.get(b"authorization", b"").rpartition(b" ")[2]


def _given(headers: list[tuple[bytes, bytes]]) -> Given:
    given: Given = {}
    for name, value in headers:
        if name in _WANTED:
            given[name] = given[name] + b", " + value if name in given else value
    return given
