"""The HTTP of one poll as values: the request to send, and what an answer means; no input or output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import UUID

from readside_client.errors import BadRequest, Forbidden, RequestRefused, SessionNotFound, Unauthorized, Unavailable
from readside_client.instants import microseconds, printed
from readside_client.model import Event, Freshness, Page

DEFAULT_INTERVAL_SECONDS = 1.0
"""Between polls where an answer names none."""
SHORTEST_INTERVAL_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 3600.0
"""No header makes a client wait longer: whoever asked for more has most likely a wrong clock."""
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})

ParseFloat = Callable[[str], Any]
Headers = Mapping[str, str]
"""Looked up in lower case: of a mapping that does not care about case, or whose names are lower case."""


class Request(NamedTuple):
    """A GET; `url` is a path below the base URL and its query."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, page apart; `since_us` is microseconds since 1970, exclusive; no `types` means any."""

    session_id: str
    since_us: int | None = None
    types: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, *, limit: int, page: int = 1, etag: str = "") -> Request:
        """Build the request for a page; `etag` of the answer that is at hand already."""
        params = [("limit", str(limit)), ("page", str(page))]
        params += [("event_type", name) for name in self.types]
        if self.since_us is not None:
            params.append(("since", printed(self.since_us)))
        headers = {**self.headers, "if-none-match": etag} if etag else dict(self.headers)
        path = f"/api/v2/sessions/{quote(self.session_id, safe='')}/events"
        return Request(f"{path}?{urlencode(params)}", headers)


class NotModified(NamedTuple):
    """A 304: what is at hand is the answer still, as of now."""

    freshness: Freshness
    poll_interval_seconds: float


def asked(
    session_id: str | UUID,
    since: datetime | str | None,
    types: str | Iterable[str],
    max_staleness_seconds: float | None = None,
) -> Query:
    """Build a query of what callers give; raises ValueError for a `since` that is not ISO 8601 or has no offset."""
    if isinstance(since, str):
        since = datetime.fromisoformat(since)
    since_us = None if since is None else microseconds(since)
    headers = {} if max_staleness_seconds is None else {"readside-max-staleness": f"{max_staleness_seconds:.6f}"}
    return Query(str(session_id), since_us, (types,) if isinstance(types, str) else tuple(types), headers)


def answer_of(status: int, headers: Headers, body: bytes, parse_float: ParseFloat = float) -> Page | NotModified:
    """Read an answer; raises RequestRefused where asking again changes nothing, else Unavailable."""
    try:
        match status:
            case 200:
                return _page(json.loads(body, parse_float=parse_float), headers)
            case 304:
                return NotModified(_freshness(headers), _interval(headers))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unavailable(f"The answer is not readside's, but some proxy's perhaps: {error!r}.", status) from error
    detail, parameter = _problem(status, body)
    if status in LATER:
        raise Unavailable(detail, status, retry_after_seconds(headers))
    kinds = {401: Unauthorized, 403: Forbidden, 404: SessionNotFound}
    raise BadRequest(status, detail, parameter) if status == 400 else kinds.get(status, RequestRefused)(status, detail)


def retry_after_seconds(headers: Headers) -> float | None:
    """Read Retry-After, seconds or an HTTP date (RFC 9110); a date counts from the answer's own Date."""
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    seconds = _number(told)
    if seconds is None:
        at = _date(told)
        now = _date(headers.get("date", "")) or datetime.now(UTC)
        seconds = None if at is None else (at - now).total_seconds()
    return None if seconds is None else min(max(0.0, seconds), LONGEST_WAIT_SECONDS)


def _page(body: Any, headers: Headers) -> Page:
    pagination = body["pagination"]
    return Page(
        items=tuple(Event.of(item) for item in body["items"]),
        total=int(body["total"]),
        page=int(pagination["page"]),
        per_page=int(pagination["per_page"]),
        total_pages=int(pagination["total_pages"]),
        has_next=bool(pagination["has_next"]),
        has_prev=bool(pagination["has_prev"]),
        etag=headers.get("etag", ""),
        freshness=_freshness(headers),
        poll_interval_seconds=_interval(headers),
    )


def _freshness(headers: Headers) -> Freshness:
    as_of = datetime.fromisoformat(headers["readside-as-of"])
    microseconds(as_of)  # refuses one without an offset
    return Freshness(headers["readside-source"], as_of, int(headers["readside-lag-ms"]))


def _interval(headers: Headers) -> float:
    seconds = _number(headers.get("x-poll-interval", ""))
    if seconds is None:
        return DEFAULT_INTERVAL_SECONDS
    return min(max(seconds, SHORTEST_INTERVAL_SECONDS), LONGEST_WAIT_SECONDS)


def _problem(status: int, body: bytes) -> tuple[str, str | None]:
    """Give an error's sentence and the parameter that it names (RFC 9457)."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    told = problem if isinstance(problem, dict) else {}
    detail, parameter = told.get("detail"), told.get("parameter")
    sentence = detail if isinstance(detail, str) and detail else f"The server answered {status}."
    return sentence, parameter if isinstance(parameter, str) else None


def _number(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
