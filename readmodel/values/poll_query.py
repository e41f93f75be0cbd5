"""A poll as it is asked for in a URL, parsed and validated."""

from __future__ import annotations

import re
from datetime import date, datetime

from readmodel.values.event import is_askable
from readmodel.values.ids import UUID_ACCEPTS, parse_session_id, parse_uuid
from readmodel.values.parameters import Parameters, not_accepted, whole
from readmodel.values.poll import DEFAULT_LIMIT, Poll

MAX_LIMIT = 1000
MAX_PAGE = 10**9
MAX_TYPES = 100
"""Distinct types in one poll; the contract names no bound, and everything has one."""
MAX_STEPS = 100
"""The same for steps."""
MAX_WAIT_SECONDS = 60

_SINCE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"(?:[Zz]|([-+ ])(\d\d)(?::?([0-5]\d))?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()  # instants are counted by hand: offsets overflow datetime in years 1 and 9999
_MINUTES_A_DAY = 1_440
_SINCE_ACCEPTS = "an ISO 8601 instant (UTC unless it has an offset), such as 2026-01-13T14:30:00Z"
_TYPE_ACCEPTS = "1 to 100 characters, a to z and _"
_ORDERS = {"desc": False, "asc": True}
_LIMIT, _TYPE = ("limit", "per_page"), ("event_type", "type")
_NAMES = frozenset({"since", *_TYPE, "step_id", *_LIMIT, "page", "order", "wait"})
_ACCEPTED = "accepted are since, event_type (or type), step_id, limit (or per_page), page, order and wait"
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}", re.ASCII)
_WAIT_ACCEPTS = f"a number of seconds from 0 to {MAX_WAIT_SECONDS}, such as 20 or 2.5"


def parse_poll(session_id: str, query_string: bytes) -> tuple[Poll, float | None]:
    """Parse a session id (from the path, decoded) and a raw query string; gives the seconds of `wait` beside the poll.

    Raises InvalidParameter, which names everything that is wrong.
    """
    if not query_string:
        return Poll(parse_session_id(session_id), may_shorten=True), None
    given = Parameters(query_string, _NAMES, _ACCEPTED)
    sid = given.attempt(parse_session_id, session_id)
    limit = given.one(_LIMIT, _limit)
    poll = Poll(
        sid or "",
        since_us=given.one(("since",), parse_instant),
        types=given.several(_TYPE, parse_type, MAX_TYPES),
        limit=limit or DEFAULT_LIMIT,
        page=given.one(("page",), _page) or 1,
        steps=given.several(("step_id",), _step, MAX_STEPS),
        oldest_first=given.one(("order",), _order) or False,
        may_shorten=limit is None,
    )
    wait_seconds = given.one(("wait",), parse_wait)
    given.check()
    return poll, wait_seconds


def parse_since(text: str) -> int:
    """Parse `since` to microseconds since 1970; digits past the microsecond are cut off, a space is a lost `+`.

    Raises InvalidParameter.
    """
    return parse_instant("since", text)


def parse_instant(name: str, text: str) -> int:
    """Parse an instant as `since` is parsed; `name` is what the caller gave it as. Raises InvalidParameter."""
    match = _SINCE.fullmatch(text)
    if not match:
        raise not_accepted(name, text, _SINCE_ACCEPTS)
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    offset_minutes = int(hours) * 60 + int(minutes or 0) if sign else 0
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))  # noqa: DTZ001
        if offset_minutes >= _MINUTES_A_DAY:
            raise ValueError
    except ValueError:
        raise not_accepted(name, text, _SINCE_ACCEPTS) from None
    local_minutes = (local.toordinal() - _EPOCH_DAY) * _MINUTES_A_DAY + local.hour * 60 + local.minute
    utc_minutes = local_minutes + (offset_minutes if sign == "-" else -offset_minutes)
    return (utc_minutes * 60 + local.second) * 1_000_000 + int(fraction[:6].ljust(6, "0") if fraction else 0)


def parse_wait(name: str, text: str) -> float:
    """Parse for how many seconds a poll may be held; `name` is what the caller gave it as. Raises InvalidParameter."""
    seconds = float(text) if _SECONDS.fullmatch(text) else -1.0
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise not_accepted(name, text, _WAIT_ACCEPTS)
    return seconds


def parse_type(name: str, text: str) -> str:
    """Parse the name of a type that can be asked for; raises InvalidParameter."""
    if not is_askable(text):
        raise not_accepted(name, text, _TYPE_ACCEPTS)
    return text


def _step(name: str, text: str) -> str:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_accepted(name, text, UUID_ACCEPTS)
    return parsed


def _limit(name: str, text: str) -> int:
    return whole(name, text, MAX_LIMIT)


def _page(name: str, text: str) -> int:
    return whole(name, text, MAX_PAGE)


def _order(name: str, text: str) -> bool:
    if text not in _ORDERS:
        raise not_accepted(name, text, "asc or desc")
    return _ORDERS[text]
