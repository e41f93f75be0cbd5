"""One connection: polls are answered here, hot ones in one write; all else goes to uvicorn, one request at a time.

Answers leave in the order of the requests: while a request is in hand, nothing else is answered. uvicorn has one in
hand until both are over: the request, by the parser that was fed every byte of it, and its answer, by the word of the
ASGI application. What comes meanwhile is kept, and the socket is read no further.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from query_api.doorway.census import Reason
from query_api.doorway.connections import CLOSES, CONNECTION, CONNECTIONS, LONG_BYTES, Connections
from query_api.doorway.facade import Facade
from query_api.doorway.front import AnyHeld, AnyQuestion, Asked
from query_api.doorway.heads import END
from query_api.doorway.inner import let_go
from query_api.doorway.message import BadBody, BodyMessage, Message, Refusal, message_of
from query_api.http import request_log
from query_api.http.problems import problem, retry_later
from query_api.http.reply import Pairs, Reply
from query_api.http.request_fields import wanted
from query_api.http.request_id import about

TURN_ANSWERS = 16
"""Answers to one client before others get their turn."""
LINGER_SECONDS, LINGER_BYTES = 2.0, 1_000_000
"""After a refusal so much is read and thrown away: closing a socket with bytes unread would lose the answer."""
TURNED_AWAY_SECONDS, TURNED_AWAY = 1.0, 64
"""One connection too many is heard for so long before it gets its 503; so many are heard at a time."""
SMALL_BYTES = 1_024
"""What one request holds may be so much whatever others hold, and may be kept when it is over."""
SEPARATE_BYTES = 16_384
"""From this length on a body is not copied behind its head."""

_ANSWERED = frozenset({200, 304, 404})
_TOO_LONG = problem(431, "The request's head is too long.")
_TOO_SLOW = problem(408, "The request was not whole in time.")
_FULL = retry_later("As many connections are open as this process serves; try again in a second.")
_WAITING = retry_later("Too much waits to be read or taken; try again in a second.")


class Doorway(asyncio.Protocol):
    """A connection of the API. uvicorn makes it, by its setting `http`."""

    _transport: asyncio.Transport
    _address: str
    """Where the client is, "" for a Unix socket's."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._shared: Connections = app_state[CONNECTIONS]
        self._inner: HttpToolsProtocol | None = None
        self._message: Message | None = None
        """The request that uvicorn has in hand, or that a store is asked for."""
        self._held = bytearray()
        """What has come in and waits for its turn, or for the rest of its head."""
        self._seen = self._began = time.monotonic()
        """When the last request was over, and when the one that is not yet whole began."""
        self._untaken = (0, self._seen)
        """The fewest bytes that waited to be taken, and since when it has been no fewer."""
        self._untaken_bytes = 0
        """What is counted of them in the bound of all connections."""
        self._ends_at = 0.0
        """When it ends for good, after a refusal."""
        self._to_throw_away = LINGER_BYTES
        self._serves = self._reads = True
        self._is_used = False
        """Whether something was answered since its time was last looked at."""
        self._writes_paused = self._rests = self._half_closed = self._drains = self._is_cut_off = False

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own have no base class
        self._server.connections.add(cast("Any", self))
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._serves = self._shared.add(self)
        if not self._serves and self._shared.turned_away > TURNED_AWAY:
            self._refuse("full", _FULL)
            self._transport.close()  # each one that is heard out takes an open file, and few of those are left

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._ends_at:
            self._to_throw_away -= len(data)
            if self._to_throw_away < 0:
                self._transport.abort()
        elif not self._serves:
            self._refuse("full", _FULL)
        elif self._message is not None or self._held or self._writes_paused or self._rests:
            self._take(data)
        else:
            question = self._shared.polls.get(data)
            if question is None or question.is_long:
                self._serve(data)
            else:
                self._answer(data, question, new=False)

    def eof_received(self) -> bool:
        """The client sends nothing more; what it has asked is answered first."""
        self._half_closed = True
        if self._message is not None and not self._message.whole:
            return False  # the rest of it never comes
        if self._message is not None and self._message.held is not None:
            # As a rule the client has closed its socket; whoever has not gets its answer now.
            self._shared.front.end_early(self._message.held, "half_closed")
        return not self._ends_at and (self._must_wait() or not self._serves)

    def connection_lost(self, _: Exception | None) -> None:
        """The connection is over; the application may not be done with its request, and leaves cycles then, too."""
        message = self._take_back()
        if message is not None and message.lent:
            self._shared.clear_away(message.size)
        if message is not None and message.asking is not None:
            self._shared.front.gone(message.asking)
        if message is not None and message.held is not None:
            self._shared.front.leave(message.held)
        self._release()
        self._count_untaken(0)
        self._shared.remove(self, placed=self._serves)
        self._server.connections.discard(cast("Any", self))
        self.let_go()

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._writes_paused = True
        self._count_untaken(self._transport.get_write_buffer_size())
        if self._shared.untaken_bytes > self._shared.bounds.waiting_bytes:
            self.end_untaken()
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It takes them, and has as long again for what is written next."""
        self._writes_paused = False
        self._untaken = (0, 0.0)
        self._count_untaken(0)
        if self._inner is not None:
            self._inner.resume_writing()
        self._go_on()

    # What uvicorn, its protocol's facade, the application and the passing of time call.

    def shutdown(self) -> None:
        """End after the answer that is due, and take no more requests. uvicorn tells its own protocol by itself."""
        self._drains = True
        self._shared.front.drain()
        if self._message is None or self._message.answered:
            self._transport.close()

    def lent(self) -> bool:
        """Whether uvicorn has a request in hand that it may still say something to."""
        return self._message is not None and self._message.lent and not self._message.answered

    def write(self, data: Any) -> None:
        """Send bytes of uvicorn's answer."""
        if self._message is not None:
            self._message.started = True
        self._transport.write(data)

    def close(self) -> None:
        """End once what was written has left."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport.is_closing()

    def answered(self) -> None:
        """The application has answered; uvicorn's protocol has its last word first."""
        self._loop.call_soon(self._over, self._message)

    def holds(self, waiter: AnyHeld) -> None:
        """The request in hand is held: its client's leaving ends that."""
        if self._message is not None:
            self._message.held = waiter

    def broken(self) -> None:
        """The application broke off: whether it answered is not known."""
        self._transport.close()

    def check(self, now: float) -> int:
        """End the connection if its time is over; give the bytes that it does not take. `now` is monotonic seconds."""
        bounds, size = self._shared.bounds, self._transport.get_write_buffer_size()
        self._count_untaken(size)
        if self._is_used:
            self._is_used, self._seen = False, now
        self._check_taken(size, now)
        if self._ends_at:
            if now >= self._ends_at:
                self._transport.abort()
        elif not self._serves:
            if now - self._seen > TURNED_AWAY_SECONDS:
                self._refuse("full", _FULL)
        elif self._is_unfinished():
            if now - self._began > bounds.head_seconds:
                self._refuse("head_too_slow", _TOO_SLOW)
        elif self._message is None and not size and now - self._seen > bounds.idle_seconds:
            self._shared.census.refused("idle")
            self._transport.close()
        return size

    def _check_taken(self, size: int, now: float) -> None:
        """End the connection if its client has taken nothing for too long of what waits for it."""
        least, since = self._untaken
        if not size or size < least or not least:
            self._untaken = (size, now)
        elif now - since > self._shared.bounds.untaken_seconds:
            self.end_untaken()

    def end_untaken(self) -> None:
        """End the connection at once, also where it was to end after what was written: nobody takes that."""
        if not self._is_cut_off:
            self._is_cut_off = True
            self._shared.census.refused("untaken")
            self._transport.abort()

    def let_go(self) -> None:
        """Let go of uvicorn's protocol, which has nothing in hand."""
        inner, self._inner = self._inner, None
        if inner is not None:
            self._shared.unused.pop(self, None)
            let_go(inner)

    def go_on(self) -> None:
        """Go on, now that its turn has come."""
        self._rests = False
        self._go_on()

    # How requests are served.

    def _serve(self, data: bytes) -> None:
        """Answer, hand over or refuse what is whole in `data`, in order, as long as it is our turn; keep the rest."""
        shared, start, length = self._shared, 0, len(data)
        for _ in range(TURN_ANSWERS):
            end = data.find(END, start) + len(END)
            if end < len(END):
                break
            head = data if end - start == length else data[start:end]
            known = shared.polls.get(head)
            if (known is None or known.is_long) and not shared.may_answer(self):
                self._rests = True
                break
            if known is not None:
                self._answer(head, known, new=False)
            elif not self._begin(head.lstrip(b"\r\n")):
                self._rests = True
                break
            start = end
            if self._ends_at:
                return
            if self._message is not None or self._writes_paused:
                break
            if start == length:
                return
        else:
            self._rests = True
            self._loop.call_soon(self.go_on)
        self._take(data[start:])

    def _answer(self, head: bytes, question: AnyQuestion, *, new: bool) -> None:
        """Answer a poll: at once if that needs no store."""
        front = self._shared.front
        started = time.monotonic() if front.tells else 0.0
        name = question.name or front.new_name()
        reply = front.at_once(name, question, self._address)
        if isinstance(reply, Reply):
            self._send(reply, question, name, started)
            if new and reply.status in _ANSWERED:
                self._shared.remember(head, question)
            return
        self._message = Message(question.method, list(question.fields.items()), lent=False)
        if self._is_too_much(self._message, len(head)):
            self._refuse("waiting", _WAITING)
            return
        if not isinstance(reply, Asked):  # a waiter is of an abstract class: asking for that takes ten times as long
            self._hold(reply, name)
            if new:
                self._shared.remember(head, question)
            return
        self._message.asking = task = self._loop.create_task(self._ask(self._message, reply, name, head))
        self._server.tasks.add(task)  # in its last moments uvicorn waits for these
        task.add_done_callback(self._server.tasks.discard)

    async def _ask(self, message: Message, asked: Asked, name: bytes, head: bytes) -> None:
        """Answer a poll that needs a store, unless its client is gone by then."""
        about(name)
        try:
            reply = await self._shared.front.from_stores(asked)
        except BaseException:
            self.broken()
            raise
        if message is not self._message:
            return
        if isinstance(reply, Reply):
            self._send(reply, asked.question, name, asked.at)
            if reply.status in _ANSWERED:
                self._shared.remember(head, asked.question)
            self._finish(message)
        else:
            message.asking = None
            self._hold(reply, name)
            self._shared.remember(head, asked.question)

    def _hold(self, waiter: AnyHeld, name: bytes) -> None:
        """Have a poll held: it was let in, and waits for news. No task waits with it."""
        self.holds(waiter)
        if not self._reads:
            self._reads = True
            self._transport.resume_reading()
        refusal = self._shared.front.hold(name, waiter, self._answer_held)
        if refusal is not None:
            self._answer_held(refusal)
        elif self._half_closed:
            self._shared.front.end_early(waiter, "half_closed")

    def _answer_held(self, reply: Reply) -> None:
        """Answer the poll that is held."""
        message = self._message
        if message is not None and message.held is not None:
            waiter, message.held = message.held, None  # a second answer would be another request's
            self._send(reply, waiter.question, waiter.name, waiter.came)
            self._finish(message)

    def _send(self, reply: Reply, question: AnyQuestion, name: bytes, started: float) -> None:
        """Write an answer."""
        shared = self._shared
        end = CLOSES if self._drains else END
        parts = shared.parts(reply, question.common, name, self._server.default_headers, end)
        if question.method == "HEAD":
            del parts[-1]
        if len(reply.body) < SEPARATE_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
            if len(reply.body) >= LONG_BYTES:
                question.is_long = True
                shared.long_answer(len(reply.body), self._loop)
        self._is_used = True
        if shared.front.tells:
            request_log.tell(name, question.method, question.path, reply, started)

    def _begin(self, head: bytes) -> bool:
        """Answer a request that was not heard before, or hand it to uvicorn, or refuse it; "" is none.

        False where it is not its turn to be handed over.
        """
        bounds = self._shared.bounds
        if not head:
            return True
        if len(head) > bounds.head_bytes:
            self._refuse("head_too_long", _TOO_LONG)
            return True
        request = self._shared.read(head) or message_of(head, bounds.body_bytes)
        if isinstance(request, AnyQuestion):
            self._answer(head, request, new=True)
        elif isinstance(request, Refusal):
            self._refuse(request.reason, request.reply, request.method, request.headers)
        elif self._shared.may_start(self, self._loop):
            self._hand_over(request, head)
        else:
            return False
        return True

    def _hand_over(self, message: Message, head: bytes) -> None:
        """Pass a request's head to uvicorn, or refuse it where too much waits."""
        self._message, self._began = message, time.monotonic()
        if self._is_too_much(message, len(head)):
            self._refuse("waiting", _WAITING)
            return
        if self._inner is None:
            self._inner = HttpToolsProtocol(
                self._config, self._server, {**self._app_state, CONNECTION: self}, self._loop
            )
            self._inner.connection_made(Facade(self, self._transport))
        else:
            self._shared.unused.pop(self, None)
        self._inner.data_received(head)

    def _take(self, data: bytes) -> None:
        """Take bytes that are no whole request, or come before their turn."""
        if isinstance(self._message, BodyMessage) and not self._message.whole:
            data = self._pass_body(self._message, data)
        held = len(self._held)
        if not held:
            data = data.lstrip(b"\r\n")  # empty lines before a request mean nothing
        if self._ends_at or not data:
            return
        self._held += data
        self._shared.waiting_bytes += len(data)
        if self._waits_too_much(len(self._held)):
            self._refuse("waiting", _WAITING)
        elif self._must_wait():
            if not self._listens():
                self._pause_reading()
        elif self._held.find(END, max(0, held - len(END))) >= 0:
            self._serve(self._release())
        elif len(self._held) > self._shared.bounds.head_bytes:
            self._refuse("head_too_long", _TOO_LONG)
        elif not held:
            self._began = time.monotonic()

    def _pass_body(self, message: BodyMessage, data: bytes) -> bytes:
        """Pass on to uvicorn what belongs to the request that it has in hand; what comes after that request."""
        try:
            end = message.take(data)
        except BadBody as error:
            self._refuse(error.reason, error.reply)
            return b""
        if self._is_too_much(message, end):
            self._refuse("waiting", _WAITING)
            return b""
        cast("HttpToolsProtocol", self._inner).data_received(data[:end])
        if message.whole and message.answered:
            self._finish(message)
        return data[end:]

    def _over(self, message: Message | None) -> None:
        """The answer to this request has left, all of it."""
        if message is not None and message is self._message:
            message.answered = True
            if message.whole:
                self._finish(message)

    def _finish(self, message: Message) -> None:
        size, self._seen = message.size, time.monotonic()
        self._take_back()
        if message.lent and size > SMALL_BYTES:
            self.let_go()
            self._shared.clear_away(size)
        elif message.lent:
            self._shared.keep_unused(self)
        if self._drains or not message.keeps_alive:
            self._transport.close()
        self._go_on()

    def _go_on(self) -> None:
        """Serve what was kept, if nothing stands in the way."""
        if self._must_wait() or self._ends_at or self._transport.is_closing():
            return
        if self._held:
            self._serve(self._release())
        waits = self._must_wait()
        if self._ends_at or (waits and self._held):
            return
        if self._half_closed and not waits:
            # Python's own event loop ends a connection twice that is closed while it says that answers are taken again.
            self._loop.call_soon(self._close_when_done)
        elif not self._reads:  # the body of the request in hand may be still to come
            self._reads = True
            self._transport.resume_reading()

    def _close_when_done(self) -> None:
        """End the connection, unless more of what its client had asked is in hand by now: that ends it then."""
        if not self._held and not self._must_wait():
            self._transport.close()

    def _refuse(self, reason: Reason, reply: Reply, method: str = "GET", headers: Pairs | None = None) -> None:
        """Answer for the last time, and read on for a moment, so that the answer arrives."""
        if self._transport.is_closing():
            return
        self._shared.census.refused(reason)
        message = self._take_back()
        self._release()
        if message is not None:
            if message.started:
                self._transport.abort()
                return
            method, headers = message.method, message.headers
        front, fields, started = self._shared.front, wanted(headers or []), time.monotonic()
        name = front.name(fields)
        parts = self._shared.parts(reply, front.common(fields), name, self._server.default_headers, CLOSES)
        self._ends_at = started + LINGER_SECONDS
        self._transport.write(b"".join(parts[:-1] if method == "HEAD" else parts))
        self._transport.write_eof()
        if not self._reads:
            self._reads = True
            self._transport.resume_reading()
        if front.tells:
            request_log.tell(name, method, "", reply, started)

    def _must_wait(self) -> bool:
        return self._message is not None or self._writes_paused or self._rests

    def _is_unfinished(self) -> bool:
        """Whether a request has begun and is not whole."""
        if self._message is not None:
            return not self._message.whole
        return bool(self._held) and not self._must_wait()

    def _listens(self) -> bool:
        """Whether the socket is read though nothing can be answered: only so a held poll's client is seen to leave."""
        is_held = self._message is not None and self._message.held is not None
        return is_held and len(self._held) <= self._shared.bounds.head_bytes

    def _pause_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._transport.pause_reading()

    def _is_too_much(self, message: Message, size: int) -> bool:
        """Count bytes of a request until it is answered; tell whether they are too many."""
        message.size += size
        self._shared.waiting_bytes += size
        return self._waits_too_much(message.size)

    def _waits_too_much(self, own: int) -> bool:
        """Whether all requests hold too much, and this one is no small one."""
        return own > SMALL_BYTES and self._shared.waiting_bytes > self._shared.most_waiting

    def _count_untaken(self, size: int) -> None:
        self._shared.untaken_bytes += size - self._untaken_bytes
        self._untaken_bytes = size

    def _take_back(self) -> Message | None:
        """Stop counting the request in hand, and return it; None where there is none."""
        message, self._message = self._message, None
        if message is not None:
            self._shared.waiting_bytes -= message.size
        return message

    def _release(self) -> bytes:
        """Stop keeping what was held back, and return it."""
        held = bytes(self._held)
        self._held.clear()
        self._shared.waiting_bytes -= len(held)
        return held
