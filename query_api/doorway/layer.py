"""The plain ASGI layer in front of Starlette: path prefix, ids, CORS, HEAD, polls, and what to say when one breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

import structlog

from query_api.doorway.connections import CONNECTION, Connections
from query_api.doorway.front import BROKEN, AnyHeld, Asked, Front, question_at
from query_api.http import request_log
from query_api.http.reply import Pairs, Reply
from query_api.http.request_fields import wanted
from query_api.http.request_id import HEADER, about
from query_api.memory.staleness import NOT_BEFORE_FIELD
from query_api.polls.events import EventsRequest

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = structlog.get_logger(__name__)


class _Holding(NamedTuple):
    """A held poll, and what its answer comes to."""

    waiter: AnyHeld
    answered: asyncio.Future[Reply]


class Layer:
    """Answers polls itself, and hands everything else to `app`."""

    def __init__(self, app: App, front: Front, connections: Connections) -> None:
        self._app = app
        self._front = front
        self.connections = connections
        """Those that came in by our own protocol."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and tell the connection that it came by, where that is ours, when it is over."""
        connection = scope.get("state", {}).get(CONNECTION)
        try:
            if scope["type"] == "http":
                await self._serve(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except BaseException:
            if connection is not None:
                connection.broken()
            raise
        if connection is not None:
            connection.answered()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        front, path, method = self._front, scope["path"], scope["method"]
        if front.prefix or scope.get("root_path"):
            path = self._below_the_prefix(scope)
        fields = wanted(scope["headers"])
        name, address = front.name(fields), address_of(scope)
        extra = [*front.common(fields).pairs, (HEADER, name)]
        about(name)
        if front.tells:
            send = request_log.LoggingSend(send, method, path)
        misdirected = front.misdirected(fields, path, address)
        if misdirected is not None:
            await respond(send, misdirected, method, extra)
            return
        preflight = front.preflight(method, fields)
        if preflight is not None:
            await respond(send, preflight, method, [(HEADER, name)])
            return
        found = question_at(path)
        if found is None:
            await self._hand_over(scope, path, receive, send, extra)
            return
        kind, session_id = found
        first = front.at_once(name, kind(method, session_id, scope["query_string"], fields), address)
        reply: Reply | _Holding
        if isinstance(first, Asked):
            reply = await self._from_stores(name, first, receive)
        else:
            reply = self._answer_or_hold(name, first)
        if isinstance(reply, _Holding):
            connection = scope.get("state", {}).get(CONNECTION)
            if connection is not None:
                connection.holds(reply.waiter)
            reply = await self._held(reply, receive)
        await respond(send, reply, method, extra)

    def _answer_or_hold(self, name: bytes, reply: Reply | AnyHeld) -> Reply | _Holding:
        """Hold what is to be held; gives its refusal where no place is free."""
        if isinstance(reply, Reply):
            return reply
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        return self._front.hold(name, reply, answered.set_result) or _Holding(reply, answered)

    async def _held(self, holding: _Holding, receive: Receive) -> Reply:
        """Wait until a held poll has its answer, or its client has left."""
        answered = holding.answered
        watching = asyncio.ensure_future(_left(receive))
        either: set[asyncio.Future[Any]] = {answered, watching}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return answered.result() if answered.done() else BROKEN
        finally:
            watching.cancel()
            self._front.leave(holding.waiter)

    async def _from_stores(self, name: bytes, asked: Asked, receive: Receive) -> Reply | _Holding:
        """Answer a poll that waits; one that may be held is let go when its client leaves."""
        front = self._front
        if isinstance(asked, EventsRequest) and NOT_BEFORE_FIELD not in asked.question.fields:
            return await self._read(name, asked)
        answering = asyncio.ensure_future(self._read(name, asked))
        watching = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                front.gone(answering)
                await asyncio.wait({answering})
            return BROKEN if answering.cancelled() else answering.result()
        except asyncio.CancelledError:
            answering.add_done_callback(self._let_go)  # it may be held already, and nobody waits for it
            raise
        finally:
            watching.cancel()
            answering.cancel()

    async def _read(self, name: bytes, asked: Asked) -> Reply | _Holding:
        """Ask the stores; what has no news is held in the same turn of the loop, so that no message falls between."""
        return self._answer_or_hold(name, await self._front.from_stores(asked))

    def _let_go(self, answering: asyncio.Task[Reply | _Holding]) -> None:
        if not answering.cancelled() and isinstance(holding := answering.result(), _Holding):
            self._front.leave(holding.waiter)

    async def _hand_over(self, scope: Scope, path: str, receive: Receive, send: Send, extra: Pairs) -> None:
        head = scope["method"] == "HEAD"
        if (head or scope["method"] == "GET") and scope["path"] in {self._front.prefix, scope.get("root_path")} - {""}:
            await respond(send, Reply(307, (), b""), scope["method"], [*_to_the_index(scope), *extra])
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
                await respond(send, BROKEN, scope["method"], extra)

    def _below_the_prefix(self, scope: Scope) -> str:
        """The path below our prefix, whether or not the proxy before us has cut the prefix off."""
        path: str = scope["path"]
        told: str = scope.get("root_path", "")
        if told and path.startswith(told + "/"):
            path = path[len(told) :]  # a server that is told a prefix puts it in front of every path
        return self._front.below_the_prefix(path)


async def _left(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def address_of(scope: Scope) -> str:
    """Where a request's connection comes from; "" for a Unix socket's."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _to_the_index(scope: Scope) -> Pairs:
    """Send a reader of our prefix itself to the page below it: the page's links are relative."""
    query = scope["query_string"]
    location = quote(scope["path"]).encode() + b"/" + (b"?" + query if query else b"")
    return [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]


async def respond(send: Send, reply: Reply, method: str, extra: Pairs) -> None:
    """Send a whole response, with some header fields more."""
    await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, *extra]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})
