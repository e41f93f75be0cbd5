"""Errors as application/problem+json (RFC 9457), each with a full sentence."""

from __future__ import annotations

import re
from http import HTTPStatus

import orjson
import structlog

from query_api.http.reply import HeaderFields, Pairs, Reply
from readmodel.errors import (
    AnswerTooLarge,
    BadEvents,
    InvalidParameter,
    NoPlaceFree,
    OffsetGone,
    Overload,
    RightsMissing,
    SchemaMissing,
    ServiceError,
    StoreRefused,
    StoreUnavailable,
)

MEDIA_TYPE = b"application/problem+json"
RETRY_SECONDS = 1
"""When it is worth asking again after no store could answer: stores that are away are tried once a second."""
NO_STORE = "No store can answer at the moment; try again in a second."
_log = structlog.get_logger(__name__)
_PLACE = re.compile(r"\b(PostgreSQL|Redis) at \S+?(?=:?\s)")


def problem(status: int, detail: str, *, headers: Pairs | None = None, **more: object) -> Reply:
    """Build an error; `more` are members of its own."""
    content: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    body = orjson.dumps(content | more)
    fixed = [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return Reply(status, (HeaderFields(fixed + (headers or [])),), body)


def retry_later(detail: str, seconds: int = RETRY_SECONDS) -> Reply:
    """Build a 503 that says when to try again."""
    return problem(503, detail, headers=[(b"retry-after", b"%d" % seconds)])


def problem_of(error: ServiceError) -> Reply:
    """Build the answer to an error; what is not the caller's doing names no server."""
    match error:
        case InvalidParameter():
            return bad_request(error, *error.others)
        case AnswerTooLarge():
            return bad_request(InvalidParameter("limit", str(error)))
        case Overload():
            status = 429 if isinstance(error, NoPlaceFree) else 503
            return problem(status, str(error), headers=[(b"retry-after", b"%d" % error.retry_after_seconds)])
        case StoreUnavailable() | StoreRefused():
            must_be_mended = isinstance(error, SchemaMissing | RightsMissing)
            return retry_later(placeless(error) if must_be_mended else NO_STORE)
        case OffsetGone() | BadEvents():
            return problem(410 if isinstance(error, OffsetGone) else 500, placeless(error))
    return broken()


def problem_of_read(error: ServiceError, session_id: str) -> Reply:
    """Build the answer to whoever reads what a session has, and tell the log what nobody has told it."""
    reply = problem_of(error)
    if reply.status == 500 and not isinstance(error, BadEvents):  # whoever found that has told the log
        _log.error("a poll failed", session_id=session_id, error=str(error))
    return reply


def placeless(error: ServiceError) -> str:
    """Say an error without the server and the database that it names."""
    return _PLACE.sub(r"\1", str(error))


def bad_request(*errors: InvalidParameter) -> Reply:
    """Build a 400 that names everything that is wrong; `parameter` is the first."""
    named = [{"parameter": _unicode(error.parameter), "detail": str(error)} for error in errors]
    return problem(400, " ".join(map(str, errors)), parameter=named[0]["parameter"], errors=named)


def _unicode(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def broken() -> Reply:
    """Build the 500 for what nobody foresaw."""
    return problem(500, "Something in the server went wrong; it is in the server's log.")
