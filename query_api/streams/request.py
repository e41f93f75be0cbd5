"""A read of a stream as it is asked for in a URL, by the Durable Streams protocol, parsed and validated."""

from __future__ import annotations

import re
from typing import NamedTuple

from readmodel.errors import InvalidParameter
from readmodel.values.ids import parse_session_id
from readmodel.values.offset import Offset, parse_offset
from readmodel.values.parameters import Parameters, not_accepted
from readmodel.values.poll_query import MAX_TYPES, parse_type

START, NOW, LONG_POLL = "-1", "now", "long-poll"
_TYPE = ("event_type", "type")
_NAMES = frozenset({"offset", "live", "cursor", *_TYPE})
_ACCEPTED = "accepted are offset, live, cursor and event_type (or type)"
_CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)


class StreamRequest(NamedTuple):
    """A valid request: `offset` None is the start, unless `from_now`; `cursor` the client's own, if it has one."""

    session_id: str
    offset: Offset | None = None
    from_now: bool = False
    is_live: bool = False
    types: tuple[str, ...] = ()
    cursor: int | None = None

    @property
    def from_start(self) -> bool:
        """Whether everything is asked for."""
        return self.offset is None and not self.from_now

    @property
    def comes_again(self) -> bool:
        """Whether the same client, or others, will ask the very same: a place in the stream is left behind."""
        return self.offset is None and not self.is_live


def parse_stream(session_id: str, query_string: bytes) -> StreamRequest:
    """Parse a session id (from the path, decoded) and a raw query string.

    Raises InvalidParameter, which names everything that is wrong.
    """
    if not query_string:
        return StreamRequest(parse_session_id(session_id))
    given = Parameters(query_string, _NAMES, _ACCEPTED)
    sid = given.attempt(parse_session_id, session_id)
    place = given.one(("offset",), _place)
    request = StreamRequest(
        sid or "",
        place if isinstance(place, Offset) else None,
        place == NOW,
        given.one(("live",), _live) is not None,
        _split(given, given.several(_TYPE, _types, MAX_TYPES)),
        given.one(("cursor",), _cursor),
    )
    given.check()
    return request


def _place(_: str, text: str) -> Offset | str:
    return text if text in {START, NOW} else parse_offset(text)


def _live(name: str, text: str) -> str:
    if text == "sse":
        raise InvalidParameter(name, "live=sse is not offered here: live=long-poll is, and gives news as soon.")
    if text != LONG_POLL:
        raise not_accepted(name, text, LONG_POLL)
    return text


def _types(name: str, text: str) -> str:
    """Parse one value: a client that can send but one names several in it."""
    return ",".join([parse_type(name, part) for part in text.split(",")])


def _split(given: Parameters, values: tuple[str, ...]) -> tuple[str, ...]:
    types = tuple(sorted({part for value in values for part in value.split(",")}))
    if len(types) > MAX_TYPES >= len(values):
        given.wrong.append(
            InvalidParameter(_TYPE[0], f"{_TYPE[0]} names {len(types)} types; at most {MAX_TYPES} are accepted.")
        )
    return types


def _cursor(name: str, text: str) -> int:
    if not _CURSOR.fullmatch(text):
        raise not_accepted(name, text, "a cursor that this stream gave")
    return int(text)
