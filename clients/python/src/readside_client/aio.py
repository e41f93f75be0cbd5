"""An asynchronous client of a readside API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from inspect import isawaitable
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx

from readside_client.connection import LIMITS, TIMEOUT_SECONDS, Connection, held, not_given, unavailable
from readside_client.errors import Unavailable
from readside_client.exact_json import ParseFloat
from readside_client.follower import Follower
from readside_client.following import Following, Step
from readside_client.model import Event, Page
from readside_client.projection import (
    PROJECTION_REQUEST,
    ProjectionReport,
    WarmReply,
    projection_report_of,
    warm_reply_of,
)
from readside_client.protocol import START, Order, Request, asked

TokenSource = Callable[[], str | Awaitable[str | None] | None]
"""A fresh token, now or later, or None where there are no more."""
TOKEN_SECONDS = 30.0


class AsyncClient:
    """Asks one API; to be closed, or used in an `async with` block. Tasks of one event loop may share it.

    `base_url`: where the API is, its path prefix included. `key`: of the scope `read`. `token`: in its place one, or a
    function that gives one, called anew before that has ended; None from it means no more. A coroutine function
    is awaited, for half a minute at most. Give neither where the API asks for none.
    `timeout_seconds`: for connecting, and for each wait for bytes, past what the API may hold an answer. `transport`:
    httpx' own by default.
    `parse_float`: makes the numbers of `event_data` that have a point, of its text; `decimal.Decimal` keeps each digit.
    Raises ValueError for a base URL that is none, and for a key or token that no header can hold.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        token: str | TokenSource | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        parse_float: ParseFloat = float,
    ) -> None:
        self._connection = Connection.to(base_url, key, token, parse_float)
        self._http = httpx.AsyncClient(
            base_url=self._connection.base_url,
            headers=self._connection.headers,
            timeout=timeout_seconds,
            limits=LIMITS,
            transport=transport,
        )
        self._give = token if callable(token) else None
        self._renewing = asyncio.Lock()
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; what follows in another task ends, at once where it waits."""
        self._closed.set()
        await self._http.aclose()

    async def events(  # noqa: PLR0913 (options, each by its name)
        self,
        session_id: str | UUID,
        *,
        since: datetime | str | None = None,
        types: str | Iterable[str] = (),
        step_ids: str | UUID | Iterable[str | UUID] = (),
        order: Order = "desc",
        limit: int | None = None,
        page: int = 1,
        previous: Page | None = None,
        max_staleness_seconds: float | None = None,
        not_before: datetime | str | None = None,
        wait_seconds: float | None = None,
    ) -> Page:
        """One page, by one request; raises RequestRefused, or Unavailable when it is worth asking again.

        `since` is exclusive. `order`: newest first, or `asc`. `limit`: how long a page is; without one it is 100, or as
        many as fit into an answer, and `per_page` says so: ask for later pages with that. `previous`: an answer to the
        same question, given back with its new freshness and interval where nothing has changed.
        `max_staleness_seconds`: 0 asks for all that is committed when the API is asked. `not_before`: an instant that
        the answer must be as of, at least; by default that of `previous`. `wait_seconds`, at most 60: the answer is
        held until it differs from `previous`, or without that until it has an item, or the time is up.
        """
        query = asked(
            session_id,
            since,
            types,
            step_ids,
            order=order,
            max_staleness_seconds=max_staleness_seconds,
            not_before=not_before,
            previous=previous,
        )
        etag = previous.etag if previous else ""
        response = await self._send(query.request(limit=limit, page=page, etag=etag, wait_seconds=wait_seconds))
        return self._connection.page(response, previous)

    async def warm(self, session_id: str | UUID) -> WarmReply:
        """Have a session loaded into Redis, so that its first poll is fast; raises as `events` does."""
        response = await self._send(asked(session_id).warm_request())
        return warm_reply_of(response.status_code, response.headers, response.content)

    async def projection(self) -> ProjectionReport:
        """Ask how far behind the view is, whatever its state; raises as `events` does.

        It needs a key with the scope `ops`: one without it, and any token, are Forbidden.
        """
        response = await self._send(PROJECTION_REQUEST)
        return projection_report_of(response.status_code, response.headers, response.content)

    def follow(  # noqa: PLR0913 (options, each by its name)
        self,
        session_id: str | UUID,
        *,
        offset: str = START,
        types: str | Iterable[str] = (),
        step_ids: str | UUID | Iterable[str | UUID] = (),
        since: datetime | str | None = None,
        until: datetime | None = None,
        patience_seconds: float | None = None,
        remember: int = 100_000,
        restart: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """Yield each event once, in the order of arrival, each as soon as it is committed; for ever.

        `offset`: where to begin: -1 (all that there is), now, or the `offset` of the last event that you handled.
        The README tells the options, and what "once" can mean. Outages are waited out. Raises RequestRefused
        (SessionNotFound when the session is purged, OffsetLost where an offset can't be continued) and, when nothing
        was answered for `patience_seconds`, Unavailable. Ends when the client is closed, and with `until` when all that
        was committed before it has been given.
        """
        following = Following(offset, until, patience_seconds, remember, restart)
        return self._follow(self._connection.follower(asked(session_id, since, types, step_ids), following))

    async def _follow(self, follower: Follower) -> AsyncGenerator[Event, None]:
        while not self._closed.is_set():
            step = await self._step(follower)
            for event in step.events:
                yield event
            if step.ended:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(step.wait_seconds):
                    await self._closed.wait()

    async def _step(self, follower: Follower) -> Step:
        try:
            response = await self._send(follower.ask())
        except Unavailable as failure:
            return follower.failed(failure)
        except RuntimeError:
            if self._closed.is_set():  # by another task, between two polls
                return Step(ended=True)
            raise
        return self._connection.step(follower, response)

    async def _send(self, request: Request) -> httpx.Response:
        while True:
            await self._renew()
            sent = self._connection.credential.headers()
            try:
                response = await self._http.request(
                    request.method,
                    request.url,
                    headers={**request.headers, **sent},
                    timeout=held(self._http.timeout, request),
                )
            except httpx.RequestError as error:
                raise unavailable(error) from error
            if not self._connection.asks_again(response, sent):
                return response

    async def _renew(self) -> None:
        """Call the function where that is due; tasks that have something good to send do not wait for it."""
        credential = self._connection.credential
        if not credential.is_due() or (self._renewing.locked() and not credential.over):
            return
        async with self._renewing:
            if not credential.is_due() or self._give is None:
                return
            try:
                async with asyncio.timeout(TOKEN_SECONDS):
                    given = self._give()
                    given = await given if isawaitable(given) else given
            except Exception as error:  # noqa: BLE001 (whatever it raises, it is asked again)
                credential.failed(not_given(error))
            else:
                credential.take(given)
