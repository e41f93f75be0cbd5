"""What a poll asks, parsed and validated, and the bytes of what it gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from readmodel.errors import InvalidParameter
from readmodel.event import is_askable

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_PAGE = 10**9
MAX_TYPES = 100
"""Distinct types in one poll; the contract names no bound, and everything has one."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_SINCE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"(?:([Zz])|([-+ ])(\d\d)(?::?([0-5]\d))?)",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()  # instants are counted by hand: offsets overflow datetime in years 1 and 9999
_MINUTES_A_DAY = 1_440
_SINCE_ACCEPTS = "an ISO 8601 instant with a UTC offset or Z, such as 2026-01-13T14:30:00Z"
_TYPE_ACCEPTS = "1 to 100 characters, a to z and _"


class Poll(NamedTuple):
    """A valid question: `since_us` is microseconds since 1970, exclusive; no `types` means any."""

    session_id: str
    since_us: int | None = None
    types: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    page: int = 1

    @property
    def offset(self) -> int:
        """How many of the newest matches come before this page."""
        return (self.page - 1) * self.limit


def parse_session_id(text: str) -> str:
    """Return the id in lower case; raises InvalidParameter unless it is a UUID of 36 characters."""
    if not _UUID.fullmatch(text):
        raise InvalidParameter(
            "session_id", f"The session id {_shown(text)} is not a UUID such as 7d444840-9dc0-11d1-b245-5ffdce74fad2."
        )
    return text.lower()


def parse_since(text: str) -> int:
    """Parse `since` to microseconds since 1970; digits past the microsecond are cut off, a space is a lost `+`.

    Raises InvalidParameter.
    """
    match = _SINCE.fullmatch(text)
    if not match:
        raise _not_accepted("since", text, _SINCE_ACCEPTS)
    year, month, day, hour, minute, second, fraction, _, sign, hours, minutes = match.groups()
    offset_minutes = int(hours or 0) * 60 + int(minutes or 0) if sign else 0
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))  # noqa: DTZ001
        if offset_minutes >= _MINUTES_A_DAY:
            raise ValueError
    except ValueError:
        raise _not_accepted("since", text, _SINCE_ACCEPTS) from None
    local_minutes = (local.toordinal() - _EPOCH_DAY) * _MINUTES_A_DAY + local.hour * 60 + local.minute
    utc_minutes = local_minutes + (offset_minutes if sign == "-" else -offset_minutes)
    return (utc_minutes * 60 + local.second) * 1_000_000 + int(fraction[:6].ljust(6, "0") if fraction else 0)


def parse_poll(session_id: str, query_string: bytes) -> Poll:
    """Parse a session id (from the path, decoded) and a raw query string; raises InvalidParameter."""
    sid = parse_session_id(session_id)
    if not query_string:
        return Poll(sid)
    given = _pairs(query_string)
    return Poll(
        sid,
        since_us=_one(given, ("since",), parse_since),
        types=_types(given),
        limit=_one(given, ("limit", "per_page"), lambda text: _whole("limit", text, MAX_LIMIT)) or DEFAULT_LIMIT,
        page=_one(given, ("page",), lambda text: _whole("page", text, MAX_PAGE)) or 1,
    )


def render(page: bytes, total: int, poll: Poll) -> bytes:
    """Build a 200's body: `page` is the events' JSON joined by commas, `total` counts all matches."""
    total_pages = -(-total // poll.limit)
    return b'{"items":[%b],"total":%d,"pagination":{"page":%d,"per_page":%d,"total":%d,"total_pages":%d,%b}}' % (
        page,
        total,
        poll.page,
        poll.limit,
        total,
        total_pages,
        b'"has_next":%b,"has_prev":%b' % (_json_bool(poll.page < total_pages), _json_bool(poll.page > 1)),
    )


_PARAMETERS = ("since", "event_type", "type", "limit", "per_page", "page")


def _pairs(query_string: bytes) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for piece in query_string.split(b"&"):
        if not piece:
            continue
        raw_name, _, raw_value = piece.partition(b"=")
        name = _decode("the query string", raw_name)
        if name not in _PARAMETERS:
            raise InvalidParameter(
                name,
                f"There is no parameter {_shown(name)}; accepted are since, event_type (or type), "
                "limit (or per_page) and page.",
            )
        given.setdefault(name, []).append(_decode(name, raw_value))
    return given


def _decode(name: str, raw: bytes) -> str:
    try:
        if b"%" not in raw and b"+" not in raw:
            return raw.decode()
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidParameter(name, f"The value of {name} is not UTF-8.") from None


def _one(given: dict[str, list[str]], names: tuple[str, ...], parse: Callable[[str], int]) -> int | None:
    used = [name for name in names if name in given]
    if not used:
        return None
    if len(used) > 1:
        raise InvalidParameter(used[1], f"{used[1]} is another name of {used[0]}: give one of them.")
    values = given[used[0]]
    if len(values) > 1:
        raise InvalidParameter(used[0], f"{used[0]} is given {len(values)} times; it is accepted once.")
    try:
        return parse(values[0])
    except InvalidParameter as error:
        if error.parameter == used[0]:
            raise
        raise InvalidParameter(used[0], str(error).replace(error.parameter, used[0], 1)) from None


def _types(given: dict[str, list[str]]) -> tuple[str, ...]:
    asked = {value: name for name in ("event_type", "type") for value in given.get(name, ())}
    for value, name in asked.items():
        if not is_askable(value):
            raise _not_accepted(name, value, _TYPE_ACCEPTS)
    if len(asked) > MAX_TYPES:
        raise InvalidParameter(
            "event_type", f"event_type is given {len(asked)} times; at most {MAX_TYPES} are accepted."
        )
    return tuple(sorted(asked))


def _whole(name: str, text: str, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 20 and 1 <= int(text) <= most:
        return int(text)
    raise _not_accepted(name, text, f"a whole number from 1 to {most}")


def _not_accepted(name: str, text: str, accepts: str) -> InvalidParameter:
    return InvalidParameter(name, f"{name} must be {accepts}, not {_shown(text)}.")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "…").replace("\\u2026", "…")


def _json_bool(value: bool) -> bytes:
    return b"true" if value else b"false"
