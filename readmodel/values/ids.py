"""UUIDs as people write them."""

from __future__ import annotations

import re

from readmodel.errors import InvalidParameter
from readmodel.shown import shown

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The pattern of a UUID as Postgres prints it."""
UUID_ACCEPTS = "a UUID such as 7d444840-9dc0-11d1-b245-5ffdce74fad2"
_UUID = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{8})(-?)([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{4})\2([0-9a-f]{12})", re.IGNORECASE
)


is_uuid = re.compile(UUID).fullmatch
"""Tells whether a text is a UUID as Postgres prints it."""
member_id = re.compile(rb'\{"id":"(%b)"' % UUID.encode()).match
"""Finds the event's id in its JSON; None where it is no event of ours."""


def parse_uuid(text: str) -> str | None:
    """A UUID as Postgres prints it, None where it is none. Capitals, `urn:uuid:` or no dashes are understood."""
    match = _UUID.fullmatch(text)
    return "-".join(match.group(1, 3, 4, 5, 6)).lower() if match else None


def parse_session_id(text: str) -> str:
    """The id as Postgres prints it; raises InvalidParameter unless it is a UUID."""
    return _parse_id("session", text)


def parse_event_id(text: str) -> str:
    """The id as Postgres prints it; raises InvalidParameter unless it is a UUID."""
    return _parse_id("event", text)


def _parse_id(of: str, text: str) -> str:
    parsed = parse_uuid(text)
    if parsed is None:
        raise InvalidParameter(f"{of}_id", f"The {of} id {shown(text)} is not {UUID_ACCEPTS}.")
    return parsed
