"""The parameters, headers, responses and security schemes that several paths of the OpenAPI document share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from query_api.openapi.schemas import AS_OF, SESSION_ID, STEP_ID

Part = dict[str, Any]

ETAG = '"9e107d9d372bb6826bd81d3542a419d6"'
NEXT_OFFSET = "0000000000043cfffc8db5e998ECCA"
REQUEST_ID = "8f14e45fceea-1c"
_TYPES: Part = {
    "type": "array",
    "maxItems": 100,
    "items": {"type": "string", "pattern": "^[a-z_]+$", "minLength": 1, "maxLength": 100},
}


def _parameter(name: str, place: str, description: str, schema: Part, **more: Any) -> Part:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


def _whole(least: int, most: int, default: int) -> Part:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


PARAMETERS: dict[str, Part] = {
    "session_id": _parameter(
        "session_id",
        "path",
        "The session's id, a UUID: in small letters or capitals, with dashes or without, with `urn:uuid:` or without.",
        {"type": "string", "format": "uuid"},
        required=True,
        example=SESSION_ID,
    ),
    "since": _parameter(
        "since",
        "query",
        "Only events with a later timestamp: ISO 8601, UTC unless it has an offset. A `+` that arrived as a space is "
        "understood; digits past the microsecond are cut off.",
        {"type": "string", "format": "date-time"},
        example="2026-01-13T14:00:00Z",
    ),
    "event_type": _parameter(
        "event_type",
        "query",
        "Only events of this type; repeated: of any of these.",
        _TYPES,
        style="form",
        explode=True,
        example=["workflow_started", "workflow_failed"],
    ),
    "type": _parameter(
        "type",
        "query",
        "Another name of `event_type`.",
        _TYPES,
        style="form",
        explode=True,
        example=["workflow_failed"],
    ),
    "step_id": _parameter(
        "step_id",
        "query",
        "Only events of this step; repeated: of any of these. A UUID in the forms that `session_id` has.",
        {"type": "array", "maxItems": 100, "items": {"type": "string", "format": "uuid"}},
        style="form",
        explode=True,
        example=[STEP_ID],
    ),
    "limit": _parameter(
        "limit",
        "query",
        "How long a page is. Give this or `per_page`, not both. Without it a page that would be longer than an answer "
        "may be is shortened: `per_page` says to what. Page 2 then begins where that page ends. Ask for it with that "
        "`limit`: while events arrive, the first page may become longer or shorter.",
        _whole(1, 1000, 100),
        example=50,
    ),
    "per_page": _parameter("per_page", "query", "Another name of `limit`.", _whole(1, 1000, 100), example=50),
    "page": _parameter("page", "query", "Which page, from 1.", _whole(1, 10**9, 1), example=2),
    "order": _parameter(
        "order",
        "query",
        "`desc`: the newest first; `asc`: the oldest first, as whole trails are read.",
        {"type": "string", "enum": ["desc", "asc"], "default": "desc"},
        example="asc",
    ),
    "wait": _parameter(
        "wait",
        "query",
        "Seconds: an answer that brings no news is held so long. With `If-None-Match` news is an answer that the "
        "client does not hold, else a page with an item. When the time is over the answer is what there is: a 304, or "
        "an empty page. A 404 is not held.",
        {"type": "number", "minimum": 0, "maximum": 60, "default": 0},
        example=20,
    ),
    "offset": _parameter(
        "offset",
        "query",
        "Where the stream is read on: `-1` (or no offset) is its start, `now` its end, and else an offset as "
        "`Stream-Next-Offset` gave it. Offsets are opaque, and sort as text in the order in which they were given.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^(-1|now|[0-9A-Za-z_.-]+)$"},
        example="-1",
    ),
    "live": _parameter(
        "live",
        "query",
        "`long-poll`: at the end of the stream the answer is held until there is news, for 20 s at most; then it is a "
        "204. With `offset=now` it is held at once. `sse` is not offered.",
        {"type": "string", "const": "long-poll"},
        example="long-poll",
    ),
    "cursor": _parameter(
        "cursor",
        "query",
        "The last `Stream-Cursor`, sent back as it came.",
        {"type": "string", "pattern": "^[0-9]{1,18}$"},
        example="3378043",
    ),
    "stream_types": _parameter(
        "event_type",
        "query",
        "Only events of these types: repeat it, or separate several by commas. The offset also moves past the events "
        "that are left out.",
        _TYPES,
        style="form",
        explode=True,
        example=["workflow_started", "workflow_failed"],
    ),
    "cache_buster": _parameter(
        "_", "query", "Is ignored. Some libraries add it so that no cache answers.", {"type": "string"}, example="1"
    ),
    "list_limit": _parameter("limit", "query", "How long a page is.", _whole(1, 1000, 100), example=20),
    "if_none_match": _parameter(
        "If-None-Match",
        "header",
        "ETags that the client holds (a list, or `*`; compared weakly). 304 if one of them is the answer's, "
        "compressed or not.",
        {"type": "string"},
        example=ETAG,
    ),
    "accept_encoding": _parameter(
        "Accept-Encoding",
        "header",
        "Codings that the client understands. Where `gzip` is among them (or `*`), a page of more than 1,000 bytes "
        "leaves compressed, unless too many wait to be. Browsers and most clients send it by themselves.",
        {"type": "string"},
        example="gzip",
    ),
    "max_staleness": _parameter(
        "Readside-Max-Staleness",
        "header",
        "Seconds: an answer no staler than this, or a 503. `0` is answered from PostgreSQL by a query that starts "
        "after the request arrived. Without the header READSIDE_MAX_STALENESS_SECONDS counts; while "
        "PostgreSQL is away, an older answer is given.",
        {"type": "string", "pattern": r"^([0-9]{1,12}(\.[0-9]{1,12})?|\.[0-9]{1,12})$"},
        example="2.5",
    ),
    "prefer": _parameter(
        "Prefer",
        "header",
        "`wait=20` means the same as the parameter `wait` (RFC 7240); the parameter wins. More than 60 means 60, and "
        "`Preference-Applied` says which wait was used. Other preferences are ignored.",
        {"type": "string"},
        example="wait=20",
    ),
    "not_before": _parameter(
        "Readside-Not-Before",
        "header",
        "An instant, written as `since` is: an answer whose `Readside-As-Of` is no earlier, or a 503. Who sends the "
        "last `Readside-As-Of` back never sees time go back, whichever process answers. Such a poll is held for up to "
        "a heartbeat until as-of passes the instant, and only then asked of PostgreSQL. An instant that lies in the "
        "future is a 400.",
        {"type": "string", "format": "date-time"},
        example="2026-01-13T14:30:00.123456Z",
    ),
    "traceparent": _parameter(
        "Traceparent",
        "header",
        "The caller's span (W3C Trace Context): where the server sends traces, its span of a poll that leaves memory "
        "belongs to it.",
        {"type": "string"},
        example="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    "request_id": _parameter(
        "X-Request-ID",
        "header",
        "The caller's name for this request: it comes back with the answer, and is on every line that the server logs "
        "about the request. Anything but 1 to 128 of 0-9, A-Z, a-z and . _ ~ : / + = @ - is passed over: the "
        "server makes an id then.",
        {"type": "string"},
        example=REQUEST_ID,
    ),
}


def _header(description: str, schema: Part, example: Any) -> Part:
    return {"description": description, "required": True, "schema": schema, "example": example}


HEADERS: dict[str, Part] = {
    "Readside-Source": _header(
        "Where the answer comes from.", {"type": "string", "enum": ["memory", "redis", "postgres"]}, "memory"
    ),
    "Readside-As-Of": _header(
        "Every event committed before this instant (PostgreSQL's clock) is in the answer.",
        {"type": "string", "format": "date-time"},
        AS_OF,
    ),
    "Readside-Lag-Ms": _header(
        "How old that instant was when the answer left, milliseconds.", {"type": "integer", "minimum": 0}, 180
    ),
    "ETag": _header(
        "A hash of the page: the same from every source and for every key. Compressed it has a tag of its own, which "
        "ends in `-gzip`.",
        {"type": "string", "pattern": '^"[0-9a-f]{32}(-gzip)?"$'},
        ETAG,
    ),
    "Content-Encoding": {
        "description": "`gzip`, where the page is compressed.",
        "schema": {"type": "string", "const": "gzip"},
        "example": "gzip",
    },
    "Cache-Control": _header("Private, and asked again each time.", {"type": "string"}, "private, no-cache"),
    "X-Poll-Interval": _header(
        "Seconds that the server would like between two polls.", {"type": "integer", "minimum": 1}, 1
    ),
    "Preference-Applied": {
        "description": "The preference that was heeded, where one was: `wait` in the URL wins.",
        "schema": {"type": "string"},
        "example": "wait=20",
    },
    "Stream-Next-Offset": _header(
        "The offset behind this answer: the next one begins there.",
        {"type": "string", "minLength": 26, "maxLength": 255},
        NEXT_OFFSET,
    ),
    "Stream-Up-To-Date": {
        "description": "`true` where all that there is was given; else there is more.",
        "schema": {"type": "string", "const": "true"},
        "example": "true",
    },
    "Stream-Cursor": {
        "description": "On answers to `live`: to be sent back as `cursor`. It never goes back.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "example": "3378043",
    },
    "X-Request-ID": _header(
        "The request's id: the caller's own, or one that the server made.",
        {"type": "string", "pattern": r"^[0-9A-Za-z._~:/+=@-]{1,128}$"},
        REQUEST_ID,
    ),
    "Vary": {
        "description": "`Origin`, where CORS is on; `Accept-Encoding` beside it, for pages of more than 1,000 bytes.",
        "schema": {"type": "string"},
        "example": "Origin",
    },
    "WWW-Authenticate": _header("What is asked for.", {"type": "string"}, 'Bearer realm="readside"'),
    "Retry-After": _header("Seconds until it is worth trying again.", {"type": "integer", "minimum": 1}, 1),
    "Allow": _header("The methods that the path has.", {"type": "string"}, "GET, HEAD"),
    "X-Content-Type-Options": _header(
        "No browser takes the answer for another kind.", {"type": "string", "const": "nosniff"}, "nosniff"
    ),
    "Referrer-Policy": _header(
        "A page of ours tells nobody its address.", {"type": "string", "const": "no-referrer"}, "no-referrer"
    ),
    "Cross-Origin-Resource-Policy": _header(
        "No page of another origin may embed the answer. Those that READSIDE_CORS_ORIGINS names may read it.",
        {"type": "string", "const": "same-origin"},
        "same-origin",
    ),
}

EVERYWHERE = ("X-Request-ID", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy")
"""What every answer bears."""
FRESHNESS = ("Readside-Source", "Readside-As-Of", "Readside-Lag-Ms")
STREAMED = (
    *FRESHNESS,
    "Stream-Next-Offset",
    "Stream-Up-To-Date",
    "Stream-Cursor",
    "Cache-Control",
    "Vary",
    *EVERYWHERE,
)
"""What a stream's answers bear."""
ANSWERED = (*FRESHNESS, "ETag", "Cache-Control", "X-Poll-Interval", "Vary", *EVERYWHERE)


def headers(*names: str) -> Part:
    """Refer to shared headers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem(
    description: str, title: str, status: int, detail: str | Mapping[str, str], *more: str, parameter: str | None = None
) -> Part:
    """Describe a problem by one example, or by several, each under its name."""
    example: Part = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if parameter:
        example |= {"parameter": parameter, "errors": [{"parameter": parameter, "detail": detail}]}
    shown: Part = {"example": example}
    if isinstance(detail, Mapping):
        shown = {"examples": {name: {"value": {**example, "detail": said}} for name, said in detail.items()}}
    return {
        "description": description,
        "headers": headers("Vary", *EVERYWHERE, *more),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, **shown}},
    }


RESPONSES: dict[str, Part] = {
    "BadRequest": _problem(
        "Parameters or header fields are wrong or unknown (all of them are named). Or a key came twice, the request is "
        "for a host that READSIDE_ALLOWED_HOSTS does not name, or the page would be longer than an answer may be. Or "
        "the request could not be read as HTTP/1.1; then its connection is closed.",
        "Bad Request",
        400,
        "limit must be a whole number from 1 to 1000, not '0'.",
        parameter="limit",
    ),
    "Unauthorized": _problem(
        "No key and no token, an unknown key, or a token that is wrong or has ended: the sentence says which.",
        "Unauthorized",
        401,
        {
            "no key": "An API key is needed, as X-API-Key or as Authorization: Bearer.",
            "an unknown key": "The API key is not known.",
            "a token that has ended": "The token has expired (exp).",
        },
        "WWW-Authenticate",
    ),
    "Forbidden": _problem(
        "The key lacks the scope. Or the token does not name the session, whether or not that exists, or asks for what "
        "no token gets: a route of the scope `ops`, or a `Readside-Max-Staleness` under 1.",
        "Forbidden",
        403,
        {
            "a key without the scope": "The API key dashboard lacks the scope ops.",
            "a session that the token does not name": "The token does not name this session.",
            "a fresher answer than tokens get": "With a token Readside-Max-Staleness must be 1 or more.",
            "a token where a key is needed": "A token lacks the scope ops.",
        },
        "WWW-Authenticate",
    ),
    "TooManyRequests": _problem(
        "The key, or the token's subject, asks more often than READSIDE_POLLS_PER_SECOND allows; or a poll would be "
        "held, and READSIDE_MAX_WAITING are.",
        "Too Many Requests",
        429,
        "This key or token asks more often than it may; try again in 1 s.",
        "Retry-After",
    ),
    "SessionNotFound": _problem(
        "There is no such session; never because a store is away.",
        "Not Found",
        404,
        f"Session not found: {SESSION_ID}",
        *FRESHNESS,
        "Cache-Control",
    ),
    "OffsetGone": _problem(
        "The stream cannot be continued from this offset: it is of another database, from before a crash or a "
        "promotion of PostgreSQL, or too old. Read again from the start.",
        "Gone",
        410,
        "The stream cannot be continued from this offset (it is of another database): read again from offset -1.",
    ),
    "MethodNotAllowed": _problem(
        "The path has no such method.",
        "Method Not Allowed",
        405,
        "/api/v2/projection accepts GET, HEAD, not PUT.",
        "Allow",
    ),
    "Malformed": _problem(
        "The request could not be read as HTTP/1.1, and its connection is closed. Or it is for a host that "
        "READSIDE_ALLOWED_HOSTS does not name.",
        "Bad Request",
        400,
        "This is no request of HTTP/1.1 that could be understood.",
    ),
    "RequestTimeout": _problem(
        "The request was not whole after READSIDE_HEAD_SECONDS. Its connection is closed.",
        "Request Timeout",
        408,
        "The request was not whole in time.",
    ),
    "BodyTooLong": _problem(
        "The request's body is longer than READSIDE_MAX_BODY_KB. Its connection is closed.",
        "Request Entity Too Large",
        413,
        "The request's body is too long: nothing here needs one.",
    ),
    "HeadTooLong": _problem(
        "The request's head is longer than READSIDE_MAX_HEAD_KB, or has over 128 fields. Its connection is closed.",
        "Request Header Fields Too Large",
        431,
        "The request's head is too long.",
    ),
    "Unavailable": _problem(
        "Overloaded, or no store can answer, or PostgreSQL's tables or our rights to them are not as they must be: "
        "then the sentence says what to mend. Or as many connections are open as may be, or too much waits to be "
        "answered: then this connection is closed.",
        "Service Unavailable",
        503,
        "No store can answer at the moment; try again in a second.",
        "Retry-After",
    ),
    "InternalError": _problem(
        "A fault of the server; its log says more. Or the page holds an event that cannot be read, which the sentence "
        "names: pages without it are answered.",
        "Internal Server Error",
        500,
        "Something in the server went wrong; it is in the server's log.",
    ),
}

SECURITY: dict[str, Part] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key of READSIDE_API_KEYS."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key, in the header that tokens use."},
    "Token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JSON Web Token, signed with a key of READSIDE_JWT_JWKS or with READSIDE_JWT_SECRET. Its "
        "claims: `exp`, its end; `aud`, READSIDE_JWT_AUDIENCE; `sessions`, the ids of at most 64 sessions that it may "
        "read and warm, or `*`; `sub`, whose polls are counted together. `nbf` and `iss` are honoured.",
    },
}
