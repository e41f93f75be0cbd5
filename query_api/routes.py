"""The routes beside the polls: warm, projection, health, metrics."""

from __future__ import annotations

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from query_api.access.gate import Credential
from query_api.answers import PLAIN_LAGS, AsOf, as_of, missing
from query_api.hot_sessions import list_hot_sessions, parse_page
from query_api.layer import address_of
from query_api.problems import placeless, retry_later
from query_api.reply import Reply
from query_api.request_fields import wanted
from query_api.service import Service
from query_api.view_reads import ViewAnswer
from readmodel.errors import ForeignView, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.ids import parse_session_id
from readmodel.parameters import Parameters
from readmodel.poll import Poll
from readmodel.poll_query import MAX_PAGE
from readmodel.projection import read_projection
from readmodel.projection_advice import users_see, what_to_do
from readmodel.view import Cold, ViewPage

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
    """Turn a reply into FastAPI's kind of response."""
    made = Response(reply.body, reply.status)
    made.raw_headers = reply.headers
    return made


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(_service)]


def _needs(scope: str) -> Any:
    async def check(request: Request, service: Parts) -> Credential:
        admitted = await service.gate.admit(wanted(request.scope["headers"]), scope, address_of(request.scope))
        if isinstance(admitted, Reply):
            raise RequestRefusal(admitted)
        return admitted

    return Depends(check)


router = APIRouter()


@router.post("/api/v2/sessions/{session_id}/warm")
async def warm(
    session_id: str, request: Request, service: Parts, credential: Annotated[Credential, _needs("read")]
) -> Response:
    """Bring a session into Redis, unless it is there."""
    _no_parameters(request)
    sid = parse_session_id(session_id)
    denial = credential.denies(sid)
    if denial is not None:
        raise RequestRefusal(service.gate.denied(denial, address_of(request.scope)))
    poll = Poll(sid, limit=1, page=MAX_PAGE)  # no event is read: one may be longer than an answer, or unreadable
    try:
        answer = await service.view_nodes.read(poll, credential.principal)
        if isinstance(answer, Cold):
            fetched = await service.cold.answer(poll, service.config.max_staleness_seconds, credential.principal)
            if fetched.logged.status is None:
                return _missing(sid, fetched.freshness)
        await _check_followed(service, sid, answer)
        if isinstance(answer, Cold) and not await service.requests.warm_now(sid):
            return response(retry_later(_NO_LEADER))
    except ViewUnavailable:
        raise RequestRefusal(retry_later(_REDIS_AWAY)) from None
    except ForeignView:
        raise RequestRefusal(retry_later(_FOREIGN_VIEW)) from None
    if isinstance(answer, Cold):
        return _json({"session_id": sid, "state": "warming"}, 202)
    service.requests.touch(sid)
    return _json({"session_id": sid, "state": "hot"}, 202)


async def _check_followed(service: Service, session_id: str, answer: ViewAnswer[ViewPage] | Cold) -> None:
    """Refuse to say anything of a session in a view that nobody can write to, or that stands still."""
    refusal = await service.view.part_of(session_id).write_refusal()
    staleness = service.config.max_staleness_seconds
    if refusal is not None:
        raise RequestRefusal(retry_later(_NOT_WRITABLE))
    if not isinstance(answer, Cold) and answer.freshness.lag_seconds(time.monotonic()) > staleness:
        raise RequestRefusal(retry_later(_STANDS_STILL))


@router.get("/api/v2/projection", dependencies=[_needs("ops")])
async def projection(request: Request, service: Parts) -> Response:
    """Tell how far behind the view is."""
    _no_parameters(request)
    staleness = service.config.max_staleness_seconds
    state = await read_projection(service.view, staleness, service.database())
    return _json({**state.as_json(), "users_see": users_see(state, staleness), "what_to_do": what_to_do(state)})


@router.get("/api/v2/projection/history", dependencies=[_needs("ops")])
async def history(request: Request, service: Parts) -> Response:
    """Give the lag of the last fifteen minutes."""
    _no_parameters(request)
    return _json(service.history.as_json())


@router.get("/api/v2/projection/sessions", dependencies=[_needs("ops")])
async def hot_sessions(request: Request, service: Parts) -> Response:
    """List the hot sessions."""
    page = parse_page(request.scope["query_string"])
    try:
        await service.view.check(service.database())
        listed = await list_hot_sessions(service.view, page)
    except ForeignView:
        return response(retry_later(_FOREIGN_VIEW))
    except (StoreUnavailable, StoreRefused):
        return response(retry_later(_NO_VIEW if len(service.view.parts) == 1 else _NOT_WHOLE))
    return _json(listed)


@router.get("/health/live")
async def live() -> Response:
    """Tell that the process is up."""
    return _json({"status": "live"})


@router.get("/health/ready")
async def ready(service: Parts) -> Response:
    """Tell whether polls can be answered."""
    state = await service.readiness.state()
    if service.readiness.refusal is not None:
        return response(retry_later(placeless(service.readiness.refusal)))
    if not any(state.values()):
        return response(retry_later("Neither Redis nor PostgreSQL answers, so polls cannot be answered."))
    stores = {name: "up" if up else "down" for name, up in state.items()}
    down = service.view_check.down
    if down:
        return _json({"status": "ready", "stores": {**stores, "redis": "partly_down"}, "slices_down": down})
    return _json({"status": "ready", "stores": stores})


@router.get("/metrics")
async def metrics(service: Parts) -> Response:
    """Give Prometheus' text."""
    return Response(service.exposition.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, {"cache-control": "no-store"}, "application/json")


def _no_parameters(request: Request) -> None:
    Parameters(request.scope["query_string"], (), "none is accepted here").check()


def _missing(session_id: str, freshness: AsOf) -> Response:
    answer, lag_ms = missing(session_id), int(freshness.lag_seconds(time.monotonic()) * 1000)
    fields = (answer.fields, as_of("postgres", freshness.as_of_us), PLAIN_LAGS[lag_ms])
    return response(Reply(404, fields, answer.body))
