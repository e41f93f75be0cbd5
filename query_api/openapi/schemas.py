"""The schemas of the OpenAPI document: what bodies hold."""

from __future__ import annotations

from typing import Any

from query_api.sources.replicas import STATES

Schema = dict[str, Any]

SESSION_ID = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
EVENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
STEP_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
AS_OF = "2026-01-13T14:30:01.250000Z"
STATUSES = ["pending", "in_progress", "paused", "completed", "failed", "cancelled"]

EVENT_EXAMPLE: Schema = {
    "id": EVENT_ID,
    "session_id": SESSION_ID,
    "step_id": None,
    "event_type": "workflow_started",
    "event_data": {"workflow": "import", "attempt": 1},
    "message": None,
    "timestamp": "2026-01-13T14:30:00.123456Z",
}


def _object(description: str, properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _whole(description: str, least: int = 0) -> Schema:
    return {"type": "integer", "minimum": least, "description": description}


def _uuid(description: str) -> Schema:
    return _text(description, format="uuid")


_TIMESTAMP = _text(
    "When the event happened, as its application said: UTC with six decimals. `infinity`, years before 1 and past 9999 "
    "are printed as PostgreSQL prints them.",
    examples=["2026-01-13T14:30:00.123456Z"],
)

SCHEMAS: dict[str, Schema] = {
    "Event": _object(
        "An event of a session, as PostgreSQL holds it.",
        {
            "id": _uuid("The event's id; random, so that no order is in it."),
            "session_id": _uuid("The session's id."),
            "step_id": _or_null(_uuid("The step that the event belongs to, if any.")),
            "event_type": _text("What happened; new types may appear at any time.", maxLength=100),
            "event_data": {"description": "Any JSON, number for number as PostgreSQL holds it."},
            "message": _or_null(_text("A text for people.")),
            "timestamp": _TIMESTAMP,
        },
    ),
    "Pagination": _object(
        "Where this page is among all that match.",
        {
            "page": _whole("This page's number, from 1.", 1),
            "per_page": _whole("How long a page is: what was asked for, or what it was shortened to.", 1),
            "total": _whole("All matches."),
            "total_pages": _whole("0 when nothing matches."),
            "has_next": {"type": "boolean", "description": "page < total_pages"},
            "has_prev": {"type": "boolean", "description": "page > 1"},
        },
    ),
    "EventPage": _object(
        "A page of events, newest first: timestamp descending, then id descending. With `order=asc` the other way "
        "round.",
        {
            "items": {"type": "array", "maxItems": 1000, "items": {"$ref": "#/components/schemas/Event"}},
            "total": _whole("All events that match, on this page or not; exact."),
            "pagination": {"$ref": "#/components/schemas/Pagination"},
        },
    ),
    "Arrivals": {
        "description": "Events of a session, in the order in which they arrived, the oldest first.",
        "type": "array",
        "maxItems": 1000,
        "items": {"$ref": "#/components/schemas/Event"},
    },
    "Problem": _object(
        "An error, as RFC 9457 says.",
        {
            "type": _text("Always about:blank: the status says which kind it is.", format="uri-reference"),
            "title": _text("The status' phrase."),
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
            "detail": _text("A full sentence for people."),
            "parameter": _text("The first parameter or header field that is wrong."),
            "errors": {
                "type": "array",
                "maxItems": 21,
                "description": "All that are wrong.",
                "items": _object(
                    "One of them.",
                    {
                        "parameter": _text("Its name, as it was sent."),
                        "detail": _text("A full sentence for people: what it accepts."),
                    },
                ),
            },
        },
        optional=("parameter", "errors"),
    ),
    "Warm": _object(
        "Whether a session is in Redis already.",
        {
            "session_id": _uuid("The session's id."),
            "state": _text("`hot`: it is; `warming`: the projector was asked to load it.", enum=["hot", "warming"]),
        },
    ),
    "Projection": _object(
        "How far behind the view is.",
        {
            "status": _text(
                "`live`; `catching_up`: a leading projector compares the view with PostgreSQL; `stale`: its heartbeats "
                "do not come through; `down`: no projector leads, or Redis is away or takes no writes.",
                enum=["live", "catching_up", "stale", "down"],
            ),
            "reason": _or_null(_text("Why it is not live, and how to mend it.")),
            "users_see": _text("What polls get in this state, in full sentences."),
            "what_to_do": _text("The next step, in full sentences; `Nothing.` where all is well."),
            "as_of": _or_null(_text("Every event committed before this instant is in the view.", format="date-time")),
            "lag_ms": {"type": ["integer", "null"], "minimum": 0, "description": "How old `as_of` is."},
            "hot_sessions": {"type": ["integer", "null"], "minimum": 0, "description": "Sessions in Redis."},
            "term": _or_null(_text("The unbroken stretch of knowing that the view is in.")),
            "batch": {"type": ["integer", "null"], "minimum": 0, "description": "Its last batch."},
            "database": _or_null(_text("Whose view it is: system identifier / database.")),
            "leader": {"type": ["object", "null"], "description": "The leading projector's own report."},
            "standbys": {
                "type": "array",
                "items": {"type": "object"},
                "description": "The reports of the projectors that stand by.",
            },
            "writable": {
                "type": ["boolean", "null"],
                "description": "Whether Redis takes writes: a replica does not. Null: it could not be asked.",
            },
            "apis": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/ApiReport"},
                "description": "The reports of the API's processes; none while Redis takes no writes of theirs.",
            },
            "slices": {
                "type": "array",
                "maxItems": 1024,
                "items": {"$ref": "#/components/schemas/Slice"},
                "description": "Each slice, where there are several: then the view is as old as the oldest of them and "
                "as well as the worst, and `term` and `batch` are theirs alone. With READSIDE_SLICES=1 there is none.",
            },
        },
    ),
    "Slice": _object(
        "How one slice of the view is.",
        {
            "slice": _whole("Its number, from 0."),
            "node": _text("The Redis server that it is taken to be on."),
            "status": _text(
                "As in Projection; `down` too where its server is away.", enum=["live", "catching_up", "stale", "down"]
            ),
            "reason": _or_null(_text("Why it is not live.")),
            "as_of": _or_null(
                _text("Its own; of a slice whose server is away, what the leader last knew.", format="date-time")
            ),
            "lag_ms": {"type": ["integer", "null"], "minimum": 0, "description": "How old `as_of` is."},
            "hot_sessions": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Sessions in it; null: its server is away.",
            },
            "term": _or_null(_text("Its term.")),
            "batch": {"type": ["integer", "null"], "minimum": 0, "description": "Its last batch."},
        },
    ),
    "ApiReport": _object(
        "What one process of the API says of its clients' connections, every three seconds.",
        {
            "id": _text("Its own, made at random when it began."),
            "host": _text("The name of its machine."),
            "pid": _whole("Its process id."),
            "started_at": _text("When it began, by its machine's clock.", format="date-time"),
            "reported_at_us": _whole("When it said so, microseconds since 1970 by Redis' clock."),
            "connections": _whole("Open connections."),
            "connections_bound": _whole(
                "How many there may be: READSIDE_MAX_CONNECTIONS, or what the limit of open files leaves.", 1
            ),
            "near_bound": {"type": "boolean", "description": "Whether four fifths of them are taken."},
            "replicas": {
                "type": "array",
                "description": "How it finds the hot standbys of READSIDE_REPLICA_URLS.",
                "items": {"$ref": "#/components/schemas/ReplicaReport"},
            },
        },
        optional=("replicas",),  # a process of an earlier version says nothing of them
    ),
    "ReplicaReport": _object(
        "A hot standby that may answer cold polls, as one process of the API finds it.",
        {
            "name": _text("Host and port."),
            "state": {
                "type": "string",
                "enum": list(STATES),
                "description": "`fit`, or why it is left out: it lags, is no standby, is one of another database or "
                "follows another timeline, does not answer, or refuses us.",
            },
            "reason": _or_null(_text("Why it is left out, in a sentence.")),
            "lag_ms": _or_null(_whole("How old what it holds is.")),
        },
    ),
    "HotSession": _object(
        "A session in Redis.",
        {
            "session_id": _uuid("The session's id."),
            "status": _or_null(_text("The session's status.", examples=STATUSES)),
            "events": _whole("How many events it has."),
            "last_event_at": _or_null(_text("Its highest timestamp.", format="date-time")),
            "last_polled_at": _or_null(
                _text("When it was last polled, up to ten seconds late; null: not since it is hot.", format="date-time")
            ),
            "last_active_at": _text("When it was last polled, or an event of it arrived.", format="date-time"),
            "bytes": _whole("Bytes of JSON that Redis holds of it."),
        },
    ),
    "HotSessions": _object(
        "The sessions in Redis, most recently active first.",
        {
            "items": {"type": "array", "maxItems": 1000, "items": {"$ref": "#/components/schemas/HotSession"}},
            "total": _whole("All of them."),
        },
    ),
    "LagSample": _object(
        "How the projection was when this API process looked.",
        {
            "at": _text("When, by this API process' clock.", format="date-time"),
            "status": _text("As in Projection.", enum=["live", "catching_up", "stale", "down"]),
            "lag_ms": {"type": ["integer", "null"], "minimum": 0, "description": "How old `as_of` was."},
            "events_per_second": {
                "type": ["number", "null"],
                "minimum": 0,
                "description": "Events that the leader applied, over its last two reports; null where none leads.",
            },
            "round_trip_ms": {
                "type": ["number", "null"],
                "minimum": 0,
                "description": "From the commit of the last heartbeat until it was in the view.",
            },
        },
    ),
    "ProjectionChange": _object(
        "A change that this API process noticed.",
        {
            "at": _text("When: of an error or a start as reported, else when it was seen.", format="date-time"),
            "kind": _text("What changed.", enum=["status", "term", "started", "error"]),
            "text": _text("A full sentence for people.", maxLength=1100),
        },
    ),
    "LagHistory": _object(
        "The projection's last fifteen minutes, as this API process saw them.",
        {
            "max_staleness_ms": _whole("READSIDE_MAX_STALENESS_SECONDS: past this lag the view is stale."),
            "samples": {
                "type": "array",
                "maxItems": 900,
                "items": {"$ref": "#/components/schemas/LagSample"},
                "description": "About one a second, oldest first; fewer while Redis is slow, or the process young.",
            },
            "changes": {
                "type": "array",
                "maxItems": 100,
                "items": {"$ref": "#/components/schemas/ProjectionChange"},
                "description": "Changes of status, new terms, starts of processes and errors, oldest first.",
            },
        },
    ),
    "Live": _object("The process is up.", {"status": _text("Always `live`.", const="live")}),
    "Ready": _object(
        "Polls can be answered.",
        {
            "status": _text("Always `ready`.", const="ready"),
            "stores": {
                "type": "object",
                "description": "Which stores answer; one is enough. `partly_down`: some slices of the view do not.",
                "additionalProperties": {"type": "string", "enum": ["up", "partly_down", "down"]},
            },
            "slices_down": {
                "type": "array",
                "maxItems": 1024,
                "items": _whole("A slice's number."),
                "description": "Those slices, where others answer: PostgreSQL answers their polls.",
            },
        },
        optional=("slices_down",),
    ),
}
