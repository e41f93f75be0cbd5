"""An event as both stores hold it.

The one encoder of an event's JSON is SQL (`sql/event_json.sql`): Postgres renders the final bytes for the loader and
for the fallback alike, so that every source gives the same bytes and `event_data` keeps every digit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

ENCODING_VERSION = "4"
"""Changes whenever position, header, members, index or arrival log are written in another way.

Views of other versions are never read.
"""

SCORE_BOUND = 2**53
"""Scores are doubles: whole microseconds since 1970 are exact below this, from 1684 until June 2255."""

_ASKABLE = re.compile(r"[a-z_]{1,100}")


class EventRow(NamedTuple):
    """One row of the event log, ready for the view.

    `score` is microseconds since 1970, or None where a double cannot hold it; `hash_hi` and `hash_lo` are the 32-bit
    halves of `uuid_hash_extended(id, xmin)`; `member` is the event's final JSON, UTF-8.
    """

    session_id: str
    id: bytes
    score: int | None
    event_type: str
    hash_hi: int
    hash_lo: int
    member: bytes


def is_askable(event_type: str) -> bool:
    """Tell whether a poll can name this type (the contract's `^[a-z_]+$`, 1 to 100 characters)."""
    return _ASKABLE.fullmatch(event_type) is not None


@lru_cache(maxsize=1024)  # a load asks for the same few, once an event
def type_name(event_type: str | None) -> str:
    """The name under which a type is counted and indexed; those that no poll can name share the empty one.

    None is the type of a row in a column that may hold NULL: the term is about to end for it.
    """
    return event_type if event_type is not None and is_askable(event_type) else ""
