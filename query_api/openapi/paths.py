"""The paths of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from query_api.openapi.parts import ANSWERED, EVERYWHERE, HEADERS, STREAMED, headers
from query_api.openapi.schemas import AS_OF, EVENT_EXAMPLE, SESSION_ID

Part = dict[str, Any]

_HTML = "<!doctype html>…"
_PAGE = {"page": 1, "per_page": 100, "total": 1, "total_pages": 1, "has_next": False, "has_prev": False}
_EMPTY = {**_PAGE, "total": 0, "total_pages": 0}
_PROJECTION: Part = {
    "status": "live",
    "reason": None,
    "as_of": AS_OF,
    "lag_ms": 180,
    "hot_sessions": 42,
    "term": "5f2b6c0e9d1a4f7c",
    "batch": 81234,
    "database": "7312345678901234567/16384",
    "leader": {"id": "host-4711", "role": "leader", "state": "live"},
    "standbys": [],
    "writable": True,
    "apis": [
        {
            "id": "0d9f3c2b7a6e4d5f8c1b2a3d4e5f6071",
            "host": "api-1",
            "pid": 12,
            "started_at": "2026-01-13T09:00:00.000000Z",
            "reported_at_us": 1768314601250000,
            "connections": 812,
            "connections_bound": 10000,
            "near_bound": False,
            "replicas": [{"name": "db2.example:5432", "state": "fit", "reason": None, "lag_ms": 310}],
        }
    ],
    "slices": [],
    "users_see": "Hot sessions are answered from memory or Redis, 180 ms behind; others from Postgres.",
    "what_to_do": "Nothing.",
}
_HOT = {
    "session_id": SESSION_ID,
    "status": "in_progress",
    "events": 45,
    "last_event_at": EVENT_EXAMPLE["timestamp"],
    "last_polled_at": "2026-01-13T14:30:00.000000Z",
    "last_active_at": "2026-01-13T14:30:01.000000Z",
    "bytes": 21330,
}
_KEYED = ("BadRequest", "Unauthorized", "Forbidden", "TooManyRequests")
"""The errors of every route that asks for a key or a token."""
_FOR_TOKENS_TOO: list[Part] = [{"ApiKey": []}, {"Bearer": []}, {"Token": []}]


def paths() -> dict[str, Part]:
    """Build every path; each GET can be asked with HEAD too."""
    built = {
        "/api/v2/sessions/{session_id}/events": {"get": _events()},
        "/api/v2/sessions/{session_id}/stream": {"get": _stream()},
        "/api/v2/sessions/{session_id}/warm": {"post": _warm()},
        "/api/v2/projection": {"get": _projection()},
        "/api/v2/projection/history": {"get": _history()},
        "/api/v2/projection/sessions": {"get": _hot_sessions()},
        "/health/live": {"get": _live()},
        "/health/ready": {"get": _ready()},
        "/metrics": {
            "get": _page("metrics", "Metrics", "Prometheus' text.", "text/plain", "readside_polls_total 1.0\n")
        },
        "/openapi.json": {"get": _document()},
        "/docs": {"get": _page("docs", "These pages", "This document for people.", "text/html", _HTML)},
        "/": {"get": _page("console", "The console", "A page for people; its data needs a key.", "text/html", _HTML)},
        "/console/poller.js": {
            "get": _page(
                "poller",
                "The JavaScript client as one module",
                "An ES module that pages import without a build step. A page of another origin may import it where "
                "`READSIDE_CORS_ORIGINS` names that origin.",
                "text/javascript",
                "export class EventPoller { … }",
            )
        },
    }
    for item in built.values():
        for operation in item.values():
            operation["parameters"] = [*operation.get("parameters", ()), _ref("parameters", "request_id")]
        if "get" in item:
            item["head"] = _head(item["get"])
    return built


def _events() -> Part:
    query = ("since", "event_type", "type", "step_id", "limit", "per_page", "page", "order", "wait", "cache_buster")
    fields = ("if_none_match", "accept_encoding", "max_staleness", "not_before", "prefer", "traceparent")
    found = {
        "description": "The page.",
        "headers": headers(*ANSWERED, "Content-Encoding", "Preference-Applied"),
        "content": {
            "application/json": {
                "schema": _ref("schemas", "EventPage"),
                "examples": {
                    "events": {"value": {"items": [EVENT_EXAMPLE], "total": 1, "pagination": _PAGE}},
                    "nothing new": {"value": {"items": [], "total": 0, "pagination": _EMPTY}},
                },
            }
        },
    }
    unmodified = {
        "description": "The client holds this answer already.",
        "headers": headers(*ANSWERED, "Preference-Applied"),
    }
    return {
        "operationId": "readEvents",
        "tags": ["events"],
        "summary": "Events of a session",
        "description": "Newest first, unless `order` says otherwise. A slash after `events` is understood. Scope: "
        "`read`, or a token that names the session.",
        "security": _FOR_TOKENS_TOO,
        "parameters": [_ref("parameters", name) for name in ("session_id", *query, *fields)],
        "responses": {"200": found, "304": unmodified, **_errors(*_KEYED, "SessionNotFound")},
    }


def _stream() -> Part:
    query = ("offset", "live", "cursor", "stream_types", "type", "cache_buster")
    names = ("session_id", *query, "if_none_match", "accept_encoding", "max_staleness", "not_before", "traceparent")
    etag = {"ETag": {**HEADERS["ETag"], "required": False}}
    found = {
        "description": "What comes behind the offset, at most 1,000 events; an empty array at the end. With "
        "`offset=now` always empty, and not to be stored.",
        "headers": {**headers(*STREAMED, "Content-Encoding"), **etag},
        "content": {
            "application/json": {
                "schema": _ref("schemas", "Arrivals"),
                "examples": {"events": {"value": [EVENT_EXAMPLE]}, "at the end": {"value": []}},
            }
        },
    }
    return {
        "operationId": "readStream",
        "tags": ["events"],
        "summary": "A session's events as they arrive",
        "description": "The read side of the Durable Streams protocol, in JSON: published clients of it can follow a "
        "session. Each event comes once while the session stays hot; one that is committed late comes late, and none "
        "is left out. A row that is updated comes again. HEAD tells the end of the stream. Scope: `read`, or a token "
        "that names the session.",
        "security": _FOR_TOKENS_TOO,
        "parameters": [_ref("parameters", name) for name in names],
        "responses": {
            "200": found,
            "204": {"description": "A long poll ended without news.", "headers": headers(*STREAMED)},
            "304": {
                "description": "The client holds this answer already.",
                "headers": {**headers(*STREAMED), **etag},
            },
            **_errors(*_KEYED, "SessionNotFound", "OffsetGone"),
        },
    }


def _warm() -> Part:
    example = {"session_id": SESSION_ID, "state": "warming"}
    return {
        "operationId": "warmSession",
        "tags": ["events"],
        "summary": "Bring a session into Redis",
        "description": "So that its first polls need not ask PostgreSQL. Scope: `read`, or a token that names the "
        "session.",
        "security": _FOR_TOKENS_TOO,
        "parameters": [_ref("parameters", "session_id")],
        "responses": {
            "202": _json("Asked for, or there already.", "Warm", example),
            **_errors(*_KEYED, "SessionNotFound"),
        },
    }


def _projection() -> Part:
    return {
        "operationId": "readProjection",
        "tags": ["projection"],
        "summary": "Lag and state",
        "description": "How far behind the view is, and why; how many connections each API process has; of several "
        "slices how each is. Always 200: a Redis that is away is `down`. Scope: `ops`.",
        "responses": {
            "200": _json("The state.", "Projection", _PROJECTION),
            **_errors(*_KEYED),
        },
    }


def _history() -> Part:
    at = "2026-01-13T14:30:01.430000Z"
    sample = {"at": at, "status": "live", "lag_ms": 180, "events_per_second": 12.5, "round_trip_ms": 3.17}
    change = {"at": at, "kind": "term", "text": "Term 5f2b6c0e began."}
    told = {"max_staleness_ms": 5000, "samples": [sample], "changes": [change]}
    return {
        "operationId": "readProjectionHistory",
        "tags": ["projection"],
        "summary": "Lag over the last 15 minutes",
        "description": "About a sample a second, as the API process that answers took them. Scope: `ops`.",
        "responses": {
            "200": _json("The samples.", "LagHistory", told),
            **_errors(*_KEYED),
        },
    }


def _hot_sessions() -> Part:
    return {
        "operationId": "listHotSessions",
        "tags": ["projection"],
        "summary": "The sessions in Redis",
        "description": "Most recently active first. Scope: `ops`.",
        "parameters": [_ref("parameters", name) for name in ("list_limit", "page", "cache_buster")],
        "responses": {
            "200": _json("A page of them.", "HotSessions", {"items": [_HOT], "total": 1}),
            **_errors(*_KEYED),
        },
    }


def _live() -> Part:
    return _open("live", "Is the process up?", {"200": _json("It is.", "Live", {"status": "live"})})


def _ready() -> Part:
    example = {"status": "ready", "stores": {"redis": "up", "postgres": "up"}}
    ok = {"200": _json("They can.", "Ready", example)}
    return _open("ready", "Can polls be answered?", ok)


def _document() -> Part:
    content = {"application/json": {"schema": {"type": "object"}, "example": {"openapi": "3.1.0"}}}
    return _open(
        "openapi",
        "This document",
        {"200": {"description": "OpenAPI 3.1.", "headers": headers(*EVERYWHERE), "content": content}},
    )


def _page(operation: str, summary: str, description: str, media_type: str, example: str) -> Part:
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return _open(
        operation,
        summary,
        {"200": {"description": description, "headers": headers(*EVERYWHERE), "content": content}},
    )


def _open(operation: str, summary: str, responses: dict[str, Part]) -> Part:
    return {
        "operationId": operation,
        "tags": ["service"],
        "summary": summary,
        "security": [],
        "responses": {**responses, **_errors("Malformed")},
    }


def _head(get: Part) -> Part:
    """Describe the HEAD of a GET: the same without bodies."""
    responses = {}
    for status, response in get["responses"].items():
        responses[status] = {key: value for key, value in response.items() if key != "content"}
    name = get["operationId"]
    return {**get, "operationId": f"{name}Head", "summary": f"{get['summary']} (headers)", "responses": responses}


_STATUSES = {
    "BadRequest": "400",
    "Malformed": "400",
    "Unauthorized": "401",
    "Forbidden": "403",
    "SessionNotFound": "404",
    "MethodNotAllowed": "405",
    "OffsetGone": "410",
    "RequestTimeout": "408",
    "BodyTooLong": "413",
    "TooManyRequests": "429",
    "HeadTooLong": "431",
    "InternalError": "500",
    "Unavailable": "503",
}
_ANYWHERE = ("MethodNotAllowed", "RequestTimeout", "BodyTooLong", "HeadTooLong", "InternalError", "Unavailable")


def _errors(*names: str) -> dict[str, Part]:
    every = sorted((*names, *_ANYWHERE), key=lambda name: _STATUSES[name])
    return {_STATUSES[name]: _ref("responses", name) for name in every}


def _json(description: str, schema: str, example: Part) -> Part:
    content = {"application/json": {"schema": _ref("schemas", schema), "example": example}}
    return {"description": description, "headers": headers("Vary", *EVERYWHERE), "content": content}


def _ref(kind: str, name: str) -> Part:
    return {"$ref": f"#/components/{kind}/{name}"}
