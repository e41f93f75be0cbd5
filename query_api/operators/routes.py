"""The routes beside the polls: warm, projection, health, metrics."""

from __future__ import annotations

import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from query_api.access.gate import Credential
from query_api.doorway.layer import address_of
from query_api.http.problems import placeless, retry_later
from query_api.http.reply import Reply
from query_api.http.request_fields import wanted
from query_api.memory.answers import PLAIN_LAGS, AsOf, as_of, missing
from query_api.memory.staleness import Staleness
from query_api.operators.hot_sessions import list_hot_sessions, parse_page
from query_api.service import Service
from readmodel.errors import ForeignView, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.values.ids import parse_session_id
from readmodel.values.parameters import Parameters
from readmodel.values.poll import Poll
from readmodel.values.poll_query import MAX_PAGE
from readmodel.view.projection import read_projection
from readmodel.view.projection_advice import users_see, what_to_do

_NOT_WRITABLE = "Redis takes no writes, so no session can be warmed or kept; /api/v2/projection says more."
_STANDS_STILL = "The view stands still, so the session is not kept up to date; /api/v2/projection says why."
_REDIS_AWAY = "Redis does not answer, so the session cannot be warmed; try again in a second."
_NO_LEADER = "No leading projector hears the request to warm the session; try again in a second."
_FOREIGN_VIEW = "Redis holds data of others, so the hot sessions are not known; /api/v2/projection says more."
_NO_VIEW = "Redis does not answer, so the hot sessions are not known; try again in a second."
_NOT_WHOLE = "A slice is away, so the hot sessions are not known; /api/v2/projection says which and why."


class RequestRefusal(Exception):
    """A request ends with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def response(reply: Reply) -> Response:
    """Turn a reply into Starlette's kind of response."""
    made = Response(reply.body, reply.status)
    made.raw_headers = reply.headers
    return made


class Operations:
    """The endpoints, over the parts of one process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._usual = Staleness(service.config.max_staleness_seconds, explicit=True)

    def routes(self) -> list[Route]:
        """Each endpoint at its path."""
        return [
            Route("/api/v2/sessions/{session_id}/warm", self.warm, methods=["POST"]),
            Route("/api/v2/projection", self.projection),
            Route("/api/v2/projection/history", self.history),
            Route("/api/v2/projection/sessions", self.hot_sessions),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.metrics),
        ]

    async def warm(self, request: Request) -> Response:
        """Bring a session into Redis, unless it is there."""
        service, credential = self._service, await self._admitted(request, "read")
        _no_parameters(request)
        sid = parse_session_id(request.path_params["session_id"])
        denial = credential.denies(sid)
        if denial is not None:
            raise RequestRefusal(service.gate.denied(denial, address_of(request.scope)))
        poll = Poll(sid, limit=1, page=MAX_PAGE)  # no event is read: one may be longer than an answer, or unreadable
        part = service.view.part_of(sid)
        try:
            await part.check(service.database())  # where nothing can be warmed, Postgres is not asked either
            answer = await service.reader.read(poll, self._usual, credential.principal)
            if answer.found.status is None:
                return _missing(sid, answer.freshness)
            if await part.write_refusal() is not None:
                raise RequestRefusal(retry_later(_NOT_WRITABLE))
            if answer.reason == "stale":
                raise RequestRefusal(retry_later(_STANDS_STILL))
            if answer.reason is not None and not await service.requests.warm_now(sid):
                return response(retry_later(_NO_LEADER))
        except ForeignView:
            raise RequestRefusal(retry_later(_FOREIGN_VIEW)) from None
        except ViewUnavailable:
            raise RequestRefusal(retry_later(_REDIS_AWAY)) from None
        if answer.reason is not None:
            return _json({"session_id": sid, "state": "warming"}, 202)
        service.requests.touch(sid)
        return _json({"session_id": sid, "state": "hot"}, 202)

    async def projection(self, request: Request) -> Response:
        """Tell how far behind the view is."""
        service = self._service
        await self._admitted(request, "ops")
        _no_parameters(request)
        staleness = service.config.max_staleness_seconds
        state = await read_projection(service.view, staleness, service.database())
        return _json({**state.as_json(), "users_see": users_see(state, staleness), "what_to_do": what_to_do(state)})

    async def history(self, request: Request) -> Response:
        """Tell the lag of the last fifteen minutes."""
        await self._admitted(request, "ops")
        _no_parameters(request)
        return _json(self._service.history.as_json())

    async def hot_sessions(self, request: Request) -> Response:
        """List the hot sessions."""
        service = self._service
        await self._admitted(request, "ops")
        page = parse_page(request.scope["query_string"])
        try:
            await service.view.check(service.database())
            listed = await list_hot_sessions(service.view, page)
        except ForeignView:
            return response(retry_later(_FOREIGN_VIEW))
        except (StoreUnavailable, StoreRefused):
            return response(retry_later(_NO_VIEW if len(service.view.parts) == 1 else _NOT_WHOLE))
        return _json(listed)

    async def live(self, _: Request) -> Response:
        """Tell that the process is up."""
        return _json({"status": "live"})

    async def ready(self, _: Request) -> Response:
        """Tell whether polls can be answered."""
        readiness, view_check = self._service.readiness, self._service.view_check
        state = await readiness.state()
        if readiness.refusal is not None:
            return response(retry_later(placeless(readiness.refusal)))
        if not any(state.values()):
            return response(retry_later("Neither Redis nor PostgreSQL answers, so polls cannot be answered."))
        stores = {name: "up" if up else "down" for name, up in state.items()}
        if view_check.down:
            stores["redis"] = "partly_down"
            return _json({"status": "ready", "stores": stores, "slices_down": view_check.down})
        return _json({"status": "ready", "stores": stores})

    async def metrics(self, _: Request) -> Response:
        """Tell Prometheus what it scrapes."""
        return Response(self._service.exposition.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _admitted(self, request: Request, scope: str) -> Credential:
        """Let a request in; raises RequestRefusal."""
        fields = wanted(request.scope["headers"])
        admitted = await self._service.gate.admit(fields, scope, address_of(request.scope))
        if isinstance(admitted, Reply):
            raise RequestRefusal(admitted)
        return admitted


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, {"cache-control": "no-store"}, "application/json")


def _no_parameters(request: Request) -> None:
    Parameters(request.scope["query_string"], (), "none is accepted here").check()


def _missing(session_id: str, freshness: AsOf) -> Response:
    answer, lag_ms = missing(session_id), int(freshness.lag_seconds(time.monotonic()) * 1000)
    fields = (answer.fields, as_of("postgres", freshness.as_of_us), PLAIN_LAGS[lag_ms])
    return response(Reply(404, fields, answer.body))
