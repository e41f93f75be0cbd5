"""The HTTP of a poll and of a stream as values: the request to send, and what an answer means; no input or output."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlencode
from uuid import UUID

from readside_client.errors import (
    BadRequest,
    Forbidden,
    OffsetLost,
    RequestRefused,
    SessionNotFound,
    Unauthorized,
    Unavailable,
    WrongParameter,
)
from readside_client.exact_json import ANY_JSON, ExactJson, NotJson, Read, after_blanks
from readside_client.instants import asked_instant, microseconds, printed
from readside_client.model import Event, Freshness, Page, event_of

DEFAULT_INTERVAL_SECONDS = 1.0
"""Between polls where an answer names none."""
SHORTEST_INTERVAL_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 3600.0
"""No header makes a client wait longer: whoever asked for more has most likely a wrong clock."""
HOLD_SECONDS = 20.0
"""The API answers a long poll of a stream after so long, with news or without."""
START, NOW = "-1", "now"
"""Offsets: all that there is, and nothing of it."""
_MOST_COUNTED = 2**63
_MOST_WRONG = 100
"""Parameters that an answer may name as wrong; the API names fewer."""
LATER = frozenset({408, 425, 429, *range(500, 600)})
"""A proxy has 5xx of its own: 507, 521, 530."""

Order = Literal["desc", "asc"]
Headers = Mapping[str, str]
"""Looked up in lower case: of a mapping that does not care about case, or whose names are lower case."""


class Request(NamedTuple):
    """One request; `url` is a path below the base URL and its query. The API may hold it for `held_seconds`."""

    url: str
    headers: dict[str, str]
    held_seconds: float = 0.0
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, page apart; `since_us` is microseconds since 1970, exclusive; no `types` or `step_ids`: any."""

    session_id: str
    since_us: int | None = None
    types: tuple[str, ...] = ()
    step_ids: tuple[str, ...] = ()
    order: Order = "desc"
    headers: dict[str, str] = field(default_factory=dict)

    def request(
        self, *, limit: int | None = None, page: int = 1, etag: str = "", wait_seconds: float | None = None
    ) -> Request:
        """Build the request for a page; `etag` of the answer that is at hand already.

        What is not asked for is not sent: servers refuse parameters that they do not know.
        """
        params = [] if limit is None else [("limit", str(limit))]
        params += [("page", str(page))]
        params += [("event_type", name) for name in self.types]
        params += [("step_id", step_id) for step_id in self.step_ids]
        if self.order != "desc":
            params.append(("order", self.order))
        if self.since_us is not None:
            params.append(("since", printed(self.since_us)))
        if wait_seconds is not None:
            params.append(("wait", f"{wait_seconds:.10g}"))
        headers = {**self.headers, "if-none-match": etag} if etag else dict(self.headers)
        return Request(f"{self._path}/events?{urlencode(params)}", headers, wait_seconds or 0.0)

    def stream_request(self, offset: str, *, is_live: bool) -> Request:
        """Build the request for what comes behind an offset, held while there is nothing if it `is_live`."""
        params = [("offset", offset), *([("live", "long-poll")] if is_live else [])]
        params += [("event_type", name) for name in self.types]
        return Request(f"{self._path}/stream?{urlencode(params)}", dict(self.headers), HOLD_SECONDS * is_live)

    def warm_request(self) -> Request:
        """Build the request that has the session loaded into Redis."""
        return Request(f"{self._path}/warm", dict(self.headers), method="POST")

    @property
    def _path(self) -> str:
        return f"/api/v2/sessions/{quote(self.session_id, safe='')}"


class NotReadside(ValueError):
    """A response lacks what each of the API's has."""


_UNREADABLE = (NotReadside, NotJson, UnicodeDecodeError)


class NotModified(NamedTuple):
    """A 304: what is at hand is the answer still, as of now."""

    freshness: Freshness
    poll_interval_seconds: float


class StreamAnswer(NamedTuple):
    """Events as they arrived; behind `next_offset` the next ones come, of which none is there yet if `up_to_date`."""

    events: list[Event]
    next_offset: str
    up_to_date: bool
    as_of: datetime


def asked(
    session_id: str | UUID,
    since: datetime | str | None = None,
    types: str | Iterable[str] = (),
    step_ids: str | UUID | Iterable[str | UUID] = (),
    *,
    order: Order = "desc",
    max_staleness_seconds: float | None = None,
    not_before: datetime | str | None = None,
    previous: Page | None = None,
) -> Query:
    """Build a query of what callers give; raises ValueError for a `since` or `not_before` that is no instant.

    Without a `not_before` the answer is as of the `previous` one at least: where several processes answer, one may be
    behind.
    """
    if not_before is None and previous is not None:
        not_before = previous.freshness.as_of
    since_us = None if since is None else asked_instant("since", since)
    headers = {} if max_staleness_seconds is None else {"readside-max-staleness": f"{max_staleness_seconds:.6f}"}
    if not_before is not None:
        headers["readside-not-before"] = printed(asked_instant("not_before", not_before))
    types = (types,) if isinstance(types, str) else tuple(types)
    steps = (step_ids,) if isinstance(step_ids, str | UUID) else step_ids
    return Query(str(session_id), since_us, types, tuple(str(step_id) for step_id in steps), order, headers)


def answer_of(status: int, headers: Headers, body: bytes, exact: ExactJson = ANY_JSON) -> Page | NotModified:
    """Read an answer; raises RequestRefused where asking again changes nothing, else Unavailable."""
    try:
        match status:
            case 200:
                return _page(_envelope(body, exact), headers)
            case 304:
                return NotModified(_freshness(headers), _interval(headers))
    except _UNREADABLE as error:
        raise foreign(error, status) from error
    raise refusal(status, headers, body)


def stream_answer_of(
    status: int, headers: Headers, body: bytes, offset: str, exact: ExactJson = ANY_JSON
) -> StreamAnswer:
    """Read what came behind an offset, which its events bear; raises RequestRefused, else Unavailable."""
    if status == 304:
        raise Unavailable("Some cache on the way answered 304 to what was not a condition.", status)
    if status not in {200, 204}:
        raise refusal(status, headers, body)
    try:
        events = _array(body, exact, lambda item, json: event_of(item, json, offset)) if status == 200 else []
        up_to_date = "stream-up-to-date" in headers
        return StreamAnswer(events, headers["stream-next-offset"], up_to_date, _freshness(headers).as_of)
    except (*_UNREADABLE, KeyError) as error:
        raise foreign(error, status) from error


def foreign(error: Exception, status: int) -> Unavailable:
    """Translate what makes an answer none of the API's; the caller chains it."""
    return Unavailable(f"The answer is not readside's, but some proxy's perhaps: {error}.", status)


def refusal(status: int, headers: Headers, body: bytes) -> RequestRefused | Unavailable:
    """Read what an answer without events says."""
    problem = _problem(body)
    detail = _text(problem, "detail") or f"The server answered {status}."
    if status in LATER:
        return Unavailable(detail, status, retry_after_seconds(headers))
    if status == 400:
        return BadRequest(status, detail, _text(problem, "parameter"), _wrong_parameters(problem))
    kinds = {401: Unauthorized, 403: Forbidden, 404: SessionNotFound, 410: OffsetLost}
    return kinds.get(status, RequestRefused)(status, detail)


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


def _envelope(body: bytes, exact: ExactJson) -> dict[str, Any]:
    """Read an answer's body; its items are Events."""
    items: dict[str, Read] = {"items": lambda text, at: exact.elements(text, at, event_of)}
    found: dict[str, Any] = _whole(body, lambda text, at: exact.members(text, at, items))
    return found


def _array(body: bytes, exact: ExactJson, build: Callable[[Any, str], Event]) -> list[Event]:
    """Read a body that is an array of events."""
    found: list[Event] = _whole(body, lambda text, at: exact.elements(text, at, build))
    return found


def _whole(body: bytes, read: Read) -> Any:
    text = body.decode()
    found, end = read(text, after_blanks(text, 0))
    if after_blanks(text, end) != len(text):
        raise NotJson(f"at character {end} it ends, and more follows")
    return found


def _page(body: dict[str, Any], headers: Headers) -> Page:
    try:
        pagination = body["pagination"]
        return Page(
            items=tuple(body["items"]),
            total=_count(body["total"]),
            page=_count(pagination["page"]),
            per_page=_count(pagination["per_page"]),
            total_pages=_count(pagination["total_pages"]),
            has_next=bool(pagination["has_next"]),
            has_prev=bool(pagination["has_prev"]),
            etag=headers.get("etag", ""),
            freshness=_freshness(headers),
            poll_interval_seconds=_interval(headers),
        )
    except (KeyError, TypeError) as error:
        raise NotReadside(repr(error)) from error


def _count(told: object) -> int:
    """Take a whole number as it is: of 1E+999999999, say, `int` would write out every digit."""
    if type(told) is not int or not 0 <= told < _MOST_COUNTED:
        raise NotReadside("a number of events or pages is none")
    return told


def _freshness(headers: Headers) -> Freshness:
    try:
        as_of = datetime.fromisoformat(headers["readside-as-of"])
        microseconds(as_of)  # refuses one without an offset
        return Freshness(headers["readside-source"], as_of, int(headers["readside-lag-ms"]))
    except (KeyError, ValueError) as error:
        raise NotReadside(repr(error)) from error


def _interval(headers: Headers) -> float:
    seconds = _number(headers.get("x-poll-interval", ""))
    if seconds is None:
        return DEFAULT_INTERVAL_SECONDS
    return min(max(seconds, SHORTEST_INTERVAL_SECONDS), LONGEST_WAIT_SECONDS)


def _problem(body: bytes) -> dict[str, Any]:
    """Read what an error says of itself (RFC 9457), if it does."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _wrong_parameters(problem: dict[str, Any]) -> tuple[WrongParameter, ...]:
    """Read which parameters a 400 names, one or several."""
    listed = problem.get("errors")
    told = [it for it in listed[:_MOST_WRONG] if isinstance(it, dict)] if isinstance(listed, list) else [problem]
    found = ((_text(it, "parameter"), _text(it, "detail")) for it in told)
    return tuple(WrongParameter(name, detail) for name, detail in found if name and detail)


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    return value if isinstance(value, str) else None


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
